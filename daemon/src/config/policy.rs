//! What of a service's keys says what becomes of it when backends fail, and when
//! they are back.

use super::backend::BackendRead;
use super::node::RATE_MAX;
use super::section::{At, Notes, Section};
use std::time::Duration;
use trunnion_core::director::plan::ServicePolicy;

/// Longer than a day is a mistake, and shorter than a second no slow start.
const SLOW_START_MAX: Duration = Duration::from_secs(86_400);

/// The policy of a service with these backends, of which `written` are in the
/// file.
pub(super) fn read(
    section: &Section<'_>,
    written: usize,
    backends: &[BackendRead],
    notes: &mut Notes,
) -> ServicePolicy {
    let sorry = sorry(backends, notes);
    let checked = backends.iter().any(|read| read.backend.is_checked());
    let own = written.saturating_sub(usize::from(sorry));
    let min_healthy = min_healthy(section, own, checked, notes);
    let weights = backends.iter().filter(|read| read.sorry.is_none());
    let weight: u64 = weights
        .map(|read| u64::from(read.backend.destination.weight))
        .sum();
    let quorum: Option<At<u32>> = section.integer("quorum", 0..=u32::MAX, notes);
    if let Some(at) = quorum.as_ref().filter(|at| u64::from(at.value) > weight) {
        notes.error(
            &at.span,
            format!(
                "`quorum` {}: the weights of all backends are {weight} together",
                at.value
            ),
            format!("write {weight} or less"),
        );
    }
    let hysteresis: Option<At<u32>> = section.integer("hysteresis", 0..=u32::MAX, notes);
    if let Some(at) = &hysteresis {
        let least = quorum.as_ref().map_or(0, |quorum| quorum.value);
        let most = weight.saturating_sub(least.into());
        if least == 0 {
            notes.error(
                &at.span,
                "`hysteresis` has no effect without a quorum",
                "remove it, or add quorum = 1",
            );
        } else if u64::from(at.value) > most {
            notes.error(
                &at.span,
                format!(
                    "`hysteresis` {}: a quorum of {least} would never be regained with {weight} in all",
                    at.value
                ),
                format!("write {most} or less"),
            );
        } else if at.value >= least {
            notes.error(
                &at.span,
                format!(
                    "`hysteresis` {}: a quorum of {least} would never be lost",
                    at.value
                ),
                format!("write {} or less", least.saturating_sub(1)),
            );
        }
    }
    let slow_start = section.duration("slow_start", Duration::ZERO..=SLOW_START_MAX, notes);
    let rate = section.integer("checks_per_second", 0..=RATE_MAX, notes);
    ServicePolicy {
        min_healthy,
        quorum: quorum.map_or(0, |at| at.value),
        hysteresis: hysteresis.map_or(0, |at| at.value),
        slow_start: slow_start.map_or(Duration::ZERO, |at| at.value),
        checks_per_second: rate.map_or(0, |at: At<u32>| at.value),
    }
}

/// Whether there is a sorry server, of which there is one at most.
fn sorry(backends: &[BackendRead], notes: &mut Notes) -> bool {
    let mut found = backends.iter().filter_map(|read| read.sorry.as_ref());
    let Some(first) = found.next() else {
        return false;
    };
    for second in found {
        notes.error_also(
            second,
            "a second sorry server: a service has one at most",
            "remove one",
            (first, "the first"),
        );
    }
    if backends.iter().all(|read| read.sorry.is_some()) {
        notes.error(
            first,
            "a sorry server, and nobody whose place it could take",
            "remove `sorry`, or add a backend",
        );
    }
    true
}

fn min_healthy(section: &Section<'_>, backends: usize, checked: bool, notes: &mut Notes) -> u16 {
    let Some(at) = section.integer::<u16>("min_healthy", 0..=u16::MAX.into(), notes) else {
        return 1;
    };
    if backends > 0 && usize::from(at.value) > backends {
        notes.error(
            &at.span,
            format!(
                "`min_healthy` {} of {backends}: no check would ever take a backend out",
                at.value
            ),
            format!("write {backends} or less"),
        );
    } else if !checked {
        notes.warn(
            &at.span,
            "`min_healthy` has no effect without a check",
            "add a check, or remove it",
        );
    }
    at.value
}
