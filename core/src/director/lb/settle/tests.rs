use super::*;
use crate::model::BLANK_DESTINATION;
use std::string::String;
use std::vec::Vec;

const FLOOR_1: ServicePolicy = ServicePolicy {
    min_healthy: 1,
    quorum: 0,
    hysteresis: 0,
    slow_start: crate::time::Duration::ZERO,
    checks_per_second: 0,
};

fn floor(min_healthy: u16) -> ServicePolicy {
    ServicePolicy {
        min_healthy,
        ..FLOOR_1
    }
}

/// One letter a destination: `u`p, `d`own, `?` unknown, `k`ept, `b`arred, `a`way; digits
/// weights. `S` before the last letter makes that one the sorry server. What
/// comes back: the weights, and how the service stands.
fn found(
    policy: ServicePolicy,
    was: Stand,
    served: Served,
    calls: &str,
    weights: &str,
) -> (String, Stand) {
    let sorry = calls.find('S');
    let letters: Vec<char> = calls.chars().filter(|c| *c != 'S').collect();
    let weight = |at: usize| weights.chars().nth(at).unwrap().to_digit(10).unwrap();
    let mut rows: Vec<Destination> = letters.iter().map(|_| BLANK_DESTINATION).collect();
    let call = |at: usize| match (letters[at], weight(at)) {
        (_, 0) | ('a', _) => Call::Away,
        ('u', weight) => Call::Up(weight),
        ('d', weight) => Call::Down(weight),
        ('k', weight) => Call::Kept(weight),
        ('b', _) => Call::Barred,
        (_, weight) => Call::Unknown(weight),
    };
    let stand = settle(policy, was, served, sorry, &mut rows, call);
    let digits = rows.iter();
    let digits = digits.map(|row| char::from_digit(row.weight, 10).unwrap());
    (digits.collect(), stand)
}

/// As above, with the words of how it stands after the weights; `serving`: others
/// than the sorry server.
fn check(was: &str, serving: bool, policy: ServicePolicy, calls: &str, expect: &str) {
    let served = if serving {
        Served::Others
    } else {
        Served::Nobody
    };
    check_served(was, served, policy, calls, expect);
}

fn check_served(was: &str, served: Served, policy: ServicePolicy, calls: &str, expect: &str) {
    let stand = Stand {
        open: was.contains("open"),
        sorry: was.contains("sorry"),
        quorum: match was {
            w if w.contains("lost") => Quorum::Lost,
            w if w.contains("held") => Quorum::Held,
            _ => Quorum::Unasked,
        },
    };
    let weights = if calls.contains('S') { "3219" } else { "321" };
    let (mut got, stand) = found(policy, stand, served, calls, weights);
    let words = [
        (stand.open, " open"),
        (stand.sorry, " sorry"),
        (stand.quorum == Quorum::Held, " held"),
        (stand.quorum == Quorum::Lost, " lost"),
    ];
    got.extend(words.iter().filter(|w| w.0).map(|w| w.1));
    assert_eq!(got, expect, "{was:?} {served:?} {policy:?} {calls}");
}

#[test]
fn the_unhealthy_drain_and_the_last_ones_do_not() {
    check("", false, FLOOR_1, "uuu", "321");
    check("", false, FLOOR_1, "udu", "301");
    check("", false, FLOOR_1, "ddu", "001");
    check("", false, FLOOR_1, "ddd", "321 open");
    check("", false, floor(2), "ddu", "321 open");
    check("open", false, floor(2), "duu", "021");
    check("", false, floor(0), "ddd", "000");
    // A floor above what there is means all of them.
    check("", false, floor(9), "uud", "321 open");
    check("", false, floor(9), "uuu", "321");
}

#[test]
fn an_outstanding_verdict_changes_nothing_by_itself() {
    check("", false, FLOOR_1, "???", "000");
    check("", false, FLOOR_1, "dd?", "000");
    check("open", false, FLOOR_1, "dd?", "321 open");
    check("open", false, FLOOR_1, "du?", "020");
}

