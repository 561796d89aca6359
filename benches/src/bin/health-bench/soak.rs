//! A long run in which nobody may die but who is killed: 20,000 targets checked
//! each second, a hog on every CPU, the daemon stopped and continued at random.
//! Then and again a hundred targets do die, and must be seen to in time.

use crate::subject::{FALL, Load, Running, Subject};
use crate::targets::{MORTAL, Targets};
use crate::{PATIENCE, Result, Setting, failed};
use rustix::process::Signal;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use trunnion_benches::processes::{self, SPIN, hogs};
use trunnion_tests::lab::Context as _;
use trunnion_tests::lab::process::output;
use trunnion_tests::lab::show::Shown;
use trunnion_tests::lab::wait_slowly;
use trunnion_tests::sim::Random;

const LOAD: Load = Load::new(20_000, 1_000);
/// How long a stop may last, milliseconds: up to six times what a target has to
/// answer.
const STOP_MS: [u64; 2] = [20, 3_000];
/// From one stop to the next, milliseconds.
const PAUSE_MS: [u64; 2] = [50, 1_500];
const STOPS_PER_ROUND: u32 = 8;
/// After the last stop of a round checks that were late are spread again.
const CALM: Duration = Duration::from_millis(2 * LOAD.interval_ms as u64);
/// `fall` x interval + timeout, and a tenth: later than this a death is late.
const DEATH_MS_MAX: u64 = (FALL * LOAD.interval_ms + LOAD.timeout_ms()) as u64 * 11 / 10;
/// Less than this share of the checks that were asked for, and nothing was
/// tested.
const RATE_MIN: f64 = 0.5;

/// Runs for about `length`, all that is random drawn from `seed`.
pub fn run(setting: &Setting, length: Duration, seed: u64) -> Result {
    println!("seed {seed}, {} targets", LOAD.backends);
    let mut random = Random::new(seed);
    let mut targets = Targets::new(LOAD)?;
    let running = Running::start(setting, &targets, Subject::Ours, LOAD)?;
    let mut log = Log::new(&running.log);
    let mut rises = log.until_rises(LOAD.backends)?;
    let cpus = std::thread::available_parallelism().context(|| "count CPUs".to_owned())?;
    let _hogs = hogs(
        &targets.netns,
        &targets.directory.join("hogs.log"),
        SPIN,
        cpus.get(),
    )?;
    let (begun, begin) = (targets.begun(Subject::Ours)?, Instant::now());
    let (mut stopped_ms, mut deaths, mut slowest_ms) = (0, 0, 0);
    while begin.elapsed() < length {
        for _ in 0..STOPS_PER_ROUND {
            stopped_ms += stop(running.id(), &mut random);
            pause(random.between(PAUSE_MS[0], PAUSE_MS[1]));
        }
        std::thread::sleep(CALM);
        log.nothing_fell()?;
        let killed_ms = now_ms();
        targets.kill();
        let slow_ms = log.until_falls(MORTAL)?.saturating_sub(killed_ms);
        targets.revive()?;
        rises += log.until_rises(MORTAL)?;
        deaths += MORTAL;
        slowest_ms = slowest_ms.max(slow_ms);
        println!(
            "{:7.1} s  stopped for {stopped_ms} ms in all, {deaths} died, seen after {slow_ms} ms",
            begin.elapsed().as_secs_f32()
        );
        if slow_ms > DEATH_MS_MAX {
            return Err(failed(format!(
                "deaths seen after {slow_ms} ms, at most {DEATH_MS_MAX} are due"
            )));
        }
    }
    // What the daemon itself has counted leaves no line to be missed.
    let shown = shown(setting, &targets.directory)?;
    let (up, down) = (
        shown.count("check_went_up")?,
        shown.count("check_went_down")?,
    );
    if (up, down) != (rises.into(), deaths.into()) {
        return Err(failed(format!(
            "{up} rises and {down} falls counted, {rises} and {deaths} are due"
        )));
    }
    let awake_s = begin.elapsed().as_secs_f64() - stopped_ms as f64 / 1e3;
    let rate = (targets.begun(Subject::Ours)? - begun) / awake_s;
    let wanted = f64::from(LOAD.backends) * 1e3 / f64::from(LOAD.interval_ms);
    println!(
        "{rate:.0} checks a second while it ran, {deaths} deaths, the slowest seen after \
         {slowest_ms} ms of {DEATH_MS_MAX}, no other transition; {} allocations after the seal",
        shown.allocations("lb")?
    );
    if rate < RATE_MIN * wanted {
        return Err(failed(format!(
            "{rate:.0} checks a second of {wanted:.0}: too few to say anything"
        )));
    }
    Ok(())
}

