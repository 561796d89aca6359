//! What `cargo xtask bench ipvs` runs inside a kernel with ip_vs: ours and
//! ipvsadm, and in turns with them the peers of benches/peers. Prints
//! samples; what they amount to is said by xtask.
//!
//! `ipvs-bench run PEER ROUNDS SHAPE…`, with a shape like `100x20`, services by
//! destinations of each: in each round every strategy works once, in a process
//! and a network namespace of its own, for destinations that were deleted slow
//! every later add of their namespace for two minutes. A sample is a line
//! `SHAPE STRATEGY PHASE VALUE`: microseconds for each request or row, but `rss`
//! is the peak in KiB. The first line is the kernel's release.
//!
//! `ipvs-bench calls PEER SHAPE…` prints in the same way what strace counts:
//! `calls-set` is system calls for each SET_DEST, `sync-writes` requests that
//! would change something in a full sync of a table that is as it should be.
//!
//! `ours`, `ipvsadm`, `lean` and `sync`, with a shape, are what these start.

mod calls;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trunnion_benches::Rows;
use trunnion_core::model::{
    BLANK_DESTINATION, Destination, DestinationKey, Forward, ServiceKey, ServiceRow, TableBuf,
};
use trunnion_core::reconcile::{Change, Ownership};
use trunnion_sys::ipvs::{Ipvs, Outcome};
use trunnion_sys::netns;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Strategies of the peer, which it takes as its first argument.
const PEERS: [&str; 6] = [
    "floor",
    "one-send",
    "raw",
    "libnl",
    "libnl-socket",
    "libnl-each",
];

/// These take a quarter of a minute for as many rows, and vary little.
const SLOW: [&str; 4] = ["ipvsadm", "libnl-socket", "libnl-each", "go"];
/// Rows above which they work in the first rounds only.
const LARGE: u32 = 5000;
const SLOW_ROUNDS: u32 = 2;

/// How long the machine is to have been idle before the next strategy works.
const SETTLE: Duration = Duration::from_millis(100);
/// How often that is waited for: some other work may never end.
const SETTLES_MAX: u32 = 50;

fn main() -> Result {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", peer, rounds, shapes @ ..] => run(peer, rounds.parse()?, shapes),
        ["calls", peer, shapes @ ..] => calls::count(peer, shapes),
        ["ours", shape] => ours(Shape::parse(shape)?),
        ["lean", shape] => lean(Shape::parse(shape)?),
        ["sync", shape] => sync(Shape::parse(shape)?),
        ["ipvsadm", shape] => ipvsadm(Shape::parse(shape)?),
        _ => Err("usage: ipvs-bench run PEER ROUNDS SHAPE…".into()),
    }
}

/// How many services, and destinations of each.
#[derive(Clone, Copy)]
struct Shape {
    services: u32,
    each: u32,
}

impl Shape {
    fn parse(text: &str) -> Result<Self> {
        let (services, each) = text.split_once('x').ok_or("a shape is like 100x20")?;
        Ok(Self {
            services: services.parse()?,
            each: each.parse()?,
        })
    }

    const fn rows(self) -> u32 {
        self.services * self.each
    }
}

fn run(peer: &str, rounds: u32, shapes: &[&str]) -> Result {
    print!("{}", fs::read_to_string("/proc/sys/kernel/osrelease")?);
    for round in 0..rounds {
        for shape in shapes {
            let large = Shape::parse(shape)?.rows() > LARGE;
            for (name, mut command) in strategies(peer, shape)? {
                if large && round >= SLOW_ROUNDS && SLOW.contains(&name) {
                    continue;
                }
                settle()?;
                let output = command.stderr(Stdio::inherit()).output()?;
                if !output.status.success() {
                    return Err(format!("{name} {shape}: {}", output.status).into());
                }
                let text = String::from_utf8(output.stdout)?;
                print!("{}", samples(shape, name, &text)?);
            }
        }
    }
    Ok(())
}

