//! How many processes run a program: a thread of its own looks at /proc once a
//! second, as long as anything is sought there.

use super::super::board::BoardIn;
use super::super::records::{OwnLog, TrackTrouble, text};
use super::LOOK;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use trunnion_core::director::ha::TrackState;

/// A program that is sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sought {
    pub program: String,
    /// In the command line, and not only in the process's name.
    pub command_line: bool,
    pub count: u32,
    pub cell: u16,
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Processes {
    board: BoardIn,
    thread: Option<Sender<Vec<Sought>>>,
}

impl Processes {
    pub(super) const fn new(board: BoardIn) -> Self {
        Self {
            board,
            thread: None,
        }
    }

    /// Seeks these from now on.
    pub(super) fn seek(&mut self, sought: Vec<Sought>, log: &OwnLog) {
        if sought.is_empty() {
            self.thread = None;
            return;
        }
        let sought = match &self.thread {
            Some(thread) => match thread.send(sought) {
                Ok(()) => return,
                Err(unsent) => unsent.0,
            },
            None => sought,
        };
        let (sender, receiver) = channel();
        let board = self.board.clone();
        let name = "processes".to_owned();
        let thread = std::thread::Builder::new().name(name);
        match thread.spawn(move || look(&receiver, &board)) {
            Ok(_) => {
                let _ = sender.send(sought);
                self.thread = Some(sender);
            }
            Err(error) => log.log(&TrackTrouble {
                name: text("processes"),
                why: text(&error.to_string()),
            }),
        }
    }
}

fn look(lists: &Receiver<Vec<Sought>>, board: &BoardIn) {
    let mut sought = Vec::new();
    loop {
        match lists.recv_timeout(LOOK) {
            Ok(list) => sought = list,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // What cannot be looked at is as it was.
        let Ok(counts) = count(Path::new("/proc"), &sought) else {
            continue;
        };
        for (of, count) in sought.iter().zip(counts) {
            let state = match count >= of.count {
                true => TrackState::Up,
                false => TrackState::Down,
            };
            board.put(of.cell, state);
        }
    }
}

/// How many processes run each.
fn count(proc: &Path, sought: &[Sought]) -> io::Result<Vec<u32>> {
    let mut counts = vec![0; sought.len()];
    for entry in fs::read_dir(proc)? {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let path = entry.path();
        // One that ended meanwhile, or is a zombie, runs nothing.
        let Ok(name) = fs::read(path.join("comm")) else {
            continue;
        };
        let mut line: Option<Vec<u8>> = None;
        let mut dead: Option<bool> = None;
        for (of, count) in sought.iter().zip(&mut counts) {
            let found = if of.command_line {
                let line = line.get_or_insert_with(|| command_line(&path));
                let program = of.program.as_bytes();
                line.windows(program.len()).any(|part| part == program)
            } else {
                name.trim_ascii_end() == of.program.as_bytes()
            };
            if found && !*dead.get_or_insert_with(|| is_dead(&path)) {
                *count += 1;
            }
        }
    }
    Ok(counts)
}

/// The words of a process, blanks between them.
fn command_line(path: &Path) -> Vec<u8> {
    let mut line = fs::read(path.join("cmdline")).unwrap_or_default();
    for byte in &mut line {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    line
}

/// The state follows the name, which may have parentheses of its own
/// (proc_pid_stat(5)).
fn is_dead(path: &Path) -> bool {
    let stat = fs::read(path.join("stat")).unwrap_or_default();
    let end = stat.iter().rposition(|byte| *byte == b')');
    let state = end.and_then(|end| stat.get(end + 2));
    matches!(state, None | Some(b'Z' | b'X' | b'x'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_run_are_counted_and_the_dead_are_not() {
        let dir = std::env::temp_dir().join(format!("trunnion-proc-{}", std::process::id()));
        let process = |pid: &str, comm: &str, cmdline: &str, state: &str| {
            let path = dir.join(pid);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("comm"), format!("{comm}\n")).unwrap();
            fs::write(path.join("cmdline"), cmdline).unwrap();
            fs::write(path.join("stat"), format!("{pid} (a) b) {state} 1")).unwrap();
        };
        process("1", "named", "/usr/sbin/named\0-f\0", "S");
        process("2", "named", "/usr/sbin/named\0-g\0", "Z");
        process("30", "python3", "python3\0/opt/app.py\0", "R");
        fs::create_dir_all(dir.join("sys")).unwrap();
        fs::create_dir_all(dir.join("4")).unwrap();
        let sought = |program: &str, command_line| Sought {
            program: program.to_owned(),
            command_line,
            count: 1,
            cell: 0,
        };
        let all = [
            sought("named", false),
            sought("python3 /opt/app.py", true),
            sought("name", false),
            sought("/usr/sbin/named", true),
        ];
        assert_eq!(count(&dir, &all).unwrap(), [1, 1, 0, 1]);
        fs::remove_dir_all(&dir).unwrap();
        assert!(count(&dir, &all).is_err());
    }
}