/// Stops the daemon for a while, in milliseconds.
fn stop(pid: u32, random: &mut Random) -> u64 {
    // Short ones come as often as long ones.
    let most = random.between(STOP_MS[0], STOP_MS[1]);
    let ms = random.between(STOP_MS[0], most);
    let begin = Instant::now();
    processes::signal(pid, Signal::STOP);
    pause(ms);
    processes::signal(pid, Signal::CONT);
    u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn shown(setting: &Setting, directory: &Path) -> Result<Shown> {
    let mut show = Command::new(&setting.trunnion);
    show.args(["show", "--json", "--socket"]);
    Shown::read(&output(show.arg(directory.join("run/control.sock")))?)
}

/// The daemon's log, read as it grows.
struct Log {
    path: PathBuf,
    read: u64,
    /// A line without its end.
    rest: String,
}

impl Log {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            read: 0,
            rest: String::new(),
        }
    }

    /// Lines that were not seen before.
    fn lines(&mut self) -> Result<Vec<String>> {
        let reading = || format!("read {}", self.path.display());
        let mut file = std::fs::File::open(&self.path).context(reading)?;
        file.seek(SeekFrom::Start(self.read)).context(reading)?;
        let mut text = std::mem::take(&mut self.rest);
        let more = file.read_to_string(&mut text).context(reading)?;
        self.read += more as u64;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text.split_at(whole).1.clone_into(&mut self.rest);
        let lines = text[..whole].lines().map(str::to_owned).collect();
        Ok(lines)
    }

    /// Waits for as many rises; how many there were. A fall is an error.
    fn until_rises(&mut self, wanted: u32) -> Result<u32> {
        let (rises, _) = self.until(wanted, 0)?;
        Ok(rises)
    }

    /// Waits for as many falls; when the last of them was.
    fn until_falls(&mut self, wanted: u32) -> Result<u64> {
        let (_, at_ms) = self.until(0, wanted)?;
        Ok(at_ms)
    }

    /// No target fell since the log was last read.
    fn nothing_fell(&mut self) -> Result {
        self.until(0, 0).map(drop)
    }

    /// Waits for so many rises and falls and no more: their number, and when the
    /// last was, milliseconds since 1970.
    fn until(&mut self, rises: u32, falls: u32) -> Result<(u32, u64)> {
        let (mut risen, mut fallen, mut at_ms) = (0, 0, 0);
        let mut fault = None;
        let done = wait_slowly(PATIENCE, || {
            for line in match self.lines() {
                Ok(lines) => lines,
                Err(error) => {
                    fault = Some(error);
                    return Some(());
                }
            } {
                let (up, down) = (line.contains(" TargetUp: "), line.contains(" TargetDown: "));
                if line.contains(" RecordsDropped: ") {
                    fault = Some(failed(format!("lines are missing: {line}")));
                }
                risen += u32::from(up);
                fallen += u32::from(down);
                if up || down {
                    at_ms = when_ms(&line);
                }
                if risen > rises || fallen > falls {
                    fault.get_or_insert_with(|| failed(format!("nothing gave cause for: {line}")));
                }
            }
            (fault.is_some() || (risen, fallen) == (rises, falls)).then_some(())
        });
        match (done, fault) {
            (_, Some(fault)) => Err(fault),
            (None, None) => Err(failed(format!(
                "{risen} of {rises} rises and {fallen} of {falls} falls seen"
            ))),
            (Some(()), None) => Ok((risen, at_ms)),
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// When a line was written, by its `…T12:34:56.789Z`; the day is today's, or
/// yesterday's just after midnight.
fn when_ms(line: &str) -> u64 {
    const DAY_MS: u64 = 86_400_000;
    let part = |from: usize, to| line.get(from..to).and_then(|it| it.parse::<u64>().ok());
    let (Some(h), Some(m), Some(s), Some(ms)) =
        (part(11, 13), part(14, 16), part(17, 19), part(20, 23))
    else {
        return now_ms();
    };
    let of_day = ((h * 60 + m) * 60 + s) * 1000 + ms;
    let now = now_ms();
    let at = now - now % DAY_MS + of_day;
    if at > now + DAY_MS / 2 {
        at - DAY_MS
    } else {
        at
    }
}
