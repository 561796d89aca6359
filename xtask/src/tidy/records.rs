//! Ids of log records: unique in the whole system, in their room's range.

use super::Finding;
use super::source::{Source, item_end};
use std::collections::BTreeMap;

/// Who owns which high byte. The first path that fits is the owner.
const RANGES: [(&str, u16); 9] = [
    ("core/src/netlink/", 0x01),
    ("core/src/ipvs/", 0x01),
    ("core/src/route/", 0x02),
    ("core/src/vrrp/", 0x03),
    ("core/src/check/", 0x04),
    ("core/src/director/ha", 0x05),
    ("core/src/director/lb", 0x06),
    ("core/src/director/", 0x06),
    ("daemon/src/", 0x07),
];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut owners: BTreeMap<u16, String> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        for (at, id) in ids(source) {
            let line = source.line(at);
            if let Some(first) = owners.get(&id) {
                let text =
                    format!("record id 0x{id:04x} is taken by {first}: choose the next free one");
                findings.push(Finding::new(source, line, text));
            } else {
                owners.insert(id, format!("{}:{line}", source.path));
            }
            let range = RANGES
                .iter()
                .find(|(path, _)| source.path.starts_with(path));
            match range {
                Some((_, high)) if *high == id >> 8 => {}
                Some((_, high)) => {
                    let text =
                        format!("record id 0x{id:04x} is out of this room's range 0x{high:02x}xx");
                    findings.push(Finding::new(source, line, text));
                }
                None => {
                    let text =
                        "records in a place without a range: add it to xtask's tidy/records.rs";
                    findings.push(Finding::new(source, line, text));
                }
            }
        }
    }
    findings
}

/// The literals that stand before a level inside `records! { … }`.
fn ids(source: &Source) -> Vec<(usize, u16)> {
    const LEVELS: [&str; 5] = ["Error", "Warn", "Info", "Debug", "Trace"];
    let mut ids = Vec::new();
    for from in source.words("records").filter(|&at| !source.in_test(at)) {
        if !source.code[from + "records".len()..].starts_with('!') {
            continue;
        }
        let block = &source.code[from..item_end(&source.code, from)];
        let mut at = from;
        let mut before: Option<(usize, &str)> = None;
        for word in block.split_inclusive(char::is_whitespace) {
            let trimmed = word.trim_end();
            if LEVELS.contains(&trimmed)
                && let Some((place, literal)) = before
                && let Some(id) = number(literal)
            {
                ids.push((place, id));
            }
            if !trimmed.is_empty() {
                before = Some((at, trimmed));
            }
            at += word.len();
        }
    }
    ids
}

fn number(literal: &str) -> Option<u16> {
    let plain = literal.replace('_', "");
    match plain.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => plain.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "records! {\n    /// A.\n    0x0301 Info A { x: u8 } \"a {x}\";\n    /// 0x0301 Info in words.\n    0x0302 Debug B {} \"b\";\n}\n";

    #[test]
    fn ids_are_read_from_blocks() {
        let source = Source::new("core/src/vrrp/records.rs", TWO);
        let found: Vec<_> = ids(&source)
            .into_iter()
            .map(|(at, id)| (source.line(at), id))
            .collect();
        assert_eq!(found, [(3, 0x0301), (5, 0x0302)]);
        assert_eq!(check(&[source]), []);
    }

    #[test]
    fn an_id_twice_or_out_of_range_is_found() {
        let here = Source::new("core/src/vrrp/a.rs", TWO);
        let there = Source::new("core/src/check/b.rs", TWO);
        let texts: Vec<_> = check(&[here, there])
            .into_iter()
            .map(|finding| format!("{}:{}: {}", finding.file, finding.line, finding.text))
            .collect();
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert!(texts[0].contains("b.rs:3: record id 0x0301 is taken by core/src/vrrp/a.rs:3"));
        assert!(texts[1].contains("out of this room's range 0x04xx"));
    }

    #[test]
    fn a_tests_own_records_are_its_own() {
        let text = format!("#[cfg(test)]\nmod tests {{\n{TWO}}}");
        assert_eq!(check(&[Source::new("core/src/record/ring.rs", text)]), []);
    }
}
