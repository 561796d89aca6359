//! The few netlink messages of the lab's own, written by hand so that the lab
//! does not measure the daemon's code with itself: pull a cable, hear of
//! addresses, leave a mark in a capture.
//!
//! Source: linux/netlink.h, rtnetlink.h, if_addr.h, genetlink.h.

use super::netns::Netns;
use super::{Context, LabError, Result};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
    sockopt,
};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 1;
const ACK: u16 = 4;
const NOOP: u16 = 1;
const ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFF_UP: u32 = 1;
const GROUPS_ADDRESSES: u32 = 0x10 | 0x100;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Type of the generic netlink controller's messages, `GENL_ID_CTRL`.
pub const CONTROLLER: u16 = 16;
/// `CTRL_CMD_NEWFAMILY`: the controller's answer.
pub const NEW_FAMILY: u8 = 1;
const GET_FAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_ID`.
pub const FAMILY_ID: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`.
pub const FAMILY_NAME: u16 = 2;

/// `nlmsg_pid` of a mark: "lab!".
pub const MARK: u32 = 0x6c61_6221;

/// An address came to, or left, an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressEvent {
    /// When the lab heard of it.
    pub at: Instant,
    /// The address.
    pub address: IpAddr,
    /// It came; else it left.
    pub added: bool,
}

/// What the kernel of a namespace says about its addresses, as it happens.
#[derive(Debug)]
pub struct AddressWatch {
    heard: Arc<Mutex<Vec<AddressEvent>>>,
}

impl AddressWatch {
    /// Starts to listen; when this returns, nothing is missed any more.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start(netns: &Netns) -> Result<Self> {
        let socket = netns.run(|| open(None, GROUPS_ADDRESSES))??;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let weak = Arc::downgrade(&heard);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 32 * 1024];
            // Ends, at the latest after a receive timeout, with the watch.
            while weak.strong_count() > 0 {
                let Ok((length, _)) = recv(&socket, &mut buffer[..], RecvFlags::empty()) else {
                    continue;
                };
                let at = Instant::now();
                let Some(heard) = weak.upgrade() else { return };
                let events = messages(&buffer[..length]).filter_map(|message| {
                    let added = match message.kind {
                        RTM_NEWADDR => true,
                        RTM_DELADDR => false,
                        _ => return None,
                    };
                    let address = address_of(message.body)?;
                    Some(AddressEvent { at, address, added })
                });
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.extend(events);
            }
        });
        Ok(Self { heard })
    }

    /// When `address` first came (or left) after `since`.
    #[must_use]
    pub fn first(&self, since: Instant, address: IpAddr, added: bool) -> Option<Instant> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard
            .iter()
            .find(|e| e.at >= since && e.address == address && e.added == added)
            .map(|e| e.at)
    }
}

/// Takes an interface up or down; done when this returns.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn set_link(netns: &Netns, interface: &str, up: bool) -> Result<()> {
    let work = || -> Result<()> {
        let socket = open(None, 0)?;
        let index = rustix::net::netdevice::name_to_index(&socket, interface)
            .context(|| format!("find {interface}"))?;
        // struct ifinfomsg: family, pad, type, index, flags, change.
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend(if up { IFF_UP } else { 0 }.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes());
        send(&socket, &message(RTM_NEWLINK, REQUEST | ACK, 1, 0, &body))?;
        acknowledged(&socket).context(|| format!("set {interface}"))
    };
    netns.run(work)?.context(|| format!("in {}", netns.role()))
}

/// Asks the controller of generic netlink for the family `IPVS`, which also
/// loads ip_vs; a capture learns the family's number from the answer.
///
/// # Errors
/// The kernel has no ip_vs.
pub fn resolve_ipvs(netns: &Netns) -> Result<()> {
    let work = || -> Result<()> {
        let socket = open(Some(netlink::GENERIC), 0)?;
        let mut body = vec![GET_FAMILY, 1, 0, 0];
        body.extend([9, 0, 2, 0]);
        body.extend(b"IPVS\0\0\0\0");
        send(&socket, &message(CONTROLLER, REQUEST | ACK, 1, 0, &body))?;
        let mut buffer = [0; 4096];
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())
            .context(|| "no answer".to_owned())?;
        match messages(&buffer[..length]).next() {
            Some(answer) if answer.kind == CONTROLLER => Ok(()),
            _ => Err(LabError::new("this kernel has no ip_vs")),
        }
    };
    netns.run(work)?.context(|| "resolve IPVS".to_owned())
}

