//! Where `unsafe` may be, and that each says why it holds.

use super::Finding;
use super::source::{Kind, Source};

/// Where unsafe code lives. One address.
const HOME: &str = "sys/";

/// Other places, each with its reason.
const GUESTS: [(&str, &str); 1] = [(
    "tests/no-alloc/src/lib.rs",
    "a program without std names its own main and abort",
)];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let home = source.path.starts_with(HOME);
        let guest = GUESTS.iter().any(|(path, _)| source.path == *path);
        for at in source.words("unsafe") {
            let rest = source.code[at + "unsafe".len()..].trim_start();
            let line = source.line(at);
            if !home && !guest {
                let text = "unsafe lives in sys: move it there, or do without";
                findings.push(Finding::new(source, line, text));
            }
            let promise = rest.starts_with('{') || rest.starts_with("impl");
            if promise && !explained(source, at) {
                let text = "say above it what holds and who promises it: `// SAFETY: …`";
                findings.push(Finding::new(source, line, text));
            }
            let declared = rest.starts_with("fn") && !source.in_test(at);
            if declared && !of_a_trait(source, line) && !documented(source, line) {
                let text = "an unsafe fn has a `# Safety` section: what the caller must keep";
                findings.push(Finding::new(source, line, text));
            }
        }
    }
    findings
}

/// Whether a SAFETY comment with words stands on the same line or right above
/// the statement, which may have begun a few lines earlier.
fn explained(source: &Source, at: usize) -> bool {
    const STATEMENT_LINES: usize = 4;
    let lines: Vec<&str> = source.text.lines().collect();
    let line = source.line(at) - 1;
    let says = |text: &str| {
        text.split_once("SAFETY:")
            .is_some_and(|(_, why)| why.trim().len() > 3)
    };
    if comment_on(source, line).is_some_and(says) {
        return true;
    }
    let mut above = line;
    for _ in 0..STATEMENT_LINES {
        let Some(next) = above.checked_sub(1) else {
            return false;
        };
        above = next;
        if lines[above].trim_start().starts_with("//") {
            break;
        }
    }
    let mut comment = Vec::new();
    while lines[above].trim_start().starts_with("//") {
        comment.insert(0, lines[above].trim_start().trim_start_matches('/'));
        match above.checked_sub(1) {
            Some(next) => above = next,
            None => break,
        }
    }
    says(&comment.join(" "))
}

/// The comment at the end of a line.
fn comment_on(source: &Source, line: usize) -> Option<&str> {
    let text = source.text.lines().nth(line)?;
    let from = source
        .text
        .split_inclusive('\n')
        .take(line)
        .map(str::len)
        .sum::<usize>();
    let at = text.find("//")?;
    (source.kind(from + at) == Kind::Comment).then(|| &text[at..])
}

/// Whether the function implements a trait's, which has the section.
fn of_a_trait(source: &Source, line: usize) -> bool {
    let item = source
        .code
        .lines()
        .take(line - 1)
        .filter(|text| text.starts_with(|c: char| c.is_alphabetic()));
    let indented = source.code.lines().nth(line - 1);
    indented.is_some_and(|text| text.starts_with(' '))
        && item
            .last()
            .is_some_and(|text| text.contains("impl") && text.contains(" for "))
}

fn documented(source: &Source, line: usize) -> bool {
    source
        .text
        .lines()
        .take(line - 1)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .take_while(|text| {
            let text = text.trim_start();
            text.starts_with("///") || text.starts_with("#[")
        })
        .any(|text| text.contains("# Safety"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&[Source::new(path, text)])
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn unsafe_is_found_outside_its_home() {
        assert_eq!(
            lines(
                "daemon/src/main.rs",
                "\n// SAFETY: it is fine.\nunsafe { x() }"
            ),
            [3]
        );
        assert_eq!(
            lines("sys/src/a.rs", "\n// SAFETY: it is fine.\nunsafe { x() }"),
            []
        );
    }

    #[test]
    fn each_block_says_why() {
        for (text, expect) in [
            ("unsafe { x() }", vec![1]),
            ("// SAFETY:\nunsafe { x() }", vec![2]),
            ("// because\nunsafe { x() }", vec![2]),
            (
                "// SAFETY: the kernel wrote\n// len bytes.\nlet a =\n    unsafe { x() };",
                vec![],
            ),
            (
                "// SAFETY: one.\nf();\ng();\nh();\ni();\nunsafe { x() }",
                vec![6],
            ),
            ("f(unsafe { x() }) // SAFETY: x has no state.", vec![]),
            ("unsafe impl Send for X {}", vec![1]),
            ("/// X.\nunsafe fn x() {}", vec![2]),
            (
                "// SAFETY: it is.\nunsafe impl A for B {\n    unsafe fn x() {}\n}",
                vec![],
            ),
            ("impl B {\n    unsafe fn x() {}\n}", vec![2]),
            (
                "/// X.\n///\n/// # Safety\n/// Once.\n#[inline]\nunsafe fn x() {}",
                vec![],
            ),
        ] {
            assert_eq!(lines("sys/src/a.rs", text), expect, "{text}");
        }
    }
}