#[test]
fn a_service_with_clients_is_not_cut_off_for_want_of_a_verdict() {
    // All destinations were replaced.
    check("", true, FLOOR_1, "???", "321");
    check("", true, floor(0), "???", "321");
    // The only one known to be healthy went down.
    check("", true, FLOOR_1, "dd?", "001");
    check("", true, FLOOR_1, "du?", "020");
    check("", true, FLOOR_1, "ddd", "321 open");
    check("", true, floor(0), "ddd", "000");
}

/// One after the other has its first verdict, and the rest go on.
#[test]
fn who_has_clients_keeps_them_until_its_own_verdict() {
    check("", true, FLOOR_1, "kkk", "321");
    check("", true, FLOOR_1, "ukk", "321");
    check("", true, FLOOR_1, "udk", "301");
    check("", true, FLOOR_1, "ddk", "001");
    check("", true, floor(0), "d?k", "001");
    check("", true, FLOOR_1, "uk?", "320");
    check("held", true, quorum(4, 0), "dkk", "021 held");
    check("", true, FLOOR_1, "ukkSu", "3210");
    check("sorry", true, FLOOR_1, "ddkSu", "0010");
}

#[test]
fn who_is_away_counts_for_nothing_and_who_is_barred_for_a_failure() {
    check("", false, FLOOR_1, "dua", "020");
    check("", false, FLOOR_1, "dda", "320 open");
    check("", false, FLOOR_1, "aaa", "000");
    check("", true, FLOOR_1, "aaa", "000");
    check("", false, floor(2), "uab", "300 open");
    check("", false, floor(2), "uaa", "300");
    check("", false, FLOOR_1, "bbd", "001 open");
    check("", false, FLOOR_1, "bbb", "000 open");
}

#[test]
fn the_sorry_server_serves_when_nobody_else_does() {
    check("", false, FLOOR_1, "uddSu", "3000");
    check("", false, FLOOR_1, "dddSu", "0009 sorry");
    check("sorry", false, FLOOR_1, "dudSu", "0200");
    check("", false, FLOOR_1, "aaaSu", "0009 sorry");
    // It never counts, and it never serves beside others.
    check("", false, floor(3), "uudSu", "3200");
    // It has failed as well: better doubtful servers than none.
    check("sorry", false, FLOOR_1, "dddSd", "3210 open");
    check("", false, FLOOR_1, "dddS?", "3210 open");
    check("", false, floor(0), "dddSd", "0000");
    // At the start everyone is unknown, and it is not needed yet.
    check("", false, FLOOR_1, "???Su", "0000");
    check("sorry", false, FLOOR_1, "dd?Su", "0009 sorry");
    // A reload that replaces all does not send clients there for a moment.
    check("", true, FLOOR_1, "???Su", "3210");
}

#[test]
fn clients_are_not_cut_off_for_want_of_a_verdict_on_the_sorry_server_either() {
    let served = |who, calls: &str, expect: &str| {
        check_served("", who, floor(0), calls, expect);
    };
    // The only real server went down, or an earlier run left the sorry server
    // resting.
    served(Served::Others, "dddS?", "0009 sorry");
    served(Served::Nobody, "dddS?", "0000");
    served(Served::Others, "d?dS?", "0200");
    check("sorry", false, floor(0), "dddS?", "0009 sorry");
    // Doubtful servers before a doubtful sorry server.
    check("", true, FLOOR_1, "dddS?", "3210 open");
    // A reload made the only real server the sorry server, and brought new ones.
    for calls in ["???Su", "???S?", "?ddSu"] {
        served(Served::Sorry, calls, "0009 sorry");
    }
    served(Served::Sorry, "u??Su", "3000");
    // It fails before they are known.
    served(Served::Sorry, "???Sd", "3210");
}

fn quorum(quorum: u32, hysteresis: u32) -> ServicePolicy {
    ServicePolicy {
        quorum,
        hysteresis,
        ..FLOOR_1
    }
}

