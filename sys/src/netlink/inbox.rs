//! Several datagrams with one system call. A dump comes in two at least, the
//! rows and its end, and there is one dump for each service: where a system call
//! is dear, calls are what a long table costs.

use super::{ADDRESS_BYTES, Error, Socket, address};
use crate::memory::Mapped;
use crate::syscall::{check, uninterrupted};
use std::os::fd::AsRawFd;

/// Datagrams received at once: one more than a small dump has, so that the call
/// that brings its end says that nothing follows.
const AT_ONCE: usize = 3;
#[allow(clippy::cast_possible_truncation, reason = "it is 3")]
const AT_ONCE_COUNT: libc::c_uint = AT_ONCE as libc::c_uint;

/// Room for what is received.
#[derive(Debug)]
pub struct Inbox {
    room: [Mapped<u8>; AT_ONCE],
    /// How long each is.
    lens: [usize; AT_ONCE],
    /// How many there are.
    received: usize,
}

impl Inbox {
    /// Room for datagrams of so many bytes each.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            room: [(); AT_ONCE].map(|()| Mapped::new(bytes)),
            lens: [0; AT_ONCE],
            received: 0,
        }
    }

    /// The datagrams of the last [`Socket::receive_all`], in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let each = self.room.iter().zip(self.lens).take(self.received);
        each.map(|(room, len)| room.get(..len).unwrap_or(&[]))
    }

    /// Whether there was room for more: nothing else was waiting then.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.received < AT_ONCE
    }
}

impl Socket {
    /// Receives datagrams of the kernel until the inbox is full or none is
    /// waiting. What other processes send here is an empty one.
    ///
    /// # Errors
    /// [`Error::Overrun`] when some were lost, [`Error::Truncated`] when one is
    /// longer than its room, [`Error::Io`] for the rest of recvmmsg(2). The inbox
    /// is empty then.
    pub fn receive_all(&self, inbox: &mut Inbox) -> Result<(), Error> {
        // A socket that was given to us may be one that blocks.
        const HOW: libc::c_int = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
        inbox.received = 0;
        let mut from = [address(); AT_ONCE];
        let mut parts = inbox.room.each_mut().map(|room| libc::iovec {
            iov_base: room.as_mut_ptr().cast(),
            iov_len: room.len(),
        });
        // SAFETY: mmsghdr is plain numbers and pointers, for all of which zero is
        // a value.
        let mut messages: [libc::mmsghdr; AT_ONCE] = unsafe { std::mem::zeroed() };
        for ((message, from), part) in messages.iter_mut().zip(&mut from).zip(&mut parts) {
            message.msg_hdr.msg_name = (&raw mut *from).cast();
            message.msg_hdr.msg_namelen = ADDRESS_BYTES;
            message.msg_hdr.msg_iov = &raw mut *part;
            message.msg_hdr.msg_iovlen = 1;
        }
        let received = uninterrupted(|| {
            // SAFETY: as many headers as the count says, each with a name and one
            // iovec that point to a live sockaddr_nl and a live slice that we own
            // alone, with their true lengths; the kernel writes no more than these.
            // With MSG_TRUNC it gives the true length of each datagram.
            check(unsafe {
                libc::recvmmsg(
                    self.fd.as_raw_fd(),
                    messages.as_mut_ptr(),
                    AT_ONCE_COUNT,
                    HOW,
                    std::ptr::null_mut(),
                )
            })
        });
        let received = match received {
            Ok(received) => usize::try_from(received).unwrap_or(0),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => 0,
                Some(libc::ENOBUFS) => return Err(Error::Overrun),
                _ => return Err(Error::Io(error)),
            },
        };
        for at in 0..received.min(AT_ONCE) {
            let len = messages[at].msg_len as usize;
            if from[at].nl_pid != 0 {
                inbox.lens[at] = 0;
            } else if len > inbox.room[at].len() {
                return Err(Error::Truncated { len });
            } else {
                inbox.lens[at] = len;
            }
        }
        inbox.received = received;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Protocol;
    use trunnion_core::netlink::{Batch, Messages, Reply};

    /// Asks for as many acks, one datagram each.
    fn ask(socket: &Socket, acks: u32) {
        let mut buf = [0; 1024];
        let mut batch = Batch::new(&mut buf, 1);
        for _ in 0..acks {
            batch.barrier().unwrap();
        }
        socket.send(batch.finish()).unwrap();
    }

    fn seqs(inbox: &Inbox) -> Vec<u32> {
        let messages = inbox.iter().flat_map(Messages::new);
        messages
            .map(|message| match Reply::parse(&message.unwrap()).unwrap() {
                Reply::Ack { seq, result, .. } => {
                    result.unwrap();
                    seq
                }
                other
                @ (Reply::Data { .. } | Reply::Done { .. } | Reply::Noop | Reply::Overrun) => {
                    panic!("{other:?}")
                }
            })
            .collect()
    }

    #[test]
    fn a_call_takes_what_waits_up_to_its_room() {
        let socket = Socket::open(Protocol::Generic, &[]).unwrap();
        let mut inbox = Inbox::new(64);
        socket.receive_all(&mut inbox).unwrap();
        assert_eq!((seqs(&inbox), inbox.has_room()), (vec![], true));
        ask(&socket, 5);
        socket.receive_all(&mut inbox).unwrap();
        assert_eq!((seqs(&inbox), inbox.has_room()), (vec![1, 2, 3], false));
        socket.receive_all(&mut inbox).unwrap();
        assert_eq!((seqs(&inbox), inbox.has_room()), (vec![4, 5], true));
        socket.receive_all(&mut inbox).unwrap();
        assert_eq!((seqs(&inbox), inbox.has_room()), (vec![], true));
    }

    #[test]
    fn a_datagram_longer_than_its_room_is_an_error() {
        let socket = Socket::open(Protocol::Generic, &[]).unwrap();
        let mut inbox = Inbox::new(16);
        ask(&socket, 1);
        assert!(matches!(
            socket.receive_all(&mut inbox),
            Err(Error::Truncated { len: 36 })
        ));
        assert_eq!(inbox.iter().count(), 0);
        socket.receive_all(&mut inbox).unwrap();
        assert!(inbox.has_room());
    }

    #[test]
    fn lost_replies_are_told_before_the_kept_ones() {
        let socket = Socket::open(Protocol::Generic, &[]).unwrap();
        socket.shrink().unwrap();
        ask(&socket, 60);
        let mut inbox = Inbox::new(64);
        assert!(matches!(
            socket.receive_all(&mut inbox),
            Err(Error::Overrun)
        ));
        socket.receive_all(&mut inbox).unwrap();
        assert_eq!(seqs(&inbox).first(), Some(&1));
    }
}
