//! An emulated machine with Debian's kernel for clouds: the second real kernel,
//! on which a system call costs what it costs beside the rest. Not a container
//! of tests: it sees no file of the host but those that are carried into it.
//!
//! Kernel and busybox are Debian packages, downloaded and unpacked below the
//! target directory, not installed.

use super::Vm;
use super::cpio::Archive;
use crate::failure::{Failure, Result};
use crate::process;
use crate::setup;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the kernel's package of today.
const KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";

/// Beside ip_vs and its schedulers, with all that these need.
const MODULES: [&str; 3] = ["veth", "dummy", "nf_conntrack"];

/// Programs that are carried into every guest, where the host has them.
const TOOLS: [&str; 1] = ["ipvsadm"];

/// The line that starts the machine. `job` has the scripts already; the
/// initramfs is put beside them.
///
/// # Errors
/// A package cannot be had, or a file that is to be carried cannot be read.
pub fn line<S: AsRef<OsStr>>(
    vm: &Vm,
    job: &Path,
    dir: &Path,
    command: &[S],
) -> Result<Vec<OsString>> {
    let qemu = process::which(QEMU).ok_or_else(|| {
        Failure::new(format!(
            "vm: there is no {QEMU}; `cargo xtask setup bench` installs it"
        ))
    })?;
    let kernel = unpacked(&setup::package_behind(KERNEL)?)?;
    let busybox = unpacked(BUSYBOX)?.join("bin/busybox");
    let modules = modules_dir(&kernel)?;

    let mut archive = Archive::default();
    archive.host_file(Path::new("/bin/busybox"), &busybox)?;
    let applets = process::stdout(Command::new(&busybox).arg("--list-full"))?;
    for name in ["init.sh", "command.sh"] {
        archive.host_file(&job.join(name), &job.join(name))?;
    }
    let programs = command.iter().take(1).map(AsRef::as_ref);
    let programs = programs.chain(TOOLS.map(OsStr::new));
    let found = programs.filter_map(|name| process::which(&name.to_string_lossy()));
    for path in found.chain(vm.carry.iter().cloned()) {
        carry(&mut archive, &path)?;
    }
    // After the host's, of which there is one of a name at most.
    for applet in applets.lines() {
        archive.link(&Path::new("/").join(applet), "/bin/busybox");
    }
    for path in ["/proc", "/sys", "/dev", "/run", "/tmp"] {
        archive.directory(Path::new(path));
    }
    archive.directory(dir);
    carry_modules(&mut archive, &kernel, &modules)?;
    let initramfs = job.join("initramfs");
    fs::write(&initramfs, archive.finish()).map_err(Failure::io("cannot write", &initramfs))?;

    let mut line: Vec<OsString> = vec![qemu.into()];
    line.extend(["-accel", "tcg", "-M", "q35", "-nodefaults", "-no-reboot"].map(OsString::from));
    line.extend(["-display", "none", "-m"].map(OsString::from));
    line.push(vm.mem_mib.to_string().into());
    line.extend(["-kernel".into(), image(&kernel)?.into()]);
    line.extend(["-initrd".into(), initramfs.into()]);
    line.push("-append".into());
    let init = job.join("init.sh");
    line.push(
        format!(
            "console=ttyS0 quiet panic=-1 norandmaps rdinit={}",
            init.display()
        )
        .into(),
    );
    for name in ["console", "stdout", "stderr", "control"] {
        let file = job.join(name);
        line.push("-chardev".into());
        line.push(format!("file,id={name},path={},append=on", file.display()).into());
        line.push("-serial".into());
        line.push(format!("chardev:{name}").into());
    }
    Ok(line)
}

const QEMU: &str = "qemu-system-x86_64";

/// What the guest said on its line of control: that it has started, and how it
/// ended.
pub struct Said {
    pub started: bool,
    /// The status' text.
    pub status: Option<String>,
    pub fault: Option<String>,
}

