//! The demo: real HTTP traffic through two balancer nodes on a real kernel,
//! and everything that can happen to them on a bad day, as a timeline that a
//! person reads and a machine checks. One file for each step; every step puts
//! what was measured beside its bound, and a step that fails does not keep the
//! next from running.

mod backend_dies;
mod end;
mod node_dies;
mod reload;
mod report;
mod restart;
mod serve;
mod table;
mod world;

pub use report::Report;

use crate::lab::node::Daemon;
use crate::lab::{Result, plan, topology};
use std::process::{Command, ExitCode};
use world::World;

/// How the demo is played.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Print one JSON document at the end instead of the timeline.
    pub json: bool,
    /// Leave a shell in the running topology afterwards.
    pub keep: bool,
    /// Play it with keepalived on both nodes, for comparison. Checks that read
    /// Trunnion's own counters are left out.
    pub keepalived: bool,
}

type Step = fn(&mut World<'_>) -> Result<()>;

/// The scenario. Their order matters little: each begins from a healthy lab.
const STEPS: [(&str, Step); 6] = [
    (
        "The VIP answers, and each backend gets its share",
        serve::play,
    ),
    ("A backend dies, and comes back", backend_dies::play),
    ("The Active node dies, and comes back", node_dies::play),
    ("A reload, while a download runs", reload::play),
    (
        "The daemon crashes and restarts, while a download runs",
        restart::play,
    ),
    ("The kernel's table is what the config says", table::play),
];

/// Plays the whole scenario. Success is every check passed.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let mut report = Report::new(!options.json);
    if let Err(error) = play(options, &mut report) {
        report.broken(&error);
    }
    if options.json {
        println!("{}", report.json());
    }
    report.close();
    if report.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn play(options: &Options, report: &mut Report) -> Result<()> {
    let mut world = World::build(options, report)?;
    for (number, (title, step)) in (1..).zip(STEPS) {
        world.report.step(number, title);
        let played = world.heal().and_then(|()| step(&mut world));
        if let Err(error) = played {
            world.report.broken(&error);
        }
    }
    world.report.step(STEPS.len() + 1, "The end");
    if options.keep {
        shell(&world);
    }
    end::play(&mut world)
}

/// The daemon the nodes run.
fn daemon(options: &Options) -> Result<Daemon> {
    if options.keepalived {
        Ok(Daemon::Keepalived)
    } else {
        topology::binary("trunnion").map(Daemon::Trunnion)
    }
}

/// A shell on the client, with the names it needs to walk about.
fn shell(world: &World<'_>) {
    let names: Vec<&str> = world
        .lab
        .namespaces()
        .map(crate::lab::Netns::name)
        .collect();
    let own = std::env::current_exe().unwrap_or_else(|_| "trunnion-lab".into());
    println!("\nThe lab stays up until this shell ends. You are on the client: try");
    for family in plan::FAMILIES {
        println!("  {} client {}", own.display(), plan::service(family));
    }
    for balancer in &world.lab.balancers {
        println!("  ip netns exec {} ipvsadm -Ln", balancer.name());
    }
    println!("Namespaces: {}", names.join(" "));
    println!("Configs and logs: {}\n", world.lab.directory.display());
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut command = Command::new(shell);
    command
        .current_dir(&world.lab.directory)
        .env("PS1", "trunnion-lab# ");
    if let Ok(mut child) = world.lab.client.spawn(&mut command) {
        let _ = child.wait();
    }
}
