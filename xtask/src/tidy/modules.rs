//! Which files modules reach: a `.rs` that none reaches is dead, and one that
//! only `#[cfg(test)]` reaches is a test's.

use super::Finding;
use super::source::{Kind, Source};
use std::collections::BTreeMap;

/// Finds dead files, and marks those that only tests compile.
pub fn check(sources: &mut [Source]) -> Vec<Finding> {
    let index: BTreeMap<String, usize> = sources
        .iter()
        .enumerate()
        .filter(|(_, source)| source.is_rust())
        .map(|(at, source)| (source.path.clone(), at))
        .collect();
    // How each file is reached: false by a build, true by a test only.
    let mut reached: BTreeMap<usize, bool> = BTreeMap::new();
    let mut open: Vec<(usize, bool)> = index
        .iter()
        .filter_map(|(path, &at)| root_kind(path, sources).map(|test| (at, test)))
        .collect();
    while let Some((at, test)) = open.pop() {
        if reached
            .get(&at)
            .is_some_and(|&known| !known || known == test)
        {
            continue;
        }
        reached.insert(at, test);
        for (place, candidates) in children(
            &sources[at],
            root_kind(&sources[at].path, sources).is_some(),
        ) {
            let below = test || sources[at].in_test(place);
            let found = candidates.iter().find_map(|path| index.get(path));
            open.extend(found.map(|&child| (child, below)));
        }
    }
    let mut findings = Vec::new();
    for &at in index.values() {
        match reached.get(&at) {
            Some(&test) => sources[at].test_only = test,
            None => findings.push(Finding::new(
                &sources[at],
                0,
                "no module reaches this file: name it with `mod`, or delete it",
            )),
        }
    }
    findings
}

/// Whether cargo compiles the file by itself, and then whether for tests only.
fn root_kind(path: &str, sources: &[Source]) -> Option<bool> {
    let (package, inner) = sources
        .iter()
        .filter_map(|source| source.path.strip_suffix("Cargo.toml"))
        .filter_map(|package| Some((package, path.strip_prefix(package)?)))
        .min_by_key(|(_, inner)| inner.len())?;
    let manifest = sources
        .iter()
        .find(|source| source.path.strip_suffix("Cargo.toml") == Some(package))?;
    let named = manifest.text.lines().any(|line| {
        let line: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        line == format!("path=\"{inner}\"")
    });
    let parts: Vec<&str> = inner.split('/').collect();
    match parts[..] {
        ["src", "lib.rs" | "main.rs"] | ["build.rs"] => Some(false),
        ["src", "bin", _] | ["src", "bin", _, "main.rs"] => Some(false),
        ["tests", _] | ["tests", _, "main.rs"] => Some(true),
        ["benches", _] | ["benches", _, "main.rs"] => Some(true),
        ["examples", _] | ["examples", _, "main.rs"] => Some(false),
        _ if named => Some(false),
        _ => None,
    }
}

/// For every `mod name;` and `include!("file")`: where it stands, and the paths
/// it may mean.
fn children(source: &Source, root: bool) -> Vec<(usize, Vec<String>)> {
    let (dir, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let home = if root || stem == "mod" {
        dir.to_owned()
    } else {
        format!("{dir}/{stem}")
    };
    let mut found = Vec::new();
    for at in source.words("mod") {
        let rest = source.code[at + 3..].trim_start();
        let Some((name, _)) = rest.split_once(';') else {
            continue;
        };
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_alphanumeric()) {
            continue;
        }
        let mut candidates = vec![format!("{home}/{name}.rs"), format!("{home}/{name}/mod.rs")];
        if let Some(path) = path_attribute(&source.text[..at]) {
            candidates = vec![join(dir, path)];
        }
        found.push((at, candidates));
    }
    for at in source.words("include") {
        let rest = &source.text[at..];
        if let Some(rest) = rest.strip_prefix("include!(\"")
            && let Some((path, _)) = rest.split_once('"')
        {
            found.push((at, vec![join(dir, path)]));
        }
    }
    found.retain(|(at, _)| source.kind(*at) == Kind::Code);
    found
}

/// The file of a `#[path = "…"]` right before.
fn path_attribute(before: &str) -> Option<&str> {
    let before = before.trim_end();
    let before = before
        .strip_suffix("pub")
        .or_else(|| before.strip_suffix("pub(crate)"))
        .unwrap_or(before)
        .trim_end();
    let (_, attribute) = before.strip_suffix("\"]")?.rsplit_once("#[path = \"")?;
    (!attribute.contains('\n')).then_some(attribute)
}

fn join(dir: &str, path: &str) -> String {
    let mut parts: Vec<&str> = dir.split('/').collect();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Vec<Source> {
        files
            .iter()
            .map(|(path, text)| Source::new(*path, *text))
            .collect()
    }

    #[test]
    fn a_file_is_reached_through_every_kind_of_module() {
        let mut sources = tree(&[
            (
                "a/Cargo.toml",
                "[[bin]]\nname = \"f\"\npath = \"fuzz_targets/f.rs\"\n",
            ),
            (
                "a/src/lib.rs",
                "mod one;\npub mod two;\n#[path = \"odd/name.rs\"]\npub mod three;\n",
            ),
            ("a/src/one.rs", "mod deep;\n#[cfg(test)]\nmod tests;\n"),
            ("a/src/one/deep.rs", ""),
            ("a/src/one/tests.rs", "mod more;"),
            ("a/src/one/tests/more.rs", ""),
            ("a/src/two/mod.rs", "include!(\"../data.rs\");"),
            ("a/src/data.rs", ""),
            ("a/src/odd/name.rs", ""),
            ("a/fuzz_targets/f.rs", ""),
            ("a/tests/live.rs", "mod lab;"),
            ("a/tests/lab/mod.rs", ""),
        ]);
        assert_eq!(check(&mut sources), []);
        let tests: Vec<&str> = sources
            .iter()
            .filter(|source| source.test_only)
            .map(|source| source.path.as_str())
            .collect();
        assert_eq!(
            tests,
            [
                "a/src/one/tests.rs",
                "a/src/one/tests/more.rs",
                "a/tests/live.rs",
                "a/tests/lab/mod.rs"
            ]
        );
    }

    #[test]
    fn a_dead_file_is_found() {
        let mut sources = tree(&[
            ("a/Cargo.toml", ""),
            (
                "a/src/lib.rs",
                "// mod gone;\nmod inline { }\nconst S: &str = \"mod gone;\";",
            ),
            ("a/src/gone.rs", "mod child;"),
            ("a/src/gone/child.rs", ""),
        ]);
        let dead: Vec<_> = check(&mut sources).into_iter().map(|f| f.file).collect();
        assert_eq!(dead, ["a/src/gone.rs", "a/src/gone/child.rs"]);
    }
}