/// Sends a message that does nothing but show in a capture as mark `number`.
///
/// # Errors
/// The socket cannot be made.
pub fn mark(netns: &Netns, number: u32) -> Result<()> {
    let work = || {
        let socket = open(Some(netlink::GENERIC), 0)?;
        send(&socket, &message(NOOP, REQUEST | ACK, number, MARK, &[]))?;
        acknowledged(&socket)
    };
    netns.run(work)?.context(|| "mark the capture".to_owned())
}

fn open(protocol: Option<rustix::net::Protocol>, groups: u32) -> Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        protocol,
    )
    .context(|| "open a netlink socket".to_owned())?;
    sockopt::set_socket_timeout(
        &socket,
        sockopt::Timeout::Recv,
        Some(Duration::from_secs(1)),
    )
    .context(|| "set a receive timeout".to_owned())?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))
        .context(|| "bind a netlink socket".to_owned())?;
    Ok(socket)
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<()> {
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(socket, bytes, SendFlags::empty(), &kernel)
        .map(|_| ())
        .context(|| "send to the kernel".to_owned())
}

fn acknowledged(socket: &OwnedFd) -> Result<()> {
    let mut buffer = [0; 4096];
    let (length, _) =
        recv(socket, &mut buffer[..], RecvFlags::empty()).context(|| "no answer".to_owned())?;
    let answer = messages(&buffer[..length]).next();
    match answer.and_then(|m| Some((m.kind, m.body.first_chunk::<4>()?))) {
        Some((ERROR, errno)) => match i32::from_ne_bytes(*errno) {
            0 => Ok(()),
            errno => Err(LabError::new(
                std::io::Error::from_raw_os_error(-errno).to_string(),
            )),
        },
        _ => Err(LabError::new("an answer that is none")),
    }
}

fn message(kind: u16, flags: u16, sequence: u32, pid: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("a short message");
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(pid.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// One netlink message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// `nlmsg_pid`.
    pub pid: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages of a datagram, up to the first whose length is a lie.
pub fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<16>()?;
        let u16_at = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let length = usize::try_from(u32_at(0)).ok()?;
        let body = rest.get(16..length)?;
        let message = Message {
            kind: u16_at(4),
            flags: u16_at(6),
            sequence: u32_at(8),
            pid: u32_at(12),
            body,
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes of a message, as (type, payload).
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let payload = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The address of an RTM_NEWADDR or RTM_DELADDR: after struct ifaddrmsg, the
/// local one where there is one (point to point), else the address.
fn address_of(body: &[u8]) -> Option<IpAddr> {
    let find = |wanted| {
        attributes(body.get(8..)?)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, payload)| payload)
    };
    let bytes = find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?;
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_event_is_read() {
        // RTM_NEWADDR 10.77.0.10/24 as Linux 6.1 sends it, first attributes.
        let mut body = vec![2, 24, 0x80, 0, 2, 0, 0, 0];
        body.extend([8, 0, 1, 0, 10, 77, 0, 10]);
        body.extend([8, 0, 2, 0, 10, 77, 0, 11]);
        assert_eq!(address_of(&body), Some([10, 77, 0, 11].into()));
        assert_eq!(address_of(&body[..16]), Some([10, 77, 0, 10].into()));
        for cut in 0..16 {
            assert_eq!(address_of(&body[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn messages_end_at_a_lie() {
        let mut bytes = message(20, 0, 7, 9, &[1, 2, 3]);
        bytes.push(0); // to the next multiple of 4
        bytes.extend(message(21, REQUEST, 8, 0, &[]));
        let seen: Vec<_> = messages(&bytes)
            .map(|m| (m.kind, m.flags, m.sequence, m.pid, m.body.len()))
            .collect();
        assert_eq!(seen, [(20, 0, 7, 9, 3), (21, 1, 8, 0, 0)]);
        bytes[0] = 200;
        assert_eq!(messages(&bytes).count(), 0);
        bytes[0] = 3;
        assert_eq!(messages(&bytes).count(), 0);
    }
}
