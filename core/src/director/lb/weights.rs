//! What a destination's weight is right now: the configured one while it is
//! healthy, 0 (drain) while it is not, and the configured one again for all
//! when too few are left to be believed.

use super::links::Links;
use super::{ServiceState, find};
use crate::check::{Engine, HealthState};
use crate::director::plan::ServicePolicy;
use crate::director::records;
use crate::model::{Destination, ServiceKey, ServiceRow, Table, TableBuf};
use crate::record::Ring;
use crate::time::Instant;

/// Whether clients of a service are sent anywhere now.
pub(super) fn serves(actual: Table<'_>, key: &ServiceKey) -> bool {
    let held = find(actual, key).map_or(&[][..], |row| actual.destinations_of(row));
    held.iter().any(|destination| destination.weight > 0)
}

/// Sets the weights of one service in the target.
#[allow(
    clippy::too_many_arguments,
    reason = "the parts of `Lb` it needs, apart"
)]
pub(super) fn weigh(
    now: Instant,
    row: &ServiceRow,
    state: &mut ServiceState,
    serving: bool,
    links: &Links<'_>,
    engine: &Engine<'_>,
    target: &mut TableBuf<'_>,
    log: &mut Ring<'_>,
) {
    let first = row.range().start;
    let standing = |at: usize| match links.check(first.saturating_add(at)) {
        None => Standing::Up,
        Some(check) => match engine.health(check) {
            HealthState::Up => Standing::Up,
            HealthState::Down => Standing::Down,
            HealthState::Unknown => Standing::Unknown,
        },
    };
    let rows: &mut [Destination] = target.destinations_mut(row.range());
    let open = settle(state.policy, state.open, serving, rows, standing);
    if open != state.open {
        state.open = open;
        let (address, port, mark) = records::service_fields(&row.service.key);
        if open {
            log.log(
                now,
                records::ServiceOpened {
                    address,
                    port,
                    mark,
                },
            );
        } else {
            log.log(
                now,
                records::ServiceClosed {
                    address,
                    port,
                    mark,
                },
            );
        }
    }
}

/// What the checks say of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Healthy, or presumed so.
    Up,
    /// Not healthy.
    Down,
    /// No verdict yet.
    Unknown,
}

/// Sets the weights of one service's rows, which hold the configured ones.
/// Returns whether the service is open: too few healthy ones, so that all get
/// their weight. `was_open` is what the last call returned; while a verdict is
/// still out an open service stays open and a closed one stays closed.
///
/// `serving` is whether clients are sent anywhere now. Then, while none is known
/// to be healthy, those without a verdict are presumed to be: a reload that
/// replaces all destinations must not cut off a service until their first
/// checks.
fn settle(
    policy: ServicePolicy,
    was_open: bool,
    serving: bool,
    rows: &mut [Destination],
    standing: impl Fn(usize) -> Standing,
) -> bool {
    let (mut up, mut weighted, mut unknown) = (0_usize, 0_usize, false);
    for (at, row) in rows.iter().enumerate() {
        if row.weight > 0 {
            weighted = weighted.saturating_add(1);
            match standing(at) {
                Standing::Up => up = up.saturating_add(1),
                Standing::Down => {}
                Standing::Unknown => unknown = true,
            }
        }
    }
    let floor = usize::from(policy.min_healthy).min(weighted);
    let open = up < floor && (was_open || !unknown);
    let presume = serving && up == 0;
    if !open {
        for (at, row) in rows.iter_mut().enumerate() {
            row.weight = match standing(at) {
                Standing::Up => row.weight,
                Standing::Unknown if presume => row.weight,
                Standing::Unknown | Standing::Down => 0,
            };
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BLANK_DESTINATION;
    use std::vec::Vec;

    /// One letter a destination: `u`p, `d`own, `?` unknown; digits weights.
    fn check(min_healthy: u16, was_open: bool, standings: &str, configured: &str, expect: &str) {
        check_serving(false, min_healthy, was_open, standings, configured, expect);
    }

    fn check_serving(
        serving: bool,
        min_healthy: u16,
        was_open: bool,
        standings: &str,
        configured: &str,
        expect: &str,
    ) {
        let letters: Vec<char> = standings.chars().collect();
        let mut rows: Vec<Destination> = configured
            .chars()
            .map(|digit| Destination {
                weight: digit.to_digit(10).unwrap(),
                ..BLANK_DESTINATION
            })
            .collect();
        let open = settle(
            ServicePolicy { min_healthy },
            was_open,
            serving,
            &mut rows,
            |at| match letters[at] {
                'u' => Standing::Up,
                'd' => Standing::Down,
                _ => Standing::Unknown,
            },
        );
        let mut got: std::string::String = rows
            .iter()
            .map(|row| char::from_digit(row.weight, 10).unwrap())
            .collect();
        if open {
            got.push_str(" open");
        }
        assert_eq!(
            got, expect,
            "{min_healthy} {was_open} {standings} {configured}"
        );
    }

    #[test]
    fn the_unhealthy_drain_and_the_last_ones_do_not() {
        check(1, false, "uuu", "321", "321");
        check(1, false, "udu", "321", "301");
        check(1, false, "ddu", "321", "001");
        check(1, false, "ddd", "321", "321 open");
        check(2, false, "ddu", "321", "321 open");
        check(2, true, "duu", "321", "021");
        check(0, false, "ddd", "321", "000");
        // A floor above what there is means all of them.
        check(9, false, "uud", "321", "321 open");
        check(9, false, "uuu", "321", "321");
    }

    #[test]
    fn an_outstanding_verdict_changes_nothing_by_itself() {
        check(1, false, "???", "321", "000");
        check(1, false, "dd?", "321", "000");
        check(1, true, "dd?", "321", "321 open");
        check(1, true, "du?", "321", "020");
    }

    #[test]
    fn a_service_with_clients_is_not_cut_off_for_want_of_a_verdict() {
        // All destinations were replaced.
        check_serving(true, 1, false, "???", "321", "321");
        check_serving(true, 0, false, "???", "321", "321");
        // The only one known to be healthy went down.
        check_serving(true, 1, false, "dd?", "321", "001");
        check_serving(true, 1, false, "du?", "321", "020");
        check_serving(true, 1, false, "ddd", "321", "321 open");
        check_serving(true, 0, false, "ddd", "321", "000");
    }

    #[test]
    fn a_weight_of_zero_counts_for_nothing() {
        check(1, false, "du", "30", "30 open");
        check(1, false, "uu", "30", "30");
        check(1, false, "", "", "");
    }
}