/// keepalived.conf(5): quorum is up at quorum + hysteresis, and down below
/// quorum - hysteresis; it is weight that counts.
#[test]
fn a_quorum_is_lost_and_regained_with_hysteresis() {
    // 3 + 2 + 1 is there, 4 are asked for.
    check("", false, quorum(4, 0), "uuu", "321 held");
    check("", false, quorum(4, 0), "u?d", "300");
    check("", false, quorum(4, 0), "udd", "300 lost");
    check("held", false, quorum(4, 1), "udd", "300 held");
    check("held", false, quorum(4, 1), "dud", "020 lost");
    check("lost", false, quorum(4, 1), "udu", "301 lost");
    check("lost", false, quorum(4, 1), "uud", "320 held");
    // While a verdict is out nothing is lost.
    check("held", false, quorum(4, 0), "dd?", "000 held");
    // Who is drained serves nobody.
    check("held", false, quorum(4, 0), "uaa", "300 lost");
    // Another plan asks for none.
    check("lost", false, FLOOR_1, "udd", "300");
}

#[test]
fn without_a_quorum_the_sorry_server_takes_over_and_without_that_the_rest_goes_on() {
    check("held", false, quorum(4, 0), "uddSu", "0009 sorry lost");
    check("held", false, quorum(4, 0), "uddSd", "3000 lost");
    check("held", false, quorum(4, 0), "uuuSu", "3210 held");
    check(
        "sorry lost",
        false,
        quorum(4, 1),
        "uduSu",
        "0009 sorry lost",
    );
    check("sorry lost", false, quorum(4, 1), "uuuSu", "3210 held");
}

#[test]
fn a_weight_of_zero_counts_for_nothing() {
    let none = Stand::default();
    for (calls, weights, expect, open) in [
        ("du", "30", "30", true),
        ("uu", "30", "30", false),
        ("", "", "", false),
    ] {
        let (got, stand) = found(FLOOR_1, none, Served::Nobody, calls, weights);
        assert_eq!((got.as_str(), stand.open), (expect, open), "{calls}");
    }
}

/// Over all combinations of four destinations: never the last server.
#[test]
fn whoever_can_serve_serves_when_nobody_does_better() {
    let letters = ['u', 'd', '?', 'k', 'b', 'a'];
    for n in 0..6_usize.pow(4) {
        let calls: String = (0..4).map(|k| letters[n / 6_usize.pow(k) % 6]).collect();
        for (sorry, policy) in [
            ("", FLOOR_1),
            ("Su", floor(0)),
            ("Sd", FLOOR_1),
            ("S?", floor(0)),
            ("Su", quorum(3, 1)),
        ] {
            let calls = std::format!("{calls}{sorry}");
            for served in [Served::Nobody, Served::Sorry, Served::Others] {
                let (weights, stand) = found(policy, Stand::default(), served, &calls, "11111");
                let gets = weights.contains('1');
                let own = &calls[..4];
                let known = !own.contains(['?', 'k']);
                let ready = sorry == "Su" || sorry == "S?" && served != Served::Nobody;
                let fails_open = policy == FLOOR_1 && own.contains('d');
                let can = own.contains('u') || known && (ready || fails_open);
                // Clients that are there do not wait for a verdict.
                let doubt = !known && served != Served::Nobody || ready && served == Served::Sorry;
                let can = can || doubt;
                assert!(gets || !can, "{calls} {policy:?} {stand:?}");
                for (at, letter) in own.chars().enumerate() {
                    let weight = &weights[at..=at];
                    assert!(weight == "0" || letter != 'b' && letter != 'a', "{calls}");
                    let keeps = weight == "1" || letter != 'k' || stand.sorry;
                    assert!(keeps, "{calls}: loses its clients by others' verdicts");
                    assert!(!stand.sorry || weight == "0", "{calls}: both serve");
                }
            }
        }
    }
}