/// What is started for each strategy. What is ours has more than one.
fn strategies(peer: &str, shape: &str) -> Result<Vec<(&'static str, Command)>> {
    let own = std::env::current_exe()?;
    let Shape { services, each } = Shape::parse(shape)?;
    let mut found = Vec::new();
    for (strategy, name) in [
        ("ours", "ours"),
        ("ours", "lean"),
        ("ours", "sync"),
        ("ipvsadm", "ipvsadm"),
    ] {
        let mut command = Command::new(&own);
        command.args([name, shape]);
        found.push((strategy, command));
    }
    for name in PEERS {
        let mut command = Command::new(peer);
        command.args([name, &services.to_string(), &each.to_string()]);
        found.push((name, command));
    }
    // Beside the peer in C, where there is a Go to build it.
    let go = format!("{peer}-go");
    if fs::exists(&go)? {
        let mut command = Command::new(go);
        command.args([services.to_string(), each.to_string()]);
        found.push(("go", command));
    }
    Ok(found)
}

/// Waits until the kernel has taken the last namespace apart: it does so behind
/// our back, and there may be one CPU.
fn settle() -> Result {
    let ticks = || -> Result<(u64, u64)> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().unwrap_or_default();
        let words = line.split_whitespace().skip(1);
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        // User, nice, system, idle, and what waits for a disk.
        let idle = ticks.iter().skip(3).take(2).sum();
        Ok((ticks.iter().sum(), idle))
    };
    let mut before = ticks()?;
    for _ in 0..SETTLES_MAX {
        std::thread::sleep(SETTLE);
        let after = ticks()?;
        let (all, idle) = (after.0 - before.0, after.1 - before.1);
        if idle * 10 >= all * 8 {
            break;
        }
        before = after;
    }
    Ok(())
}

/// `PHASE COUNT VALUE` lines as samples, each for one.
fn samples(shape: &str, strategy: &str, text: &str) -> Result<String> {
    let mut lines = String::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(phase), Some(count), Some(value)) = (words.next(), words.next(), words.next())
        else {
            return Err(format!("{strategy} printed {line:?}").into());
        };
        let (count, value): (f64, f64) = (count.parse()?, value.parse()?);
        writeln!(lines, "{shape} {strategy} {phase} {}", value / count)?;
    }
    Ok(lines)
}

fn ours(shape: Shape) -> Result {
    netns::unshare_network()?;
    let (table, count) = (table(shape), shape.rows());
    let mut outcomes = vec![Outcome::NotSent; count.max(shape.services) as usize];
    let mut apply = |ipvs: &mut Ipvs, changes: &[Change<'_>]| -> Result<Duration> {
        let outcomes = &mut outcomes[..changes.len()];
        let begin = Instant::now();
        ipvs.apply(changes, outcomes)?;
        let took = begin.elapsed();
        match outcomes.iter().find(|outcome| **outcome != Outcome::Done) {
            Some(outcome) => Err(format!("a change was {outcome:?}").into()),
            None => Ok(took),
        }
    };
    let mut ipvs = Ipvs::open()?;
    let services = table.services.iter();
    let add: Vec<_> = services
        .map(|row| Change::AddService(&row.service))
        .collect();
    apply(&mut ipvs, &add)?;

    let wanted = with_keys(&table, |_| {});
    let add: Vec<_> = wanted
        .iter()
        .map(|(key, it)| Change::AddDestination(key, it))
        .collect();
    print_phase("new", count, apply(&mut ipvs, &add)?);
    let heavier = with_keys(&table, |it| it.weight = 2);
    let set: Vec<_> = heavier
        .iter()
        .map(|(key, it)| Change::SetDestination(key, it))
        .collect();
    print_phase("set", count, apply(&mut ipvs, &set)?);
    let delete: Vec<_> = wanted
        .iter()
        .map(|(key, it)| Change::DeleteDestination(key, &it.key))
        .collect();
    print_phase("del", count, apply(&mut ipvs, &delete)?);
    let others = with_keys(&table, |it| it.key.address = beyond(it.key.address, count));
    let add: Vec<_> = others
        .iter()
        .map(|(key, it)| Change::AddDestination(key, it))
        .collect();
    print_phase("new-trash", count, apply(&mut ipvs, &add)?);
    // Last: what a dump leaves in the caches would be paid by the phase after
    // it, and the floor has none.
    print_phase("dump", count, dump(&mut ipvs, shape)?);
    let begin = Instant::now();
    for (key, it) in others.iter().take(ALONE as usize) {
        ipvs.set_destination(key, it)?;
    }
    print_phase("alone", count.min(ALONE), begin.elapsed());
    Ok(())
}

