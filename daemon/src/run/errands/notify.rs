//! Tells programs and a named pipe who became Active, in keepalived's words. Of
//! one virtual router one program runs at a time, in the order of what happened;
//! of all of them as many as the helper has room for, and the rest after those.
//! Nobody is waited for: what finds no room in a queue is lost, counted and named.

use super::super::records::{self, OwnLog, text};
use super::super::runner::Runner;
use super::{AGAIN, BUSY, GRACE, PATH};
use crate::config::{Config, Notify};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use trunnion_core::check::probe::outside::{Exit, Outcome};
use trunnion_core::director::ha::{Notice, Standing};
use trunnion_core::time::Instant;
use trunnion_sys::fifo;

/// Programs that may wait for one virtual router.
const WAITING: usize = 64;

/// Times a program is asked for that the helper had no room for.
const TRIES: u32 = 1_000;

/// Whose programs run one after the other: whether it is a group, and its name.
type Whose = (bool, String);

/// A program to be run.
#[derive(Debug)]
struct Program {
    words: Vec<u8>,
    notice: Notice,
    timeout: Duration,
    /// Of all programs: the oldest is run first.
    number: u64,
    tries: u32,
}

/// A program that was asked for, and until when its answer is waited for.
#[derive(Debug)]
struct Running {
    id: u64,
    until: Instant,
    program: Program,
}

/// The programs of one virtual router.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Program>,
    running: Option<Running>,
}

/// See the module's words.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    pipe: Option<(PathBuf, File)>,
    /// Lines in a row that found no room in the pipe.
    lost: u64,
    programs: HashMap<Whose, Notify>,
    queues: HashMap<Whose, Queue>,
    next_number: u64,
    /// The helper had no room: nothing is asked before this.
    again_at: Option<Instant>,
}

impl Notifier {
    /// Whom to tell from now on.
    pub(super) fn take(&mut self, config: &Config, log: &OwnLog) {
        let routers = config.vrrp.iter().map(|it| (false, &it.name, &it.notify));
        let groups = config.groups.iter().map(|it| (true, &it.name, &it.notify));
        for (group, name, notify) in routers.chain(groups) {
            let whose = (group, name.clone());
            // One that is gone is told of its end.
            if let Some(notify) = notify {
                self.programs.insert(whose, notify.clone());
            } else {
                self.programs.remove(&whose);
            }
        }
        let path = config.node.notify_fifo.as_ref();
        let same = self.pipe.as_ref().map(|(path, _)| path) == path;
        if same {
            return;
        }
        self.pipe = None;
        if let Some(path) = path {
            match fifo::open(path) {
                Ok(file) => self.pipe = Some((path.clone(), file)),
                Err(error) => log.log(&records::PipeFailed {
                    why: text(&error.to_string()),
                }),
            }
        }
    }

    /// Something moved.
    pub(super) fn notice(&mut self, notice: &Notice, log: &OwnLog) {
        self.write(notice, log);
        let whose = (notice.group, notice.name.to_string());
        let Some(notify) = self.programs.get(&whose) else {
            return;
        };
        let queue = self.queues.entry(whose).or_default();
        let plain = notify.of(notice.standing).map(|words| line(words, None));
        let any = notify.any.as_ref().map(|words| line(words, Some(notice)));
        for words in [plain, any].into_iter().flatten() {
            if queue.waiting.len() >= WAITING {
                log.log(&records::NotifyFailed {
                    name: text(&notice.name),
                    why: text("too many programs wait: not run"),
                });
                continue;
            }
            self.next_number += 1;
            queue.waiting.push_back(Program {
                words,
                notice: notice.clone(),
                timeout: notify.timeout,
                number: self.next_number,
                tries: 0,
            });
        }
    }

    fn write(&mut self, notice: &Notice, log: &OwnLog) {
        let Some((_, file)) = &mut self.pipe else {
            return;
        };
        let Notice { name, priority, .. } = notice;
        let (kind, state) = (kind(notice), word(notice.standing));
        let line = format!("{kind} \"{name}\" {state} {priority}\n");
        if file.write_all(line.as_bytes()).is_err() {
            self.lost += 1;
            if self.lost == 1 {
                log.log(&records::PipeFull {});
            }
        } else if self.lost > 0 {
            log.log(&records::PipeLost { lines: self.lost });
            self.lost = 0;
        }
    }

