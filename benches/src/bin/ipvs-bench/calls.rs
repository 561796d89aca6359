//! What strace sees of each strategy: how many system calls its SET_DESTs take,
//! and what it asks of the kernel in a sync that has nothing to change.

use super::{LARGE, Result, Shape, strategies};
use std::fs;
use std::process::{Command, Stdio};
use trunnion_core::ipvs::Command as Request;

/// Runs each strategy once under strace, and prints samples.
pub fn count(peer: &str, shapes: &[&str]) -> Result {
    print!("{}", fs::read_to_string("/proc/sys/kernel/osrelease")?);
    let log = std::env::temp_dir().join(format!("ipvs-bench-{}", std::process::id()));
    for shape in shapes {
        let rows = Shape::parse(shape)?.rows();
        for (name, command) in strategies(peer, shape)? {
            // Of a large table a million calls would say the same again.
            let first = command.get_args().next();
            if rows > LARGE && first.is_none_or(|word| word != "sync") {
                continue;
            }
            // Its runtime's own calls are many, and no two runs' are alike.
            if name == "go" {
                continue;
            }
            let mut strace = Command::new("strace");
            // Every process of it; bytes in hexadecimal, as far as the command
            // of a generic netlink message; every message of a datagram.
            strace.args(["-f", "-x", "-v", "-s", "16", "-o"]).arg(&log);
            strace.arg(command.get_program()).args(command.get_args());
            let status = strace.stdout(Stdio::null()).status()?;
            if !status.success() {
                return Err(format!("strace of {name} {shape}: {status}").into());
            }
            let text = fs::read_to_string(&log)?;
            if let Some(calls) = between(&text, "new ", "set ") {
                let count = f64::from(u32::try_from(calls.len())?) / f64::from(rows);
                println!("{shape} {name} calls-set {count}");
            }
            if let Some(calls) = between(&text, "first-sync ", "sync ") {
                let requests = calls.iter().flat_map(|line| requests(line));
                let writes = requests.filter(|request| !READS.contains(request));
                println!("{shape} {name} sync-writes {}", writes.count());
            }
        }
    }
    Ok(fs::remove_file(&log)?)
}

/// Requests that change nothing.
const READS: [Request; 2] = [Request::GET_SERVICE, Request::GET_DEST];

/// The system calls from the end of one phase to the end of another: each is
/// printed when it ends. A call that is told of in two lines counts once.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<Vec<&'a str>> {
    let prints = |line: &str, words: &str| line.contains(&format!("write(1, \"{words}"));
    let mut lines = text.lines();
    lines.find(|line| prints(line, begin))?;
    let calls: Vec<_> = lines
        .clone()
        .take_while(|line| !prints(line, end))
        .collect();
    lines.find(|line| prints(line, end))?;
    let is_call = |line: &&str| line.contains('(') && !line.contains(" resumed>");
    Some(calls.into_iter().filter(is_call).collect())
}

/// The commands of what was sent: the first byte behind each message's header.
fn requests(line: &str) -> Vec<Request> {
    if !line.contains("sendto(") && !line.contains("sendmsg(") {
        return Vec::new();
    }
    let bodies = line.split("}, \"\\x").skip(1);
    bodies
        .filter_map(|body| u8::from_str_radix(body.get(..2)?, 16).ok())
        .map(Request)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"7 write(1, "new 2 3.0\n", 10) = 10
7 sendto(3, [[{nlmsg_len=56, nlmsg_pid=0}, "\x04\x01\x00"...], [{nlmsg_len=56, nlmsg_pid=0}, "\x06\x01"...]], 112, 0, NULL, 0) = 112
7 recvmsg(3,  <unfinished ...>
7 <... recvmsg resumed>{msg_name=NULL}, 0) = 36
7 --- SIGCHLD ---
7 write(1, "set 2 3.0\n", 10) = 10
7 close(3) = 0
"#;

    #[test]
    fn calls_are_counted_between_two_ends() {
        let calls = between(LOG, "new ", "set ").unwrap();
        assert_eq!(calls.len(), 2);
        assert!(between(LOG, "new ", "del ").is_none());
    }

    #[test]
    fn the_commands_of_a_datagram_are_read() {
        let found: Vec<_> = LOG.lines().flat_map(requests).collect();
        assert_eq!(found, [Request::GET_SERVICE, Request::SET_DEST]);
        assert!(!READS.contains(&found[1]));
    }
}
