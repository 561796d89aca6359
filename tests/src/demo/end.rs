//! The end: what the nodes allocated after the seal, and a clean farewell.

use super::world::{LIMIT, World};
use crate::lab::Result;

pub fn play(world: &mut World<'_>) -> Result<()> {
    for index in 0..2 {
        if world.nodes[index].is_trunnion() {
            allocations(world, index)?;
        }
    }
    for node in &mut world.nodes {
        let name = node.name().to_owned();
        let status = node.terminate(LIMIT)?;
        let seen = format!("SIGTERM: ended with {status}");
        world
            .report
            .check(&name, status.success(), seen, "exit status 0");
    }
    Ok(())
}

fn allocations(world: &mut World<'_>, index: usize) -> Result<()> {
    let shown = world.nodes[index].show()?;
    let name = world.nodes[index].name().to_owned();
    for thread in ["ha", "lb"] {
        let count = shown.allocations(thread)?;
        let seen = format!("{thread}: {count} allocations after the seal");
        world.report.check(&name, count == 0, seen, "0");
    }
    Ok(())
}
