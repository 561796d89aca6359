//! The sockets of each interface, which come and go with it.

use super::{HaLoop, HaReply, PORTS, errno};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::os::fd::AsRawFd;
use std::time::Duration;
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;
use trunnion_core::route;
use trunnion_sys::packet::{PRIORITY_CONTROL, PacketSocket};
use trunnion_sys::vrrp;

/// The sockets of one interface.
#[derive(Debug, Default)]
pub struct Port {
    pub(super) index: Option<route::InterfaceIndex>,
    pub(super) v4: Option<vrrp::Socket>,
    pub(super) v6: Option<vrrp::Socket>,
    pub(super) frames: Option<PacketSocket>,
    /// For adverts that are whole frames; those do not wait behind announcements.
    pub(super) speaker: Option<PacketSocket>,
    /// Something waits in the IPv4 socket, in the IPv6 one.
    pub(super) ready: [bool; 2],
    /// That `frames` could not be opened was told.
    mute: bool,
}

impl Port {
    const fn socket(&self, family: Family) -> Option<&vrrp::Socket> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }
}

/// The place of a family in a pair.
const fn place(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

/// From one attempt to open what could not be opened to the next.
const AGAIN: Duration = Duration::from_secs(1);

impl HaLoop {
    /// Opens the sockets of interfaces that came, and closes those of
    /// interfaces that went. What cannot be opened is tried again.
    pub(super) fn open_ports(&mut self) {
        let now = self.clock.now();
        let version = self.ha.interfaces_version();
        let again = self.ports_again.is_some_and(|at| at <= now);
        // What is known of an interface holds while the kernel is asked again: a
        // router that became Active in this turn must not wait for that.
        if version == self.ports_version && !again {
            return;
        }
        self.ports_version = version;
        let mut failed = false;
        for at in 0..self.ha.interfaces().len() {
            let interface = &self.ha.interfaces()[at];
            let index = interface.found.index;
            let carries = [Family::V4, Family::V6].map(|family| interface.carries(family));
            let speaks = interface.carries_frames();
            if self.ports[at].index != index {
                let new = Port {
                    index,
                    ..Port::default()
                };
                let old = std::mem::replace(&mut self.ports[at], new);
                // Without room for it there it is closed here.
                let _ = self.end.say(HaReply::Closed(old));
            }
            let Some(index) = index else { continue };
            for family in [Family::V4, Family::V6] {
                if carries[place(family)] && self.ports[at].socket(family).is_none() {
                    let opened = self.open_port(at, index, family);
                    failed |= opened.is_err();
                    self.ha.handle_port(now, at, family, opened);
                }
            }
            // One that is only looked at needs none.
            if self.ports[at].frames.is_none() && carries.contains(&true) {
                match PacketSocket::open(index) {
                    Ok(socket) => self.ports[at].frames = Some(socket),
                    Err(why) => {
                        failed = true;
                        if !std::mem::replace(&mut self.ports[at].mute, true) {
                            self.ha.handle_frames_failed(now, at, errno(&why));
                        }
                    }
                }
            }
            if self.ports[at].speaker.is_none() && speaks {
                let opened = PacketSocket::open(index).and_then(|socket| {
                    socket.set_priority(PRIORITY_CONTROL)?;
                    Ok(socket)
                });
                match opened {
                    Ok(socket) => self.ports[at].speaker = Some(socket),
                    Err(why) => {
                        failed = true;
                        if !std::mem::replace(&mut self.ports[at].mute, true) {
                            self.ha.handle_frames_failed(now, at, errno(&why));
                        }
                    }
                }
            }
            // What waited before the registration makes no edge.
            self.ports[at].ready = [true; 2];
            self.more = true;
        }
        self.ports_again = failed.then_some(now + AGAIN);
    }

    fn open_port(
        &mut self,
        at: usize,
        index: route::InterfaceIndex,
        family: Family,
    ) -> Result<(), Errno> {
        let opened = match family {
            Family::V4 => vrrp::Socket::open_v4(index),
            Family::V6 => vrrp::Socket::open_v6(index),
        };
        let socket = opened.map_err(|why| errno(&why.error))?;
        let (fd, token) = (socket.as_raw_fd(), Token(PORTS + 2 * at + place(family)));
        let registry = self.poll.registry();
        registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
            .map_err(|why| errno(&why))?;
        match family {
            Family::V4 => self.ports[at].v4 = Some(socket),
            Family::V6 => self.ports[at].v6 = Some(socket),
        }
        Ok(())
    }
}
