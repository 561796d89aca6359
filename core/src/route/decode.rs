//! What rtnetlink says of addresses and links: a row of a dump and a
//! notification have the same form.

use super::attribute::{
    IFA_ADDRESS, IFA_FLAGS, IFA_LOCAL, IFA_PROTO, IFLA_ADDRESS, IFLA_GROUP, IFLA_IFNAME,
    IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MACVLAN_MODE, IFLA_MASTER,
    IFLA_MTU, IFLA_OPERSTATE,
};
use super::{
    AddressFlags, AddressProtocol, Command, InterfaceIndex, LinkFlags, LinkGroup, LinkName,
    MacvlanMode, OperationalState, Scope,
};
use crate::bytes::{NativeEndian, Reader, Short};
use crate::model::Family;
use crate::netlink::{Attribute, Attributes, Fault, Malformed, MessageType};
use crate::wire::MacAddress;
use core::fmt;
use core::net::IpAddr;

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface.
    pub interface: InterfaceIndex,
    /// The address itself; of a point-to-point interface, our end.
    pub address: IpAddr,
    /// Bits of its subnet.
    pub prefix: u8,
    /// Flags.
    pub flags: AddressFlags,
    /// How far it is good for.
    pub scope: Scope,
    /// Who added it; unspecified on kernels before 5.18.
    pub protocol: AddressProtocol,
}

/// `192.0.2.10/32`.
impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: InterfaceIndex,
    /// Its name.
    pub name: LinkName,
    /// Its Ethernet address; `None` where it has none, or one of another length.
    pub mac: Option<MacAddress>,
    /// Flags.
    pub flags: LinkFlags,
    /// Operational state.
    pub state: OperationalState,
    /// The longest packet it takes, bytes; 0 if the kernel did not say.
    pub mtu: u32,
    /// The interface it belongs to, such as a bridge or bond.
    pub upper: Option<InterfaceIndex>,
    /// The interface beneath it, as of a VLAN or macvlan; of a veth the other
    /// end, which may be of another namespace.
    pub lower: Option<InterfaceIndex>,
    /// Its group.
    pub group: LinkGroup,
    /// What kind of virtual interface it is (`veth`, `macvlan`); `None` for
    /// hardware and loopback.
    pub kind: Option<LinkKind>,
    /// The mode of a macvlan; `None` for all other kinds.
    pub mode: Option<MacvlanMode>,
}

impl Link {
    /// Whether the operator has it up.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.flags.contains(LinkFlags::UP)
    }

    /// Whether it is up and works: what is sent now can arrive.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.flags.contains(LinkFlags::RUNNING)
    }
}

/// The kind of a virtual interface, `IFLA_INFO_KIND`: short text that keeps to
/// the rules of an interface's name.
pub type LinkKind = LinkName;

/// Something rtnetlink says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An address is there: a row of a dump, or it was added or has changed.
    Address(InterfaceAddress),
    /// An address is gone.
    AddressGone(InterfaceAddress),
    /// A link is there: a row of a dump, or it was added or has changed.
    Link(Link),
    /// A link is gone, and all its addresses with it.
    LinkGone(Link),
}

/// Reads the body of a message of rtnetlink, which starts at `offset` in its
/// datagram. `None` for what is nothing of ours: other types, addresses of
/// other families, and a bridge speaking of its ports in the form of link
/// messages.
///
/// # Errors
/// [`Malformed`] names the field and where it is. Unknown attributes are passed
/// over.
pub fn decode(
    kind: MessageType,
    body: Reader<'_>,
    offset: usize,
) -> Result<Option<Event>, Malformed> {
    Ok(match Command(kind.0) {
        Command::NEWADDR => address(body, offset)?.map(Event::Address),
        Command::DELADDR => address(body, offset)?.map(Event::AddressGone),
        Command::NEWLINK => link(body, offset)?.map(Event::Link),
        Command::DELLINK => link(body, offset)?.map(Event::LinkGone),
        Command(_) => None,
    })
}

/// `struct ifaddrmsg` (8 bytes) and its attributes.
fn address(mut body: Reader<'_>, offset: usize) -> Result<Option<InterfaceAddress>, Malformed> {
    let start = body.len();
    let at = |short: Short| malformed(short, offset);
    let family = body.u8("ifa_family").map_err(at)?;
    let prefix = body.u8("ifa_prefixlen").map_err(at)?;
    let low_flags = body.u8("ifa_flags").map_err(at)?;
    let scope = Scope(body.u8("ifa_scope").map_err(at)?);
    let index = body.u32::<NativeEndian>("ifa_index").map_err(at)?;
    let Some(family) = Family::from_number(family.into()) else {
        return Ok(None);
    };
    if prefix > family.bits() {
        return Err(Malformed {
            what: "ifa_prefixlen",
            offset,
            fault: Fault::Value(prefix.into()),
        });
    }
    let interface = interface("ifa_index", index, offset)?;
    let mut local = None;
    let mut address = None;
    let mut flags = AddressFlags::from_bits_retain(low_flags.into());
    let mut protocol = AddressProtocol::UNSPECIFIED;
    let consumed = start.saturating_sub(body.len());
    for attribute in Attributes::new(body, offset.saturating_add(consumed)) {
        let attribute = attribute?;
        match attribute.kind {
            IFA_LOCAL => local = Some(ip(&attribute, "IFA_LOCAL", family)?),
            IFA_ADDRESS => address = Some(ip(&attribute, "IFA_ADDRESS", family)?),
            IFA_FLAGS => flags = AddressFlags::from_bits_retain(attribute.u32("IFA_FLAGS")?),
            IFA_PROTO => protocol = AddressProtocol(attribute.u8("IFA_PROTO")?),
            _ => {}
        }
    }
    // With both, IFA_ADDRESS is the other end of a point-to-point link; IPv6
    // has IFA_LOCAL there only.
    let address = local.or(address).ok_or(Malformed {
        what: "IFA_ADDRESS",
        offset,
        fault: Fault::Missing,
    })?;
    Ok(Some(InterfaceAddress {
        interface,
        address,
        prefix,
        flags,
        scope,
        protocol,
    }))
}

