//! What it takes to be Active for every virtual router that an interface can
//! have, a hundred times a second each.

use crate::capture::Capture;
use crate::subject::{self, Node, Router, Subject};
use crate::wires::Wires;
use crate::{Result, Setting, sample};
use std::time::Duration;
use trunnion_benches::processes::{cpu_ms, resident_kib};

pub fn run(setting: &Setting) -> Result {
    let window = Duration::from_secs(if setting.quick { 2 } else { 10 });
    let count = if setting.quick { 16 } else { 255 };
    let routers: Vec<Router> = (1..=count)
        .map(|vrid| Router {
            vrid,
            interval_ms: 10,
        })
        .collect();
    for subject in Subject::ROUTERS {
        let wires = Wires::new()?;
        let node = Node::plain(0, &routers);
        let mut active = subject::start(setting, &wires, subject, &node)?;
        subject::until_active(&wires, &node, &mut active)?;
        std::thread::sleep(Duration::from_secs(2));
        let family = active.family();
        let before = cpu_ms(&family)?;
        let capture = Capture::start(&wires)?;
        std::thread::sleep(window);
        let adverts = capture.finish()?.len();
        let spent_ms = cpu_ms(&family)? - before;
        let case = format!("{count}x10ms");
        sample(
            &case,
            subject.name(),
            "cpu-percent",
            spent_ms / window.as_secs_f64() / 10.0,
        );
        #[expect(clippy::cast_precision_loss, reason = "some hundred thousand")]
        let adverts = adverts as f64;
        sample(
            &case,
            subject.name(),
            "cpu-us-per-advert",
            spent_ms * 1e3 / adverts,
        );
        sample(
            &case,
            subject.name(),
            "adverts-per-s",
            adverts / window.as_secs_f64(),
        );
        sample(
            &case,
            subject.name(),
            "resident-kib",
            resident_kib(&family)?,
        );
    }
    Ok(())
}
