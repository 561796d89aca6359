//! `mac` and `mac_interface` of a `[[vrrp]]`: whose MAC address its virtual
//! addresses have.

use super::node::interface;
use super::section::{At, Notes, Section, Span};
use std::collections::HashMap;
use trunnion_core::model::Family;

use super::vrrp::InstanceRead;

/// The macvlan that a virtual router's addresses are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Macvlan {
    pub name: String,
    /// Where it stands, or else `mac`.
    pub span: Span,
}

/// What is wanted; nothing for the interface's own MAC address.
pub(super) fn read(
    section: &Section<'_>,
    vrid: u8,
    family: Family,
    notes: &mut Notes,
) -> Option<Macvlan> {
    const WORDS: &[(&str, bool)] = &[("interface", false), ("virtual", true)];
    let mac = section.choice("mac", WORDS, notes);
    let named = section.text("mac_interface", interface, notes);
    let Some(mac) = mac.filter(|mac| mac.value) else {
        if let Some(At { span, .. }) = named {
            notes.error(
                &span,
                "`mac_interface` without `mac = \"virtual\"`: the addresses are on the interface itself",
                "remove it, or write mac = \"virtual\" beside it",
            );
        }
        return None;
    };
    Some(match named {
        Some(At { value, span }) => Macvlan { name: value, span },
        None => Macvlan {
            name: default_name(vrid, family),
            span: mac.span,
        },
    })
}

/// As keepalived calls them: `vrrp.51`, `vrrp6.51`.
fn default_name(vrid: u8, family: Family) -> String {
    match family {
        Family::V4 => format!("vrrp.{vrid}"),
        Family::V6 => format!("vrrp6.{vrid}"),
    }
}

/// Each macvlan has a name of its own, which no interface of the file has.
pub(super) fn relate(instances: &[InstanceRead], notes: &mut Notes) {
    let mut first: HashMap<&str, &Span> = HashMap::new();
    for read in instances {
        let Some(Macvlan { name, span }) = &read.macvlan else {
            continue;
        };
        let carries = |other: &&InstanceRead| other.instance.interface == *name;
        if let Some(twin) = first.insert(name, span) {
            notes.error_also(
                span,
                format!("the macvlan `{name}` of two virtual routers"),
                format!("give this one another name: mac_interface = \"{name}b\""),
                (twin, "the first"),
            );
        } else if let Some(other) = instances.iter().find(carries) {
            notes.error_also(
                span,
                format!("`{name}` is an interface that virtual routers are on"),
                "write another name, of an interface that is not there",
                (&other.span, "there"),
            );
        }
    }
}
