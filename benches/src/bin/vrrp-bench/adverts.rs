//! How punctual the adverts of an Active router are, at three intervals at
//! once, and whether the other node loses patience.

use crate::capture::{Advert, Capture};
use crate::load::Load;
use crate::subject::{self, Node, Router, Subject};
use crate::wires::{ROUTERS, Wires};
use crate::{Result, Setting, sample};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;
use trunnion_tests::lab::Context as _;

const INTERVALS: [Router; 3] = [
    Router {
        vrid: 51,
        interval_ms: 10,
    },
    Router {
        vrid: 52,
        interval_ms: 100,
    },
    Router {
        vrid: 53,
        interval_ms: 1000,
    },
];

/// Backends of our own engine in the last case.
const CHECKED: u32 = 10_000;

/// From the last start, or the begin of a load, to what is measured.
const SETTLE: Duration = Duration::from_secs(1);

/// Deviations from the interval, and the sums that make its mean.
#[derive(Default)]
struct Found {
    late_us: Vec<f64>,
    sum_us: f64,
    takeovers: u32,
}

/// By case and subject.
type Table = BTreeMap<(String, &'static str), Found>;

pub fn run(setting: &Setting) -> Result {
    let window = Duration::from_secs(if setting.quick { 2 } else { 12 });
    let mut found = Table::new();
    for _ in 0..setting.rounds {
        for load in Load::ALL {
            for subject in Subject::ALL {
                measure(setting, subject, load, 0, window, &mut found)?;
            }
        }
        measure(
            setting,
            Subject::Ours,
            Load::Idle,
            CHECKED,
            window,
            &mut found,
        )?;
        measure(setting, Subject::Control, Load::Idle, 0, window, &mut found)?;
    }
    for ((case, name), mut found) in found {
        report(&case, name, &mut found);
    }
    Ok(())
}

fn measure(
    setting: &Setting,
    subject: Subject,
    load: Load,
    checked: u32,
    window: Duration,
    found: &mut Table,
) -> Result {
    let wires = Wires::new()?;
    let first = Node {
        backends: checked,
        checked: checked > 0,
        ..Node::plain(0, &INTERVALS)
    };
    // Somebody for the probes to find; it need not take what it is brought.
    let _listener = wires.routers[0]
        .run(|| TcpListener::bind("0.0.0.0:80"))?
        .context(|| "listen on port 80".to_owned())?;
    let mut active = subject::start(setting, &wires, subject, &first)?;
    let mut backup = None;
    if subject != Subject::Control {
        subject::until_active(&wires, &first, &mut active)?;
        let second = Node::plain(1, &INTERVALS);
        backup = Some(subject::start(setting, &wires, subject, &second)?);
    }
    let hogs = load.start(&wires)?;
    std::thread::sleep(SETTLE);
    let capture = Capture::start(&wires)?;
    std::thread::sleep(window);
    let adverts = capture.finish()?;
    drop((hogs, backup, active));
    let name = if checked > 0 { "checks" } else { load.name() };
    for router in INTERVALS {
        let case = format!("{}ms/{name}", router.interval_ms);
        let entry = found.entry((case, subject.name())).or_default();
        take(&adverts, router, entry);
    }
    Ok(())
}

fn take(adverts: &[Advert], router: Router, found: &mut Found) {
    let sources = ROUTERS.map(|text| text.parse::<Ipv4Addr>().ok());
    let ours = || adverts.iter().filter(|it| it.vrid == router.vrid);
    let of_active: Vec<_> = ours().filter(|it| Some(it.source) == sources[0]).collect();
    for pair in of_active.windows(2) {
        if let [before, after] = pair {
            let delta_us = after.at.saturating_sub(before.at).as_secs_f64() * 1e6;
            found.sum_us += delta_us;
            let interval_us = f64::from(router.interval_ms) * 1e3;
            found.late_us.push((delta_us - interval_us).abs());
        }
    }
    let mut speaker = sources[0];
    for advert in ours() {
        if Some(advert.source) == sources[1] && speaker == sources[0] {
            found.takeovers += 1;
        }
        speaker = Some(advert.source);
    }
}

fn report(case: &str, name: &str, found: &mut Found) {
    let Found {
        late_us,
        sum_us,
        takeovers,
    } = found;
    late_us.sort_by(f64::total_cmp);
    let count = late_us.len();
    let interval_ms = case
        .split("ms")
        .next()
        .and_then(|it| it.parse::<f64>().ok());
    let (Some(interval_ms), true) = (interval_ms, count > 0) else {
        return sample(case, name, "adverts", 0.0);
    };
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let mean_us = *sum_us / count as f64;
    let error = (mean_us / (interval_ms * 1e3) - 1.0) * 100.0;
    sample(case, name, "mean-error-percent", error.abs());
    for (metric, permille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        let at = (count * permille / 1000).min(count - 1);
        sample(case, name, metric, late_us[at]);
    }
    sample(case, name, "max", late_us[count - 1]);
    sample(case, name, "takeovers", f64::from(*takeovers));
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    sample(case, name, "adverts", count as f64);
}
