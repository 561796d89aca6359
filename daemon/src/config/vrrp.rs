//! `[[vrrp]]`: virtual routers, one family each.

use super::mac::{self, Macvlan};
use super::node::{interface, short_name};
use super::notify::{self, Notify};
use super::scalar::{self, Prefixed, Shown, is_host};
use super::section::{At, Notes, Raw, Section, Span};
use super::tracked::{self, Tracked, UseRead};
use std::net::IpAddr;
use std::time::Duration;
use trunnion_core::model::Family;
use trunnion_core::route::Scope;
use trunnion_core::vrrp::{AdvertForm, AnnounceConfig, Centis, PRIORITY_OWNER, RouterConfig, TTL};

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// What logs and tables call it. Default `INTERFACE/VRID`, with `/ipv6`
    /// after it for IPv6.
    pub name: String,
    /// The interface it speaks on and puts its addresses on.
    pub interface: String,
    /// The machine's own part: vrid, family, priority, interval, preemption,
    /// announcements. Defaults are [`RouterConfig::new`]'s.
    pub router: RouterConfig,
    /// Virtual addresses of the router's family, at least one, none twice, in
    /// the order of the file: the order of the advert. The first IPv6 one is
    /// link-local (RFC 9568, erratum 8300).
    pub addresses: Vec<Prefixed>,
    /// Send adverts to these, and accept them from these alone, instead of
    /// multicast; empty is multicast.
    pub unicast_peers: Vec<IpAddr>,
    /// How a sent advert is written; nothing for as the peer's.
    pub form: Option<AdvertForm>,
    /// The least TTL of an advert of a unicast peer.
    pub unicast_ttl_min: u8,
    /// Scope of the addresses.
    pub scope: Scope,
    /// Label of the IPv4 addresses; empty is the interface's name.
    pub label: String,
    /// Name of the macvlan that has the virtual router's MAC address and the
    /// virtual addresses; nothing where those are on the interface itself.
    pub macvlan: Option<String>,
    /// What it tracks, what its group tracks included.
    pub tracks: Vec<Tracked>,
    /// Its group's place in [`super::Config::groups`].
    pub group: Option<usize>,
    /// Programs to run when it moves.
    pub notify: Option<Notify>,
}

pub(super) const KEYS: &[&str] = &[
    "name",
    "interface",
    "vrid",
    "priority",
    "interval",
    "addresses",
    "preempt",
    "preempt_delay",
    "unicast_peers",
    "unicast_ttl_min",
    "checksum",
    "compat",
    "scope",
    "label",
    "mac",
    "mac_interface",
    "accept",
    "announce",
    "track",
    "notify",
];
pub(super) const ANNOUNCE_KEYS: &[&str] = &["repeat", "interval", "again_after", "refresh"];

/// Unicast peers of one instance.
const PEERS_MAX: usize = 8;
/// `IFNAMSIZ` without its NUL (if.h).
const LABEL_BYTES_MAX: usize = 15;
const HOUR: Duration = Duration::from_secs(3_600);

/// An instance and where its parts stand, for the rules between instances.
#[derive(Debug)]
pub(super) struct InstanceRead {
    pub instance: Instance,
    pub span: Span,
    pub vrid: Option<Span>,
    pub named: Option<Span>,
    pub addresses: Vec<At<Prefixed>>,
    pub macvlan: Option<Macvlan>,
    pub tracks: Vec<UseRead>,
}

