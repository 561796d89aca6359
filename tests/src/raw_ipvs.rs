//! Requests to IPVS as raw attributes, right or wrong: what our encoder refuses,
//! the kernel must be asked by hand.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use std::time::{Duration, Instant};
use trunnion_core::ipvs::{Command, daemon, destination, service, top};
use trunnion_core::netlink::genl::{self, FamilyId};
use trunnion_core::netlink::{Batch, Errno, Flags, Messages, Reply, Words};
use trunnion_sys::netlink::{Protocol, Socket};

/// Attributes: kind, value.
#[derive(Clone, Debug)]
pub struct Attributes(pub Vec<(u16, Vec<u8>)>);

impl Attributes {
    /// With this attribute instead of what there was.
    #[must_use]
    pub fn with(mut self, kind: u16, value: impl Into<Vec<u8>>) -> Self {
        self.0.retain(|(of, _)| *of != kind);
        self.0.push((kind, value.into()));
        self
    }

    /// Without this attribute.
    #[must_use]
    pub fn without(mut self, kind: u16) -> Self {
        self.0.retain(|(of, _)| *of != kind);
        self
    }

    /// With a number of 32 bits.
    #[must_use]
    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.with(kind, value.to_ne_bytes())
    }
}

/// No attributes.
#[must_use]
pub fn none() -> Attributes {
    Attributes(Vec::new())
}

/// TCP 192.0.2.1:80, as a key.
#[must_use]
pub fn key() -> Attributes {
    none()
        .with(service::FAMILY, 2_u16.to_ne_bytes())
        .with(service::PROTOCOL, 6_u16.to_ne_bytes())
        .with(service::ADDRESS, [192, 0, 2, 1])
        .with(service::PORT, 80_u16.to_be_bytes())
}

/// The same, where there is no service.
#[must_use]
pub fn nobody() -> Attributes {
    key().with(service::PORT, 81_u16.to_be_bytes())
}

/// A service with this key.
#[must_use]
pub fn whole(key: Attributes) -> Attributes {
    key.with(service::SCHEDULER, *b"wrr\0")
        .with(service::FLAGS, [0, 0, 0, 0, 255, 255, 255, 255])
        .u32(service::TIMEOUT, 0)
        .with(service::NETMASK, [255; 4])
}

/// An IPv6 service with this persistence prefix.
#[must_use]
pub fn v6(prefix: u32) -> Attributes {
    whole(nobody())
        .with(service::FAMILY, 10_u16.to_ne_bytes())
        .with(service::ADDRESS, [0x20; 16])
        .u32(service::NETMASK, prefix)
}

/// 10.9.0.x:8080.
#[must_use]
pub fn backend(last: u8) -> Attributes {
    none()
        .with(destination::ADDRESS, [10, 9, 0, last])
        .with(destination::PORT, 8080_u16.to_be_bytes())
        .u32(destination::FORWARD, 0)
        .u32(destination::WEIGHT, 1)
        .u32(destination::UPPER_THRESHOLD, 0)
        .u32(destination::LOWER_THRESHOLD, 0)
}

/// An IPv6 destination, forwarded to by this method.
#[must_use]
pub fn mixed(forward: u32) -> Attributes {
    backend(9)
        .with(destination::ADDRESS, [0x20; 16])
        .with(destination::FAMILY, 10_u16.to_ne_bytes())
        .u32(destination::FORWARD, forward)
}

/// A synchronization daemon that sends, on `va`.
#[must_use]
pub fn sync() -> Attributes {
    none()
        .u32(daemon::STATE, 1)
        .with(daemon::INTERFACE, *b"va\0")
        .u32(daemon::SYNC_ID, 1)
}

/// A refusal: 0 for none; the kernel's own words.
pub type Refusal = (Errno, Words);

/// What follows the generic header.
#[derive(Clone, Debug)]
pub enum Top {
    /// Attributes inside one.
    Nest(u16, Attributes),
    /// Any bytes.
    Raw(u16, Vec<u8>),
}

/// A request about a service.
#[must_use]
pub fn of(key: Attributes) -> Vec<Top> {
    vec![Top::Nest(top::SERVICE, key)]
}

/// A request about a destination of a service.
#[must_use]
pub fn dest(key: Attributes, it: Attributes) -> Vec<Top> {
    vec![
        Top::Nest(top::SERVICE, key),
        Top::Nest(top::DESTINATION, it),
    ]
}

/// A request about a synchronization daemon.
#[must_use]
pub fn sync_daemon(it: Attributes) -> Vec<Top> {
    vec![Top::Nest(top::DAEMON, it)]
}

/// Makes one request, so many times in one datagram, over a socket of its own;
/// the first refusal,
/// with the kernel's own words.
pub fn ask(family: FamilyId, command: Command, flags: Flags, tops: &[Top], times: u32) -> Refusal {
    let socket = Socket::open(Protocol::Generic, &[]).unwrap();
    let mut buf = [0; 4096];
    let mut batch = Batch::new(&mut buf, 1);
    for _ in 0..times {
        genl::request(&mut batch, family, command.0, 1, flags, |body| {
            for top in tops {
                match top {
                    Top::Raw(kind, value) => body.bytes(*kind, value),
                    Top::Nest(kind, Attributes(all)) => body.nest(*kind, |nest| {
                        for (kind, value) in all {
                            nest.bytes(*kind, value);
                        }
                    }),
                }
            }
        })
        .unwrap();
    }
    let barrier = batch.barrier().unwrap();
    socket.send(batch.finish()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut buf = vec![0; 1 << 15];
    let mut found = (Errno(0), Words::new());
    while socket.wait(deadline).unwrap() {
        let Some(datagram) = socket.receive(&mut buf).unwrap() else {
            continue;
        };
        for message in Messages::new(datagram) {
            if let Reply::Ack {
                seq,
                result,
                extended,
            } = Reply::parse(&message.unwrap()).unwrap()
            {
                if seq == barrier {
                    return found;
                }
                if let (Err(errno), Errno(0)) = (result, found.0) {
                    found = (errno, extended.words());
                }
            }
        }
    }
    panic!("no barrier after {command:?}");
}

/// The family's number.
#[must_use]
pub fn family() -> FamilyId {
    let socket = Socket::open(Protocol::Generic, &[]).unwrap();
    let mut buf = [0; 64];
    let mut batch = Batch::new(&mut buf, 1);
    genl::get_family(&mut batch, "IPVS").unwrap();
    socket.send(batch.finish()).unwrap();
    assert!(
        socket
            .wait(Instant::now() + Duration::from_secs(10))
            .unwrap()
    );
    let mut buf = vec![0; 1 << 15];
    let datagram = socket.receive(&mut buf).unwrap().unwrap();
    let message = Messages::new(datagram).next().unwrap().unwrap();
    match Reply::parse(&message).unwrap() {
        Reply::Data { body, offset, .. } => genl::Family::parse(body, offset).unwrap().id,
        other @ (Reply::Ack { .. } | Reply::Done { .. } | Reply::Noop | Reply::Overrun) => {
            panic!("{other:?}")
        }
    }
}
