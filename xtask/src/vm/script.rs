//! What the guest runs, as text: the init script with what it needs to know, and
//! the command with its surroundings.

use super::job::stty;
use super::{Kernel, Vm};
use crate::failure::{Failure, Result};
use crate::process;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

const INIT: &str = include_str!("init.sh");
const HOST: &str = include_str!("host.sh");
const QEMU: &str = include_str!("qemu.sh");

/// Variables of ours that the command sees as well: these, and those that begin
/// with one of [`KEPT_PREFIXES`].
const KEPT: [&str; 9] = [
    "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TERM", "NO_COLOR", "PATH",
];
const KEPT_PREFIXES: [&str; 6] = [
    "CARGO",
    "RUST",
    "PROPTEST_",
    "NEXTEST",
    "CLICOLOR",
    "TRUNNION_",
];

/// The job's directory first, then what the command needs to see.
pub fn shares(job: &Path, dir: &Path, vm: &Vm) -> Result<Vec<PathBuf>> {
    let mut wanted = vec![dir.to_owned(), process::root()];
    wanted.extend(
        [process::target_dir()]
            .into_iter()
            .filter(|dir| dir.exists()),
    );
    wanted.extend(vm.shares.iter().cloned());
    let mut kept = vec![job.to_owned()];
    for path in wanted {
        let path = canonical(&path)?;
        if !path.is_dir() {
            return Err(Failure::new(format!(
                "vm: {} is no directory and cannot be shared",
                path.display()
            )));
        }
        let hidden = ["/tmp", "/run"].iter().any(|top| path.starts_with(top));
        if hidden && !kept.contains(&path) {
            kept.push(path);
        }
    }
    // Parents first, so that no bind covers an earlier one.
    kept[1..].sort();
    Ok(kept)
}

pub fn init_script(vm: &Vm, job: &Path, shares: &[PathBuf]) -> Result<String> {
    let mut script = format!(
        "#!/bin/sh\nJOB={}\nINTERACTIVE={}\nset --",
        quoted(job.as_os_str())?,
        u8::from(vm.interactive)
    );
    for share in shares {
        script += " ";
        script += &quoted(share.as_os_str())?;
    }
    script += "\n";
    script += match vm.kernel {
        Kernel::Uml => INIT,
        Kernel::Host => HOST,
        Kernel::Qemu => QEMU,
    };
    Ok(script)
}

pub fn command_script<S: AsRef<OsStr>>(vm: &Vm, dir: &Path, command: &[S]) -> Result<String> {
    let mut script = String::new();
    let kept = std::env::vars().filter(|(name, _)| {
        KEPT.contains(&name.as_str()) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    });
    let ours = [("TRUNNION_VM".to_owned(), "1".to_owned())];
    for (name, value) in kept.chain(ours).chain(vm.env.iter().cloned()) {
        let plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !name.chars().all(plain)
        {
            return Err(Failure::new(format!("vm: {name:?} is no variable's name")));
        }
        script += &format!("export {name}={}\n", quoted(OsStr::new(&value))?);
    }
    script += "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin\n";
    script += &format!("cd {} || exit 125\n", quoted(dir.as_os_str())?);
    if vm.interactive
        && vm.kernel == Kernel::Uml
        && let Some(size) = stty(&["size"])
        && let Some((rows, columns)) = size.trim().split_once(' ')
    {
        script += &format!("stty rows {rows} cols {columns} 2>/dev/null\n");
    }
    script += "exec";
    for word in command {
        script += " ";
        script += &quoted(word.as_ref())?;
    }
    Ok(script + "\n")
}

/// A word as a shell reads it back unchanged.
fn quoted(word: &OsStr) -> Result<String> {
    let text = word
        .to_str()
        .ok_or_else(|| Failure::new(format!("vm: {} is not UTF-8", word.to_string_lossy())))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

pub fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(Failure::io("vm: cannot find", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_reads_a_quoted_word_back() {
        for word in ["", "a b", "it's", "$HOME `x` \\ \"q\"", "new\nline", "'"] {
            let line = format!("printf %s {}", quoted(OsStr::new(word)).unwrap());
            let read = process::stdout(Command::new("sh").args(["-c", &line])).unwrap();
            assert_eq!(read, word);
        }
    }

    #[test]
    fn a_variable_with_an_odd_name_is_refused() {
        for name in ["", "1A", "A-B", "A=B", "A;reboot"] {
            let vm = Vm {
                env: vec![(name.to_owned(), "x".to_owned())],
                ..Vm::default()
            };
            assert!(
                command_script(&vm, Path::new("/"), &["true"]).is_err(),
                "{name:?}"
            );
        }
    }
}
