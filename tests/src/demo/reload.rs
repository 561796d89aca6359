//! Step 4: a reload changes a weight and adds a backend while downloads run;
//! they complete, and the kernel is asked for exactly the rows that changed. A
//! new backend gets no traffic before its checks have passed: its row comes
//! with weight 0, then its weight.

use super::serve;
use super::world::{LIMIT, World};
use crate::lab::Result;
use crate::lab::config::CHECK_INTERVAL;
use crate::lab::nlmon::Requests;
use crate::lab::plan::FAMILIES;

pub fn play(world: &mut World<'_>) -> Result<()> {
    world.lab.start_backend(3)?;
    let mut before = Vec::new();
    for index in 0..2 {
        let counted = world.captures[index].counted()?;
        before.push((counted, world.own_count(index)?));
    }
    let downloads = world.downloads(6)?;
    for node in &mut world.nodes {
        node.config.weights = vec![3, 4, 1, 2];
        node.reload()?;
    }
    let event = "SIGHUP: b2 gets weight 4 instead of 2, b4 is new with weight 2";
    world.report.event("lb1+lb2", event);
    for node in &world.nodes {
        node.wait_table(LIMIT)?;
    }
    let still_running = downloads.iter().all(|download| !download.ended());
    let seen = if still_running {
        "still running"
    } else {
        "over already"
    };
    let wanted = "the reload to fall into them";
    world
        .report
        .check("client", still_running, format!("downloads {seen}"), wanted);
    // Time enough for a daemon that would have second thoughts.
    std::thread::sleep(CHECK_INTERVAL * 3);
    let families = u64::try_from(FAMILIES.len()).expect("two");
    // For each family: b2's weight, b4's row with weight 0, and b4's weight when
    // its checks have passed.
    let wanted = Requests::default()
        .with("set_dest", 2 * families)
        .with("new_dest", families);
    for (index, (captured, own)) in before.into_iter().enumerate() {
        let seen = world.captures[index].counted()? - captured;
        world.check_requests(index, "nlmon", seen, wanted);
        if let (Some(before), Some(after)) = (own, world.own_count(index)?) {
            world.check_requests(index, "own counters", after - before, wanted);
        }
    }
    world.finish_downloads(downloads)?;
    serve::spread(world)
}