    /// Has run what is next, `room` programs more at most, and gives up on what
    /// was not answered.
    pub(super) fn serve(
        &mut self,
        (now, mut room): (Instant, usize),
        runner: &mut Runner,
        next_id: &mut u64,
        log: &OwnLog,
    ) {
        for queue in self.queues.values_mut() {
            queue.running.take_if(|running| running.until <= now);
        }
        self.again_at.take_if(|at| *at <= now);
        let waits = |queue: &&mut Queue| queue.running.is_none();
        let mut queues: Vec<&mut Queue> = self.queues.values_mut().filter(waits).collect();
        queues.sort_by_key(|queue| queue.waiting.front().map(|program| program.number));
        'queues: for queue in queues {
            while queue.running.is_none()
                && let Some(mut program) = queue.waiting.pop_front()
            {
                if room == 0 || self.again_at.is_some() {
                    queue.waiting.push_front(program);
                    break 'queues;
                }
                *next_id += 1;
                let deadline = now + program.timeout;
                let Notice { name, priority, .. } = &program.notice;
                let asked = runner.run((*next_id, deadline), None, &program.words, |env| {
                    env.set("PATH", PATH);
                    env.set("TRUNNION_TYPE", kind(&program.notice));
                    env.set("TRUNNION_NAME", name);
                    env.set("TRUNNION_STATE", word(program.notice.standing));
                    env.set("TRUNNION_PRIORITY", priority);
                });
                match asked {
                    Ok(()) => {
                        room -= 1;
                        queue.running = Some(Running {
                            id: *next_id,
                            until: deadline + GRACE,
                            program,
                        });
                    }
                    Err(BUSY) if program.tries < TRIES => {
                        program.tries += 1;
                        queue.waiting.push_front(program);
                        self.again_at = Some(now + AGAIN);
                    }
                    Err(errno) => log.log(&records::NotifyFailed {
                        name: text(name),
                        why: text(&format!("not run, errno {}", errno.0)),
                    }),
                }
            }
        }
        self.queues
            .retain(|_, queue| queue.running.is_some() || !queue.waiting.is_empty());
    }

    /// What came of a program; whether it was one of these.
    pub(super) fn answered(
        &mut self,
        (id, now): (u64, Instant),
        outcome: &Outcome<'_>,
        log: &OwnLog,
    ) -> bool {
        let mut queues = self.queues.iter_mut();
        let ended = queues.find_map(|(whose, queue)| {
            let ended = queue.running.take_if(|running| running.id == id)?;
            Some((&whose.1, queue, ended.program))
        });
        let Some((name, queue, mut program)) = ended else {
            return false;
        };
        let why = match outcome {
            Outcome::Ended(Exit::Status(0)) => return true,
            // It was being cleared up after others.
            Outcome::NotRun(BUSY) if program.tries < TRIES => {
                program.tries += 1;
                queue.waiting.push_front(program);
                self.again_at = Some(now + AGAIN);
                return true;
            }
            Outcome::Ended(Exit::Status(status)) => format!("exit status {status}"),
            Outcome::Ended(Exit::Signal(signal)) => format!("killed by signal {signal}"),
            Outcome::TimedOut => "killed: it took too long".to_owned(),
            Outcome::NotRun(errno) => format!("not run, errno {}", errno.0),
            Outcome::Late | Outcome::Content(_) | Outcome::NotRead(_) => {
                "not run: this node is too busy".to_owned()
            }
        };
        log.log(&records::NotifyFailed {
            name: text(name),
            why: text(&why),
        });
        true
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Instant> {
        let running = self.queues.values().filter_map(|q| q.running.as_ref());
        let until = running.map(|running| running.until);
        until.chain(self.again_at).min()
    }

    /// How many programs were asked for and not answered.
    pub(super) fn running(&self) -> usize {
        let running = self.queues.values().filter_map(|q| q.running.as_ref());
        running.count()
    }

    /// Whether nobody waits to be told.
    pub(super) fn is_idle(&self) -> bool {
        self.queues.is_empty()
    }
}

/// The words of a command, each ended by a NUL, and keepalived's arguments.
fn line(words: &[String], notice: Option<&Notice>) -> Vec<u8> {
    let mut line: Vec<u8> = Vec::new();
    let mut add = |word: &str| {
        line.extend_from_slice(word.as_bytes());
        line.push(0);
    };
    words.iter().for_each(|word| add(word));
    if let Some(notice) = notice {
        add(kind(notice));
        add(&notice.name);
        add(word(notice.standing));
        add(&notice.priority.to_string());
    }
    line
}

const fn kind(notice: &Notice) -> &'static str {
    if notice.group { "GROUP" } else { "INSTANCE" }
}

