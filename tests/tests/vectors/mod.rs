//! Reads `golden/vrrp/vectors.txt`, which `oracle/vrrp-vectors` wrote.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::IpAddr;
use trunnion_core::vrrp::advert::Outgoing;
use trunnion_core::vrrp::{AdvertForm, Centis};

pub const TEXT: &str = include_str!("../../golden/vrrp/vectors.txt");

/// An advert that shall be read and written.
pub struct Accept {
    pub name: String,
    pub outgoing: Outgoing,
    pub addresses: Vec<IpAddr>,
    pub message: Vec<u8>,
}

/// A packet that shall be rejected.
pub struct Reject {
    pub name: String,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    pub message: Vec<u8>,
    pub reason: String,
}

pub fn vectors() -> (Vec<Accept>, Vec<Reject>) {
    let (mut accept, mut reject) = (Vec::new(), Vec::new());
    let lines: Vec<&str> = TEXT.lines().collect();
    for pair in lines.chunks(2) {
        let [what, message] = pair else {
            panic!("a line without its message: {pair:?}");
        };
        let message = bytes(message);
        let words: Vec<&str> = what.split(' ').collect();
        match *words {
            [
                "accept",
                name,
                form,
                source,
                destination,
                vrid,
                priority,
                interval,
                ref addresses @ ..,
            ] => accept.push(Accept {
                name: format!("{name} {form} from {source}"),
                outgoing: Outgoing {
                    vrid: vrid.parse().unwrap(),
                    priority: priority.parse().unwrap(),
                    interval: Centis::new(interval.parse().unwrap()).unwrap(),
                    source: source.parse().unwrap(),
                    destination: destination.parse().unwrap(),
                    form: match form {
                        "rfc9568" => AdvertForm::Rfc9568,
                        "rfc5798" => AdvertForm::Rfc5798,
                        other => panic!("{other}"),
                    },
                },
                addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
                message,
            }),
            ["reject", name, source, destination, ttl, ref reason @ ..] => reject.push(Reject {
                name: name.to_owned(),
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                ttl: ttl.parse().unwrap(),
                message,
                reason: reason.join(" "),
            }),
            _ => panic!("{what}"),
        }
    }
    (accept, reject)
}

/// The bytes of hex digits; blanks and lines from `#` on are passed over.
pub fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte");
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
        .collect()
}
