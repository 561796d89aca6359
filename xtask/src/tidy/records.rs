//! Ids of log records: unique in the whole system, in their room's range.

use super::Finding;
use super::source::{Source, item_end};
use std::collections::BTreeMap;

/// Who owns which high bytes, by the beginning of the path.
const RANGES: [(&str, &[u16]); 7] = [
    ("core/src/netlink/", &[0x01]),
    ("core/src/ipvs/", &[0x01]),
    ("core/src/route/", &[0x02]),
    ("core/src/vrrp/", &[0x03]),
    ("core/src/check/", &[0x04]),
    ("core/src/director/", &[0x05, 0x06]), // Its two halves, ha and lb.
    ("daemon/src/", &[0x07]),
];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut owners: BTreeMap<u16, String> = BTreeMap::new();
    for source in sources.iter().filter(|source| writes_logs(source)) {
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
                Some((_, owned)) if owned.contains(&(id >> 8)) => {}
                Some((_, owned)) => {
                    let text = format!(
                        "record id 0x{id:04x} is out of this room's range: its high byte is one of {owned:02x?}"
                    );
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

/// What tests declare, they read back themselves.
fn writes_logs(source: &Source) -> bool {
    const CRATES: [&str; 3] = ["core/", "sys/", "daemon/"];
    source.is_rust() && CRATES.iter().any(|path| source.path.starts_with(path))
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
        assert!(texts[1].contains("out of this room's range: its high byte is one of [04]"));
    }

    #[test]
    fn a_tests_own_records_are_its_own() {
        let text = format!("#[cfg(test)]\nmod tests {{\n{TWO}}}");
        assert_eq!(check(&[Source::new("core/src/record/ring.rs", text)]), []);
    }
}