impl InstanceRead {
    pub fn read(raw: Raw<'_>, notes: &mut Notes) -> Option<Self> {
        let section = Section::of("[[vrrp]]", raw, KEYS, notes)?;
        let named = section.text("name", short_name, notes);
        let interface = section.text("interface", interface, notes);
        if !section.has("interface") {
            section.missing("interface", "interface = \"eth0\"", notes);
        }
        let vrid: Option<At<u8>> = section.integer("vrid", 1..=255, notes);
        if !section.has("vrid") {
            section.missing(
                "vrid",
                "vrid = 51, the same on every node of the group",
                notes,
            );
        }
        let priority: Option<At<u8>> = section.integer("priority", 1..=255, notes);
        let interval = interval(&section, notes);
        let compat = section.choice("compat", &[("seesaw", ())], notes);
        let seesaw = compat.is_some();
        let (addresses, family) = addresses(&section, vrid.as_ref(), seesaw, notes);
        let preempt = section.boolean("preempt", notes);
        let preempt_delay = section.duration("preempt_delay", Duration::ZERO..=HOUR, notes);
        let unicast_peers = unicast_peers(&section, family, &addresses, notes);
        let unicast_ttl_min = unicast_ttl_min(&section, unicast_peers.is_empty(), notes);
        let form = form(&section, family, seesaw, notes);
        let scope = scope(&section, family, notes);
        let macvlan = mac::read(
            &section,
            vrid.as_ref().map_or(1, |at| at.value),
            family,
            notes,
        );
        let on = interface.as_ref().map(|at| at.value.as_str());
        let on = macvlan.as_ref().map(|it| it.name.as_str()).or(on);
        let label = label(&section, family, on, notes);
        accept(&section, notes);
        let announce = announce(&section, notes);
        let tracks = tracked::uses(&section, notes);
        let notify = notify::read(&section, notes);
        preemption(
            priority.as_ref().filter(|_| !seesaw),
            preempt.as_ref(),
            preempt_delay.as_ref(),
            notes,
        );

        let vrid_span = vrid.as_ref().map(|at| at.span.clone());
        let interface = interface.map_or_else(String::new, |at| at.value);
        let vrid = vrid.map_or(1, |at| at.value);
        let suffix = match family {
            Family::V4 => "",
            Family::V6 => "/ipv6",
        };
        let default = RouterConfig::new(vrid, family);
        let router = RouterConfig {
            vrid,
            family,
            priority: priority.map_or(default.priority, |at| at.value),
            interval: interval.unwrap_or(default.interval),
            preempt: preempt.map_or(default.preempt, |at| at.value),
            preempt_delay: preempt_delay.map_or(default.preempt_delay, |at| at.value),
            announce,
            owner_rules: !seesaw,
        };
        let instance = Instance {
            name: match &named {
                Some(at) => at.value.clone(),
                None => format!("{interface}/{vrid}{suffix}"),
            },
            interface,
            router,
            addresses: addresses.iter().map(|at| at.value).collect(),
            unicast_peers,
            form,
            unicast_ttl_min,
            scope,
            label,
            macvlan: macvlan.as_ref().map(|it| it.name.clone()),
            // Known once all is read.
            tracks: Vec::new(),
            group: None,
            notify,
        };
        Some(Self {
            instance,
            span: section.span,
            vrid: vrid_span,
            named: named.map(|at| at.span),
            addresses,
            macvlan,
            tracks,
        })
    }
}

fn interval(section: &Section<'_>, notes: &mut Notes) -> Option<Centis> {
    let (least, most) = (Centis::MIN.duration(), Centis::MAX.duration());
    let At { value, span } = section.duration("interval", least..=most, notes)?;
    let found = Centis::try_from(value);
    if found.is_err() {
        // In range, so what is wrong is a fraction; the neighbours are whole.
        let hundredths = value.as_nanos() / least.as_nanos();
        let down = least * u32::try_from(hundredths).unwrap_or(1);
        let (down, up) = (Shown(down), Shown(down + least));
        notes.error(
            &span,
            format!(
                "`interval` cannot be {}: adverts carry it in hundredths of a second",
                Shown(value)
            ),
            format!("write \"{down}\" or \"{up}\""),
        );
    }
    found.ok()
}

