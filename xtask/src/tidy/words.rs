//! Words that have a better one, and paths that mean one machine.
//!
//! A line that must say one, to quote a kernel or a peer, ends with a comment
//! `tidy: allow(word): reason`.

use super::Finding;
use super::source::{Kind, Source, whole_words};

/// Where a word is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// Code, comments, literals and documents. A literal that is the word alone
    /// is an argument of another program (`ip link set x master br0`).
    Anywhere,
    /// Rust code only.
    Code,
    /// Rust code and comments.
    CodeAndComments,
}

/// A word and what to write instead. Case counts: `IP_VS_STATE_MASTER` and
/// keepalived's `state MASTER` are quoted as they are.
const WORDS: &[(&str, Where, &str)] = &[
    (
        "master",
        Where::Anywhere,
        "Active (RFC 9568), or main for a branch",
    ),
    ("Master", Where::Anywhere, "Active (RFC 9568)"),
    (
        "slave",
        Where::Anywhere,
        "Backup (RFC 9568), or port of a bridge",
    ),
    (
        "Slave",
        Where::Anywhere,
        "Backup (RFC 9568), or port of a bridge",
    ),
    ("whitelist", Where::Anywhere, "allow list"),
    ("blacklist", Where::Anywhere, "deny list"),
    ("todo!", Where::Code, "the thing itself, or nothing"),
    (
        "unimplemented!",
        Where::Code,
        "the thing itself, or an error that says so",
    ),
    ("dbg!", Where::Code, "a log record"),
    (
        "TODO",
        Where::CodeAndComments,
        "the thing itself, or an issue",
    ),
    (
        "FIXME",
        Where::CodeAndComments,
        "the thing itself, or an issue",
    ),
    (
        "XXX",
        Where::CodeAndComments,
        "the thing itself, or an issue",
    ),
    ("HACK", Where::CodeAndComments, "why it must be so"),
];

/// Beginnings of paths that exist on one machine.
const MACHINES: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("/mnt", "/c/"),
];

/// What other programs said, word for word.
const RECORDED: &str = "tests/golden/";

/// The files that hold these tables.
const SELF: &str = "xtask/src/tidy/";

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        machines(source, &mut findings);
        let quoted = source.path.starts_with(RECORDED);
        if !source.path.starts_with(SELF) && source.path != "LICENSE" && !quoted {
            words(source, &mut findings);
        }
        if source.is_rust() {
            ignored_tests(source, &mut findings);
        }
        if source.path.contains("rust-toolchain") {
            let text =
                "no file chooses the toolchain: rust-version in Cargo.toml says what we need";
            findings.push(Finding::new(source, 0, text));
        }
    }
    findings
}

fn machines(source: &Source, findings: &mut Vec<Finding>) {
    for path in MACHINES {
        for (at, _) in source.text.match_indices(path) {
            let before = source.text[..at].chars().next_back();
            let inside = before.is_some_and(|c| c.is_alphanumeric() || "/._-}".contains(c));
            if !inside {
                let text = format!(
                    "{path}… exists on one machine: take a path from the caller or the environment"
                );
                findings.push(Finding::new(source, source.line(at), text));
            }
        }
    }
}

fn words(source: &Source, findings: &mut Vec<Finding>) {
    for &(word, place, instead) in WORDS {
        for at in whole_words(&source.text, word) {
            let wanted = match (place, source.is_rust()) {
                (Where::Anywhere, _) => !alone(source, at, word),
                (Where::Code, true) => source.kind(at) == Kind::Code,
                (Where::CodeAndComments, true) => source.kind(at) != Kind::Literal,
                (Where::Code | Where::CodeAndComments, false) => false,
            };
            let line = source.line(at);
            if wanted && !allowed(source, line, word) {
                let text = format!("not {word:?} but: {instead}");
                findings.push(Finding::new(source, line, text));
            }
        }
    }
}

/// Whether the word stands alone between quotes or backticks.
fn alone(source: &Source, at: usize, word: &str) -> bool {
    let before = source.text[..at].chars().next_back();
    let after = source.text[at + word.len()..].chars().next();
    before == after && matches!(before, Some('"' | '`' | '\''))
}

fn allowed(source: &Source, line: usize, word: &str) -> bool {
    let text = source.text.lines().nth(line - 1).unwrap_or("");
    text.split_once(&format!("tidy: allow({word}):"))
        .is_some_and(|(_, reason)| reason.trim().len() > 3)
}

/// `#[ignore]` says why: the runner prints it.
fn ignored_tests(source: &Source, findings: &mut Vec<Finding>) {
    for (at, _) in source.code.match_indices("#[ignore]") {
        let text = "say why: `#[ignore = \"needs …\"]`";
        findings.push(Finding::new(source, source.line(at), text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &str, text: &str) -> Vec<String> {
        check(&[Source::new(path, text)])
            .into_iter()
            .map(|finding| format!("{}: {}", finding.line, finding.text))
            .collect()
    }

    #[test]
    fn a_banned_word_is_found_with_its_better_one() {
        let text =
            "// becomes master\nlet slave = 1;\nlet s = \"the master\";\nlet t = Master::new();";
        let found = texts("core/src/a.rs", text);
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(
            found[0],
            "1: not \"master\" but: Active (RFC 9568), or main for a branch"
        );
        assert_eq!(texts("README.md", "the Master node").len(), 1);
    }

    #[test]
    fn a_quoted_word_is_not_ours() {
        let text = "let a = [\"set\", \"master\", \"br0\"];\nconst IP_VS_STATE_MASTER: u32 = 1;\n// keepalived's `state MASTER`\nlet b = \"ip link set a master b\"; // tidy: allow(master): the words of ip-link(8)\nlet ipmaster = 1;";
        assert_eq!(texts("core/src/a.rs", text), [""; 0]);
        let bare = "// the slave // tidy: allow(slave):";
        assert!(
            !texts("core/src/a.rs", bare).is_empty(),
            "a reason is missing"
        );
    }

    #[test]
    fn unfinished_things_are_found_in_code_only() {
        let text = "todo!()\nunimplemented!()\ndbg!(x)\n// TODO later\nlet s = \"todo!() TODO\";\n// todo! is banned";
        let lines: Vec<_> = texts("a.rs", text)
            .iter()
            .map(|text| text[..1].to_owned())
            .collect();
        assert_eq!(lines, ["1", "2", "3", "4"]);
        assert_eq!(texts("a.md", "TODO"), [""; 0]);
    }

    #[test]
    fn an_ignored_test_says_why() {
        assert_eq!(texts("a.rs", "#[test]\n#[ignore]\nfn a() {}").len(), 1);
        assert_eq!(
            texts("a.rs", "#[test]\n#[ignore = \"needs root\"]\nfn a() {}"),
            [""; 0]
        );
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for machine in MACHINES {
            assert_eq!(
                texts("a.sh", &format!("cd {machine}me")).len(),
                1,
                "{machine}"
            );
            assert_eq!(
                texts("a.sh", &format!("cd /srv{machine}me")),
                [""; 0],
                "{machine}"
            );
        }
    }

    #[test]
    fn a_toolchain_file_is_found() {
        assert_eq!(texts("rust-toolchain.toml", "").len(), 1);
    }
}