/// keepalived's word.
const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "MASTER",
        Standing::Backup => "BACKUP",
        Standing::Fault => "FAULT",
        Standing::Stop => "STOP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn notice(name: &str, standing: Standing) -> Notice {
        Notice {
            group: false,
            name: name.try_into().unwrap(),
            standing,
            priority: 150,
        }
    }

    fn config(path: &std::path::Path) -> Config {
        let text = format!(
            "[node]\nnotify_fifo = \"{}\"\n[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"192.0.2.1/32\"]\nnotify = {{ active = [\"/bin/up\", \"now\"], any = \"/bin/any\" }}\n",
            path.display()
        );
        Config::parse(&text, "t").unwrap()
    }

    #[test]
    fn programs_and_the_pipe_are_told_in_keepaliveds_words() {
        let path = std::env::temp_dir().join(format!("trunnion-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let (log, _end) = OwnLog::new();
        let mut notifier = Notifier::default();
        notifier.take(&config(&path), &log);
        notifier.notice(&notice("public", Standing::Active), &log);
        notifier.notice(&notice("other", Standing::Fault), &log);
        let mut read = [0; 256];
        let len = fifo::open(&path).unwrap().read(&mut read).unwrap();
        let lines = str::from_utf8(&read[..len]).unwrap();
        assert_eq!(
            lines,
            "INSTANCE \"public\" MASTER 150\nINSTANCE \"other\" FAULT 150\n"
        );
        let queue = &notifier.queues[&(false, "public".to_owned())];
        let words: Vec<&[u8]> = queue.waiting.iter().map(|p| &p.words[..]).collect();
        assert_eq!(
            words,
            [
                &b"/bin/up\0now\0"[..],
                b"/bin/any\0INSTANCE\0public\0MASTER\x00150\0"
            ]
        );
        std::fs::remove_file(&path).unwrap();
    }

    /// Everything there is a program for moves at once.
    #[test]
    fn a_failover_of_many_runs_every_program_and_not_all_at_once() {
        let (log, end) = OwnLog::new();
        let mut notifier = Notifier::default();
        let path = std::env::temp_dir().join("trunnion-no-pipe");
        let mut config = config(&path);
        config.node.notify_fifo = None;
        let one = config.vrrp[0].clone();
        let many = (0..255).map(|n| crate::config::Instance {
            name: format!("router-{n}"),
            ..one.clone()
        });
        config.vrrp = many.collect();
        notifier.take(&config, &log);
        for n in 0..255 {
            notifier.notice(&notice(&format!("router-{n}"), Standing::Active), &log);
        }
        let (mut runner, helpers) = super::super::super::runner::pair().unwrap();
        let helper = std::os::unix::net::UnixDatagram::from(helpers);
        let (mut now, mut id, mut ran) = (Instant::ZERO, 0, 0);
        while !notifier.is_idle() {
            let room = 48 - notifier.running();
            notifier.serve((now, room), &mut runner, &mut id, &log);
            assert!(notifier.running() <= 48);
            while helper.recv(&mut [0; 4096]).is_ok() {}
            let running = notifier.queues.values().filter_map(|q| q.running.as_ref());
            let mut ids: Vec<u64> = running.map(|running| running.id).collect();
            ids.sort_unstable();
            // The helper is slow, and has no room for the last of a few.
            for (at, id) in ids.iter().enumerate().take(20) {
                let busy = at == 19;
                let outcome = match busy {
                    true => Outcome::NotRun(BUSY),
                    false => Outcome::Ended(Exit::Status(0)),
                };
                assert!(notifier.answered((*id, now), &outcome, &log));
                ran += u32::from(!busy);
            }
            now += AGAIN;
            assert!(now < Instant::ZERO + Duration::from_secs(10), "{ran} ran");
        }
        assert_eq!(ran, 2 * 255, "a plain one and one for any");
        assert!(crate::control::Records::poll_record(&mut { end }).is_none());
    }

    #[test]
    fn a_reader_that_is_slow_loses_lines_and_costs_no_time() {
        let path = std::env::temp_dir().join(format!("trunnion-slow-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let (log, _end) = OwnLog::new();
        let mut notifier = Notifier::default();
        notifier.take(&config(&path), &log);
        for _ in 0..5_000 {
            notifier.notice(&notice("other", Standing::Backup), &log);
        }
        assert!(notifier.lost > 1_000);
        let mut read = vec![0; 1 << 17];
        let len = fifo::open(&path).unwrap().read(&mut read).unwrap();
        assert!(read[..len].ends_with(b"INSTANCE \"other\" BACKUP 150\n"));
        notifier.notice(&notice("other", Standing::Active), &log);
        assert_eq!(notifier.lost, 0);
        std::fs::remove_file(&path).unwrap();
    }
}