impl Said {
    /// Reads the job's file of it; only whole lines count.
    pub fn read(control: &Path) -> Self {
        let text = fs::read_to_string(control).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let after = |word| whole.lines().find_map(|line| line.strip_prefix(word));
        Self {
            started: whole.lines().any(|line| line == "started"),
            status: after("status ").map(str::to_owned),
            fault: after("fault ").map(str::to_owned),
        }
    }
}

/// Where a package lies unpacked; it is downloaded once.
fn unpacked(package: &str) -> Result<PathBuf> {
    let base = process::target_dir().join("vm");
    let dir = base.join(package);
    if dir.exists() {
        return Ok(dir);
    }
    let fresh = base.join(format!("{package}.new"));
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(Failure::io("cannot make", &fresh))?;
    let file = setup::download(package, &fresh)?;
    process::run(Command::new("dpkg").arg("-x").arg(&file).arg(&fresh))?;
    fs::remove_file(&file).map_err(Failure::io("cannot remove", &file))?;
    fs::rename(&fresh, &dir).map_err(Failure::io("cannot make", &dir))?;
    Ok(dir)
}

fn image(kernel: &Path) -> Result<PathBuf> {
    only(&kernel.join("boot"), "vmlinuz-")
}

/// The directory of modules, with its index.
fn modules_dir(kernel: &Path) -> Result<PathBuf> {
    let dir = only(&kernel.join("lib/modules"), "")?;
    if !dir.join("modules.dep").exists() {
        let version = dir.file_name().unwrap_or_default();
        process::run(Command::new("depmod").arg("-b").arg(kernel).arg(version))?;
    }
    Ok(dir)
}

/// The one file of a directory whose name begins so.
fn only(dir: &Path, begin: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).map_err(Failure::io("cannot list", dir))?;
    let mut names = entries.filter_map(|entry| Some(entry.ok()?.path()));
    names
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(begin))
        })
        .ok_or_else(|| Failure::new(format!("vm: no {begin}* in {}", dir.display())))
}

/// A program with the libraries it is linked to, at their own paths.
fn carry(archive: &mut Archive, path: &Path) -> Result {
    archive.host_file(path, path)?;
    // What is no dynamic program needs nothing more.
    let Ok(text) = process::stdout(Command::new("ldd").arg(path)) else {
        return Ok(());
    };
    for word in text.split_whitespace().filter(|word| word.starts_with('/')) {
        archive.host_file(Path::new(word), Path::new(word))?;
    }
    Ok(())
}

fn carry_modules(archive: &mut Archive, kernel: &Path, dir: &Path) -> Result {
    let index = dir.join("modules.dep");
    let text = fs::read_to_string(&index).map_err(Failure::io("cannot read", &index))?;
    let needs: BTreeMap<&str, Vec<&str>> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(module, needs)| (module, needs.split_whitespace().collect()))
        .collect();
    let mut wanted = BTreeSet::new();
    for (module, needs) in &needs {
        let file = module.rsplit('/').next().unwrap_or(module);
        let name = file.split('.').next().unwrap_or(file);
        if name.starts_with("ip_vs") || MODULES.contains(&name) {
            wanted.insert(*module);
            wanted.extend(needs);
        }
    }
    let inside = |path: &Path| Path::new("/").join(path.strip_prefix(kernel).unwrap_or(path));
    for name in ["modules.dep", "modules.alias"] {
        let path = dir.join(name);
        archive.host_file(&inside(&path), &path)?;
    }
    for module in wanted {
        let path = dir.join(module);
        archive.host_file(&inside(&path), &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_control_is_read_whole() {
        let file = std::env::temp_dir().join(format!("trunnion-control-{}", std::process::id()));
        let said = |text: &str| {
            fs::write(&file, text).unwrap();
            let Said {
                started,
                status,
                fault,
            } = Said::read(&file);
            (started, status, fault)
        };
        assert_eq!(said(""), (false, None, None));
        assert_eq!(said("started\nstatus 1"), (true, None, None));
        assert_eq!(
            said("started\nstatus 12\n"),
            (true, Some("12".into()), None)
        );
        assert_eq!(said("fault no lo\n"), (false, None, Some("no lo".into())));
        fs::remove_file(&file).unwrap();
        assert!(!Said::read(&file).started);
    }
}
