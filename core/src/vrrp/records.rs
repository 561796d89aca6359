//! What this room has to say to an operator. The machine does not log: its
//! owner, who knows the interface, makes these of [`Actions`](super::Actions),
//! [`Malformed`](super::Malformed) and the counters.

use super::{Reason, Role};
use crate::model::Family;
use crate::record::{Field, Fields, Kind, records};
use core::net::IpAddr;

/// An interface's name: at most 15 bytes (`IFNAMSIZ` less its zero).
pub type InterfaceName = heapless::String<15, u8>;

records! {
    /// A router became Active.
    0x0301 Info BecameActive { interface: InterfaceName, family: &'static str, vrid: u8, from: Role, why: Reason }
        "{interface} {family} vrid {vrid}: {from} to active, {why}";
    /// A router became Backup. From Active it is a warning's worth: somebody
    /// else has the addresses.
    0x0302 Info BecameBackup { interface: InterfaceName, family: &'static str, vrid: u8, from: Role, why: Reason }
        "{interface} {family} vrid {vrid}: {from} to backup, {why}";
    /// A router no longer takes part.
    0x0303 Warn BecameInitialize { interface: InterfaceName, family: &'static str, vrid: u8, from: Role, why: Reason }
        "{interface} {family} vrid {vrid}: {from} to initialize, {why}";
    /// A packet was no advert. `why` is `Malformed::text`.
    0x0304 Warn AdvertRejected { interface: InterfaceName, source: IpAddr, why: &'static str, total: u64 }
        "{interface}: advert from {source} rejected, {why} ({total} so far)";
    /// A valid advert of a VRID nobody configured here.
    0x0305 Debug UnknownVrid { interface: InterfaceName, source: IpAddr, vrid: u8, total: u64 }
        "{interface}: advert from {source} for vrid {vrid}, which is not configured here ({total} so far)";
    /// A valid advert from a source that is no peer of a unicast router.
    0x0306 Warn UnknownPeer { interface: InterfaceName, source: IpAddr, vrid: u8, total: u64 }
        "{interface}: advert from {source} for vrid {vrid}, which is not among its peers ({total} so far)";
    /// Two routers were Active; we won and said so.
    0x0307 Warn Reasserted { interface: InterfaceName, vrid: u8, source: IpAddr, priority: u8, total: u64 }
        "{interface} vrid {vrid}: {source} is active as well with priority {priority}; asserted ours ({total} so far)";
    /// The peer advertises at another interval than ours. Ours is kept for our
    /// own adverts; as Backup we wait by the peer's.
    0x0308 Warn IntervalDiffers { interface: InterfaceName, vrid: u8, source: IpAddr, theirs_cs: u16, ours_cs: u16 }
        "{interface} vrid {vrid}: {source} advertises every {theirs_cs} cs, we are configured for {ours_cs} cs; write the same interval on both";
    /// The peer's list of addresses is not ours.
    0x0309 Warn AddressesDiffer { interface: InterfaceName, vrid: u8, source: IpAddr, theirs: u8, ours: u8 }
        "{interface} vrid {vrid}: {source} advertises other addresses ({theirs}) than ours ({ours}); write the same list on both";
    /// Two routers of one priority met while both were Active.
    0x030a Warn EqualPriority { interface: InterfaceName, vrid: u8, source: IpAddr, priority: u8 }
        "{interface} vrid {vrid}: {source} has our priority {priority}, the greater address wins; write different priorities";
    /// An advert came from our own address.
    0x030b Warn OwnAddress { interface: InterfaceName, vrid: u8, source: IpAddr }
        "{interface} vrid {vrid}: heard an advert from our own address {source}: a loop in the network, or a second host that has it";
    /// The peer computes IPv4 checksums the way of RFC 5798.
    0x030c Info AlternateChecksum { interface: InterfaceName, vrid: u8, source: IpAddr }
        "{interface} vrid {vrid}: {source} includes a pseudo-header in its checksum (RFC 5798); it may not understand ours unless the config says so too";
    /// An advert was sent a whole interval late: our own loop, or the machine
    /// under it, was stalled.
    0x030d Warn SentLate { interface: InterfaceName, vrid: u8, late_us: u64, total: u64 }
        "{interface} vrid {vrid}: an advert went out {late_us} us late ({total} so far)";
    /// The kernel did not take an advert.
    0x030e Warn SendFailed { interface: InterfaceName, vrid: u8, errno: i32, total: u64 }
        "{interface} vrid {vrid}: the kernel did not take an advert, errno {errno} ({total} so far)";
}

impl Field for Reason {
    const KIND: Kind = Kind::Code(|code| {
        let mut all = Self::ALL.into_iter();
        all.find(|reason| *reason as u32 == code)
            .map_or("?", Self::text)
    });
    fn encode(&self, fields: &mut Fields) {
        (*self as u32).encode(fields);
    }
}

impl Field for Role {
    const KIND: Kind = Kind::Code(|code| match code {
        0 => "initialize",
        1 => "backup",
        2 => "active",
        _ => "?",
    });
    fn encode(&self, fields: &mut Fields) {
        let code: u32 = match self {
            Self::Initialize => 0,
            Self::Backup => 1,
            Self::Active => 2,
        };
        code.encode(fields);
    }
}

/// A family as records name it.
#[must_use]
pub const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Frame, Record, find};
    use crate::time::Instant;
    use std::format;
    use std::string::ToString;

    fn text<R: Record>(record: &R) -> std::string::String {
        Frame::of(Instant::ZERO, record)
            .text(&[RECORDS])
            .to_string()
    }

    #[test]
    fn every_reason_has_words_in_a_record() {
        let interface = InterfaceName::try_from("enp129s0f1np1.x").unwrap();
        for why in Reason::ALL {
            assert_eq!(
                text(&BecameActive {
                    interface: interface.clone(),
                    family: family_name(Family::V6),
                    vrid: 255,
                    from: Role::Backup,
                    why,
                }),
                format!(
                    "enp129s0f1np1.x ipv6 vrid 255: backup to active, {}",
                    why.text()
                )
            );
        }
    }

    #[test]
    fn the_longest_record_fits_its_frame() {
        let interface = InterfaceName::try_from("enp129s0f1np1.x").unwrap();
        let source = "fe80::1:2:3:4".parse().unwrap();
        for why in super::super::malformed::tests::one_of_each() {
            let record = AdvertRejected {
                interface: interface.clone(),
                source,
                why: why.text(),
                total: u64::MAX,
            };
            assert!(text(&record).ends_with("(18446744073709551615 so far)"));
            assert!(text(&record).contains(why.text()));
        }
    }

    #[test]
    fn ids_are_this_rooms_and_once_each() {
        for entry in RECORDS {
            assert_eq!(entry.id >> 8, 3, "{}", entry.name);
            assert_eq!(find(&[RECORDS], entry.id).unwrap().name, entry.name);
        }
    }
}