/// `struct ifinfomsg` (16 bytes) and its attributes.
fn link(mut body: Reader<'_>, offset: usize) -> Result<Option<Link>, Malformed> {
    let start = body.len();
    let at = |short: Short| malformed(short, offset);
    let family = body.u8("ifi_family").map_err(at)?;
    let _padding = body.u8("ifi_pad").map_err(at)?;
    let _hardware_type = body.u16::<NativeEndian>("ifi_type").map_err(at)?;
    let index = body.u32::<NativeEndian>("ifi_index").map_err(at)?;
    let flags = body.u32::<NativeEndian>("ifi_flags").map_err(at)?;
    let _change = body.u32::<NativeEndian>("ifi_change").map_err(at)?;
    // AF_BRIDGE sends RTM_DELLINK when a port leaves it: the link lives on.
    if family != AF_UNSPEC {
        return Ok(None);
    }
    let index = interface("ifi_index", index, offset)?;
    let mut name = None;
    let mut mac = None;
    let mut state = OperationalState::UNKNOWN;
    let mut mtu = 0;
    let (mut upper, mut lower) = (None, None);
    let mut group = LinkGroup::DEFAULT;
    let (mut kind, mut mode) = (None, None);
    let consumed = start.saturating_sub(body.len());
    for attribute in Attributes::new(body, offset.saturating_add(consumed)) {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_IFNAME => name = Some(link_name(&attribute)?),
            IFLA_ADDRESS => mac = attribute.value.peek().try_into().ok().map(MacAddress),
            IFLA_OPERSTATE => state = OperationalState(attribute.u8("IFLA_OPERSTATE")?),
            IFLA_MTU => mtu = attribute.u32("IFLA_MTU")?,
            IFLA_MASTER => upper = InterfaceIndex::new(attribute.u32("IFLA_MASTER")?),
            // Of an interface that is its own, as a tunnel without one, 0.
            IFLA_LINK => lower = InterfaceIndex::new(attribute.u32("IFLA_LINK")?),
            IFLA_GROUP => group = LinkGroup(attribute.u32("IFLA_GROUP")?),
            IFLA_LINKINFO => (kind, mode) = link_kind(&attribute)?,
            _ => {}
        }
    }
    let name = name.ok_or(Malformed {
        what: "IFLA_IFNAME",
        offset,
        fault: Fault::Missing,
    })?;
    Ok(Some(Link {
        index,
        name,
        mac,
        flags: LinkFlags::from_bits_retain(flags),
        state,
        mtu,
        upper,
        lower,
        group,
        kind,
        mode,
    }))
}

/// Any family; of links, a link itself.
const AF_UNSPEC: u8 = 0;

/// The kind of a macvlan.
pub(super) const MACVLAN: &str = "macvlan";

fn interface(what: &'static str, index: u32, offset: usize) -> Result<InterfaceIndex, Malformed> {
    // The kernel's own type is int.
    let index = InterfaceIndex::new(index).filter(|index| i32::try_from(index.get()).is_ok());
    index.ok_or(Malformed {
        what,
        offset,
        fault: Fault::Value(0),
    })
}

fn ip(attribute: &Attribute<'_>, what: &'static str, family: Family) -> Result<IpAddr, Malformed> {
    Ok(match family {
        Family::V4 => IpAddr::from(attribute.fixed::<4>(what)?),
        Family::V6 => IpAddr::from(attribute.fixed::<16>(what)?),
    })
}

fn link_name(attribute: &Attribute<'_>) -> Result<LinkName, Malformed> {
    let bytes = attribute.value.peek();
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
    LinkName::new(name).map_err(|_| attribute.fault("IFLA_IFNAME", Fault::Text))
}

/// The kind of a link, and the mode of a macvlan.
fn link_kind(info: &Attribute<'_>) -> Result<(Option<LinkKind>, Option<MacvlanMode>), Malformed> {
    let (mut kind, mut data) = (None, None);
    for attribute in info.nest() {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_INFO_KIND => {
                let text = attribute.text("IFLA_INFO_KIND")?;
                // Longer than any there is, perhaps: no kind we would know.
                kind = LinkKind::new(text.as_bytes()).ok();
            }
            IFLA_INFO_DATA => data = Some(attribute),
            _ => {}
        }
    }
    let mut mode = None;
    if kind.is_some_and(|kind| kind.as_bytes() == MACVLAN.as_bytes()) {
        for attribute in data.iter().flat_map(Attribute::nest) {
            let attribute = attribute?;
            if attribute.kind == IFLA_MACVLAN_MODE {
                mode = Some(MacvlanMode(attribute.u32("IFLA_MACVLAN_MODE")?));
            }
        }
    }
    Ok((kind, mode))
}

const fn malformed(short: Short, offset: usize) -> Malformed {
    Malformed {
        what: short.what,
        offset,
        fault: Fault::Short {
            wanted: short.wanted,
            had: short.had,
        },
    }
}
