//! ICMPv6 neighbour advertisements (RFC 4861 4.4), and the unsolicited one a
//! new owner of an IPv6 address sends. Not neighbour discovery: the kernel does
//! that.

use super::ethernet::{self, EtherType, Ethernet, MacAddress};
use super::ipv6::{self, Ipv6, Ipv6Packet};
use super::{IpProtocol, Malformed, header};
use crate::bytes::{ChecksumScope, Reader};
use core::net::Ipv6Addr;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a neighbour advertisement without options.
pub const ADVERTISEMENT_BYTES: usize = 24;

/// Bytes of an unsolicited advertisement's frame: Ethernet, IPv6, the
/// advertisement, one option.
pub const FRAME_BYTES: usize = ethernet::HEADER_BYTES + ipv6::HEADER_BYTES + size_of::<Message>();

/// All nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// ICMPv6 type of a neighbour advertisement.
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Option type "target link-layer address" (RFC 4861 4.6.1).
const TARGET_LINK_LAYER: u8 = 2;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

#[derive(Clone, Copy, FromBytes, IntoBytes, Unaligned, KnownLayout, Immutable)]
#[repr(C)]
struct Raw {
    icmp_type: u8,
    code: u8,
    checksum: U16,
    flags: u8,
    reserved: [u8; 3],
    target: [u8; 16],
}

const _: () = assert!(size_of::<Raw>() == ADVERTISEMENT_BYTES);

#[derive(Clone, Copy, FromBytes, IntoBytes, Unaligned, KnownLayout, Immutable)]
#[repr(C)]
struct LinkLayerOption {
    option_type: u8,
    /// In units of 8 bytes.
    length: u8,
    address: MacAddress,
}

const _: () = assert!(size_of::<LinkLayerOption>() == 8);

#[derive(IntoBytes, Unaligned, Immutable)]
#[repr(C)]
struct Message {
    advertisement: Raw,
    option: LinkLayerOption,
}

#[derive(IntoBytes, Unaligned, Immutable)]
#[repr(C)]
struct Frame {
    ethernet: [u8; ethernet::HEADER_BYTES],
    ipv6: [u8; ipv6::HEADER_BYTES],
    message: Message,
}

const _: () = assert!(FRAME_BYTES == 86 && size_of::<Frame>() == FRAME_BYTES);

/// A neighbour advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourAdvertisement {
    /// The sender is a router (R).
    pub router: bool,
    /// It answers a solicitation (S).
    pub solicited: bool,
    /// It overrides what a neighbour cache holds (O).
    pub overrides: bool,
    /// The address it speaks of.
    pub target: Ipv6Addr,
    /// The Ethernet address that has it, if told.
    pub link_layer: Option<MacAddress>,
}

impl NeighbourAdvertisement {
    /// Reads an advertisement by the checks of RFC 4861 7.1.2. Unknown options
    /// are passed over.
    ///
    /// # Errors
    /// [`Malformed`]: hop limit not 255 (so a router has passed it on), not an
    /// ICMPv6 neighbour advertisement with code 0, wrong checksum, short,
    /// multicast target, solicited though sent to a group, an option without
    /// length.
    pub fn parse(packet: &Ipv6Packet<'_>) -> Result<Self, Malformed> {
        let ip = &packet.header;
        expect(
            "neighbour advertisement next header",
            ip.next_header.0,
            IpProtocol::ICMPV6.0,
        )?;
        expect("neighbour advertisement hop limit", ip.hop_limit, 255)?;
        let mut r = Reader::new(packet.payload);
        let raw: Raw = header(&mut r, "neighbour advertisement")?;
        expect("icmpv6 type", raw.icmp_type, NEIGHBOUR_ADVERTISEMENT)?;
        let scope = ChecksumScope::PseudoV6 {
            source: ip.source,
            destination: ip.destination,
            next_header: IpProtocol::ICMPV6.0,
        };
        if scope.of(packet.payload) != 0 {
            return Err(Malformed::Checksum {
                what: "icmpv6 message",
                said: raw.checksum.get(),
            });
        }
        expect("neighbour advertisement code", raw.code, 0)?;
        let target = Ipv6Addr::from(raw.target);
        if target.is_multicast() {
            return Err(Malformed::Address {
                what: "neighbour advertisement target",
            });
        }
        let solicited = raw.flags & SOLICITED != 0;
        if ip.destination.is_multicast() {
            expect(
                "neighbour advertisement solicited flag",
                solicited.into(),
                0,
            )?;
        }
        Ok(Self {
            router: raw.flags & ROUTER != 0,
            solicited,
            overrides: raw.flags & OVERRIDE != 0,
            target,
            link_layer: link_layer(r)?,
        })
    }
}

