//! An answer, and whether it is the expected one.

use super::name::{Bad, Name};
use super::{CLASS_IN, Dns, Expected, Rcode, RecordType};
use crate::bytes::{NetworkEndian, Reader, Short};
use crate::check::probe::{Reason, Scan, Step, Token, Transport, failure, success};
use core::net::IpAddr;

const HEADER_BYTES: usize = 12;
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RCODE: u16 = 0x000f;
/// Aliases followed from the question's name on.
const ALIASES_MAX: u32 = 16;

/// Why an answer is not the expected one.
struct Why(Reason);

impl From<Bad> for Why {
    fn from(_: Bad) -> Self {
        Self(Reason::DnsMalformed)
    }
}

impl From<Short> for Why {
    fn from(_: Short) -> Self {
        Self(Reason::DnsMalformed)
    }
}

/// One record of the answer section.
struct Record<'m> {
    owner: Name<'m>,
    record: RecordType,
    class: u16,
    /// Where its data stand in the message.
    data_at: usize,
    data: &'m [u8],
}

impl Dns<'_> {
    /// What a whole message means.
    pub(super) fn answer(&self, token: Token, message: &[u8]) -> Step {
        let step = self.read(token, message);
        step.unwrap_or_else(|Why(reason)| failure(reason))
    }

    fn read(&self, token: Token, message: &[u8]) -> Result<Step, Why> {
        let mut r = Reader::new(message);
        let id = r.u16::<NetworkEndian>("id").ok();
        if id != Some(token.id) {
            return Err(Why(Reason::DnsStranger));
        }
        let flags = r.u16::<NetworkEndian>("flags")?;
        if flags & RESPONSE == 0 || flags & OPCODE != 0 {
            return Err(Why(Reason::DnsStranger));
        }
        let questions = r.u16::<NetworkEndian>("questions")?;
        let answers = r.u16::<NetworkEndian>("answers")?;
        r.bytes("further counts", 4)?;
        let rcode = Rcode(u8::try_from(flags & RCODE).unwrap_or(u8::MAX));
        let at = match questions {
            1 => self.question(message)?,
            // Who cannot read the question need not repeat it.
            0 if rcode != Rcode::NO_ERROR => HEADER_BYTES,
            _ => return Err(Why(Reason::DnsStranger)),
        };
        if rcode != self.rcode {
            return Err(Why(Reason::DnsRcode));
        }
        if let Expected::Nothing = self.expected {
            return Ok(success());
        }
        if questions == 0 {
            return Err(Why(Reason::DnsNoRecord));
        }
        if flags & TRUNCATED != 0 && self.transport == Transport::Datagram {
            return Ok(Step::OverTcp);
        }
        self.records(message, at, answers)
    }

    /// Reads the question, which must be ours; where it ends.
    fn question(&self, message: &[u8]) -> Result<usize, Why> {
        let (name, len) = Name::at(message, HEADER_BYTES)?;
        let at = HEADER_BYTES.saturating_add(len);
        let mut r = Reader::new(message.get(at..).unwrap_or(&[]));
        let record = RecordType(r.u16::<NetworkEndian>("question type")?);
        let class = r.u16::<NetworkEndian>("question class")?;
        if record != self.record || class != CLASS_IN || !name.is_text(self.name) {
            return Err(Why(Reason::DnsStranger));
        }
        Ok(at.saturating_add(4))
    }

    fn records(&self, message: &[u8], at: usize, count: u16) -> Result<Step, Why> {
        // All of them are well-formed, or the answer is not.
        let mut end = at;
        for _ in 0..count {
            let record;
            (record, end) = Record::at(message, end)?;
            if record.record == self.record {
                self.is_expected(message, &record)?;
            }
        }
        let (mut owner, _) = Name::at(message, HEADER_BYTES)?;
        let mut found = false;
        for _ in 0..=ALIASES_MAX {
            let mut alias = None;
            let mut at = at;
            for _ in 0..count {
                let record;
                (record, at) = Record::at(message, at)?;
                if record.class != CLASS_IN || !record.owner.is(&owner) {
                    continue;
                }
                if record.record == self.record {
                    found = true;
                    if self.is_expected(message, &record)? {
                        return Ok(success());
                    }
                } else if record.record == RecordType::CNAME && self.aliases {
                    alias = Some(Name::at(message, record.data_at)?.0);
                }
            }
            match alias {
                Some(name) => owner = name,
                None => break,
            }
        }
        Err(Why(if found {
            Reason::DnsAnswer
        } else {
            Reason::DnsNoRecord
        }))
    }

    /// Whether a record of the type asked for is the expected one.
    fn is_expected(&self, message: &[u8], record: &Record<'_>) -> Result<bool, Why> {
        let mut r = Reader::new(record.data);
        let address = match record.record {
            RecordType::A => Some(IpAddr::from(r.take::<4>("address")?)),
            RecordType::AAAA => Some(IpAddr::from(r.take::<16>("address")?)),
            RecordType(_) => None,
        };
        if address.is_some() && !r.is_empty() {
            return Err(Why(Reason::DnsMalformed));
        }
        let name = match name_offset(record.record) {
            Some(offset) => {
                let at = record.data_at.saturating_add(offset);
                let (name, len) = Name::at(message, at)?;
                r.bytes("name", offset.saturating_add(len))?;
                Some(name)
            }
            None => None,
        };
        Ok(match self.expected {
            Expected::Nothing | Expected::Record => true,
            Expected::Address(expected) => address == Some(expected),
            Expected::Name(expected) => name.is_some_and(|name| name.is_text(expected)),
            Expected::Text(pattern) => {
                let mut scan = Scan::new(pattern);
                while record.record == RecordType::TXT && !r.is_empty() {
                    let len = r.u8("string length")?;
                    scan.feed(pattern, r.bytes("string", usize::from(len))?);
                }
                scan.end(pattern)
            }
        })
    }
}

impl<'m> Record<'m> {
    /// The record at a place, and where it ends.
    fn at(message: &'m [u8], at: usize) -> Result<(Self, usize), Why> {
        let (owner, len) = Name::at(message, at)?;
        let at = at.saturating_add(len);
        let mut r = Reader::new(message.get(at..).unwrap_or(&[]));
        let record = RecordType(r.u16::<NetworkEndian>("type")?);
        let class = r.u16::<NetworkEndian>("class")?;
        r.u32::<NetworkEndian>("time to live")?;
        let len = usize::from(r.u16::<NetworkEndian>("data length")?);
        let data = r.bytes("data", len)?;
        let data_at = at.saturating_add(10);
        let record = Self {
            owner,
            record,
            class,
            data_at,
            data,
        };
        Ok((record, data_at.saturating_add(len)))
    }
}

/// How many bytes of a record's data stand before the name in them, for the
/// types that have one.
pub(super) const fn name_offset(record: RecordType) -> Option<usize> {
    match record {
        RecordType::NS | RecordType::CNAME | RecordType::SOA => Some(0),
        RecordType::MX => Some(2),
        RecordType::SRV => Some(6),
        RecordType(_) => None,
    }
}
