//! Step 2: a backend is killed; once that is noticed no request fails; it
//! comes back after `rise` successes.

use super::report::Figure;
use super::world::{LIMIT, PERIOD, World, ms};
use crate::lab::config::{CHECK_INTERVAL, CHECK_TIMEOUT, FALL, RISE};
use crate::lab::plan::{self, BACKEND_NAMES, FAMILIES, family_name};
use crate::lab::{LabError, Result, wait_slowly};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const VICTIM: usize = 1;
const REQUESTS: u32 = 200;
/// For what is not the check's: the table's change, and a request that was on
/// its way.
const SLACK: Duration = Duration::from_millis(100);

pub fn play(world: &mut World<'_>) -> Result<()> {
    let name = BACKEND_NAMES[VICTIM];
    let pingers = world.pingers(PERIOD)?;
    let killed = Instant::now();
    world.lab.kill_backend(VICTIM);
    world.report.event(name, "killed");
    drained(world)?;
    world.report.event("lb1", format!("{name} is drained"));

    let noticed = Instant::now();
    let bound = CHECK_INTERVAL * FALL + CHECK_TIMEOUT;
    for family in FAMILIES {
        let tally = world.requests(family, REQUESTS)?;
        let family = family_name(family);
        let seen = format!("{family} {REQUESTS} requests afterwards: {tally}");
        let pass = tally.failed() == 0 && tally.of(name) == 0;
        let wanted = format!("none fails, none on {name}");
        world.report.check("client", pass, seen, wanted);
    }
    for (family, pinger) in FAMILIES.into_iter().zip(&pingers) {
        let last = pinger.last_failure(killed);
        let last = last.map_or(Duration::ZERO, |last| last - killed);
        let failed = pinger.gap(killed, Instant::now()).tally.failed();
        let after = pinger.last_failure(noticed).is_some();
        let family = family_name(family);
        let figure = Figure::time(last).at_most_time(bound + SLACK);
        let seen = format!("{family} last of {failed} failed tries {} after", ms(last));
        let wanted = format!(
            "{FALL} checks of {} and {} of patience: {}",
            ms(CHECK_INTERVAL),
            ms(CHECK_TIMEOUT),
            ms(bound)
        );
        world.report.measure("client", figure, seen, wanted);
        if after {
            let seen = format!("{family} a try failed after {name} was drained");
            world.report.check("client", false, seen, "none fails");
        }
    }

    world.lab.start_backend(VICTIM)?;
    let up = Instant::now();
    world.report.event(name, "listens again");
    // The first success comes at once or an interval later; then the others.
    let (least, most) = (CHECK_INTERVAL * (RISE - 1), CHECK_INTERVAL * RISE);
    for (family, pinger) in FAMILIES.into_iter().zip(&pingers) {
        let back = pinger.answered_by(name, up, LIMIT)?;
        let family = family_name(family);
        let figure = Figure::time(back)
            .at_least_time(least.mul_f64(0.75))
            .at_most_time(most + CHECK_TIMEOUT + SLACK);
        let seen = format!("{family} {name} answers again {} after", ms(back));
        let wanted = format!("{RISE} successes: {} to {}", ms(least), ms(most));
        world.report.measure("client", figure, seen, wanted);
    }
    Ok(())
}

/// Waits until lb1's kernel sends nothing more to the victim.
fn drained(world: &World<'_>) -> Result<()> {
    let keys = FAMILIES
        .map(|family| SocketAddr::new(plan::backend(family, VICTIM), plan::PORT).to_string());
    let mut last = None;
    wait_slowly(LIMIT, || {
        let table = world.nodes[0].table().ok()?;
        let gone = |key: &String| table.weight(key).unwrap_or(0) == 0;
        let all = keys.iter().all(gone);
        last = Some(table);
        all.then_some(())
    })
    .ok_or_else(|| {
        LabError::new(format!(
            "{} still has a weight in lb1's table: {last:?}; its log:\n{}",
            BACKEND_NAMES[VICTIM],
            world.nodes[0].log_tail(8)
        ))
    })
}
