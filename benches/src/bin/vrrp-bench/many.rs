//! What it takes to be Active for every virtual router that an interface can
//! have, a hundred times a second each.

use crate::capture::Capture;
use crate::subject::{self, Node, Router, Subject};
use crate::wires::Wires;
use crate::{Result, Setting, sample};
use std::time::Duration;
use trunnion_tests::lab::{Context as _, LabError};

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

/// CPU time spent so far, in milliseconds, by schedstat: clock ticks are as
/// coarse as an interval.
fn cpu_ms(family: &[u32]) -> Result<f64> {
    let mut sum = 0.0;
    for pid in family {
        let tasks = format!("/proc/{pid}/task");
        let tasks = std::fs::read_dir(&tasks).context(|| format!("list {tasks}"))?;
        for task in tasks.flatten() {
            let path = task.path().join("schedstat");
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|it| it.parse::<f64>().ok());
            sum +=
                nanos.ok_or_else(|| LabError::new(format!("{}: {text:?}", path.display())))? / 1e6;
        }
    }
    Ok(sum)
}

fn resident_kib(family: &[u32]) -> Result<f64> {
    let mut sum = 0.0;
    for pid in family {
        let path = format!("/proc/{pid}/status");
        let text = std::fs::read_to_string(&path).context(|| format!("read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<f64>().ok());
        sum += kib.unwrap_or(0.0);
    }
    Ok(sum)
}