/// The addresses that can be read, and the family of the first one.
fn addresses(
    section: &Section<'_>,
    vrid: Option<&At<u8>>,
    seesaw: bool,
    notes: &mut Notes,
) -> (Vec<At<Prefixed>>, Family) {
    if !section.has("addresses") {
        section.missing("addresses", "addresses = [\"192.0.2.10/24\"]", notes);
        return (Vec::new(), Family::V4);
    }
    let before = notes.list.len();
    let mut found = section.texts("addresses", scalar::prefixed, notes);
    let Some(first) = found.first() else {
        if notes.list.len() == before {
            let span = section.span_of("addresses");
            notes.error(
                &span,
                "`addresses` is empty",
                "write at least one, such as \"192.0.2.10/24\"",
            );
        }
        return (found, Family::V4);
    };
    let (family, first_span) = (Family::of(&first.value.address), first.span.clone());
    let link_local = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    // An advert of seesaw_ha lists none.
    if !seesaw && !link_local(&first.value.address) {
        let vrid = vrid.map_or(1, |at| at.value);
        notes.error(
            &first_span,
            "the first IPv6 address of a virtual router is link-local: others refuse its adverts (RFC 9568, erratum 8300)",
            format!("put one before it, the same on every node, such as \"fe80::5e00:2{vrid:02x}/64\""),
        );
    }
    for at in &found {
        let address = at.value.address;
        if Family::of(&address) != family {
            notes.error_also(
                &at.span,
                format!(
                    "{} here, {} before: a virtual router has one family",
                    of(Family::of(&address)),
                    of(family)
                ),
                "move it to a second [[vrrp]]; it may have the same vrid",
                (&first_span, "the first address"),
            );
        } else if !is_host(&address) || address.is_loopback() {
            notes.error(
                &at.span,
                format!("{address} cannot be a virtual address"),
                "write a host's address",
            );
        }
    }
    found.retain(|at| Family::of(&at.value.address) == family);
    (found, family)
}

/// `IPv4`, `IPv6`.
pub(super) const fn of(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

fn unicast_peers(
    section: &Section<'_>,
    family: Family,
    addresses: &[At<Prefixed>],
    notes: &mut Notes,
) -> Vec<IpAddr> {
    let found = section.texts("unicast_peers", scalar::address, notes);
    if let Some(past) = found.get(PEERS_MAX) {
        let message = format!("{} peers, at most {PEERS_MAX} are possible", found.len());
        notes.error(&past.span, message, "use multicast for a larger group");
    }
    for (index, at) in found.iter().enumerate() {
        let peer = at.value;
        if Family::of(&peer) != family {
            notes.error(
                &at.span,
                format!(
                    "an {} peer of an {} instance",
                    of(Family::of(&peer)),
                    of(family)
                ),
                format!("write the peer's own {} address", of(family)),
            );
        } else if !is_host(&peer) {
            notes.error(
                &at.span,
                format!("{peer} cannot be a peer"),
                "write the peer's own address",
            );
        } else if let Some(vip) = addresses.iter().find(|vip| vip.value.address == peer) {
            notes.error_also(
                &at.span,
                format!("{peer} is a virtual address of this instance"),
                "write the peer's own address",
                (&vip.span, "the virtual address"),
            );
        } else if let Some(twin) = found[..index].iter().find(|twin| twin.value == peer) {
            notes.error_also(
                &at.span,
                format!("the peer {peer} twice"),
                "remove one",
                (&twin.span, "the first"),
            );
        }
    }
    found.into_iter().map(|at| at.value).collect()
}

fn unicast_ttl_min(section: &Section<'_>, multicast: bool, notes: &mut Notes) -> u8 {
    let Some(At { value, span }) = section.integer("unicast_ttl_min", 1..=255, notes) else {
        return TTL;
    };
    if multicast {
        notes.error(
            &span,
            "`unicast_ttl_min` is for `unicast_peers`: multicast does not cross a router, and its TTL is 255 (RFC 9568 5.1.1.3)",
            "remove it, or name the peers",
        );
    }
    value
}

fn form(
    section: &Section<'_>,
    family: Family,
    seesaw: bool,
    notes: &mut Notes,
) -> Option<AdvertForm> {
    const WORDS: &[(&str, Option<AdvertForm>)] = &[
        ("rfc9568", Some(AdvertForm::Rfc9568)),
        ("rfc5798", Some(AdvertForm::Rfc5798)),
        ("auto", None),
    ];
    let found = section.choice("checksum", WORDS, notes);
    match found {
        Some(found) if seesaw => notes.error(
            &found.span,
            "`checksum` beside `compat = \"seesaw\"`: seesaw_ha has one form",
            "remove it",
        ),
        Some(found) if family == Family::V6 => notes.error(
            &found.span,
            "`checksum` is for IPv4: over IPv6 there is one form",
            "remove it",
        ),
        Some(found) => return found.value,
        None => {}
    }
    if seesaw {
        Some(AdvertForm::Seesaw)
    } else {
        Some(AdvertForm::default())
    }
}

fn scope(section: &Section<'_>, family: Family, notes: &mut Notes) -> Scope {
    const WORDS: &[(&str, Scope)] = &[
        ("global", Scope::UNIVERSE),
        ("link", Scope::LINK),
        ("host", Scope::HOST),
    ];
    let Some(found) = section.choice("scope", WORDS, notes) else {
        return Scope::UNIVERSE;
    };
    if family == Family::V6 {
        notes.error(
            &found.span,
            "`scope` is for IPv4: an IPv6 address says its own",
            "remove it",
        );
    }
    found.value
}

/// A label begins with the interface's name, or old programs would take it for
/// an interface of its own.
fn label(
    section: &Section<'_>,
    family: Family,
    interface: Option<&str>,
    notes: &mut Notes,
) -> String {
    let Some(At { value, span }) = section.text("label", short_name, notes) else {
        return String::new();
    };
    let name = interface.unwrap_or("");
    let rest = value.strip_prefix(name);
    if family == Family::V6 {
        notes.error(&span, "`label` is for IPv4: IPv6 has none", "remove it");
    } else if value.len() > LABEL_BYTES_MAX {
        notes.error(
            &span,
            format!(
                "`label` has {} bytes, at most {LABEL_BYTES_MAX} are possible",
                value.len()
            ),
            "write a shorter one",
        );
    } else if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':')) {
        notes.error(
            &span,
            format!("`label` does not begin with its interface: ifconfig would take `{value}` for another"),
            format!("write \"{name}:vip\""),
        );
    }
    value
}

