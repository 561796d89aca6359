//! From a config to the plans of the halves.

use super::*;

const CONFIG: &str = include_str!("../../../../docs/examples/full.toml");

fn names() -> Names {
    let (bell, _) = crate::run::link::Bell::new().unwrap();
    Names::new(bell)
}

#[test]
fn plans_are_sorted_and_equal_checks_are_one() {
    let config = Config::parse(CONFIG, "full.toml").unwrap();
    let lb = OwnedLbPlan::of(&config, &[], &names(), HalfOpens::default());
    let plan = lb.plan();
    assert!(plan.table.is_sorted());
    assert!(plan.checks.is_sorted_by(|a, b| a < b));
    assert_eq!(plan.links.len(), plan.table.destinations.len());
    assert_eq!(plan.policies.len(), plan.table.services.len());
    let ha = OwnedHaPlan::of(&config, &[], Instant::ZERO);
    let plan = ha.plan();
    assert!(plan.instances.is_sorted_by(|a, b| a.key() < b.key()));
    for instance in plan.instances {
        assert!(!plan.addresses_of(instance).is_empty());
    }
}

/// What a service is called and how it weighs is nothing to its checks: who
/// asks the same question shares a probe. What any key of it changes is
/// another question.
#[test]
fn a_backend_of_many_services_is_probed_once() {
    let service = |number: u32, more: &str, check: &str| {
        format!(
            "[[service]]\nname = \"s{number}\"\naddress = \"192.0.2.{number}:80\"\n{more}\n\
             check = {{ type = \"tcp\"{check} }}\n\
             backends = [{{ address = \"10.0.0.1\", weight = {number} }}, \"10.0.0.2\"]\n"
        )
    };
    let mut text: String = (1..=50)
        .map(|n| {
            service(
                n,
                if n % 2 == 0 {
                    "slow_start = \"9s\""
                } else {
                    ""
                },
                "",
            )
        })
        .collect();
    let plan = |text: &str| {
        OwnedLbPlan::of(
            &Config::parse(text, "t").unwrap(),
            &[],
            &names(),
            HalfOpens::default(),
        )
    };
    let checks = |text: &str| plan(text).checks.len();
    assert_eq!(checks(&text), 2);
    let links = plan(&text).links;
    assert_eq!(links.iter().filter(|l| **l == Some(0)).count(), 50);
    for (number, key) in (51..).zip(["rise = 7", "fall = 7", "jitter = \"5%\""]) {
        let before = checks(&text);
        text.push_str(&service(number, "", &format!(", {key}")));
        assert_eq!(checks(&text), before + 2, "{key}");
    }
}
