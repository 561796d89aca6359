//! The encoder of many beside the encoder of one.

use super::*;
use crate::netlink::genl::FamilyId;
use crate::netlink::{Batch, Messages};
use crate::reconcile::Change;

const FAMILY: FamilyId = FamilyId(30);

/// A change that owns what it speaks of; keys of few values, so that they often
/// repeat.
#[derive(Clone, Debug)]
enum Owned {
    Service(u8, Service),
    Destination(u8, ServiceKey, Destination),
}

impl Owned {
    fn change(&self) -> Change<'_> {
        match self {
            Self::Service(0, it) => Change::AddService(it),
            Self::Service(1, it) => Change::SetService(it),
            Self::Service(_, it) => Change::DeleteService(&it.key),
            Self::Destination(0, key, it) => Change::AddDestination(key, it),
            Self::Destination(1, key, it) => Change::SetDestination(key, it),
            Self::Destination(_, key, it) => Change::DeleteDestination(key, &it.key),
        }
    }
}

/// Destinations that are mostly allowed, of services that are mostly the same.
fn owned() -> impl Strategy<Value = Owned> {
    let key = prop_oneof![
        4 => Just("192.0.2.1"), 4 => Just("2001:db8::1"), 1 => Just("192.0.2.2"),
    ]
    .prop_map(|address| ServiceKey::Address {
        protocol: Protocol::TCP,
        address: address.parse().unwrap(),
        port: 80,
    });
    let key = prop_oneof![
        8 => key,
        1 => (0..3_u32, any::<bool>()).prop_map(|(mark, v6)| ServiceKey::Fwmark {
            mark,
            family: if v6 { Family::V6 } else { Family::V4 },
        }),
    ];
    let of = |kind, tunnel_port| {
        (address(), any::<u16>(), 0..1000_u32).prop_map(move |(address, port, weight)| {
            let at = DestinationKey { address, port };
            let mut it = Destination::new(at, Forward::TUNNEL, weight);
            it.tunnel.kind = kind;
            it.tunnel.port = tunnel_port;
            it
        })
    };
    let (plain, gue) = (of(TunnelType::IPIP, 0), of(TunnelType::GUE, 6080));
    let destination = prop_oneof![
        8 => (0..3_u8, key.clone(), plain),
        4 => (0..3_u8, key.clone(), gue),
        2 => (0..3_u8, key, any_destination()),
    ];
    prop_oneof![
        12 => destination.prop_map(|(what, key, it)| Owned::Destination(what, key, it)),
        1 => (0..3_u8, any_service()).prop_map(|(what, it)| Owned::Service(what, it)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Over buffers of every length, so that it is full at every place.
    #[test]
    fn many_are_encoded_as_each_by_itself(
        changes in prop::collection::vec(owned(), 1..24), room in 0..1500_usize
    ) {
        let (mut one, mut many) = (std::vec![0xa5; room], std::vec![0x5a; room]);
        let mut each = Batch::new(&mut one, u32::MAX - 3);
        let mut all = Batch::new(&mut many, u32::MAX - 3);
        let mut encoder = Encoder::new(FAMILY);
        for owned in &changes {
            let expect = request::change(&mut each, FAMILY, &owned.change());
            assert_eq!(encoder.change(&mut all, &owned.change()), expect, "{owned:?}");
        }
        assert_eq!(all.barrier(), each.barrier());
        assert_eq!(all.finish(), each.finish());
    }
}

/// What is copied is what was meant, in every shape, and not only the same as
/// what is slow.
#[test]
fn a_copied_head_leads_the_tail_of_each_shape() {
    let mut buf = [0; 2048];
    for (key, host) in [
        ("192.0.2.1", "198.51.100.0"),
        ("2001:db8::1", "2001:db8:1::"),
    ] {
        let key = ServiceKey::Address {
            protocol: Protocol::UDP,
            address: key.parse().unwrap(),
            port: 53,
        };
        for kind in [TunnelType::IPIP, TunnelType::GRE] {
            let rows: Vec<_> = (1..=3)
                .map(|number: u16| {
                    let address = match host.parse().unwrap() {
                        IpAddr::V4(host) => {
                            IpAddr::from((u32::from(host) + u32::from(number)).to_be_bytes())
                        }
                        IpAddr::V6(host) => {
                            IpAddr::from((u128::from(host) + u128::from(number)).to_be_bytes())
                        }
                    };
                    let at = DestinationKey {
                        address,
                        port: 1000 + number,
                    };
                    let mut it = Destination::new(at, Forward::TUNNEL, number.into());
                    it.upper_threshold = 100 + u32::from(number);
                    it.lower_threshold = 90 + u32::from(number);
                    it.tunnel.kind = kind;
                    it
                })
                .collect();
            let mut batch = Batch::new(&mut buf, 7);
            let mut encoder = Encoder::new(FAMILY);
            for it in &rows {
                encoder
                    .change(&mut batch, &Change::SetDestination(&key, it))
                    .unwrap();
            }
            let messages: Vec<_> = Messages::new(batch.finish()).map(Result::unwrap).collect();
            assert_eq!(messages.len(), 3);
            for ((message, it), seq) in messages.iter().zip(&rows).zip(7..) {
                assert_eq!(message.header.seq, seq);
                // A reply's command, so that it can be read back.
                let mut raw = message.body.peek().to_vec();
                assert_eq!(raw[0], 6);
                raw[0] = 5;
                let body = crate::bytes::Reader::new(&raw);
                let entry = decode::destination(body, 16, key.family()).unwrap();
                assert_eq!(entry.destination, *it);
            }
        }
    }
}
