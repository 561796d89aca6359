//! What it takes to have many addresses: from the first advert of a router until
//! each of its addresses was announced, and so is on the interface; and what
//! becomes of its adverts meanwhile.

use crate::capture::Capture;
use crate::subject::{self, Node, Router, Subject, further};
use crate::wires::{INTERFACE, Wires};
use crate::{Result, Setting, sample};
use std::process::Command;
use std::time::Duration;
use trunnion_tests::lab::LabError;

/// Every 100 ms: a silence of several intervals is seen, and no advert is due
/// more often than an address can be added.
const INTERVAL_MS: u32 = 100;

pub fn run(setting: &Setting) -> Result {
    let counts: &[u32] = if setting.quick {
        &[100]
    } else {
        &[1_000, 10_000]
    };
    let turns = if setting.quick { 1 } else { 5 };
    for count in counts {
        for _ in 0..turns {
            for subject in Subject::ROUTERS {
                take_over(setting, subject, *count)?;
            }
        }
    }
    Ok(())
}

fn take_over(setting: &Setting, subject: Subject, count: u32) -> Result {
    let wires = Wires::new()?;
    let routers = [Router {
        vrid: 1,
        interval_ms: INTERVAL_MS,
    }];
    let node = Node {
        addresses: count - 1,
        ..Node::plain(0, &routers)
    };
    let capture = Capture::with_announcements(&wires)?;
    let mut active = subject::start(setting, &wires, subject, &node)?;
    subject::until_active(&wires, &node, &mut active)?;
    // Its adverts go on for longer than it needs.
    std::thread::sleep(Duration::from_secs(if setting.quick { 2 } else { 8 }));
    let seen = capture.finish_with_announcements()?;
    let wanted = || std::iter::once(routers[0].address()).chain((0..count - 1).map(further));
    let last = wanted().map(|address| seen.announced.get(&address));
    let last = last.collect::<Option<Vec<_>>>();
    let (Some(last), Some(first)) = (
        last.and_then(|all| all.into_iter().max().copied()),
        seen.adverts.first(),
    ) else {
        let found = wanted().filter(|a| seen.announced.contains_key(a)).count();
        let text = format!("{}: {found} of {count} addresses announced", subject.name());
        return Err(LabError::new(text));
    };
    let held = held(&wires)?;
    if held < count as usize {
        let text = format!("{}: {held} of {count} addresses there", subject.name());
        return Err(LabError::new(text));
    }
    let gaps = seen.adverts.windows(2).map(|pair| pair[1].at - pair[0].at);
    let gap = gaps.max().unwrap_or_default();
    let case = format!("{count}-addresses");
    let took = last.saturating_sub(first.at);
    sample(&case, subject.name(), "take-over", took.as_secs_f64() * 1e6);
    sample(
        &case,
        subject.name(),
        "longest-gap",
        gap.as_secs_f64() * 1e6,
    );
    Ok(())
}

/// How many addresses the router's interface has.
fn held(wires: &Wires) -> Result<usize> {
    let mut ip = Command::new("ip");
    ip.args(["-4", "-o", "addr", "show", "dev", INTERFACE]);
    let output = wires.routers[0].run(|| ip.output())?;
    let output = output.map_err(|error| LabError::new(format!("ip: {error}")))?;
    Ok(output.stdout.split(|byte| *byte == b'\n').count())
}
