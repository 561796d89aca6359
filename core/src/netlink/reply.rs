//! What one received message says.

use super::attribute::until_nul;
use super::message::padding;
use super::{
    Attributes, Errno, Fault, Flags, HEADER_BYTES, Header, Malformed, Message, MessageType,
};
use crate::bytes::{Reader, Short};

/// A received message by what it means for the request it answers. Match it to
/// its request by `seq`: replies to later requests overtake a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The request was carried out, or refused (`NLMSG_ERROR`).
    Ack {
        /// The request's sequence number.
        seq: u32,
        /// How it ended.
        result: Result<(), Errno>,
        /// What else the kernel says about it.
        extended: Extended<'a>,
    },
    /// The dump is over (`NLMSG_DONE`).
    Done {
        /// The request's sequence number.
        seq: u32,
        /// How it ended.
        result: Result<(), Errno>,
        /// What was told changed meanwhile, so rows may be missing
        /// ([`Flags::DUMP_INTR`]; a row may say so as well).
        interrupted: bool,
    },
    /// Nothing (`NLMSG_NOOP`).
    Noop,
    /// Data was lost (`NLMSG_OVERRUN`).
    Overrun,
    /// A family's message: an answer, a row of a dump, or a notification.
    Data {
        /// The request's sequence number; 0 in a notification.
        seq: u32,
        /// The family's message type.
        kind: MessageType,
        /// Flags.
        flags: Flags,
        /// What follows the netlink header.
        body: Reader<'a>,
        /// Where `body` starts in the datagram.
        offset: usize,
    },
}

/// Extended acknowledgement (`NLMSGERR_ATTR_*`, linux/netlink.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extended<'a> {
    /// The kernel's own words; empty when it has none.
    pub message: &'a str,
    /// Offset in the request of the attribute at fault.
    pub offset: Option<u32>,
}

/// The kernel's own words, cut where it cuts those that it composes
/// (`NETLINK_MAX_FMTMSG_LEN`, linux/netlink.h).
pub type Words = heapless::String<80, u8>;

impl Extended<'_> {
    /// The kernel's words, to be kept longer than the datagram. What is longer
    /// than 80 bytes is cut.
    #[must_use]
    pub fn words(&self) -> Words {
        let mut words = Words::new();
        for char in self.message.chars() {
            if words.push(char).is_err() {
                break;
            }
        }
        words
    }
}

/// `NLMSGERR_ATTR_MSG`.
const ATTR_MESSAGE: u16 = 1;
/// `NLMSGERR_ATTR_OFFS`.
const ATTR_OFFSET: u16 = 2;

impl<'a> Reply<'a> {
    /// What `message` says.
    ///
    /// # Errors
    /// [`Malformed`] when netlink's own part of it breaks the format. The body
    /// of [`Reply::Data`] is not looked into.
    pub fn parse(message: &Message<'a>) -> Result<Self, Malformed> {
        let Message {
            header,
            mut body,
            offset,
        } = *message;
        let seq = header.seq;
        Ok(match header.kind {
            MessageType::NOOP => Self::Noop,
            MessageType::OVERRUN => Self::Overrun,
            MessageType::DONE => Self::Done {
                seq,
                interrupted: header.flags.contains(Flags::DUMP_INTR),
                // Kernels older than the errno send a bare header.
                result: if body.is_empty() {
                    Ok(())
                } else {
                    outcome(&mut body, offset)?
                },
            },
            MessageType::ERROR => Self::Ack {
                seq,
                result: outcome(&mut body, offset)?,
                extended: extended(body, header.flags, offset.saturating_add(4))?,
            },
            kind => Self::Data {
                seq,
                kind,
                flags: header.flags,
                body,
                offset,
            },
        })
    }
}

fn outcome(body: &mut Reader<'_>, offset: usize) -> Result<Result<(), Errno>, Malformed> {
    match body.take::<4>("error number") {
        Ok(raw) => Ok(Errno::outcome(i32::from_ne_bytes(raw))),
        Err(short) => Err(at(short, offset)),
    }
}

