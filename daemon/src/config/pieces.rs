//! The file cut into pieces: each `[[service]]` with the tables below it, and
//! the rest. Not a parser: it looks at lines.
//!
//! TOML is read from left to right, so where every piece is a document of its
//! own, the whole is what they are together. A line in the middle of a list or
//! of a long text that looks like a header leaves a piece that is no document.

use std::ops::Range;

/// Where the pieces are, bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Each service, from its header to what comes after it.
    pub services: Vec<Range<usize>>,
    /// What is between them, in order.
    pub rest: Vec<Range<usize>>,
}

/// A table's header, for its place.
enum Header {
    Service,
    BelowService,
    Other,
}

/// Cuts the text; its pieces together are all of it.
pub(super) fn cut(text: &str) -> Pieces {
    let mut pieces = Pieces::default();
    let (mut in_service, mut start, mut at) = (false, 0, 0);
    for line in text.split_inclusive('\n') {
        let cuts = match header(line) {
            Some(Header::Service) => Some(true),
            Some(Header::Other) if in_service => Some(false),
            Some(Header::Other | Header::BelowService) | None => None,
        };
        if let Some(service) = cuts {
            pieces.push(in_service, start..at);
            (in_service, start) = (service, at);
        }
        at += line.len();
    }
    pieces.push(in_service, start..at);
    pieces
}

impl Pieces {
    fn push(&mut self, service: bool, piece: Range<usize>) {
        if service {
            self.services.push(piece);
        } else if !piece.is_empty() {
            self.rest.push(piece);
        }
    }
}

fn header(line: &str) -> Option<Header> {
    let blanks = [' ', '\t'];
    let inner = line.trim_start_matches(blanks).strip_prefix('[')?;
    let (double, inner) = match inner.strip_prefix('[') {
        Some(inner) => (true, inner),
        None => (false, inner),
    };
    let after = inner.trim_start_matches(blanks).strip_prefix("service");
    let next = after.and_then(|after| after.trim_start_matches(blanks).bytes().next());
    Some(match next {
        Some(b']') if double => Header::Service,
        Some(b']' | b'.') => Header::BelowService,
        Some(_) | None => Header::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces' texts: services, then the rest.
    fn check(text: &str, services: &[&str], rest: &[&str]) {
        let of = |ranges: &[Range<usize>]| -> Vec<String> {
            let texts = ranges.iter().map(|range| text[range.clone()].to_owned());
            texts.collect()
        };
        let pieces = cut(text);
        assert_eq!(of(&pieces.services), services, "{text}");
        assert_eq!(of(&pieces.rest), rest, "{text}");
    }

    #[test]
    fn a_service_has_all_that_is_below_its_header() {
        check("", &[], &[]);
        check("a = 1\n[node]\n", &[], &["a = 1\n[node]\n"]);
        check(
            "[node]\n[[service]]\na = 1\n  [[ service . backend ]]\nb\n[service.check]\n[[service]] # x\n[ipvs]\nc\n\t[[service]]",
            &[
                "[[service]]\na = 1\n  [[ service . backend ]]\nb\n[service.check]\n",
                "[[service]] # x\n",
                "\t[[service]]",
            ],
            &["[node]\n", "[ipvs]\nc\n"],
        );
        // What is no list of services is not cut off, and found by its reader.
        check(
            "[service]\n[services]\n[[service\n",
            &[],
            &["[service]\n[services]\n[[service\n"],
        );
    }
}
