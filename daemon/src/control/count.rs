//! The counters of core by name. Each struct is taken apart whole, so that a
//! counter added there is missed by the compiler here.

use super::state::Counter;
use trunnion_core::check::{self, Local, Reason};
use trunnion_core::director::ha::HaCounters;
use trunnion_core::director::lb::{KernelCounters, PolicyCounters};
use trunnion_core::vrrp::{self, Rejects};

/// What one virtual router counted.
#[must_use]
pub fn router(counters: &vrrp::Counters) -> Vec<Counter> {
    let vrrp::Counters {
        sent,
        sent_resign,
        sent_late,
        received,
        received_resign,
        received_idle,
        received_rfc5798,
        interval_differs,
        addresses_differ,
        own_address,
        equal_priority,
        reasserted,
        discarded,
        announced,
        became_active,
        became_backup,
        became_initialize,
    } = *counters;
    [
        ("sent", sent),
        ("sent_resign", sent_resign),
        ("sent_late", sent_late),
        ("received", received),
        ("received_resign", received_resign),
        ("received_idle", received_idle),
        ("received_rfc5798", received_rfc5798),
        ("interval_differs", interval_differs),
        ("addresses_differ", addresses_differ),
        ("own_address", own_address),
        ("equal_priority", equal_priority),
        ("reasserted", reasserted),
        ("discarded", discarded),
        ("announced", announced),
        ("became_active", became_active),
        ("became_backup", became_backup),
        ("became_initialize", became_initialize),
    ]
    .map(|(name, value)| Counter::new(name, value))
    .to_vec()
}

/// What the checks counted.
#[must_use]
pub fn checks(counters: &check::Counters) -> Vec<Counter> {
    let check::Counters {
        started,
        succeeded,
        failed,
        indeterminate,
        cancelled,
        queued,
        paced,
        respread,
        stray,
        reused,
        reconnected,
        flaps_held,
        went_up,
        went_down,
        lag_max,
    } = counters;
    let mut list = vec![
        Counter::new("check_started", *started),
        Counter::new("check_succeeded", *succeeded),
    ];
    let each = Reason::ALL.iter().zip(failed);
    list.extend(each.map(|(of, n)| Counter::which("check_failed", of.words(), *n)));
    let each = Local::ALL.iter().zip(indeterminate);
    list.extend(each.map(|(of, n)| Counter::which("check_indeterminate", of.words(), *n)));
    let lag_max_us = u64::try_from(lag_max.as_micros()).unwrap_or(u64::MAX);
    list.extend(
        [
            ("check_cancelled", *cancelled),
            ("check_queued", *queued),
            ("check_paced", *paced),
            ("check_respread", *respread),
            ("check_stray", *stray),
            ("check_reused", *reused),
            ("check_reconnected", *reconnected),
            ("check_flaps_held", *flaps_held),
            ("check_went_up", *went_up),
            ("check_went_down", *went_down),
            ("check_lag_us_max", lag_max_us),
        ]
        .map(|(name, value)| Counter::new(name, value)),
    );
    list
}

/// How much of what checks need is in use, and of what is bounded how much there is.
#[must_use]
pub fn load(load: &check::Load) -> Vec<Counter> {
    let check::Load {
        in_flight,
        waiting,
        desks: (desks, desks_all),
        tls: (tls, tls_all),
        kept,
    } = *load;
    [
        ("check_in_flight", "", in_flight),
        ("check_waiting", "", waiting),
        ("check_desks", "in use", desks),
        ("check_desks", "all", desks_all),
        ("check_tls", "in use", tls),
        ("check_tls", "all", tls_all),
        ("check_connections_kept", "", kept),
    ]
    .map(|(name, of, value)| Counter::which(name, of, value.into()))
    .to_vec()
}

/// What verdicts and operators led to.
#[must_use]
pub fn policies(counters: &PolicyCounters) -> Vec<Counter> {
    let PolicyCounters {
        opened,
        closed,
        sorry_began,
        sorry_ended,
        quorum_lost,
        quorum_gained,
        slow_starts,
        operator,
    } = *counters;
    [
        ("service_fail_open", "began", opened),
        ("service_fail_open", "ended", closed),
        ("service_sorry", "began", sorry_began),
        ("service_sorry", "ended", sorry_ended),
        ("service_quorum", "lost", quorum_lost),
        ("service_quorum", "gained", quorum_gained),
        ("backend_slow_starts", "", slow_starts),
        ("backend_operator_states", "", operator),
    ]
    .map(|(name, of, value)| Counter::which(name, of, value))
    .to_vec()
}

/// What was counted about the kernel's table.
#[must_use]
pub fn kernel(counters: &KernelCounters) -> Vec<Counter> {
    let KernelCounters {
        new_service,
        set_service,
        del_service,
        new_dest,
        set_dest,
        del_dest,
        compared,
        new_daemon,
        del_daemon,
        dumps,
        datagrams,
        refused,
        resyncs,
        strangers,
        malformed,
        drifted,
        contests,
    } = *counters;
    let requests = [
        ("new_service", new_service),
        ("set_service", set_service),
        ("del_service", del_service),
        ("new_dest", new_dest),
        ("set_dest", set_dest),
        ("del_dest", del_dest),
        ("new_daemon", new_daemon),
        ("del_daemon", del_daemon),
    ];
    let others = [
        ("ipvs_compared", compared),
        ("ipvs_dumps", dumps),
        ("ipvs_datagrams", datagrams),
        ("ipvs_refused", refused),
        ("ipvs_resyncs", resyncs),
        ("ipvs_strangers", strangers),
        ("ipvs_malformed", malformed),
        ("ipvs_drifted", drifted),
        ("ipvs_contests", contests),
    ];
    let requests = requests.map(|(of, n)| Counter::which("ipvs_requests", of, n));
    let others = others.map(|(name, n)| Counter::new(name, n));
    requests.into_iter().chain(others).collect()
}

/// What was counted over all virtual routers.
#[must_use]
pub fn routers(counters: &HaCounters) -> Vec<Counter> {
    let &HaCounters {
        rejects,
        adverts_sent,
        send_errors,
        announcements,
        looks,
        split_brains,
        ..
    } = counters;
    let mut list = vec![
        Counter::new("vrrp_adverts_sent", adverts_sent),
        Counter::new("vrrp_send_errors", send_errors),
        Counter::new("vrrp_announcements", announcements),
        Counter::new("vrrp_looks", looks),
        Counter::new("vrrp_split_brains", split_brains),
    ];
    let Rejects {
        short,
        header,
        fragment,
        protocol,
        families,
        version,
        kind,
        length,
        checksum,
        ttl,
        no_address,
        no_interval,
        not_link_local,
        unknown_vrid,
        unknown_peer,
    } = rejects;
    list.extend(
        [
            ("short", short),
            ("header", header),
            ("fragment", fragment),
            ("protocol", protocol),
            ("families", families),
            ("version", version),
            ("type", kind),
            ("length", length),
            ("checksum", checksum),
            ("ttl", ttl),
            ("no_address", no_address),
            ("no_interval", no_interval),
            ("not_link_local", not_link_local),
            ("unknown_vrid", unknown_vrid),
            ("unknown_peer", unknown_peer),
        ]
        .map(|(of, n)| Counter::which("vrrp_rejected", of, n)),
    );
    list
}
