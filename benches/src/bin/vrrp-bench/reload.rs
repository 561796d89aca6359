//! The longest silence of an Active that reloads, with more and more backends.

use crate::capture::Capture;
use crate::subject::{self, Node, Router, Subject};
use crate::wires::{ROUTERS, Wires};
use crate::{Result, Setting, sample};
use rustix::process::Signal;
use std::net::Ipv4Addr;
use std::time::Duration;

const ROUTER: [Router; 1] = [Router {
    vrid: 51,
    interval_ms: 10,
}];

/// From one reload to the next.
const PAUSE: Duration = Duration::from_secs(3);

pub fn run(setting: &Setting) -> Result {
    let (sizes, times): (&[u32], u32) = if setting.quick {
        (&[0, 1_000], 1)
    } else {
        (&[0, 10_000, 100_000], 5)
    };
    for &backends in sizes {
        for subject in Subject::ROUTERS {
            measure(setting, subject, backends, times)?;
        }
        // As long, with nothing to reload: what it is late the machine is late.
        measure(setting, Subject::Control, backends, times)?;
    }
    Ok(())
}

fn measure(setting: &Setting, subject: Subject, backends: u32, times: u32) -> Result {
    let wires = Wires::new()?;
    let mut node = Node {
        backends,
        ..Node::plain(0, &ROUTER)
    };
    let mut active = subject::start(setting, &wires, subject, &node)?;
    let mut backup = None;
    if subject != Subject::Control {
        subject::until_active(&wires, &node, &mut active)?;
        let second = Node::plain(1, &ROUTER);
        backup = Some(subject::start(setting, &wires, subject, &second)?);
    }
    // What a start leaves to do is done.
    std::thread::sleep(PAUSE);
    let capture = Capture::start(&wires)?;
    for turn in 0..times {
        // Each one changes something: ours would have nothing to do else.
        node.backends = if turn % 2 == 0 {
            backends.saturating_sub(100)
        } else {
            backends
        };
        subject::write(&wires, subject, &node)?;
        if subject != Subject::Control {
            active.main()?.signal(Signal::HUP)?;
        }
        std::thread::sleep(PAUSE);
    }
    let adverts = capture.finish()?;
    drop((backup, active));
    let source = |place: usize| ROUTERS[place].parse::<Ipv4Addr>().ok();
    let mut last = None;
    let (mut longest, mut takeovers, mut speaker) = (Duration::ZERO, 0_u32, source(0));
    for advert in &adverts {
        if Some(advert.source) == source(0) {
            longest =
                longest.max(last.map_or(Duration::ZERO, |last| advert.at.saturating_sub(last)));
            last = Some(advert.at);
        } else if speaker == source(0) {
            takeovers += 1;
        }
        speaker = Some(advert.source);
    }
    let case = format!("reload-{backends}");
    sample(
        &case,
        subject.name(),
        "longest-gap",
        longest.as_secs_f64() * 1e6,
    );
    sample(&case, subject.name(), "takeovers", f64::from(takeovers));
    Ok(())
}
