//! Who may import whom inside core, and what core may not know at all.

use super::Finding;
use super::source::Source;

/// The rooms of core by floor. A room imports from lower floors only.
pub const FLOORS: [&[&str]; 4] = [
    &["bytes", "time", "model", "record"],
    &["netlink", "wire", "reconcile"],
    &["ipvs", "route", "vrrp", "check"],
    &["director"],
];

/// The doors on one floor that exist all the same, each with its reason.
const DOORS: [(&str, &str); 2] = [
    ("record", "bytes"), // A reader takes a record's fields apart.
    ("record", "time"),  // A record says when.
];

/// Words core's code may not use outside tests, and why.
const FORBIDDEN: [(&str, &str); 3] = [
    (
        "std",
        "core has no std: `core::` or heapless, or it belongs into sys",
    ),
    (
        "alloc",
        "core never allocates: take the owner's slice, or heapless",
    ),
    ("unsafe", "core is safe: what needs unsafe belongs into sys"),
];

const CORE: &str = "core/src/";

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let Some(inner) = source.path.strip_prefix(CORE) else {
            continue;
        };
        if !source.is_rust() {
            continue;
        }
        for (word, why) in FORBIDDEN {
            for at in source.words(word).filter(|&at| !source.in_test(at)) {
                findings.push(Finding::new(source, source.line(at), why));
            }
        }
        match inner.split_once('/') {
            Some((room, _)) => imports(source, room, &mut findings),
            None => rooms(source, &mut findings),
        }
    }
    findings
}

/// The modules of the crate's root are the rooms of the table.
fn rooms(source: &Source, findings: &mut Vec<Finding>) {
    if source.path != "core/src/lib.rs" {
        let text = "a room of core is a folder on a floor: move it to ROOM/mod.rs";
        findings.push(Finding::new(source, 1, text));
        return;
    }
    for at in source.words("mod").filter(|&at| !source.in_test(at)) {
        let name = identifier(source.code[at + 3..].trim_start());
        if floor(name).is_none() {
            let text = format!(
                "room {name} stands on no floor: add it to the table in xtask's tidy/floors.rs"
            );
            findings.push(Finding::new(source, source.line(at), text));
        }
    }
    for at in source.words("use").filter(|&at| !source.in_test(at)) {
        let text = "the crate's root exports rooms only: a re-export is a door around the floors";
        findings.push(Finding::new(source, source.line(at), text));
    }
}

fn imports(source: &Source, room: &str, findings: &mut Vec<Finding>) {
    let Some(own) = floor(room) else {
        return; // lib.rs names it, and that is the finding.
    };
    for (at, name) in mentions(source) {
        let text = match floor(name) {
            _ if name == room => continue,
            Some(other) if other < own => continue,
            Some(_) if DOORS.contains(&(room, name)) => continue,
            Some(other) if other == own => {
                format!("{room} and {name} stand on the same floor ({own}): no door between them")
            }
            Some(other) => format!(
                "{room} (floor {own}) imports {name} (floor {other}): only lower floors may be imported"
            ),
            None => continue, // A macro of ours; the compiler knows the rest.
        };
        findings.push(Finding::new(source, source.line(at), text));
    }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Every first name after the crate's root: of `crate::x`, of each member of
/// `crate::{x, y::z}`, and of a chain of `super::` that climbs as far.
fn mentions(source: &Source) -> Vec<(usize, &str)> {
    let code = source.code.as_str();
    let mut found = Vec::new();
    for at in source.words("crate") {
        let rest = code[at + "crate".len()..].trim_start();
        if let Some(rest) = rest.strip_prefix("::") {
            names(rest.trim_start(), at, &mut found);
        }
    }
    // core/src/vrrp/mod.rs is one step below the root, vrrp/router.rs two.
    let below =
        source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs")) - 1;
    for at in source.words("super") {
        if code[..at].trim_end().ends_with("super::") {
            continue; // Inside a chain that was counted from its beginning.
        }
        let (mut steps, mut rest) = (0, &code[at..]);
        while let Some(next) = rest.strip_prefix("super::") {
            steps += 1;
            rest = next;
        }
        if steps == below + usize::from(source.in_test(at) && !source.test_only) {
            names(rest, at, &mut found);
        }
    }
    found
}

fn names<'a>(rest: &'a str, at: usize, found: &mut Vec<(usize, &'a str)>) {
    let Some(group) = rest.strip_prefix('{') else {
        found.push((at, identifier(rest)));
        return;
    };
    let mut depth = 0_usize;
    let mut member = true;
    for (offset, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return,
            b'}' => depth -= 1,
            b',' if depth == 0 => member = true,
            _ if byte.is_ascii_whitespace() => {}
            _ if member => {
                found.push((at, identifier(&group[offset..])));
                member = false;
            }
            _ => {}
        }
    }
}

