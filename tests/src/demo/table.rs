//! Step 6: `ipvsadm -Ln` on both nodes against the config, row by row.

use super::world::World;
use crate::lab::Result;

pub fn play(world: &mut World<'_>) -> Result<()> {
    for index in 0..2 {
        let node = &world.nodes[index];
        let name = node.name().to_owned();
        let (is, should) = (node.table()?, node.config.table());
        if index == 0 {
            for (key, service) in &is.0 {
                let rows: Vec<String> = service
                    .destinations
                    .iter()
                    .map(|(key, d)| format!("{key} {} {}", d.forward, d.weight))
                    .collect();
                let text = format!("{key} {} -> {}", service.scheduler, rows.join(", "));
                world.report.event(&name, text);
            }
        }
        let differences = is.differences(&should);
        let seen = if differences.is_empty() {
            format!("ipvsadm -Ln: {} rows", is.rows())
        } else {
            differences.join("; ")
        };
        let wanted = format!("the {} rows of the config", should.rows());
        world
            .report
            .check(&name, differences.is_empty(), seen, wanted);
    }
    Ok(())
}
