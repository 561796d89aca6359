//! How long a file may be: a room that outgrows its file is two rooms.

use super::Finding;
use super::source::Source;

/// Lines of a Rust file, tests and all.
const LINES_MAX: usize = 500;

/// Files that are longer, and how long they are now. A number here may only go
/// down: split the file rather than raise it.
const LONGER: &[(&str, usize)] = &[];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    against(sources, LONGER)
}

fn against(sources: &[Source], longer: &[(&str, usize)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let lines = source.text.lines().count();
        let known = longer.iter().find(|(path, _)| *path == source.path);
        let text = match known {
            Some((_, allowed)) if lines > *allowed => {
                format!("{lines} lines, and it may only shrink (it had {allowed}): split it")
            }
            Some((_, allowed)) if lines <= LINES_MAX => {
                format!(
                    "{lines} lines: no longer an exception; take it (it had {allowed}) from xtask's tidy/lengths.rs"
                )
            }
            Some((_, allowed)) if lines < *allowed => {
                format!(
                    "{lines} lines, less than {allowed}: lower its number in xtask's tidy/lengths.rs"
                )
            }
            None if lines > LINES_MAX => {
                format!("{lines} lines, more than {LINES_MAX}: two rooms in one; split it")
            }
            Some(_) | None => continue,
        };
        findings.push(Finding::new(source, lines, text));
    }
    for (path, _) in longer {
        if !sources.iter().any(|source| source.path == *path) {
            findings.push(Finding {
                file: "xtask/src/tidy/lengths.rs".to_owned(),
                line: 0,
                text: format!("{path} is gone: take it from the table"),
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratchet_turns_one_way() {
        for (lines, longer, expect) in [
            (500, None, None),
            (501, None, Some("more than 500")),
            (600, Some(600), None),
            (601, Some(600), Some("may only shrink")),
            (599, Some(600), Some("lower its number")),
            (500, Some(600), Some("no longer an exception")),
        ] {
            let source = Source::new("core/src/a.rs", "x\n".repeat(lines));
            let table: Vec<_> = longer.map(|n| ("core/src/a.rs", n)).into_iter().collect();
            let findings = against(&[source], &table);
            match expect {
                None => assert_eq!(findings, []),
                Some(words) => assert!(findings[0].text.contains(words), "{findings:?}"),
            }
        }
    }

    #[test]
    fn the_table_names_files_that_exist() {
        assert_eq!(against(&[], &[("core/src/a.rs", 600)]).len(), 1);
    }
}
