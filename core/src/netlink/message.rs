//! The messages of a received datagram.

use super::{Fault, Malformed};
use crate::bytes::{NativeEndian, Reader, Short};

/// Bytes of a message header, `NLMSG_HDRLEN` (linux/netlink.h).
pub const HEADER_BYTES: usize = 16;

numbers! {
    /// `nlmsg_type`: below 16 netlink's own, above it the family's
    /// (linux/netlink.h).
    MessageType(u16) {
        /// Nothing; acked when it asks to be, which makes it a barrier.
        NOOP = 1;
        /// An error, or an acknowledgement where the errno is 0.
        ERROR = 2;
        /// The end of a dump.
        DONE = 3;
        /// Data lost; unused by Linux.
        OVERRUN = 4;
        /// The controller of generic netlink, `GENL_ID_CTRL`.
        GENL_CTRL = 16;
    }
}

bitflags::bitflags! {
    /// `NLM_F_*` (linux/netlink.h). Bits above 0x80 mean different things in
    /// GET requests, NEW requests and acks. Unknown bits survive.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Flags: u16 {
        /// Asks for something: without it the kernel executes nothing.
        const REQUEST = 0x01;
        /// One of several, ended by `DONE`.
        const MULTI = 0x02;
        /// Asks for an acknowledgement of success.
        const ACK = 0x04;
        /// Asks to hear one's own notification.
        const ECHO = 0x08;
        /// The dump was inconsistent. IPVS never sets it.
        const DUMP_INTR = 0x10;
        /// The dump was filtered as asked.
        const DUMP_FILTERED = 0x20;
        /// GET: the whole tree.
        const ROOT = 0x100;
        /// GET: all that match.
        const MATCH = 0x200;
        /// GET: both, which is what makes a dump.
        const DUMP = 0x300;
        /// NEW: replace what is there.
        const REPLACE = 0x100;
        /// NEW: fail if it is there.
        const EXCL = 0x200;
        /// NEW: create it if it is not there.
        const CREATE = 0x400;
        /// NEW: add to the end of the list.
        const APPEND = 0x800;
        /// Ack: the request was not echoed in full.
        const CAPPED = 0x100;
        /// Ack: extended attributes follow.
        const ACK_TLVS = 0x200;
        const _ = !0;
    }
}

/// `struct nlmsghdr` (linux/netlink.h): 16 bytes, host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the message, this header included, padding excluded.
    pub len: u32,
    /// What it is.
    pub kind: MessageType,
    /// Flags.
    pub flags: Flags,
    /// The sequence number of the request it answers; 0 in notifications.
    pub seq: u32,
    /// Port id of the socket it belongs to.
    pub port: u32,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// [`Short`] when fewer than 16 bytes are left.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, Short> {
        let mut r = r.sub("netlink header", HEADER_BYTES)?;
        Ok(Self {
            len: r.u32::<NativeEndian>("nlmsg_len")?,
            kind: MessageType(r.u16::<NativeEndian>("nlmsg_type")?),
            flags: Flags::from_bits_retain(r.u16::<NativeEndian>("nlmsg_flags")?),
            seq: r.u32::<NativeEndian>("nlmsg_seq")?,
            port: r.u32::<NativeEndian>("nlmsg_pid")?,
        })
    }
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub body: Reader<'a>,
    /// Where `body` starts in the datagram.
    pub offset: usize,
}

/// Iterates over the messages of a datagram. Ends after the first malformed
/// one, because where the next would start is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a> {
    rest: Reader<'a>,
    total: usize,
}

impl<'a> Messages<'a> {
    /// The messages of `datagram`, as received.
    #[must_use]
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self {
            rest: Reader::new(datagram),
            total: datagram.len(),
        }
    }

    fn message(&mut self) -> Result<Message<'a>, Malformed> {
        let offset = self.total.saturating_sub(self.rest.len());
        let at = |short: Short| Malformed {
            what: short.what,
            offset,
            fault: Fault::Short {
                wanted: short.wanted,
                had: short.had,
            },
        };
        let header = Header::read(&mut self.rest).map_err(at)?;
        let short = Malformed {
            what: "netlink message",
            offset,
            fault: Fault::Length {
                wanted: HEADER_BYTES,
                had: header.len as usize,
            },
        };
        let len = (header.len as usize)
            .checked_sub(HEADER_BYTES)
            .ok_or(short)?;
        let body = self.rest.sub("netlink message", len).map_err(at)?;
        self.rest.skip(padding(len));
        Ok(Message {
            header,
            body,
            offset: offset.saturating_add(HEADER_BYTES),
        })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.message();
        if message.is_err() {
            self.rest = Reader::new(&[]);
        }
        Some(message)
    }
}

/// Bytes from `len` up to the next multiple of 4, `NLMSG_ALIGNTO`.
pub(super) const fn padding(len: usize) -> usize {
    len.wrapping_neg() & 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn header(len: u32, kind: u16) -> Vec<u8> {
        let mut raw = Vec::new();
        raw.extend(len.to_ne_bytes());
        raw.extend(kind.to_ne_bytes());
        raw.extend(3_u16.to_ne_bytes());
        raw.extend(7_u32.to_ne_bytes());
        raw.extend(0_u32.to_ne_bytes());
        raw
    }

    #[test]
    fn padding_between_messages_is_passed_over_and_may_be_cut_at_the_end() {
        let mut raw = header(17, 1);
        raw.extend([0xaa, 0, 0, 0]);
        raw.extend(header(18, 2));
        raw.extend([1, 2]);
        let all: Vec<_> = Messages::new(&raw).map(Result::unwrap).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].body.peek(), [0xaa]);
        assert_eq!(all[0].header.kind, MessageType::NOOP);
        assert_eq!(all[1].body.peek(), [1, 2]);
        assert_eq!((all[0].offset, all[1].offset), (16, 36));
    }

    #[test]
    fn a_bad_length_ends_the_walk_and_names_the_place() {
        let mut raw = header(16, 1);
        raw.extend(header(15, 1));
        raw.extend(header(16, 1));
        let all: Vec<_> = Messages::new(&raw).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(
            std::format!("{}", all[1].unwrap_err()),
            "netlink message at byte 16: must be 16 bytes long, is 15"
        );

        let raw = header(21, 1);
        let all: Vec<_> = Messages::new(&raw).collect();
        assert_eq!(
            std::format!("{}", all[0].unwrap_err()),
            "netlink message at byte 0: wanted 5 bytes, had 0"
        );

        let raw = [0; 15];
        let all: Vec<_> = Messages::new(&raw).collect();
        assert_eq!(
            std::format!("{}", all[0].unwrap_err()),
            "netlink header at byte 0: wanted 16 bytes, had 15"
        );
    }

    #[test]
    fn numbers_print_their_names_or_hex() {
        assert_eq!(std::format!("{:?}", MessageType::DONE), "DONE");
        assert_eq!(std::format!("{:?}", MessageType(0x1e)), "MessageType(0x1e)");
    }
}
