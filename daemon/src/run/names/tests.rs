use super::*;
use crate::control::Records;
use crate::run::datagrams::HalfOpens;
use trunnion_core::model::Family;
use trunnion_core::time::Instant;

fn config(hosts: &[&str]) -> Config {
    let each = hosts.iter().enumerate().map(|(n, host)| {
        format!(
            "[[service.backend]]\naddress = \"10.0.0.{n}:80\"\n\
             check = {{ type = \"tcp\", address = \"{host}:81\" }}\n"
        )
    });
    let text = format!(
        "[[service]]\naddress = \"192.0.2.1:80\"\n{}",
        each.collect::<String>()
    );
    Config::parse(&text, "t").unwrap()
}

fn names() -> (Names, OwnLog, crate::run::records::OwnLogEnd) {
    let (bell, _) = Bell::new().unwrap();
    let (log, end) = OwnLog::new();
    (Names::new(bell), log, end)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(host: &str) -> TargetName {
    TargetName {
        host: host.to_owned(),
        family: Family::V4,
    }
}

impl Names {
    fn answered(&mut self, host: &str, answer: Answer, now: Instant, log: &OwnLog) -> bool {
        self.looking += 1;
        self.answers.0.send((Arc::new(v4(host)), answer)).unwrap();
        self.take_answers(now, log);
        self.take_news(now)
    }
}

#[test]
fn a_number_stays_with_a_name_that_a_reload_keeps() {
    let (mut names, ..) = names();
    names.assign(&config(&["a.example", "b.example"]), Instant::ZERO);
    let (a, nowhere) = names.place(&v4("a.example"));
    assert_eq!(nowhere, ip("0.0.0.0"));
    let (b, _) = names.place(&v4("b.example"));
    assert_ne!((a, b), (b, a));
    let second = config(&["b.example", "c.example"]);
    names.assign(&second, Instant::ZERO);
    // The first one is in use until the reload was taken.
    let (c, _) = names.place(&v4("c.example"));
    assert!(c != a && c != b);
    names.keep(&second);
    assert_eq!(names.place(&v4("b.example")).0, b);
    names.assign(&config(&["d.example"]), Instant::ZERO);
    assert_eq!(names.place(&v4("d.example")).0, a);
}

#[test]
fn the_same_address_is_taken_for_as_long_as_it_is_in_the_answer() {
    let (a, b, c) = (ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3"));
    assert_eq!(choose(None, &[c, a, b]), Some(a));
    assert_eq!(choose(Some(b), &[c, a, b]), Some(b));
    assert_eq!(choose(Some(b), &[c, a]), Some(a));
    assert_eq!(choose(Some(b), &[]), None);
    let (here, everywhere) = (ip("fe80::1"), ip("2001:db8::1"));
    assert_eq!(usable(vec![here, everywhere]), Ok(vec![everywhere]));
    assert_eq!(usable(vec![here]), Err(Unresolved::NoSuch));
}

#[test]
fn no_failed_lookup_takes_an_address_away_and_each_trouble_is_said_once() {
    let (mut names, log, mut end) = names();
    let config = config(&["a.example"]);
    let at = |s| Instant::ZERO + Duration::from_secs(s);
    names.assign(&config, at(0));
    assert_eq!(names.wait(at(0)), Some(Duration::ZERO));
    let mut records = || std::iter::from_fn(|| end.poll_record()).count();
    // Never found: asked again soon, and later and later.
    for (n, wait) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (6, 30)] {
        assert!(!names.answered("a.example", Err(Unresolved::NoAnswer), at(n), &log));
        assert_eq!(names.wait(at(n)), Some(Duration::from_secs(wait)));
    }
    assert_eq!(records(), 1);
    let (here, there) = (ip("192.0.2.1"), ip("192.0.2.2"));
    assert!(names.answered("a.example", Ok(vec![here]), at(10), &log));
    assert_eq!(names.place(&v4("a.example")).1, here);
    assert_eq!(names.wait(at(10)), Some(Duration::from_secs(30)));
    assert!(!names.answered("a.example", Ok(vec![there, here]), at(20), &log));
    assert_eq!(records(), 1);
    for why in [Unresolved::NoSuch, Unresolved::NoSuch, Unresolved::NoAnswer] {
        assert!(!names.answered("a.example", Err(why), at(30), &log));
        assert_eq!(names.place(&v4("a.example")).1, here);
    }
    assert_eq!(records(), 2);
    assert_eq!(names.state(at(40))[0].trouble, Unresolved::NoAnswer.words());
    assert!(names.answered("a.example", Ok(vec![there]), at(50), &log));
    assert_eq!(names.place(&v4("a.example")).1, there);
    assert_eq!(names.state(at(60))[0].since, Some(Duration::from_secs(10)));
    let moves = names
        .counters()
        .into_iter()
        .find(|c| c.name == "name_moves");
    assert_eq!(moves.unwrap().value, 1);
    // One that is no longer asked for is nobody's news.
    assert!(!names.answered("b.example", Ok(vec![here]), at(60), &log));
}

#[test]
fn a_plan_is_told_where_its_names_are_and_stays_sorted() {
    let (mut names, log, _end) = names();
    let config = config(&["b.example", "a.example", "192.0.2.9", "a.example"]);
    names.assign(&config, Instant::ZERO);
    let mut plan = OwnedLbPlan::of(&config, &[], &names, HalfOpens::default());
    let targets = |plan: &OwnedLbPlan| {
        let checks = plan.plan().checks;
        assert!(checks.is_sorted_by(|a, b| a < b));
        checks
            .iter()
            .map(|c| c.target.to_string())
            .collect::<Vec<_>>()
    };
    // Backends with the same name's check share it.
    assert_eq!(targets(&plan), ["192.0.2.9:81", "0.0.0.0:81", "0.0.0.0:81"]);
    assert!(names.answered("a.example", Ok(vec![ip("10.9.9.9")]), Instant::ZERO, &log));
    names.tell(&mut plan);
    let mut told = targets(&plan);
    told.sort();
    assert_eq!(told, ["0.0.0.0:81", "10.9.9.9:81", "192.0.2.9:81"]);
    let again = OwnedLbPlan::of(&config, &[], &names, HalfOpens::default());
    assert_eq!(plan.plan().checks, again.plan().checks);
}

#[test]
fn names_that_are_due_first_are_looked_up_first() {
    let (mut names, log, _end) = names();
    let hosts: Vec<_> = (0..=LOOKUPS_MAX).map(|n| format!("{n}.invalid")).collect();
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    names.assign(&config(&hosts), Instant::ZERO);
    let at = |s| Instant::ZERO + Duration::from_secs(s);
    // They are due again before the last one had its turn.
    let last = v4(hosts[LOOKUPS_MAX]);
    for (name, known) in &mut names.known {
        known.look = Look::At(at(if **name == last { 1 } else { 2 }));
    }
    names.look(at(3), &log);
    assert_eq!(names.known[&last].look, Look::Since(at(3)));
    assert_eq!(names.looking, LOOKUPS_MAX);
}

#[test]
fn moves_are_told_together() {
    let (mut names, log, _end) = names();
    names.assign(&config(&["a.example", "b.example"]), Instant::ZERO);
    let at = |ms| Instant::ZERO + Duration::from_secs(10) + Duration::from_millis(ms);
    let answer = |n: u8| Ok(vec![IpAddr::from([192, 0, 2, n])]);
    assert!(
        names.answered("a.example", answer(1), at(0), &log),
        "at once"
    );
    assert!(!names.answered("b.example", answer(2), at(1), &log));
    assert!(!names.answered("a.example", answer(3), at(2), &log));
    assert_eq!(names.wait(at(400)), Some(Duration::from_millis(600)));
    assert!(!names.take_news(at(999)));
    assert!(names.take_news(at(1_000)));
    assert!(!names.take_news(at(2_000)), "all is told");
    // While a reload is under way nobody wakes up for it.
    assert!(names.answered("b.example", answer(4), at(3_000), &log));
    assert!(!names.answered("b.example", answer(5), at(3_500), &log));
    names.put_off(at(5_000));
    assert_eq!(names.wait(at(5_000)), Some(GATHER));
}
