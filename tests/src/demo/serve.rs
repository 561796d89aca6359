//! Step 1: 200 requests for each family are spread by weight.

use super::report::Figure;
use super::world::World;
use crate::lab::Result;
use crate::lab::plan::{FAMILIES, family_name};

const REQUESTS: u32 = 200;
const OFF_PERCENT_MAX: f64 = 10.0;

pub fn play(world: &mut World<'_>) -> Result<()> {
    spread(world)
}

/// Checks that the backends share requests as lb1's config says.
pub fn spread(world: &mut World<'_>) -> Result<()> {
    let shares = world.nodes[0].config.shares();
    let weights: Vec<String> = shares.iter().map(|(_, w)| w.to_string()).collect();
    for family in FAMILIES {
        let tally = world.requests(family, REQUESTS)?;
        let off = tally.deviation(&shares) * 100.0;
        let name = family_name(family);
        let figure = Figure::new("%", off).at_most(OFF_PERCENT_MAX);
        let seen = format!("{name} {REQUESTS} requests: {tally}; off by {off:.1} %");
        let wanted = format!("{}, within {OFF_PERCENT_MAX} %", weights.join(":"));
        world.report.measure("client", figure, seen, wanted);
        if tally.failed() > 0 {
            let seen = format!("{name} failed: {}", tally.failed());
            world.report.check("client", false, seen, "none");
        }
    }
    Ok(())
}
