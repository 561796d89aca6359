//! ARP for IPv4 over Ethernet (RFC 826), and the gratuitous frame a new owner
//! of an address sends (RFC 5227 3). Not a resolver: the kernel does that.

use super::ethernet::{self, EtherType, Ethernet, MacAddress};
use super::{Malformed, header};
use crate::bytes::Reader;
use core::fmt;
use core::net::Ipv4Addr;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of an ARP message for IPv4 over Ethernet.
pub const MESSAGE_BYTES: usize = 28;

/// Bytes of a gratuitous frame. Drivers pad it to Ethernet's 60.
pub const FRAME_BYTES: usize = ethernet::HEADER_BYTES + MESSAGE_BYTES;

/// Hardware type of Ethernet (IANA "ARP Parameters").
const HARDWARE_ETHERNET: u16 = 1;

/// What an ARP message is for (RFC 826 "ar$op"). Open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation(pub u16);

impl Operation {
    /// Who has the target address?
    pub const REQUEST: Self = Self(1);
    /// The sender has it.
    pub const REPLY: Self = Self(2);
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::REQUEST => f.pad("request"),
            Self::REPLY => f.pad("reply"),
            Self(other) => write!(f, "{other:#06x}"),
        }
    }
}

/// How an owner says that an address is its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gratuitous {
    /// A broadcast request for one's own address: an ARP Announcement
    /// (RFC 5227 2.3), what Linux and keepalived send by default and the form
    /// VRRP wants here, since every receiver has to learn from it by the merge
    /// step of RFC 826.
    #[default]
    Request,
    /// A broadcast reply to nobody, for the switch or host that only listens to
    /// replies. Linux takes it as gratuitous only because the target hardware
    /// address equals the sender's.
    Reply,
}

#[derive(FromBytes, IntoBytes, Unaligned, KnownLayout, Immutable)]
#[repr(C)]
struct Raw {
    hardware_type: U16,
    protocol_type: U16,
    hardware_bytes: u8,
    protocol_bytes: u8,
    operation: U16,
    sender_hardware: MacAddress,
    sender_protocol: [u8; 4],
    target_hardware: MacAddress,
    target_protocol: [u8; 4],
}

const _: () = assert!(size_of::<Raw>() == MESSAGE_BYTES);

/// An ARP message for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Ethernet address of the sender.
    pub sender_hardware: MacAddress,
    /// IPv4 address of the sender; unspecified in a probe (RFC 5227 1.1).
    pub sender_protocol: Ipv4Addr,
    /// Ethernet address of the target; without meaning in a request.
    pub target_hardware: MacAddress,
    /// IPv4 address of the target.
    pub target_protocol: Ipv4Addr,
}

impl Arp {
    /// Reads a message; padding after it is passed over.
    ///
    /// # Errors
    /// [`Malformed::Short`] below 28 bytes; [`Malformed::Field`] for another
    /// hardware or protocol than IPv4 over Ethernet.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let raw: Raw = header(&mut Reader::new(message), "arp message")?;
        for (what, said, expected) in [
            (
                "arp hardware type",
                raw.hardware_type.get(),
                HARDWARE_ETHERNET,
            ),
            (
                "arp protocol type",
                raw.protocol_type.get(),
                EtherType::IPV4.0,
            ),
            ("arp hardware length", raw.hardware_bytes.into(), 6),
            ("arp protocol length", raw.protocol_bytes.into(), 4),
        ] {
            if said != expected {
                return Err(Malformed::Field {
                    what,
                    said: said.into(),
                    expected: expected.into(),
                });
            }
        }
        Ok(Self {
            operation: Operation(raw.operation.get()),
            sender_hardware: raw.sender_hardware,
            sender_protocol: raw.sender_protocol.into(),
            target_hardware: raw.target_hardware,
            target_protocol: raw.target_protocol.into(),
        })
    }

    /// The message's bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; MESSAGE_BYTES] {
        zerocopy::transmute!(Raw {
            hardware_type: U16::new(HARDWARE_ETHERNET),
            protocol_type: U16::new(EtherType::IPV4.0),
            hardware_bytes: 6,
            protocol_bytes: 4,
            operation: U16::new(self.operation.0),
            sender_hardware: self.sender_hardware,
            sender_protocol: self.sender_protocol.octets(),
            target_hardware: self.target_hardware,
            target_protocol: self.target_protocol.octets(),
        })
    }

    /// Whether the sender speaks of its own address: sender and target address
    /// are one.
    #[must_use]
    pub fn is_gratuitous(&self) -> bool {
        self.sender_protocol == self.target_protocol
    }
}

