use super::*;
use crate::check::probe::pattern::{Pattern, Scan};
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec;

fn theirs(pattern: &str) -> regex::bytes::Regex {
    regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .build()
        .unwrap_or_else(|error| panic!("{pattern:?}: {error}"))
}

#[test]
fn patterns_an_operator_writes() {
    let table: [(&str, &[u8], bool); 16] = [
        ("OK", b"all OK here", true),
        ("^OK$", b"OK\n", false),
        (r"^OK\s*$", b"OK\n", true),
        (r#""status"\s*:\s*"(up|ok)""#, br#"{"status": "ok"}"#, true),
        (
            r#""status"\s*:\s*"(up|ok)""#,
            br#"{"status": "oks"}"#,
            false,
        ),
        ("^(?:a|b){2,3}$", b"aba", true),
        ("^(?:a|b){2,3}$", b"abab", false),
        ("(?i)healthy", b"HeAlThY", true),
        ("[^a-z]", b"abc", false),
        ("a.c", b"a\nc", false),
        ("^$", b"", true),
        ("^$", b"x", false),
        ("^a|b$", b"xb", true),
        ("^a|b$", b"xbx", false),
        (r"\x00\xff", &[1, 0, 255], true),
        ("x{0}y", b"y", true),
    ];
    for (pattern, text, expect) in table {
        let regex = Regex::new(pattern).unwrap();
        assert_eq!(regex.is_match(text), expect, "{pattern:?}");
        assert_eq!(theirs(pattern).is_match(text), expect, "{pattern:?}");
    }
}

#[test]
fn faults_are_named_with_their_column() {
    use RegexFault::*;
    let deep = "(".repeat(17);
    let table: [(&str, usize, RegexFault); 30] = [
        ("a(b", 2, OpenGroup),
        ("ab)", 3, CloseGroup),
        ("(?P<n>a)", 2, Extension),
        ("a(?i)b", 3, Extension),
        ("[a", 1, Set),
        ("x[]", 3, Set),
        ("[z-a]", 5, Range),
        (r"[\d-z]", 4, Range),
        ("[a[b]", 3, Unescaped),
        ("[a&&b]", 3, Unescaped),
        ("[a--b]", 4, Unescaped),
        ("[a-b-c]", 5, Unescaped),
        ("a]", 2, Unescaped),
        ("a}", 2, Unescaped),
        ("*a", 1, Repetition),
        ("a**", 3, Repetition),
        ("a|+", 3, Repetition),
        ("a{2}{2}", 5, Repetition),
        ("a{3,2}", 2, Count),
        ("a{,2}", 2, Count),
        ("a{2", 2, Count),
        ("a{99999}", 2, Count),
        ("a^b", 2, Anchor),
        ("a$b", 3, Anchor),
        ("(a$)", 3, Anchor),
        (r"a\q", 2, Escape),
        (r"a\", 2, Escape),
        (r"\x1g", 1, Escape),
        ("gr\u{fc}n", 3, NotAscii),
        ("(a{8}){9}", 10, TooLong),
    ];
    for (pattern, column, fault) in table {
        assert_eq!(
            Regex::new(pattern),
            Err(RegexError { column, fault }),
            "{pattern:?}"
        );
    }
    assert_eq!(Regex::new(&deep).unwrap_err().fault, TooDeep);
    assert_eq!(
        format!("{}", Regex::new("ab)").unwrap_err()),
        "column 3: no group is open: write \\)"
    );
}

#[test]
fn all_places_can_be_used() {
    let pattern = "^a{64}$";
    let regex = Regex::new(pattern).unwrap();
    assert!(regex.is_match(&[b'a'; 64]));
    assert!(!regex.is_match(&[b'a'; 63]));
    assert!(!regex.is_match(&[b'a'; 65]));
    assert_eq!(Regex::new("a{65}").unwrap_err().fault, RegexFault::TooLong);
}

/// Patterns of the dialect that come close to texts of `abAB\n-`.
fn patterns() -> impl Strategy<Value = String> {
    let byte = prop_oneof![
        5 => prop::sample::select(Vec::from(["a", "b", "A", "B", "-", r"\n", r"\x61", r"\-", r"\."]))
            .prop_map(String::from),
        1 => Just(String::from(".")),
        1 => prop::sample::select(Vec::from([r"\d", r"\w", r"\s", r"\D", r"\W", r"\S"]))
            .prop_map(String::from),
        2 => (any::<bool>(), prop::collection::vec(
            prop::sample::select(Vec::from(["a", "b", "A-B", "a-b", r"\n", r"\s", r"\W"])), 1..4))
            .prop_map(|(others, items)| format!("[{}{}]", if others { "^" } else { "" }, items.concat())),
    ];
    let group = byte.prop_recursive(3, 12, 4, |inner| {
        let repetition = prop::sample::select(Vec::from([
            "", "", "", "*", "+", "?", "*?", "{0}", "{2}", "{1,}", "{0,2}", "{1,3}?",
        ]));
        let item = (inner, repetition).prop_map(|(atom, repetition)| {
            let single = atom.len() == 1 || atom.starts_with('[') || atom.starts_with('(');
            let single = single || atom.starts_with('\\');
            if single {
                format!("{atom}{repetition}")
            } else {
                format!("(?:{atom}){repetition}")
            }
        });
        prop::collection::vec(prop::collection::vec(item, 0..4), 1..3).prop_map(|alternatives| {
            let alternatives: Vec<String> =
                alternatives.iter().map(|items| items.concat()).collect();
            format!("({})", alternatives.join("|"))
        })
    });
    let whole = prop::collection::vec((any::<bool>(), group, any::<bool>()), 1..3);
    (any::<bool>(), whole).prop_map(|(fold, alternatives)| {
        let alternatives: Vec<String> = alternatives
            .iter()
            .map(|(start, group, end)| {
                let (start, end) = (if *start { "^" } else { "" }, if *end { "$" } else { "" });
                format!("{start}{group}{end}")
            })
            .collect();
        format!(
            "{}{}",
            if fold { "(?i)" } else { "" },
            alternatives.join("|")
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// What the dialect says, the regex crate says, however the text is cut.
    #[test]
    fn the_dialect_means_what_the_regex_crate_means(
        pattern in patterns(),
        texts in prop::collection::vec(
            prop::collection::vec(prop::sample::select(b"aabbAB\n-.1\xff".to_vec()), 0..12), 8),
        cut in 0..12_usize,
    ) {
        let regex = match Regex::new(&pattern) {
            Ok(regex) => regex,
            Err(RegexError { fault: RegexFault::TooLong, .. }) => return Ok(()),
            Err(error) => panic!("{pattern:?}: {error}"),
        };
        let theirs = theirs(&pattern);
        for text in &texts {
            prop_assert_eq!(regex.is_match(text), theirs.is_match(text), "{:?} {:?}", &pattern, text);
            let (left, right) = text.split_at(cut.min(text.len()));
            let cut = Pattern::Regex(&regex);
            let mut scan = Scan::new(cut);
            scan.feed(cut, left);
            scan.feed(cut, right);
            prop_assert_eq!(scan.end(cut), theirs.is_match(text), "{:?} {:?}", &pattern, text);
        }
    }

    /// Any text is a pattern or has a fault in it, and what is a pattern here
    /// is one there, with the same meaning.
    #[test]
    fn any_text(pattern in r"[ab\\dwx0-9(){}\[\]^$.|?*+,\-&~:i]{0,14}", text in "[ab0-9-]{0,10}") {
        match Regex::new(&pattern) {
            Ok(regex) => prop_assert_eq!(
                regex.is_match(text.as_bytes()),
                theirs(&pattern).is_match(text.as_bytes()),
                "{:?} {:?}", &pattern, &text
            ),
            Err(error) => prop_assert!((1..=pattern.len() + 1).contains(&error.column)),
        }
    }
}
