//! The sockets of each interface, which come and go with it.

use super::{HaLoop, HaReply, PORTS, errno};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::os::fd::AsRawFd;
use trunnion_core::model::Family;
use trunnion_core::route;
use trunnion_sys::packet::PacketSocket;
use trunnion_sys::vrrp;

/// The sockets of one interface.
#[derive(Debug, Default)]
pub struct Port {
    pub(super) index: Option<route::InterfaceIndex>,
    pub(super) v4: Option<vrrp::Socket>,
    pub(super) v6: Option<vrrp::Socket>,
    pub(super) frames: Option<PacketSocket>,
    /// Something waits in the IPv4 socket, in the IPv6 one.
    pub(super) ready: [bool; 2],
}

/// The place of a family in a pair.
const fn place(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

impl HaLoop {
    /// Opens the sockets of interfaces that came, and closes those of
    /// interfaces that went.
    pub(super) fn open_ports(&mut self) {
        let version = self.ha.interfaces_version();
        // What is known of an interface holds while the kernel is asked again: a
        // router that became Active in this turn must not wait for that.
        if version == self.ports_version {
            return;
        }
        self.ports_version = version;
        let mut first = None;
        for (at, (interface, port)) in self.ha.interfaces().iter().zip(&mut self.ports).enumerate()
        {
            let index = interface.found.index;
            if port.index != index {
                let new = Port {
                    index,
                    ..Port::default()
                };
                // Without room for it there it is closed here.
                let _ = self.end.say(HaReply::Closed(std::mem::replace(port, new)));
            }
            let Some(index) = index else { continue };
            let registry = self.poll.registry();
            let register = |socket: &vrrp::Socket| {
                let fd = socket.as_raw_fd();
                let token = Token(PORTS + 2 * at + place(socket.family()));
                registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
            };
            let mut failed = None;
            if port.v4.is_none() && interface.carries(Family::V4) {
                match vrrp::Socket::open_v4(index) {
                    Ok(socket) => port.v4 = register(&socket).is_ok().then_some(socket),
                    Err(why) => failed = Some(errno(&why.error)),
                }
            }
            if port.v6.is_none() && interface.carries(Family::V6) {
                match vrrp::Socket::open_v6(index) {
                    Ok(socket) => port.v6 = register(&socket).is_ok().then_some(socket),
                    Err(why) => failed = Some(errno(&why.error)),
                }
            }
            // One that is only looked at needs none.
            let carries = interface.carries(Family::V4) || interface.carries(Family::V6);
            if port.frames.is_none() && carries {
                match PacketSocket::open(index) {
                    Ok(socket) => port.frames = Some(socket),
                    Err(why) => failed = Some(errno(&why)),
                }
            }
            // What waited before the registration makes no edge.
            port.ready = [true; 2];
            self.more = true;
            first = first.or(failed.map(|errno| (at, errno)));
        }
        // The others lack the same privilege, or the same descriptors.
        if let Some((at, errno)) = first {
            self.ha.handle_port_failed(self.clock.now(), at, errno);
        }
    }
}