/// The attributes after the echoed request: all of it, or its header alone when
/// the ack is capped.
fn extended(mut body: Reader<'_>, flags: Flags, offset: usize) -> Result<Extended<'_>, Malformed> {
    let mut found = Extended::default();
    if !flags.contains(Flags::ACK_TLVS) {
        return Ok(found);
    }
    let start = body.len();
    let echoed = Header::read(&mut body).map_err(|short| at(short, offset))?;
    if !flags.contains(Flags::CAPPED) {
        let rest = (echoed.len as usize).saturating_sub(HEADER_BYTES);
        body.bytes("echoed request", rest)
            .map_err(|short| at(short, offset))?;
        body.skip(padding(rest));
    }
    let consumed = start.saturating_sub(body.len());
    for attribute in Attributes::new(body, offset.saturating_add(consumed)) {
        let attribute = attribute?;
        match attribute.kind {
            // Words for people: bad ones are no reason to lose the errno.
            ATTR_MESSAGE => found.message = until_nul(attribute.value.peek()).unwrap_or(""),
            ATTR_OFFSET => found.offset = Some(attribute.u32("NLMSGERR_ATTR_OFFS")?),
            _ => {}
        }
    }
    Ok(found)
}

const fn at(short: Short, offset: usize) -> Malformed {
    Malformed {
        what: short.what,
        offset,
        fault: Fault::Short {
            wanted: short.wanted,
            had: short.had,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Messages;
    use std::string::ToString;
    use std::vec::Vec;

    fn message(kind: u16, flags: u16, seq: u32, body: &[u8]) -> Vec<u8> {
        let mut raw = Vec::new();
        raw.extend(u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
        raw.extend(kind.to_ne_bytes());
        raw.extend(flags.to_ne_bytes());
        raw.extend(seq.to_ne_bytes());
        raw.extend(9_u32.to_ne_bytes());
        raw.extend(body);
        raw
    }

    fn parse(raw: &[u8]) -> Result<Reply<'_>, Malformed> {
        Reply::parse(&Messages::new(raw).next().unwrap().unwrap())
    }

    /// An error about a request with 3 bytes of body, echoed or capped.
    fn refusal(capped: bool) -> Vec<u8> {
        let mut body = (-22_i32).to_ne_bytes().to_vec();
        let echo = message(30, 5, 7, &[1, 2, 3]);
        body.extend(if capped { &echo[..16] } else { &echo });
        if !capped {
            body.push(0);
        }
        body.extend([9, 0, 1, 0]);
        body.extend(b"oops\0\0\0\0");
        body.extend([8, 0, 2, 0, 20, 0, 0, 0]);
        message(2, if capped { 0x300 } else { 0x200 }, 7, &body)
    }

    #[test]
    fn refusals_carry_the_kernel_s_words_capped_or_not() {
        for capped in [true, false] {
            assert_eq!(
                parse(&refusal(capped)),
                Ok(Reply::Ack {
                    seq: 7,
                    result: Err(Errno::EINVAL),
                    extended: Extended {
                        message: "oops",
                        offset: Some(20)
                    },
                })
            );
        }
    }

    #[test]
    fn words_are_cut_at_a_character() {
        let long = "ä".repeat(50);
        let extended = Extended {
            message: &long,
            offset: None,
        };
        assert_eq!(extended.words(), "ä".repeat(40).as_str());
        assert_eq!(Extended::default().words(), "");
    }

    #[test]
    fn acks_dones_and_the_rest_are_told_apart() {
        let mut ack = 0_i32.to_ne_bytes().to_vec();
        ack.extend(message(1, 5, 8, &[]));
        assert_eq!(
            parse(&message(2, 0x100, 8, &ack)),
            Ok(Reply::Ack {
                seq: 8,
                result: Ok(()),
                extended: Extended::default()
            })
        );
        let done = |body: &[u8]| parse(&message(3, 2, 9, body)).map(|r| std::format!("{r:?}"));
        assert_eq!(
            done(&[]),
            Ok("Done { seq: 9, result: Ok(()), interrupted: false }".to_string())
        );
        assert_eq!(
            done(&(-4_i32).to_ne_bytes()),
            Ok("Done { seq: 9, result: Err(EINTR), interrupted: false }".to_string())
        );
        assert_eq!(
            done(&[1]).unwrap_err().to_string(),
            "error number at byte 16: wanted 4 bytes, had 1"
        );
        assert_eq!(parse(&message(1, 0, 0, &[])), Ok(Reply::Noop));
        assert_eq!(parse(&message(4, 0, 0, &[])), Ok(Reply::Overrun));
        assert!(matches!(
            parse(&message(30, 2, 4, &[1, 2])),
            Ok(Reply::Data {
                seq: 4,
                kind: MessageType(30),
                offset: 16,
                ..
            })
        ));
    }

    #[test]
    fn every_truncation_of_a_refusal_is_an_error_or_says_less() {
        for capped in [true, false] {
            let whole = refusal(capped);
            for len in 16..whole.len() {
                let mut cut = whole[..len].to_vec();
                cut[..4].copy_from_slice(&u32::try_from(len).unwrap().to_ne_bytes());
                assert_ne!(parse(&cut), parse(&whole), "{len}");
            }
        }
    }
}