/// The addresses are always accepted: there is nothing to choose.
fn accept(section: &Section<'_>, notes: &mut Notes) {
    let Some(At { value, span }) = section.boolean("accept", notes) else {
        return;
    };
    if !value {
        notes.error(
            &span,
            "`accept` cannot be false: IPVS balances what the kernel accepts for an address, and no packet filter is kept here",
            "remove it, and drop in nftables what should not reach the address itself",
        );
    }
}

fn announce(section: &Section<'_>, notes: &mut Notes) -> AnnounceConfig {
    let mut announce = AnnounceConfig::DEFAULT;
    let section = section
        .raw("announce")
        .and_then(|raw| Section::of("announce", raw, ANNOUNCE_KEYS, notes));
    let Some(section) = section else {
        return announce;
    };
    if let Some(at) = section.integer("repeat", 1..=100, notes) {
        announce.repeat = at.value;
    }
    let at_once = Duration::from_millis(1);
    let mut set = |key, least, place: &mut Duration| {
        if let Some(at) = section.duration(key, least..=HOUR, notes) {
            *place = at.value;
        }
    };
    set("interval", at_once, &mut announce.interval);
    set("again_after", Duration::ZERO, &mut announce.again_after);
    set("refresh", Duration::ZERO, &mut announce.refresh);
    announce
}

fn preemption(
    priority: Option<&At<u8>>,
    preempt: Option<&At<bool>>,
    delay: Option<&At<Duration>>,
    notes: &mut Notes,
) {
    let owner = priority.filter(|at| at.value == PRIORITY_OWNER);
    let refused = preempt.filter(|at| !at.value);
    if let (Some(owner), Some(refused)) = (owner, refused) {
        notes.error_also(
            &refused.span,
            "the owner of the addresses always preempts (RFC 9568 6.1)",
            "remove `preempt`, or write a priority below 255",
            (&owner.span, "priority 255 is the owner's"),
        );
    } else if let (Some(_), Some(delay)) = (refused, delay) {
        notes.warn(
            &delay.span,
            "`preempt_delay` has no effect without preemption",
            "remove it, or `preempt = false`",
        );
    } else if let (Some(_), Some(delay)) = (owner, delay) {
        notes.warn(
            &delay.span,
            "`preempt_delay` has no effect on the owner of the addresses (priority 255)",
            "remove it",
        );
    }
}
