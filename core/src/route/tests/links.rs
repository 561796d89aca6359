//! Requests about macvlans, byte by byte, and what a kernel says of one.

use super::*;

/// What `ip link add link #3 name vrrp.51 address 00:00:5e:00:01:33 type macvlan
/// mode vepa` says, and the requests that follow.
#[test]
fn a_macvlan_byte_by_byte() {
    let mut buf = [0xa5; 512];
    let mut batch = Batch::new(&mut buf, 1);
    let macvlan = link::Macvlan {
        name: "vrrp.51".parse().unwrap(),
        lower: index(3),
        mac: MacAddress([0, 0, 0x5e, 0, 1, 0x33]),
        mode: MacvlanMode::VEPA,
    };
    link::add_macvlan(&mut batch, &macvlan).unwrap();
    link::set_up(&mut batch, index(9), true).unwrap();
    link::set_up(&mut batch, index(9), false).unwrap();
    link::set_group(&mut batch, index(9), LinkGroup::TRUNNION).unwrap();
    let parameters = [(link::Ipv4Parameter::ARP_IGNORE, 1)];
    link::set_ipv4_parameters(&mut batch, index(9), &parameters).unwrap();
    link::set_no_link_local(&mut batch, index(9)).unwrap();
    link::set_mac(&mut batch, index(9), macvlan.mac).unwrap();
    link::delete(&mut batch, index(9)).unwrap();
    link::delete_group(&mut batch, LinkGroup::TRUNNION).unwrap();
    let bytes = batch.finish();
    let found: Vec<_> = Messages::new(bytes)
        .map(|message| {
            let message = message.unwrap();
            let Header { kind, flags, .. } = message.header;
            (kind.0, flags.bits(), Vec::from(message.body.peek()))
        })
        .collect();
    let attribute = |len: u16, kind: u16| [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    let head = |index: u32, flags: u32, change: u32| {
        let words = [index, flags, change].map(u32::to_ne_bytes).concat();
        [&[0; 4][..], &words].concat()
    };
    const NESTED: u16 = 0x8000;
    let group = [attribute(8, 27), 0x7472_756e_u32.to_ne_bytes().to_vec()].concat();
    let expect = [
        (
            16,
            // REQUEST | EXCL | CREATE
            0x601,
            [
                head(0, 0, 0),
                attribute(20, 3),
                b"vrrp.51\0\0\0\0\0\0\0\0\0".to_vec(),
                attribute(8, 5),
                3_u32.to_ne_bytes().to_vec(),
                attribute(10, 1),
                std::vec![0, 0, 0x5e, 0, 1, 0x33, 0, 0],
                attribute(28, 18 | NESTED),
                attribute(12, 1),
                b"macvlan\0".to_vec(),
                attribute(12, 2 | NESTED),
                attribute(8, 1),
                2_u32.to_ne_bytes().to_vec(),
            ]
            .concat(),
        ),
        (19, 1, head(9, 1, 1)),
        (19, 1, head(9, 0, 1)),
        (19, 1, [head(9, 0, 0), group.clone()].concat()),
        (
            19,
            1,
            [
                head(9, 0, 0),
                attribute(20, 26 | NESTED),
                attribute(16, 2 | NESTED),
                attribute(12, 1 | NESTED),
                attribute(8, 19),
                1_u32.to_ne_bytes().to_vec(),
            ]
            .concat(),
        ),
        (
            19,
            1,
            [
                head(9, 0, 0),
                attribute(16, 26 | NESTED),
                attribute(12, 10 | NESTED),
                attribute(5, 8),
                std::vec![1, 0, 0, 0],
            ]
            .concat(),
        ),
        (
            19,
            1,
            [
                head(9, 0, 0),
                attribute(10, 1),
                std::vec![0, 0, 0x5e, 0, 1, 0x33, 0, 0],
            ]
            .concat(),
        ),
        (17, 1, head(9, 0, 0)),
        (17, 1, [head(0, 0, 0), group].concat()),
    ];
    for (found, expect) in found.iter().zip(&expect) {
        assert_eq!(found, expect);
    }
    assert_eq!(found.len(), expect.len());
}