/// The whole frame by which `mac` claims `address` on a link: broadcast, sender
/// and target protocol address both `address`, sender and target hardware
/// address both `mac`. On a VRRP router `mac` is the virtual router's MAC where
/// the interface carries it, and else the interface's own.
///
/// The target hardware address is set because RFC 9568 6.4.1 and 6.4.2, as
/// errata 7947 and 7949 corrected them, want a message "containing the Virtual
/// Router IPv4 address and with the target link-layer address set to the
/// Virtual Router MAC address". RFC 5227 gives it no meaning in a request, and
/// a reply needs it.
#[must_use]
pub fn gratuitous(form: Gratuitous, mac: MacAddress, address: Ipv4Addr) -> [u8; FRAME_BYTES] {
    let header = Ethernet {
        destination: MacAddress::BROADCAST,
        source: mac,
        ethertype: EtherType::ARP,
    };
    let message = Arp {
        operation: match form {
            Gratuitous::Request => Operation::REQUEST,
            Gratuitous::Reply => Operation::REPLY,
        },
        sender_hardware: mac,
        sender_protocol: address,
        target_hardware: mac,
        target_protocol: address,
    };
    zerocopy::transmute!(Frame {
        header: header.bytes(),
        message: message.bytes(),
    })
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Frame {
    header: [u8; ethernet::HEADER_BYTES],
    message: [u8; MESSAGE_BYTES],
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0, 0, 0x5e, 0, 1, 0x33]);

    #[test]
    fn the_frame_a_new_owner_sends() {
        let frame = gratuitous(Gratuitous::Request, MAC, Ipv4Addr::new(192, 0, 2, 10));
        #[rustfmt::skip]
        assert_eq!(frame, [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  0x00, 0x00, 0x5e, 0x00, 0x01, 0x33,  0x08, 0x06,
            0x00, 0x01,  0x08, 0x00,  6, 4,  0x00, 0x01,
            0x00, 0x00, 0x5e, 0x00, 0x01, 0x33,  192, 0, 2, 10,
            0x00, 0x00, 0x5e, 0x00, 0x01, 0x33,  192, 0, 2, 10,
        ]);
        let (header, payload) = Ethernet::parse(&frame).unwrap();
        assert_eq!(header.ethertype, EtherType::ARP);
        let arp = Arp::parse(payload).unwrap();
        assert!(arp.is_gratuitous());
        assert_eq!(arp.operation, Operation::REQUEST);
        let reply = gratuitous(Gratuitous::Reply, MAC, Ipv4Addr::new(192, 0, 2, 10));
        assert_eq!(reply[21], 2);
        assert_eq!((&reply[..21], &reply[22..]), (&frame[..21], &frame[22..]));
    }

    #[test]
    fn every_truncation_is_short_and_padding_is_passed_over() {
        let frame = gratuitous(Gratuitous::Request, MAC, Ipv4Addr::new(192, 0, 2, 10));
        let message = &frame[ethernet::HEADER_BYTES..];
        for cut in 0..MESSAGE_BYTES {
            assert_eq!(
                Arp::parse(&message[..cut]),
                Err(Malformed::Short(crate::bytes::Short {
                    what: "arp message",
                    wanted: 28,
                    had: cut
                }))
            );
        }
        let mut padded = [0xa5; 46];
        padded[..MESSAGE_BYTES].copy_from_slice(message);
        assert_eq!(Arp::parse(&padded), Arp::parse(message));
    }

    #[test]
    fn other_links_and_protocols_are_refused_by_name() {
        let frame = gratuitous(Gratuitous::Request, MAC, Ipv4Addr::new(192, 0, 2, 10));
        for (at, field) in [
            (1, "arp hardware type"),
            (2, "arp protocol type"),
            (4, "arp hardware length"),
            (5, "arp protocol length"),
        ] {
            let mut message = frame;
            message[ethernet::HEADER_BYTES + at] ^= 0x40;
            match Arp::parse(&message[ethernet::HEADER_BYTES..]) {
                Err(Malformed::Field { what, .. }) => assert_eq!(what, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
