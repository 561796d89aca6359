//! Step 5: the Active node's daemon is SIGKILLed and restarted at once;
//! established connections survive, and the table is adopted: nothing is
//! deleted, nothing is asked for twice.

use super::node_dies::{SLACK, gap_text};
use super::report::Figure;
use super::world::{LIMIT, World, ms};
use crate::lab::config::CHECK_INTERVAL;
use crate::lab::nlmon::Requests;
use crate::lab::plan::{self, FAMILIES, family_name};
use crate::lab::{LabError, Result, wait_slowly};
use std::time::{Duration, Instant};

/// How often the client asks here. What is measured is a start, which has to
/// share the CPU with the client.
const SELDOM: Duration = Duration::from_millis(20);

pub fn play(world: &mut World<'_>) -> Result<()> {
    let downloads = world.downloads(8)?;
    world.synchronised(&downloads)?;
    let pingers = world.pingers(SELDOM)?;
    let before = world.captures[0].counted()?;
    let killed = Instant::now();
    world.nodes[0].kill();
    world.nodes[0].start()?;
    world
        .report
        .event("lb1", "daemon SIGKILLed and started again at once");
    adopted(world, before)?;
    world.report.event(
        "lb1",
        format!("has read its kernel's table {} after", ms(killed.elapsed())),
    );
    // Until every backend has been judged anew, and every router has settled.
    std::thread::sleep(CHECK_INTERVAL * 4);
    moves(world, killed);
    world.nodes[0].wait_holds(true, LIMIT)?;
    world.nodes[1].wait_holds(false, LIMIT)?;
    let seen = world.captures[0].counted()? - before;
    world.check_requests(0, "nlmon", seen, Requests::default());
    if let Some(own) = world.own_count(0)? {
        world.check_requests(0, "own counters", own, Requests::default());
    }
    world.nodes[0].wait_table(LIMIT)?;
    let bound = world.nodes[1].config.down_interval();
    for (family, pinger) in FAMILIES.into_iter().zip(&pingers) {
        let gap = pinger.gap(killed, Instant::now());
        let figure = Figure::time(gap.longest).at_most_time(bound + gap.own_lateness + SLACK);
        let seen = format!("{} {}", family_name(family), gap_text(&gap));
        let wanted = format!("no more than a takeover: {}", ms(bound));
        world.report.measure("client", figure, seen, wanted);
    }
    drop(pingers);
    world.finish_downloads(downloads)?;
    world.check_holder(0)
}

/// Waits until the new daemon has asked what its kernel's table is. keepalived
/// never asks.
fn adopted(world: &mut World<'_>, before: Requests) -> Result<()> {
    let limit = if world.nodes[0].is_trunnion() {
        LIMIT
    } else {
        Duration::from_secs(3)
    };
    let capture = &mut world.captures[0];
    let asked = wait_slowly(limit, || {
        let seen = capture.counted().ok()? - before;
        (seen.of("get_service") + seen.of("get_dest") > 0).then_some(())
    });
    match asked {
        None if world.nodes[0].is_trunnion() => Err(LabError::new(format!(
            "lb1's new daemon does not ask for its kernel's table; its log:\n{}",
            world.nodes[0].log_tail(8)
        ))),
        _ => Ok(()),
    }
}

/// Puts down where the addresses went meanwhile.
fn moves(world: &mut World<'_>, since: Instant) {
    for family in FAMILIES {
        let vip = plan::vip(family);
        let left = world.addresses[0].first(since, vip, false);
        let taken = world.addresses[1].first(since, vip, true);
        let text = match (left, taken) {
            (None, None) => format!("{vip} stayed on lb1 all the time"),
            (Some(left), None) => format!("{vip} left lb1 {} after, for nobody", ms(left - since)),
            (_, Some(taken)) => format!("{vip} was taken by lb2 {} after", ms(taken - since)),
        };
        world.report.event("lab", text);
    }
}
