//! A file as the rules see it: its text, and for Rust, which bytes are code,
//! comment or literal, and which are compiled for tests only.
//!
//! Not a parser: enough of the lexer to never take a word in a string for code.

/// What a byte of a Rust file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Code,
    Comment,
    Literal,
}

/// A file of the tree.
#[derive(Clone, Debug)]
pub struct Source {
    /// Relative to the repository's root, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments and literals blanked, byte for byte; of a file
    /// that is not Rust, nothing but blanks.
    pub code: String,
    /// Whether no build but a test's reaches the file; `modules` finds out.
    pub test_only: bool,
    kinds: Vec<Kind>,
    tests: Vec<std::ops::Range<usize>>,
}

impl Source {
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let kinds = if path.ends_with(".rs") {
            classify(text.as_bytes())
        } else {
            vec![Kind::Literal; text.len()]
        };
        let code = blank(&text, &kinds, Kind::Code);
        let tests = test_regions(&code);
        Self {
            path,
            text,
            code,
            test_only: false,
            kinds,
            tests,
        }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn kind(&self, at: usize) -> Kind {
        self.kinds[at]
    }

    /// Whether only tests compile what is at `at`.
    pub fn in_test(&self, at: usize) -> bool {
        self.test_only || self.tests.iter().any(|region| region.contains(&at))
    }

    /// The line of a byte, from 1.
    pub fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count()
    }

    /// The places of `word` in the code, where it stands as a whole word.
    pub fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        whole_words(&self.code, word)
    }
}

/// Where `word` stands in `text` with no letter, digit or `_` beside it.
pub fn whole_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let inside = |c: char| c == '_' || c.is_alphanumeric();
    text.match_indices(word).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        (!before.is_some_and(inside) && !after.is_some_and(inside)).then_some(at)
    })
}

fn blank(text: &str, kinds: &[Kind], keep: Kind) -> String {
    let bytes = text
        .bytes()
        .zip(kinds)
        .map(|(byte, kind)| match byte {
            b'\n' => b'\n',
            byte if *kind == keep && byte.is_ascii() => byte,
            _ => b' ',
        })
        .collect::<Vec<u8>>();
    String::from_utf8(bytes).expect("only ASCII was kept")
}

fn classify(text: &[u8]) -> Vec<Kind> {
    let mut kinds = Vec::with_capacity(text.len());
    while let Some(&byte) = text.get(kinds.len()) {
        let rest = &text[kinds.len()..];
        let before = kinds.len().checked_sub(1).map(|at| text[at]);
        let word = before.is_some_and(|b| b == b'_' || b.is_ascii_alphanumeric());
        let (len, kind) = match byte {
            b'/' if rest.starts_with(b"//") => (until(rest, b"\n"), Kind::Comment),
            b'/' if rest.starts_with(b"/*") => (block_comment(rest), Kind::Comment),
            b'"' => (string(rest), Kind::Literal),
            b'r' | b'b' | b'c' if !word && raw_string(rest) > 0 => {
                (raw_string(rest), Kind::Literal)
            }
            b'\'' if char_literal(rest) > 0 => (char_literal(rest), Kind::Literal),
            _ => (1, Kind::Code),
        };
        kinds.resize(kinds.len() + len.clamp(1, rest.len()), kind);
    }
    kinds
}

fn until(text: &[u8], end: &[u8]) -> usize {
    text.windows(end.len())
        .position(|window| window == end)
        .unwrap_or(text.len())
}

fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a string that begins with a quote.
fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The length of `r#"…"#`, `br"…"` and the like; 0 if it is none.
fn raw_string(text: &[u8]) -> usize {
    let prefix = text.iter().take_while(|b| b"bcr".contains(b)).count();
    if prefix > 2 || !text[..prefix].contains(&b'r') {
        return 0;
    }
    let hashes = text[prefix..].iter().take_while(|&&b| b == b'#').count();
    let open = prefix + hashes;
    if text.get(open) != Some(&b'"') {
        return 0;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let body = open + 1;
    body + until(&text[body..], &end) + end.len()
}

/// The length of `'x'`; 0 if the quote begins a lifetime.
fn char_literal(text: &[u8]) -> usize {
    match text.get(1) {
        Some(b'\\') => text
            .iter()
            .skip(3)
            .position(|&b| b == b'\'')
            .map_or(0, |at| at + 4),
        Some(_) => {
            let end = text
                .iter()
                .skip(2)
                .take(4)
                .position(|&b| b == b'\'')
                .map_or(0, |at| at + 3);
            // 'a, 'b: two lifetimes are no character.
            let ascii = text[1].is_ascii();
            if ascii && end != 3 { 0 } else { end }
        }
        None => 0,
    }
}

/// The items under `#[cfg(test)]`, to the end of their braces or semicolon.
fn test_regions(code: &str) -> Vec<std::ops::Range<usize>> {
    let mut regions = Vec::new();
    for attribute in ["#[cfg(test)]", "#[test]"] {
        for (from, _) in code.match_indices(attribute) {
            regions.push(from..item_end(code, from + attribute.len()));
        }
    }
    if code.contains("#![cfg(test)]") {
        regions.push(0..code.len());
    }
    regions
}

/// The end of the item that begins at `from`: its block's, or its semicolon's.
pub fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && byte == b'}' {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_comments_and_literals_are_no_code() {
        let text = r####"
fn unsafe_one<'a>(x: &'a str) -> char { '\'' } // unsafe
/* unsafe /* unsafe */ unsafe */ let s = "unsafe \" unsafe"; let t = r#"unsafe " "#;
let c = ('"', b'u', 'é', "unsafe"); br"unsafe"; let l: Foo<'a, 'b>; unsafe {}
"####;
        let source = Source::new("a.rs", text);
        assert_eq!(
            source.words("unsafe").collect::<Vec<_>>(),
            [text.rfind("unsafe {").unwrap()]
        );
        assert_eq!(source.code.len(), text.len());
        assert_eq!(source.code.matches('\n').count(), 4);
        assert!(source.code.contains("Foo<'a, 'b>"));
    }

    #[test]
    fn what_only_tests_compile_is_known() {
        let text =
            "a;\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nc;\n#[cfg(test)]\nuse x::{y};\nd;";
        let source = Source::new("a.rs", text);
        for (word, test) in [
            ("a", false),
            ("b", true),
            ("c;", false),
            ("y", true),
            ("d;", false),
        ] {
            let at = source.code.rfind(word).unwrap();
            let at = if word == "a" { 0 } else { at };
            assert_eq!(source.in_test(at), test, "{word}");
        }
        assert_eq!(source.line(text.find("c;").unwrap()), 6);
    }

    #[test]
    fn a_file_that_is_not_rust_has_no_code() {
        let source = Source::new("a.toml", "unsafe = 1\n");
        assert_eq!(source.words("unsafe").count(), 0);
    }
}
