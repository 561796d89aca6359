//! The runner: a real helper process, real commands, real files.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{self, Duration};
use trunnion::run::runner::{Done, OUTPUT_BYTES_MAX, Runner, User, WORDS_BYTES_MAX, pair};
use trunnion_core::bytes::Writer;
use trunnion_core::check::probe::outside::{Exit, Outcome};
use trunnion_core::netlink::Errno;
use trunnion_core::time::Instant;
use trunnion_sys::clock::boottime;

/// A helper, and what it has answered so far.
struct Lab {
    runner: Runner,
    /// The helpers' end, as a keeper holds it.
    socket: OwnedFd,
    helper: Child,
    answers: BTreeMap<u64, (String, String)>,
    dir: PathBuf,
}

impl Lab {
    fn new(name: &str, jobs: u32) -> Self {
        let (runner, socket) = pair().unwrap();
        let helper = start(&socket, jobs);
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let answers = BTreeMap::new();
        Self {
            runner,
            socket,
            helper,
            answers,
            dir,
        }
    }

    fn run(&mut self, id: u64, time: Duration, words: &[&str]) -> Result<(), Errno> {
        self.run_as(id, time, None, words)
    }

    fn run_as(
        &mut self,
        id: u64,
        time: Duration,
        user: Option<User>,
        words: &[&str],
    ) -> Result<(), Errno> {
        let line: String = words.iter().map(|word| format!("{word}\0")).collect();
        let at = (id, boottime() + time);
        self.runner.run(at, user, line.as_bytes(), |environment| {
            environment.set("TRUNNION_ADDRESS", "192.0.2.7");
        })
    }

    fn shell(&mut self, id: u64, time: Duration, script: &str) {
        self.run(id, time, &["/bin/sh", "-c", script]).unwrap();
    }

    fn read(&mut self, id: u64, path: &Path) {
        let at = (id, boottime() + LONG);
        let path = path.to_str().unwrap();
        self.runner.read(at, path.as_bytes()).unwrap();
    }

    fn take_answers(&mut self) {
        while let Some(done) = self.runner.poll_done() {
            let output = String::from_utf8_lossy(done.output).into_owned();
            let outcome = format!("{:?}", done.outcome);
            assert!(self.answers.insert(done.id, (outcome, output)).is_none());
        }
    }

    /// Waits for so many answers; returns them: outcome and output.
    fn answers(&mut self, count: usize) -> &BTreeMap<u64, (String, String)> {
        let limit = time::Instant::now() + Duration::from_secs(60);
        while self.answers.len() < count {
            assert!(time::Instant::now() < limit, "{:?}", self.answers);
            self.take_answers();
            std::thread::sleep(Duration::from_millis(2));
        }
        &self.answers
    }

    fn answer(&mut self, id: u64) -> (String, String) {
        let count = self.answers.len() + 1;
        self.answers(count)[&id].clone()
    }

    /// The helper's children that are there, dead ones too.
    fn children(&self) -> usize {
        let pid = self.helper.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(path).unwrap();
        children.split_whitespace().count()
    }

    fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let limit = time::Instant::now() + Duration::from_secs(60);
        while !done(self) {
            assert!(time::Instant::now() < limit, "{what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn start(socket: &OwnedFd, jobs: u32) -> Child {
    Command::new(env!("CARGO_BIN_EXE_trunnion"))
        .args(["runner", "--jobs", &jobs.to_string()])
        .stdin(Stdio::from(socket.try_clone().unwrap()))
        .spawn()
        .unwrap()
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

fn said(outcome: Outcome<'_>) -> String {
    format!("{outcome:?}")
}

#[test]
fn a_command_is_told_its_environment_and_nothing_else() {
    let mut lab = Lab::new("environment", 4);
    lab.run(1, LONG, &["/usr/bin/env"]).unwrap();
    let (outcome, output) = lab.answer(1);
    assert_eq!(outcome, said(Outcome::Ended(Exit::Status(0))));
    assert_eq!(output, "TRUNNION_ADDRESS=192.0.2.7\n");
    lab.shell(
        2,
        LONG,
        "pwd; readlink /proc/$$/fd/0; ulimit -n; echo bad >&2; ls /proc/$$/fd | wc -l; exit 7",
    );
    let (outcome, output) = lab.answer(2);
    assert_eq!(outcome, said(Outcome::Ended(Exit::Status(7))));
    let lines: Vec<_> = output.lines().collect();
    let limit: u64 = lines[2].parse().unwrap();
    assert!(limit <= 1024);
    assert_eq!([lines[0], lines[1], lines[3]], ["/", "/dev/null", "bad"]);
    // Three, and what the shell itself opened: none of ours.
    assert!(lines[4].parse::<u32>().unwrap() <= 4, "{output}");
    lab.run(3, LONG, &["/bin/echo", "", "a b", "$HOME"])
        .unwrap();
    assert_eq!(lab.answer(3).1, " a b $HOME\n");
    lab.shell(4, LONG, "kill -SEGV $$");
    assert_eq!(lab.answer(4).0, said(Outcome::Ended(Exit::Signal(11))));
}

#[test]
fn time_is_over_for_the_whole_group() {
    let mut lab = Lab::new("group", 4);
    let pids = lab.dir.join("pids");
    let script = format!(
        "sleep 1000 & echo $! >{0}; (sleep 1000 & echo $! >>{0}; wait) & echo up; wait",
        pids.display()
    );
    lab.shell(1, Duration::from_secs(2), &script);
    let (outcome, output) = lab.answer(1);
    assert_eq!((&*outcome, &*output), (&*said(Outcome::TimedOut), "up\n"));
    lab.wait_until("all are reaped", |lab| lab.children() == 0);
    let pids = fs::read_to_string(pids).unwrap();
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        lab.wait_until("it is gone", |_| !Path::new("/proc").join(pid).exists());
    }
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    let mut lab = Lab::new("orphans", 4);
    let pids = lab.dir.join("pids");
    for id in 0..20 {
        let script = format!("sleep 1000 & echo $! >>{}; exit 3", pids.display());
        lab.shell(id, LONG, &script);
        let (outcome, _) = lab.answer(id);
        assert_eq!(outcome, said(Outcome::Ended(Exit::Status(3))));
    }
    lab.wait_until("all are reaped", |lab| lab.children() == 0);
    let pids = fs::read_to_string(pids).unwrap();
    assert_eq!(pids.lines().count(), 20);
    for pid in pids.lines() {
        lab.wait_until("it is gone", |_| !Path::new("/proc").join(pid).exists());
    }
    // One that leaves its group is inherited, and reaped when it ends.
    let script = "setsid sh -c 'sleep 0.2; sleep 0.2 & exit 0' & exit 0";
    lab.shell(100, LONG, script);
    lab.answer(100);
    lab.wait_until("it was reaped", |lab| lab.children() == 0);
}

#[test]
fn output_without_end_keeps_nobody_waiting() {
    let mut lab = Lab::new("output", 4);
    lab.shell(1, Duration::from_secs(2), "exec yes");
    // More than a pipe holds: it must be read for the command to end.
    lab.shell(2, LONG, "head -c 1000000 /dev/zero; exit 4");
    lab.shell(3, LONG, "exit 0");
    let answers = lab.answers(3);
    let (outcome, output) = &answers[&1];
    assert_eq!(*outcome, said(Outcome::TimedOut));
    assert_eq!(output.len(), OUTPUT_BYTES_MAX);
    assert!(output.starts_with("y\ny\n"));
    assert_eq!(answers[&2].0, said(Outcome::Ended(Exit::Status(4))));
    assert_eq!(answers[&3].0, said(Outcome::Ended(Exit::Status(0))));
}

#[test]
fn what_cannot_be_run_has_an_errno() {
    let mut lab = Lab::new("errno", 2);
    let script = lab.dir.join("script");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    lab.run(1, LONG, &["/nowhere/at/all"]).unwrap();
    assert_eq!(lab.answer(1).0, said(Outcome::NotRun(Errno(2))));
    lab.run(2, LONG, &[script.to_str().unwrap()]).unwrap();
    assert_eq!(lab.answer(2).0, said(Outcome::NotRun(Errno(13))));
    lab.run(3, LONG, &[]).unwrap();
    assert_eq!(lab.answer(3).0, said(Outcome::NotRun(Errno(2))));
    // Nothing of them stays.
    lab.wait_until("all are reaped", |lab| lab.children() == 0);
    let long = "x".repeat(WORDS_BYTES_MAX * 2);
    let refused = lab.run(4, LONG, &["/bin/true", &long]);
    assert_eq!(refused, Err(Errno::EMSGSIZE));
}

#[test]
fn no_more_run_at_once_than_may() {
    let mut lab = Lab::new("bound", 2);
    for id in 0..5 {
        lab.shell(id, LONG, "sleep 0.5");
    }
    let answers = lab.answers(5);
    let busy = said(Outcome::NotRun(Errno(11)));
    let refused: Vec<_> = answers
        .iter()
        .filter(|(_, (told, _))| *told == busy)
        .collect();
    assert_eq!(refused.len(), 3, "{answers:?}");
    lab.shell(9, LONG, "exit 0");
    assert_eq!(lab.answer(9).0, said(Outcome::Ended(Exit::Status(0))));
}

#[test]
fn requests_have_a_bound_too() {
    let (mut runner, _helpers) = pair().unwrap();
    let words = b"/bin/true\0";
    let at = (1, Instant::FAR);
    let sent = (0..100_000).find_map(|_| runner.run(at, None, words, |_| {}).err());
    assert_eq!(sent, Some(Errno(11)));
}

#[test]
fn an_answer_that_nobody_understands_hides_none() {
    let (mut runner, helpers) = pair().unwrap();
    let helper = UnixDatagram::from(helpers);
    let done = Done {
        id: 7,
        took: Duration::ZERO,
        outcome: Outcome::TimedOut,
        output: b"",
    };
    let mut buffer = [0; 64];
    let mut to = Writer::new(&mut buffer);
    done.write(&mut to);
    helper.send(b"?").unwrap();
    helper.send(to.finish().unwrap()).unwrap();
    assert_eq!(runner.poll_done(), Some(done));
    assert_eq!(runner.poll_done(), None);
}

#[test]
fn a_stopped_helper_blames_nobody() {
    let mut lab = Lab::new("stopped", 4);
    lab.shell(1, Duration::from_secs(2), "sleep 1000");
    lab.shell(2, Duration::from_secs(2), "sleep 2.5; exit 0");
    lab.shell(3, LONG, "exit 0");
    lab.answer(3);
    signal(lab.helper.id(), "STOP");
    // One that nobody starts in its time.
    lab.shell(4, SHORT, "exit 0");
    std::thread::sleep(Duration::from_millis(3500));
    signal(lab.helper.id(), "CONT");
    let answers = lab.answers(4);
    assert_eq!(answers[&1].0, said(Outcome::Late));
    assert_eq!(answers[&2].0, said(Outcome::Ended(Exit::Status(0))));
    assert_eq!(answers[&4].0, said(Outcome::Late));
}

/// It has its deadline, and half of its time: no more may be made of it.
#[test]
fn a_command_that_is_started_late_is_not_blamed_for_its_time() {
    let mut lab = Lab::new("late", 4);
    lab.shell(1, LONG, "exit 0");
    lab.answer(1);
    signal(lab.helper.id(), "STOP");
    lab.shell(2, Duration::from_secs(2), "sleep 1000");
    lab.shell(3, Duration::from_secs(2), "exit 3");
    std::thread::sleep(Duration::from_secs(1));
    signal(lab.helper.id(), "CONT");
    let answers = lab.answers(3);
    assert_eq!(answers[&2].0, said(Outcome::Late));
    assert_eq!(answers[&3].0, said(Outcome::Ended(Exit::Status(3))));
}

#[test]
fn commands_end_with_the_helper_and_requests_wait_for_the_next() {
    let mut lab = Lab::new("dies", 4);
    let pids = lab.dir.join("pids");
    lab.shell(1, LONG, &format!("echo $$ >{}; sleep 1000", pids.display()));
    lab.wait_until("it runs", |_| {
        fs::read_to_string(&pids).is_ok_and(|s| s.ends_with('\n'))
    });
    lab.helper.kill().unwrap();
    lab.helper.wait().unwrap();
    let pid = fs::read_to_string(&pids).unwrap();
    let process = Path::new("/proc").join(pid.trim());
    lab.wait_until("it is gone", |_| !process.exists());
    assert!(
        lab.runner.poll_done().is_none(),
        "nobody answers for the dead"
    );
    lab.shell(2, LONG, "exit 0");
    lab.shell(3, SHORT, "exit 0");
    std::thread::sleep(2 * SHORT);
    lab.helper = start(&lab.socket, 4);
    let answers = lab.answers(2);
    assert_eq!(answers[&2].0, said(Outcome::Ended(Exit::Status(0))));
    assert_eq!(answers[&3].0, said(Outcome::Late));
}

#[test]
fn files_are_read() {
    let mut lab = Lab::new("files", 1);
    let dir = lab.dir.clone();
    let path = |name: &str| dir.join(name);
    let (weight, long, dir, pipe) = (path("weight"), path("long"), path("dir"), path("pipe"));
    fs::write(&weight, "100\n").unwrap();
    fs::write(&long, vec![b'1'; 100_000]).unwrap();
    fs::create_dir(&dir).unwrap();
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    lab.read(1, &weight);
    lab.read(2, &long);
    lab.read(3, &dir);
    lab.read(4, &path("missing"));
    lab.read(5, &pipe);
    let answers = lab.answers(5).clone();
    let told = |id: u64| &*answers[&id].0;
    assert_eq!(told(1), said(Outcome::Content(b"100\n")));
    assert_eq!(told(2), said(Outcome::Content(&[b'1'; 65])));
    assert_eq!(told(3), said(Outcome::NotRead(Errno(21))));
    assert_eq!(told(4), said(Outcome::NotRead(Errno(2))));
    assert_eq!(told(5), said(Outcome::Content(b"")));
}

/// As many files as there are jobs may wait, each of which takes a while.
#[test]
fn files_wait_for_each_other() {
    const FILES: u32 = 400;
    let mut lab = Lab::new("many", FILES);
    // The kernel counts these pages for each reader.
    let pages = vec![1_u8; 64 << 20];
    let slow = format!("/proc/{}/smaps_rollup", std::process::id());
    for id in 0..FILES {
        let at = (id.into(), boottime() + LONG);
        while lab.runner.read(at, slow.as_bytes()).is_err() {
            std::thread::sleep(Duration::from_micros(50));
        }
        lab.take_answers();
    }
    let answers = lab.answers(FILES as usize);
    let read = answers.values().filter(|(o, _)| o.starts_with("Content"));
    assert_eq!(read.count(), answers.len());
    drop(pages);
}

#[test]
fn another_user_has_one_group() {
    let mut lab = Lab::new("user", 1);
    let nobody = User {
        uid: 65534,
        gid: 65534,
    };
    let words = ["/usr/bin/id"];
    lab.run_as(1, LONG, Some(nobody), &words).unwrap();
    let (outcome, output) = lab.answer(1);
    if is_root() {
        assert_eq!(outcome, said(Outcome::Ended(Exit::Status(0))), "{output}");
        let groups = output.split("groups=").nth(1).unwrap().trim();
        assert!(
            groups.starts_with("65534") && !groups.contains(','),
            "{output}"
        );
        assert!(output.starts_with("uid=65534"), "{output}");
    } else {
        assert_eq!(outcome, said(Outcome::NotRun(Errno::EPERM)));
    }
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t0"))
}

fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn the_descriptor_is_readable_when_there_is_an_answer() {
    let mut lab = Lab::new("readable", 1);
    let fd = lab.runner.as_raw_fd();
    lab.shell(1, LONG, "exit 0");
    let mut poll = mio::Poll::new().unwrap();
    let source = &mut mio::unix::SourceFd(&fd);
    let registry = poll.registry();
    registry
        .register(source, mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    let mut events = mio::Events::with_capacity(1);
    poll.poll(&mut events, Some(LONG)).unwrap();
    assert!(!events.is_empty());
    assert!(lab.runner.poll_done().is_some());
}
