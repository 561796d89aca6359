//! Step 3: the Active node loses its power, comes back, is asked to leave,
//! comes back; and the client that asks every 5 ms holds the clock.

use super::report::Figure;
use super::world::{LIMIT, PERIOD, World, ms};
use crate::lab::config::PREEMPT_DELAY;
use crate::lab::pinger::{Gap, Pinger};
use crate::lab::plan::{self, FAMILIES, family_name};
use crate::lab::{Result, wait_for};
use std::time::{Duration, Instant};

/// For what is not VRRP's: the taking of the address, its announcement and the
/// client's first answer. On top comes what the client itself was late.
pub const SLACK: Duration = Duration::from_millis(40);

pub fn play(world: &mut World<'_>) -> Result<()> {
    let pingers = world.pingers(PERIOD)?;
    power_cut(world, &pingers)?;
    returns_and_preempts(world, &pingers)?;
    leaves(world, &pingers, 0)?;
    returns_and_does_not(world, &pingers)?;
    leaves(world, &pingers, 1)?;
    world.nodes[1].start()
}

/// SIGKILL to the daemon and the cable pulled in the same moment; what a power
/// loss forgets is forgotten.
fn power_cut(world: &mut World<'_>, pingers: &[Pinger; 2]) -> Result<()> {
    let downloads = world.downloads(8)?;
    world.synchronised(&downloads)?;
    let cut = Instant::now();
    world.lab.set_cable(&world.nodes[0].netns, false)?;
    world.nodes[0].kill();
    world
        .report
        .event("lb1", "power cut: daemon SIGKILLed, cable pulled");
    took_over(world, 1, cut)?;
    let backup = &world.nodes[1].config;
    let (bound, skew) = (backup.down_interval(), backup.skew());
    let wanted = format!(
        "3 x {} + skew {}: {}",
        ms(backup.interval),
        ms(skew),
        ms(bound)
    );
    gaps(world, pingers, cut, bound, &wanted)?;
    world.finish_downloads(downloads)?;
    world.nodes[0].forget_everything()
}

fn returns_and_preempts(world: &mut World<'_>, pingers: &[Pinger; 2]) -> Result<()> {
    world.lab.set_cable(&world.nodes[0].netns, true)?;
    let back = Instant::now();
    world.nodes[0].start()?;
    world.report.event(
        "lb1",
        format!(
            "power back, daemon starts; preempts after {}",
            ms(PREEMPT_DELAY)
        ),
    );
    took_over(world, 0, back)?;
    world.nodes[1].wait_holds(false, LIMIT)?;
    world.check_holder(0)?;
    let interval = world.nodes[0].config.interval;
    let wanted = format!("nobody waits for a handover: {}", ms(interval));
    gaps(world, pingers, back, interval, &wanted)?;
    world.nodes[0].wait_table(LIMIT)
}

/// SIGTERM to the Active node: priority 0, and the Backup waits its skew only.
fn leaves(world: &mut World<'_>, pingers: &[Pinger; 2], leaver: usize) -> Result<()> {
    let (name, other) = (world.nodes[leaver].name().to_owned(), 1 - leaver);
    let told = Instant::now();
    world.nodes[leaver].signal_terminate()?;
    world.report.event(&name, "SIGTERM");
    took_over(world, other, told)?;
    let skew = world.nodes[other].config.skew();
    let wanted = format!("about the skew: {}", ms(skew));
    gaps(world, pingers, told, skew, &wanted)?;
    let status = world.nodes[leaver].ended(LIMIT)?;
    let seen = format!("ended with {status}");
    world
        .report
        .check(&name, status.success(), seen, "exit status 0");
    world.check_holder(other)?;
    let table = world.nodes[leaver].table()?;
    let kept = table
        .differences(&world.nodes[leaver].config.table())
        .is_empty();
    if world.nodes[leaver].is_trunnion() {
        let seen = format!("leaves {} rows in its kernel's table", table.rows());
        world
            .report
            .check(&name, kept, seen, "its whole table stays");
    }
    Ok(())
}

/// lb1 comes back with `preempt = false` and lets lb2 be.
fn returns_and_does_not(world: &mut World<'_>, pingers: &[Pinger; 2]) -> Result<()> {
    world.nodes[0].config.preempt = false;
    let back = Instant::now();
    world.nodes[0].start()?;
    world.report.event("lb1", "starts again; preempt = false");
    world.nodes[0].wait_table(LIMIT)?;
    // Whoever would preempt does so within its delay and one
    // Active_Down_Interval.
    std::thread::sleep(PREEMPT_DELAY + world.nodes[0].config.down_interval() * 2);
    world.check_holder(1)?;
    for (index, family) in FAMILIES.into_iter().enumerate() {
        let taken = world.addresses[0].first(back, plan::vip(family), true);
        let failed = pingers[index].gap(back, Instant::now()).tally.failed();
        let seen = format!("{} failed tries: {failed}", family_name(family));
        let pass = taken.is_none() && failed == 0;
        world
            .report
            .check("client", pass, seen, "none, and no move");
    }
    Ok(())
}

/// Waits until a node's kernel has the addresses, and puts down when it took
/// them.
fn took_over(world: &mut World<'_>, node: usize, since: Instant) -> Result<()> {
    // The kernel's own word, which costs nothing to wait for.
    let all = || {
        let taken = |family| world.addresses[node].first(since, plan::vip(family), true);
        FAMILIES
            .iter()
            .all(|family| taken(*family).is_some())
            .then_some(())
    };
    wait_for(LIMIT, all);
    world.nodes[node].wait_holds(true, LIMIT)?;
    let taken = FAMILIES.map(|family| {
        let taken = world.addresses[node].first(since, plan::vip(family), true);
        let taken = taken.map_or("?".to_owned(), |at| ms(at - since));
        format!("{} after {taken}", plan::vip(family))
    });
    let name = world.nodes[node].name().to_owned();
    world
        .report
        .event(&name, format!("takes {}", taken.join(", ")));
    Ok(())
}

/// Waits until the client is answered again and puts its gaps beside a bound.
fn gaps(
    world: &mut World<'_>,
    pingers: &[Pinger; 2],
    since: Instant,
    bound: Duration,
    wanted: &str,
) -> Result<()> {
    // Not only the first answer: a hundred later ones must not stumble.
    let settled = Instant::now();
    for pinger in pingers {
        pinger.answered(settled, LIMIT)?;
    }
    std::thread::sleep(PERIOD * 100);
    for (family, pinger) in FAMILIES.into_iter().zip(pingers) {
        let gap = pinger.gap(since, Instant::now());
        let figure =
            Figure::time(gap.longest).at_most_time(bound + PERIOD + gap.own_lateness + SLACK);
        let seen = format!("{} {}", family_name(family), gap_text(&gap));
        world.report.measure("client", figure, seen, wanted);
    }
    Ok(())
}

/// `gap 341 ms, 55 failed tries`, and what of it is the client's own fault when
/// that is more than nothing.
pub fn gap_text(gap: &Gap) -> String {
    let mut text = format!(
        "gap {}, {} failed tries",
        ms(gap.longest),
        gap.tally.failed()
    );
    if gap.own_lateness > SLACK / 4 {
        text.push_str(&format!(
            " (client itself late by {})",
            ms(gap.own_lateness)
        ));
    }
    text
}
