//! `forward` and `tunnel`: how packets reach a backend.

use super::section::{At, Notes, Raw, Section};
use super::value::{choice, string};
use trunnion_core::model::{Forward, Tunnel, TunnelFlags, TunnelType};

pub(super) const TUNNEL_KEYS: &[&str] = &["type", "port", "checksum"];

/// ipvsadm(8): -m, -i, -g.
const METHODS: &[(&str, Forward)] = &[
    ("masq", Forward::MASQ),
    ("tunnel", Forward::TUNNEL),
    ("route", Forward::ROUTE),
];

/// ipvsadm(8): --tun-type.
const TYPES: &[(&str, TunnelType)] = &[
    ("ipip", TunnelType::IPIP),
    ("gue", TunnelType::GUE),
    ("gre", TunnelType::GRE),
];

/// ipvsadm(8): --tun-nocsum, --tun-csum, --tun-remcsum.
const CHECKSUMS: &[(&str, TunnelFlags)] = &[
    ("none", TunnelFlags::empty()),
    ("csum", TunnelFlags::CSUM),
    ("remcsum", TunnelFlags::REMCSUM),
];

pub(super) fn forward(section: &Section<'_>, notes: &mut Notes) -> Option<At<Forward>> {
    section.choice("forward", METHODS, notes)
}

/// `tunnel = "ipip"`, `tunnel = { type = "gue", port = 6080 }`.
pub(super) fn tunnel(section: &Section<'_>, notes: &mut Notes) -> Option<At<Tunnel>> {
    let raw = section.raw("tunnel")?;
    let span = raw.1.span();
    let value = if raw.1.get_ref().is_str() {
        let kind = choice("tunnel", &string(raw, notes)?, TYPES, notes)?;
        of_type(&kind, None, notes)
    } else {
        table(raw, notes)
    };
    value.map(|value| At { value, span })
}

fn table(raw: Raw<'_>, notes: &mut Notes) -> Option<Tunnel> {
    let section = Section::of("tunnel", raw, TUNNEL_KEYS, notes)?;
    let port: Option<At<u16>> = section.integer("port", 1..=65_535, notes);
    let checksum = section.choice("checksum", CHECKSUMS, notes);
    if !section.has("type") {
        section.missing("type", "type = \"ipip\", \"gue\" or \"gre\"", notes);
        return None;
    }
    let kind = section.choice("type", TYPES, notes)?;
    if section.has("port") && kind.value != TunnelType::GUE {
        let span = section.span_of("port");
        notes.error(
            &span,
            format!("{} has no port", kind.value),
            "remove it, or write type = \"gue\"",
        );
    }
    if section.has("port") && port.is_none() {
        return None;
    }
    let mut tunnel = of_type(&kind, port.map(|at| at.value), notes)?;
    if let Some(At { value, span }) = checksum {
        let known = match kind.value {
            TunnelType::GUE => true,
            TunnelType::GRE => value != TunnelFlags::REMCSUM,
            _ => value == TunnelFlags::empty(),
        };
        if !known {
            let (kind, help) = match kind.value {
                TunnelType::GRE => ("gre", "write \"csum\" or \"none\""),
                _ => ("ipip", "remove it, or write another type"),
            };
            notes.error(&span, format!("{kind} has no such checksum"), help);
        }
        tunnel.flags = value;
    }
    Some(tunnel)
}

fn of_type(kind: &At<TunnelType>, port: Option<u16>, notes: &mut Notes) -> Option<Tunnel> {
    if kind.value == TunnelType::GUE && port.is_none() {
        notes.error(
            &kind.span,
            "gue is UDP and needs a port: the kernel refuses port 0",
            "write tunnel = { type = \"gue\", port = 6080 }",
        );
        return None;
    }
    Some(Tunnel {
        kind: kind.value,
        port: port.filter(|_| kind.value == TunnelType::GUE).unwrap_or(0),
        flags: TunnelFlags::empty(),
    })
}