fn identifier(text: &str) -> &str {
    let end = text
        .find(|c: char| c != '_' && !c.is_alphanumeric())
        .unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&[Source::new(path, text)])
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.text))
            .collect()
    }

    #[test]
    fn lower_floors_may_be_imported() {
        let text = "use crate::bytes::Reader;\nuse crate::{time::Instant, wire::{arp, ipv4}};\nuse crate::vrrp::Advert;\nuse super::advert;\ncrate::records! {}\n";
        assert_eq!(found("core/src/vrrp/router.rs", text), [""; 0]);
    }

    #[test]
    fn a_door_up_or_beside_is_found_in_every_spelling() {
        let up = "vrrp (floor 2) imports director (floor 3): only lower floors may be imported";
        let beside = "vrrp and check stand on the same floor (2): no door between them";
        for (text, expect) in [
            ("use crate::director::Node;", up),
            (
                "use crate::{\n    time::Instant,\n    director::{self, Node},\n};",
                up,
            ),
            ("fn a() -> crate::check::Health {}", beside),
            ("use super::super::check::Health;", beside),
            ("use crate::bytes; use crate :: check;", beside),
        ] {
            let found = found("core/src/vrrp/router.rs", text);
            assert_eq!(found, [format!("1: {expect}")], "{text}");
        }
        assert_eq!(
            found("core/src/vrrp/mod.rs", "use super::check::Health;").len(),
            1
        );
        // In a test of vrrp, `super` is vrrp, and its `check` is its own.
        let test = "#[cfg(test)] mod tests { use super::check; }";
        assert_eq!(found("core/src/vrrp/mod.rs", test), [""; 0]);
    }

    #[test]
    fn a_ground_floor_imports_nothing() {
        let found = found("core/src/bytes/mod.rs", "\nuse crate::time::Instant;\n");
        assert_eq!(
            found,
            ["2: bytes and time stand on the same floor (0): no door between them"]
        );
        // A door leads one way.
        let uses = |name: &str| format!("use crate::{name}::X;");
        assert_eq!(
            super::tests::found("core/src/record/mod.rs", &uses("time")).len(),
            0
        );
        assert_eq!(
            super::tests::found("core/src/time/mod.rs", &uses("record")).len(),
            1
        );
    }

    #[test]
    fn core_knows_no_std_no_alloc_no_unsafe() {
        let text = "use std::vec::Vec;\nextern crate alloc;\nunsafe { x() }\n// std, alloc, unsafe\n#[cfg(test)]\nmod tests { use std::vec; }\n#![forbid(unsafe_code)]\n";
        let lines: Vec<_> = found("core/src/time/mod.rs", text)
            .iter()
            .map(|text| text[..1].to_owned())
            .collect();
        assert_eq!(lines, ["1", "2", "3"]);
    }

    #[test]
    fn the_root_names_rooms_only() {
        let text = "pub mod bytes;\npub mod attic;\npub use bytes::Reader;\n";
        let found = found("core/src/lib.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("2: room attic stands on no floor"));
        assert_eq!(super::tests::found("core/src/attic.rs", "").len(), 1);
    }
}
