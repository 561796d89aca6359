//! What a mistyped word was probably meant to be.

/// What keepalived, ipvsadm and habit call things, and our word for it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("advert_int", "interval"),
    ("algorithm", "scheduler"),
    ("delay_loop", "interval"),
    ("direct", "route"),
    ("dr", "route"),
    ("fwm", "fwmark"),
    ("gatewaying", "route"),
    ("iface", "interface"),
    ("ip", "address"),
    ("ipip", "tunnel"),
    ("lb_algo", "scheduler"),
    ("lb_kind", "forward"),
    ("lvs_method", "forward"),
    ("lvs_sched", "scheduler"),
    ("masquerading", "masq"),
    ("nat", "masq"),
    ("ops", "one_packet"),
    ("persistence_engine", "engine"),
    ("persistence_timeout", "persistence"),
    ("real_server", "backend"),
    ("server", "backend"),
    ("servers", "backends"),
    ("tun", "tunnel"),
    ("unicast_peer", "unicast_peers"),
    ("virtual_ipaddress", "addresses"),
    ("virtual_router_id", "vrid"),
    ("virtual_server", "service"),
    ("vip", "addresses"),
    ("vrrp_instance", "vrrp"),
    ("warning", "warn"),
];

/// The known word nearest to `word`, if one is near enough to be meant.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase().replace('-', "_");
    let meant = ELSEWHERE
        .iter()
        .find(|(theirs, _)| *theirs == word)
        .map(|(_, ours)| *ours);
    let mut best: Option<(usize, &'k str)> = None;
    for candidate in known {
        if meant == Some(candidate) {
            return Some(candidate);
        }
        let distance = distance(&word, &candidate.replace('-', "_"));
        let bound = (candidate.chars().count().max(word.chars().count()) / 3).max(1);
        if distance <= bound && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Edits that make one word of the other: insert, delete, replace, or swap two
/// neighbours (optimal string alignment). Long words are not compared.
fn distance(a: &str, b: &str) -> usize {
    const CHARS_MAX: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > CHARS_MAX || b.len() > CHARS_MAX {
        return usize::MAX;
    }
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (above[j] + 1)
                .min(row[j - 1] + 1)
                .min(above[j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row[j] = least;
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_meant_and_a_far_one_is_not() {
        let known = ["scheduler", "forward", "weight", "check", "interval"];
        for (word, meant) in [
            ("shceduler", Some("scheduler")),
            ("Scheduler", Some("scheduler")),
            ("wieght", Some("weight")),
            ("weights", Some("weight")),
            ("lb_algo", Some("scheduler")),
            ("advert_int", Some("interval")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        let long = "a".repeat(100_000);
        assert_eq!(nearest(&long, known), None);
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in [
            ("", "", 0),
            ("ab", "ba", 1),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ac", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }
}