/// The same changes by who has no more of them in memory than a batch: how much
/// the client itself takes.
fn lean(shape: Shape) -> Result {
    const BATCH: usize = 128;
    netns::unshare_network()?;
    let mut ipvs = Ipvs::open()?;
    let mut outcomes = [Outcome::NotSent; BATCH];
    for (at, row) in (0..).zip(&Rows::new(shape.services, 0).services) {
        let service = &row.service;
        ipvs.add_service(service)?;
        let its: Vec<_> = (0..shape.each)
            .map(|n| Ipv4Addr::from_bits(0x0a80_0000 + at * shape.each + n))
            .map(|to| DestinationKey {
                address: to.into(),
                port: 80,
            })
            .map(|to| Destination::new(to, Forward::ROUTE, 1))
            .collect();
        for part in its.chunks(BATCH) {
            let add: Vec<_> = part
                .iter()
                .map(|it| Change::AddDestination(&service.key, it))
                .collect();
            ipvs.apply(&add, &mut outcomes[..add.len()])?;
        }
    }
    println!("rss 1 {}", peak_kib("self")?);
    Ok(())
}

/// Makes the table what it should be, twice: the second time it is.
fn sync(shape: Shape) -> Result {
    netns::unshare_network()?;
    let table = table(shape);
    let mut services = vec![ServiceRow::blank(); table.services.len()];
    let mut destinations = vec![BLANK_DESTINATION; table.destinations.len()];
    let mut actual = TableBuf::new(&mut services, &mut destinations);
    let mut ipvs = Ipvs::open()?;
    let mut refused = 0;
    for (phase, done) in [("first-sync", shape.rows() + shape.services), ("sync", 0)] {
        let begin = Instant::now();
        let result = ipvs.reconcile(table.table(), Ownership::All, &mut actual, |_, _| {
            refused += 1;
        })?;
        let took = begin.elapsed();
        if !result.converged || result.done != done || refused > 0 {
            return Err(format!("{phase}: {result:?}, {refused} refused").into());
        }
        print_phase(phase, shape.rows(), took);
    }
    Ok(())
}

fn print_phase(name: &str, count: u32, took: Duration) {
    println!("{name} {count} {:.1}", took.as_secs_f64() * 1e6);
}

/// All on port 80, which ipvsadm makes of any other where it routes.
fn table(shape: Shape) -> Rows {
    let mut rows = Rows::new(shape.services, shape.each);
    for it in &mut rows.destinations {
        it.key.port = 80;
    }
    rows
}

/// Each destination with its service's key, changed by `edit`.
fn with_keys(rows: &Rows, edit: impl Fn(&mut Destination)) -> Vec<(ServiceKey, Destination)> {
    let mut found = Vec::with_capacity(rows.destinations.len());
    for row in &rows.services {
        for at in row.range() {
            let mut it = rows.destinations[at];
            edit(&mut it);
            found.push((row.service.key, it));
        }
    }
    found
}

/// The address `count` further on: one that no row of the table has.
fn beyond(address: IpAddr, count: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() + count).into(),
        IpAddr::V6(_) => address,
    }
}

/// Changes made one at a time, each a call of its own.
const ALONE: u32 = 500;

