//! Names in the config: what a check of one says, and where it is before anybody
//! has looked it up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use trunnion::config::Config;
use trunnion_core::model::Family;

/// A target that is a name is called by it, where nothing else is said, and is at
/// no address before somebody looks it up.
#[test]
fn a_name_is_a_target_and_what_it_is_called() {
    let backend = |n: u32, check: &str| {
        format!("[[service.backend]]\naddress = \"10.0.0.{n}\"\ncheck = {{ {check} }}\n")
    };
    let text = [
        "[[service]]\naddress = \"192.0.2.1:80\"\ncheck = { type = \"http\" }\n".to_owned(),
        backend(1, "address = \"db.example.org\""),
        backend(2, "address = \"db.example.org.:8080\", family = \"ipv6\""),
        backend(
            3,
            "address = \"db.example.org\", host = \"www.example.org\"",
        ),
        backend(
            4,
            "type = \"tcp\", tls = { verify = false }, address = \"db.example.org\"",
        ),
        backend(5, "interval = \"2s\""),
    ];
    let config = Config::parse(&text.concat(), "t").unwrap();
    let service = &config.services[0];
    let at = |n: usize| {
        let backend = &service.backends[n];
        let name = service.name_of(&backend.destination.key);
        let check = backend.check().unwrap();
        let script = service
            .scripts
            .iter()
            .find(|s| Some(s.id) == check.kind.script());
        (name, check.target.to_string(), script.unwrap())
    };
    let says = |n: usize, text: &str| {
        let bytes: Vec<u8> = at(n).2.words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let named = |n: usize| at(n).0.map(|name| (name.host.as_str(), name.family));
    assert_eq!(named(0), Some(("db.example.org", Family::V4)));
    assert_eq!(at(0).1, "0.0.0.0:80");
    assert!(says(0, "db.example.org") && !says(0, "db.example.org:"));
    assert_eq!(named(1), Some(("db.example.org.", Family::V6)));
    assert_eq!(at(1).1, "[::]:8080");
    assert!(says(1, "db.example.org:8080"));
    assert!(says(2, "www.example.org") && !says(2, "db.example.org"));
    let tls = at(3).2.tls.as_ref().unwrap();
    assert_eq!(tls.name.as_deref(), Some("db.example.org"));
    assert_eq!((named(4), at(4).1.as_str()), (None, "10.0.0.5:80"));
    let shown = config.to_string();
    assert!(shown.contains(", 4 checked by name"), "{shown}");
}
