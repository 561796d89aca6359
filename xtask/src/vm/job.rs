//! One run of a VM: its directory, its process group, its terminal. The
//! directory is the whole protocol between host and guest.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `init.sh`, `command.sh` | host | what the guest runs |
//! | `started` | guest | the kernel is up, the command begins |
//! | `stdout`, `stderr` | guest | the command's output |
//! | `status` | guest | its exit status: the end |
//! | `fault` | guest | why it could not be prepared |
//! | `console` | kernel | its messages; an interactive command's screen |
//! | `control` | guest | all of these, where it sees no file of the host |
//! | `gone` | leash | the kernel ended, with this status |

use super::qemu::{self, Said};
use super::script::{canonical, command_script, init_script, shares};
use super::{Kernel, Vm};
use crate::failure::{Failure, Result};
use crate::process;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const LEASH: &str = include_str!("leash.sh");

/// A running VM. Dropping it ends every process of it and removes its files.
pub struct Job {
    dir: PathBuf,
    kernel: Kernel,
    leash: Child,
}

impl Job {
    /// Writes the directory and starts the VM.
    pub fn start<S: AsRef<OsStr>>(vm: &Vm, command: &[S]) -> Result<Self> {
        let line = match vm.kernel {
            Kernel::Uml => vec![process::which("linux.uml").ok_or_else(|| {
                Failure::new(
                    "vm: there is no linux.uml; `cargo xtask setup` installs it \
                         (apt-get install user-mode-linux)",
                )
            })?],
            Kernel::Host if !super::ip_vs_on_host() => {
                return Err(Failure::new(
                    "vm: --host needs root and a kernel with ip_vs (modprobe ip_vs)",
                ));
            }
            Kernel::Qemu if vm.interactive => {
                return Err(Failure::new(
                    "vm: --qemu has no terminal; leave out --interactive",
                ));
            }
            Kernel::Host | Kernel::Qemu => Vec::new(),
        };
        let dir = make_dir()?;
        // From here on the directory goes when `Files` does, unless the leash
        // has it.
        let files = Files(dir);
        let write = |name: &str, text: String| {
            let path = files.0.join(name);
            fs::write(&path, text).map_err(Failure::io("cannot write", &path))
        };
        let cwd = std::env::current_dir()
            .map_err(|error| Failure::new(format!("no working directory: {error}")))?;
        let inside = canonical(vm.dir.as_deref().unwrap_or(&cwd))?;
        write("command.sh", command_script(vm, &inside, command)?)?;
        let shares = shares(&files.0, &inside, vm)?;
        write("init.sh", init_script(vm, &files.0, &shares)?)?;
        for name in ["stdout", "stderr", "console", "control"] {
            write(name, String::new())?;
        }
        let init = files.0.join("init.sh");
        make_executable(&init)?;

        let mut leash = Command::new("/bin/sh");
        leash.args(["-c", LEASH, "leash"]).arg(&files.0);
        let keys = files.0.join("keys");
        match (vm.interactive, vm.kernel) {
            (true, Kernel::Uml) => {
                process::stdout(Command::new("mkfifo").arg(&keys))?;
                leash.arg(&keys)
            }
            (true, Kernel::Host) => leash.arg("/dev/tty"),
            (true, Kernel::Qemu) | (false, _) => leash.arg("/dev/null"),
        };
        match vm.kernel {
            Kernel::Uml => {
                if let Some(cpu) = one_cpu() {
                    leash.args(["taskset", "--cpu-list", &cpu]);
                }
                leash.args(line);
                leash.arg(format!("mem={}M", vm.mem_mib));
                leash.args(["rootfstype=hostfs", "rootflags=/", "rw", "quiet"]);
                leash.args(["con=null", "con0=fd:0,fd:1", "ssl=null", "umid=vm"]);
                leash.arg(format!("uml_dir={}/", files.0.display()));
                leash.arg(format!("init={}", init.display()));
                leash.env("TMPDIR", memory_dir(vm.mem_mib));
            }
            Kernel::Host => {
                leash.args([
                    "unshare",
                    "--net",
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                ]);
                leash.args(["--mount-proc", "/bin/sh"]).arg(&init);
            }
            Kernel::Qemu => {
                leash.args(qemu::line(vm, &files.0, &inside, command)?);
            }
        }
        // Its own group, so that Ctrl-C reaches us and not the kernel, and one
        // signal ends all of it.
        let child = leash
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::new(format!("vm: cannot start /bin/sh: {error}")))?;
        Ok(Self {
            dir: files.keep(),
            kernel: vm.kernel,
            leash: child,
        })
    }

    /// The path of one of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether the kernel is up and the command begins.
    pub fn started(&self) -> bool {
        match self.kernel {
            Kernel::Uml | Kernel::Host => self.file("started").exists(),
            Kernel::Qemu => Said::read(&self.file("control")).started,
        }
    }

    /// The exit status, once there is one.
    ///
    /// # Errors
    /// The guest could not be prepared, or the kernel died.
    pub fn end(&self) -> Result<Option<i32>> {
        let (status, fault) = match self.kernel {
            Kernel::Uml | Kernel::Host => {
                let fault = fs::read_to_string(self.file("fault")).ok();
                (
                    fs::read_to_string(self.file("status")).ok(),
                    fault.filter(|why| why.ends_with('\n')),
                )
            }
            Kernel::Qemu => {
                let Said { status, fault, .. } = Said::read(&self.file("control"));
                (status, fault)
            }
        };
        if let Some(text) = status {
            return match text.trim().parse() {
                Ok(code) => Ok(Some(code)),
                Err(_) => Err(self.failure(&format!("the guest wrote the status {text:?}"))),
            };
        }
        if let Some(why) = fault {
            return Err(self.failure(why.trim()));
        }
        // The leash writes this last, so a status would be there already.
        if let Ok(code) = fs::read_to_string(self.file("gone"))
            && code.ends_with('\n')
            && !self.file("status").exists()
        {
            return Err(self.failure(&format!(
                "the kernel ended by itself (status {})",
                code.trim()
            )));
        }
        Ok(None)
    }

    /// A failure of the VM, not of the command: with the kernel's last words.
    pub fn failure(&self, what: &str) -> Failure {
        let console = fs::read(self.file("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console).replace('\r', "");
        let lines: Vec<&str> = console.lines().collect();
        // From the panic on, if there was one; else the end.
        let end = lines.len().saturating_sub(20);
        let from = lines.iter().position(|line| line.contains("Kernel panic"));
        let tail: Vec<_> = lines.iter().skip(from.unwrap_or(end)).take(20).collect();
        let mut text = format!("vm: {what}");
        if !tail.is_empty() {
            text += "; the kernel said last:";
            for line in tail {
                text += "\n    | ";
                text += line;
            }
        }
        Failure::new(text)
    }

    /// Joins our terminal to the guest's. It is raw until the answer is dropped:
    /// Ctrl-C is a key for the guest.
    pub fn attach_terminal(&self, kernel: Kernel) -> Terminal {
        if kernel == Kernel::Host {
            return Terminal { was: None };
        }
        let was = stty(&["-g"]).map(|mode| mode.trim().to_owned());
        if was.is_some() {
            stty(&["raw", "-echo"]);
        }
        // Opened for reading too, so that it neither blocks nor ends.
        if let Ok(mut keys) = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.file("keys"))
        {
            std::thread::spawn(move || {
                let mut buffer = [0; 256];
                let mut stdin = std::io::stdin().lock();
                while let Ok(len @ 1..) = stdin.read(&mut buffer) {
                    if keys.write_all(&buffer[..len]).is_err() {
                        return;
                    }
                }
                // A guest's terminal knows no end of file; this key is it.
                let _ = keys.write_all(&[4]);
                std::thread::park();
            });
        }
        Terminal { was }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        let _ = self.leash.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Our terminal while it is the guest's.
pub struct Terminal {
    was: Option<String>,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(was) = &self.was {
            stty(&[was]);
        }
    }
}

/// A file that grows, read as it grows.
pub struct Tail {
    file: Option<File>,
}

impl Tail {
    /// From its beginning.
    pub fn new(path: PathBuf) -> Self {
        Self {
            file: File::open(path).ok(),
        }
    }

    /// From where it ends now.
    pub fn at_end(path: PathBuf) -> Self {
        let mut tail = Self::new(path);
        if let Some(file) = &mut tail.file {
            let _ = file.seek(SeekFrom::End(0));
        }
        tail
    }

    /// Hands over what came since the last call.
    pub fn drain(&mut self, mut sink: impl FnMut(&[u8])) {
        let Some(file) = &mut self.file else { return };
        let mut buffer = [0; 16 * 1024];
        while let Ok(len @ 1..) = file.read(&mut buffer) {
            sink(&buffer[..len]);
        }
    }
}

/// A directory that goes with this value.
struct Files(PathBuf);

impl Files {
    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// One of the CPUs we may run on. User-mode Linux has one CPU and is many
/// processes of the host that take turns at each system call; where the host
/// wakes another CPU for each turn they are some four times slower.
fn one_cpu() -> Option<String> {
    process::which("taskset")?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let cpus = listed(list.trim())?;
    // Not all VMs of a machine on the same one.
    let at = std::process::id() as usize % cpus.len().max(1);
    cpus.get(at).map(u32::to_string)
}

/// The numbers of a list such as `0-3,8`.
fn listed(list: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}

fn make_dir() -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let base = canonical(&std::env::temp_dir())?;
    let name = format!(
        "trunnion-vm-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let dir = base.join(name);
    // A kernel's command line has no quotes, and its control socket's path is
    // short.
    let plain = dir
        .to_str()
        .is_some_and(|text| text.len() <= 80 && !text.contains(char::is_whitespace));
    if !plain {
        return Err(Failure::new(format!(
            "vm: {} cannot stand in a kernel's command line; set TMPDIR to a short path without blanks",
            dir.display()
        )));
    }
    fs::create_dir(&dir).map_err(Failure::io("cannot make", &dir))?;
    Ok(dir)
}

fn make_executable(path: &Path) -> Result {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .map_err(Failure::io("cannot make executable", path))
}

/// Where the VM's memory lies: /dev/shm if it has room (a container's often has
/// 64 MiB, and a kernel that meets its end dies without a word).
fn memory_dir(mem_mib: u32) -> PathBuf {
    let shm = Path::new("/dev/shm");
    let room = process::stdout(Command::new("df").args(["-m", "--output=avail"]).arg(shm))
        .ok()
        .and_then(|text| text.lines().nth(1)?.trim().parse::<u64>().ok());
    match room {
        Some(room) if room > u64::from(mem_mib) => shm.to_owned(),
        _ => std::env::temp_dir(),
    }
}

/// Asks or sets our terminal; `None` if there is none.
pub(super) fn stty(args: &[&str]) -> Option<String> {
    let output = Command::new("stty")
        .args(args)
        .stdin(Stdio::inherit())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_is_read() {
        assert_eq!(listed("0-3,8"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(listed("5"), Some(vec![5]));
        assert_eq!(listed(""), None);
    }

    #[test]
    fn a_tail_gives_each_byte_once() {
        let dir = make_dir().unwrap();
        let path = dir.join("log");
        fs::write(&path, "one").unwrap();
        let (mut tail, mut end) = (Tail::new(path.clone()), Tail::at_end(path.clone()));
        let (mut read, mut late) = (Vec::new(), Vec::new());
        tail.drain(|bytes| read.extend_from_slice(bytes));
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"two").unwrap();
        for _ in 0..2 {
            tail.drain(|bytes| read.extend_from_slice(bytes));
            end.drain(|bytes| late.extend_from_slice(bytes));
        }
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!((&read[..], &late[..]), (&b"onetwo"[..], &b"two"[..]));
    }
}