fn dump(ipvs: &mut Ipvs, shape: Shape) -> Result<Duration> {
    let mut keys = Vec::with_capacity(shape.services as usize);
    let mut weights = 0;
    let begin = Instant::now();
    ipvs.services(|entry| keys.push(entry.service.key))?;
    for key in &keys {
        ipvs.destinations(key, |entry| weights += entry.destination.weight)?;
    }
    let took = begin.elapsed();
    if weights != shape.rows() {
        return Err("rows are missing in the dump".into());
    }
    Ok(took)
}

/// Each phase is a whole run of `ipvsadm --restore`, from its start to its end.
fn ipvsadm(shape: Shape) -> Result {
    netns::unshare_network()?;
    let (table, count) = (table(shape), shape.rows());
    let lines = |verb: char, rest: &str, first: u32| -> Result<String> {
        let mut text = String::new();
        for (key, it) in with_keys(&table, |it| it.key.address = beyond(it.key.address, first)) {
            let service = ipvsadm_key(&key)?;
            writeln!(text, "-{verb} {service} -r {}{rest}", it.key)?;
        }
        Ok(text)
    };
    let mut text = String::new();
    for row in &table.services {
        writeln!(text, "-A {} -s wrr", ipvsadm_key(&row.service.key)?)?;
    }
    restore(&text)?;
    print_phase("new", count, restore(&lines('a', " -g -w 1", 0)?)?);
    let set = lines('e', " -g -w 2", 0)?;
    print_phase("set", count, restore(&set)?);
    // Once more, to look at it while it waits for the end of its input.
    let mut child = start_restore()?;
    feed(&mut child, &set)?;
    println!("rss 1 {}", idle_peak_kib(child.id())?);
    drop(child.stdin.take());
    ended(child)?;
    print_phase("del", count, restore(&lines('d', "", 0)?)?);
    let others = lines('a', " -g -w 1", count)?;
    print_phase("new-trash", count, restore(&others)?);
    let begin = Instant::now();
    let output = Command::new("ipvsadm").arg("-Sn").output()?;
    let took = begin.elapsed();
    let found = output.stdout.split(|byte| *byte == b'\n');
    if found.filter(|line| line.ends_with(b"-w 1")).count() != shape.rows() as usize {
        return Err("rows are missing in ipvsadm -Sn".into());
    }
    print_phase("dump", count, took);
    Ok(())
}

fn ipvsadm_key(key: &ServiceKey) -> Result<String> {
    match key {
        ServiceKey::Address { address, port, .. } => Ok(format!("-t {address}:{port}")),
        ServiceKey::Fwmark { .. } => Err("the table has addresses only".into()),
    }
}

fn restore(text: &str) -> Result<Duration> {
    let begin = Instant::now();
    let mut child = start_restore()?;
    feed(&mut child, text)?;
    drop(child.stdin.take());
    ended(child)?;
    Ok(begin.elapsed())
}

fn start_restore() -> Result<Child> {
    let mut command = Command::new("ipvsadm");
    Ok(command.arg("--restore").stdin(Stdio::piped()).spawn()?)
}

fn feed(child: &mut Child, text: &str) -> Result {
    let stdin = child.stdin.as_mut().ok_or("ipvsadm has no stdin")?;
    Ok(stdin.write_all(text.as_bytes())?)
}

fn ended(mut child: Child) -> Result {
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("ipvsadm --restore: {status}").into())
    }
}

/// The peak of a process's resident memory, KiB.
fn peak_kib(process: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    Ok(words.ok_or("/proc has no VmHWM")?.parse()?)
}

/// The same, once it has done what it was fed and waits for more.
fn idle_peak_kib(id: u32) -> Result<u64> {
    let mut idle = 0;
    while idle < 3 {
        std::thread::sleep(Duration::from_millis(20));
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let sleeps = status.lines().any(|line| line.starts_with("State:\tS"));
        idle = if sleeps { idle + 1 } else { 0 };
    }
    peak_kib(&id.to_string())
}
