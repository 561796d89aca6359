//! Step 5: the Active node's daemon is SIGKILLed and restarted at once;
//! established connections survive, and the table is adopted: nothing is
//! deleted, nothing is asked for twice.

use super::world::{LIMIT, World, ms};
use crate::lab::Result;
use crate::lab::config::CHECK_INTERVAL;
use crate::lab::nlmon::Requests;
use std::time::Instant;

pub fn play(world: &mut World<'_>) -> Result<()> {
    let downloads = world.downloads(5)?;
    let before = world.captures[0].counted()?;
    let killed = Instant::now();
    world.nodes[0].kill();
    world.nodes[0].start()?;
    world
        .report
        .event("lb1", "daemon SIGKILLed and started again at once");
    world.nodes[0].wait_holds(true, LIMIT)?;
    world.nodes[1].wait_holds(false, LIMIT)?;
    let settled = killed.elapsed();
    world
        .report
        .event("lb1", format!("has the addresses {} after", ms(settled)));
    // Until every backend has been judged anew.
    std::thread::sleep(CHECK_INTERVAL * 4);
    world.nodes[0].wait_table(LIMIT)?;
    let seen = world.captures[0].counted()? - before;
    world.check_requests(0, "nlmon", seen, Requests::default());
    if let Some(own) = world.own_count(0)? {
        world.check_requests(0, "own counters", own, Requests::default());
    }
    world.finish_downloads(downloads)?;
    world.check_holder(0)
}