/// Walks the options for a target link-layer address.
fn link_layer(mut r: Reader<'_>) -> Result<Option<MacAddress>, Malformed> {
    let mut found = None;
    while !r.is_empty() {
        let option_type = r.u8("neighbour discovery option")?;
        let units = r.u8("neighbour discovery option length")?;
        // The length counts the two bytes just read.
        let Some(body) = usize::from(units).saturating_mul(8).checked_sub(2) else {
            return Err(Malformed::Length {
                what: "neighbour discovery option length",
                said: 0,
                least: 8,
            });
        };
        let mut body = r.sub("neighbour discovery option", body)?;
        if option_type == TARGET_LINK_LAYER && units == 1 {
            found = Some(MacAddress(body.take("target link-layer address")?));
        }
    }
    Ok(found)
}

fn expect(what: &'static str, said: u8, expected: u8) -> Result<(), Malformed> {
    if said == expected {
        return Ok(());
    }
    Err(Malformed::Field {
        what,
        said: said.into(),
        expected: expected.into(),
    })
}

/// The whole frame by which `mac` claims `address` on a link: an unsolicited
/// neighbour advertisement to all nodes with R=1 S=0 O=1, target `address`,
/// and `mac` as the target link-layer address (RFC 9568 6.4.1 and 6.4.2).
///
/// The IPv6 source is `address` itself. RFC 4861 4.4 asks for an address
/// assigned to the sending interface, which the claimed one is by then; it is
/// what Linux does for its own addresses, and it needs no look at which
/// link-local address the interface has today.
#[must_use]
pub fn unsolicited(mac: MacAddress, address: Ipv6Addr) -> [u8; FRAME_BYTES] {
    let ethernet = Ethernet {
        destination: MacAddress::multicast_v6(ALL_NODES),
        source: mac,
        ethertype: EtherType::IPV6,
    };
    let ip = Ipv6 {
        traffic_class: 0,
        flow_label: 0,
        next_header: IpProtocol::ICMPV6,
        hop_limit: 255,
        source: address,
        destination: ALL_NODES,
    };
    let mut message = Message {
        advertisement: Raw {
            icmp_type: NEIGHBOUR_ADVERTISEMENT,
            code: 0,
            checksum: U16::ZERO,
            flags: ROUTER | OVERRIDE,
            reserved: [0; 3],
            target: address.octets(),
        },
        option: LinkLayerOption {
            option_type: TARGET_LINK_LAYER,
            length: 1,
            address: mac,
        },
    };
    let scope = ChecksumScope::PseudoV6 {
        source: address,
        destination: ALL_NODES,
        next_header: IpProtocol::ICMPV6.0,
    };
    message.advertisement.checksum = U16::new(scope.of(message.as_bytes()));
    const LENGTH: u16 = 32;
    const { assert!(size_of::<Message>() == LENGTH as usize) };
    zerocopy::transmute!(Frame {
        ethernet: ethernet.bytes(),
        ipv6: ip.with_length(LENGTH),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const MAC: MacAddress = MacAddress([0, 0, 0x5e, 0, 2, 0x33]);
    const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);

    /// The unsolicited frame's packet with a change to the ICMPv6 message, its
    /// lengths and checksum made right again.
    fn changed(
        change: impl FnOnce(&mut Ipv6, &mut Vec<u8>),
    ) -> Result<NeighbourAdvertisement, Malformed> {
        let frame = unsolicited(MAC, VIP);
        let packet = Ipv6Packet::parse(&frame[14..]).unwrap();
        let mut header = packet.header;
        let mut message = Vec::from(packet.payload);
        change(&mut header, &mut message);
        message[2..4].fill(0);
        let scope = ChecksumScope::PseudoV6 {
            source: header.source,
            destination: header.destination,
            next_header: 58,
        };
        let sum = scope.of(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        NeighbourAdvertisement::parse(&Ipv6Packet {
            header,
            payload: &message,
        })
    }

    #[test]
    fn the_frame_a_new_owner_sends() {
        let frame = unsolicited(MAC, VIP);
        #[rustfmt::skip]
        assert_eq!(frame, [
            0x33, 0x33, 0x00, 0x00, 0x00, 0x01,  0x00, 0x00, 0x5e, 0x00, 0x02, 0x33,  0x86, 0xdd,
            0x60, 0x00, 0x00, 0x00,  0x00, 0x20,  58,  255,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
            136, 0, 0x1a, 0xda,  0xa0, 0, 0, 0,
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
            2, 1, 0x00, 0x00, 0x5e, 0x00, 0x02, 0x33,
        ]);
        let (header, payload) = Ethernet::parse(&frame).unwrap();
        assert_eq!(header.ethertype, EtherType::IPV6);
        let packet = Ipv6Packet::parse(payload).unwrap();
        assert_eq!(
            NeighbourAdvertisement::parse(&packet),
            Ok(NeighbourAdvertisement {
                router: true,
                solicited: false,
                overrides: true,
                target: VIP,
                link_layer: Some(MAC),
            })
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        let frame = unsolicited(MAC, VIP);
        let packet = Ipv6Packet::parse(&frame[14..]).unwrap();
        for cut in 0..packet.payload.len() {
            let short = Ipv6Packet {
                payload: &packet.payload[..cut],
                ..packet
            };
            assert!(NeighbourAdvertisement::parse(&short).is_err(), "{cut}");
            if cut >= ADVERTISEMENT_BYTES {
                let got = changed(|_, message| message.truncate(cut));
                // Cut exactly after the header, it is whole and tells no address.
                assert_eq!(got.is_ok(), cut == ADVERTISEMENT_BYTES, "{cut}: {got:?}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let frame = unsolicited(MAC, VIP);
        // From the source address on, everything is under the checksum.
        for byte in 14 + 8..FRAME_BYTES {
            for bit in 0..8 {
                let mut frame = frame;
                frame[byte] ^= 1 << bit;
                let packet = Ipv6Packet::parse(&frame[14..]).unwrap();
                assert!(NeighbourAdvertisement::parse(&packet).is_err());
            }
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        fn field(result: Result<NeighbourAdvertisement, Malformed>) -> &'static str {
            match result {
                Err(Malformed::Field { what, .. } | Malformed::Address { what }) => what,
                other => panic!("{other:?}"),
            }
        }
        let hop = changed(|ip, _| ip.hop_limit = 254);
        assert_eq!(field(hop), "neighbour advertisement hop limit");
        let next = changed(|ip, _| ip.next_header = IpProtocol::UDP);
        assert_eq!(field(next), "neighbour advertisement next header");
        let solicitation = changed(|_, message| message[0] = 135);
        assert_eq!(field(solicitation), "icmpv6 type");
        let code = changed(|_, message| message[1] = 1);
        assert_eq!(field(code), "neighbour advertisement code");
        let group = changed(|_, message| message[8] = 0xff);
        assert_eq!(field(group), "neighbour advertisement target");
        let solicited = changed(|_, message| message[4] |= SOLICITED);
        assert_eq!(field(solicited), "neighbour advertisement solicited flag");
        let zero = changed(|_, message| message[25] = 0);
        assert_eq!(
            zero,
            Err(Malformed::Length {
                what: "neighbour discovery option length",
                said: 0,
                least: 8
            })
        );
    }

    #[test]
    fn unknown_options_are_passed_over() {
        let got = changed(|_, message| {
            message[24] = 14;
            message.extend([2, 1, 1, 2, 3, 4, 5, 6]);
        });
        assert_eq!(
            got.unwrap().link_layer,
            Some(MacAddress([1, 2, 3, 4, 5, 6]))
        );
    }
}
