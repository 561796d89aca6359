//! Every member of the workspace stands under its lints and its edition.

use super::Finding;
use super::source::Source;

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let Some(root) = sources.iter().find(|source| source.path == "Cargo.toml") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for member in members(&root.text) {
        let path = format!("{member}/Cargo.toml");
        let Some(manifest) = sources.iter().find(|source| source.path == path) else {
            let text = format!("member {member} has no Cargo.toml");
            findings.push(Finding::new(root, 0, text));
            continue;
        };
        for (section, key) in [
            ("[lints]", "workspace"),
            ("[package]", "edition.workspace"),
            ("[package]", "rust-version.workspace"),
            ("[package]", "license.workspace"),
        ] {
            if !holds(&manifest.text, section, key) {
                let text = format!("under {section} say `{key} = true`");
                findings.push(Finding::new(manifest, 0, text));
            }
        }
    }
    findings
}

fn members(manifest: &str) -> Vec<&str> {
    let list = manifest
        .split_once("\nmembers = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("", |(list, _)| list);
    list.split('"').skip(1).step_by(2).collect()
}

/// Whether `key = true` stands in the section.
fn holds(manifest: &str, section: &str, key: &str) -> bool {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != section)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .any(|line| {
            line.split_once('=')
                .is_some_and(|(name, value)| name.trim() == key && value.trim() == "true")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace]\nmembers = [\"a\", \"b\"]\nexclude = [\"c\"]\n";
    const GOOD: &str = "[package]\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n[lints]\nworkspace = true\n";

    #[test]
    fn a_member_without_the_lints_is_found() {
        let bad = GOOD.replace("[lints]\nworkspace", "[dependencies]\nworkspace");
        let sources = [
            Source::new("Cargo.toml", ROOT),
            Source::new("a/Cargo.toml", GOOD),
            Source::new("b/Cargo.toml", bad),
        ];
        let findings = check(&sources);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].file, "b/Cargo.toml");
        assert_eq!(findings[0].text, "under [lints] say `workspace = true`");
        assert_eq!(check(&sources[..2]).len(), 1, "b has no manifest");
    }
}
