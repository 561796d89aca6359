//! Golden rows: what ipvsadm 1.31 prints of the same table, and of counters as
//! no test machine has them, by the formats of its printf(3).

use super::*;
use trunnion_core::model::{
    Destination, DestinationKey, Family, Protocol, Service, ServiceKey, TunnelType,
};

fn service(key: ServiceKey, scheduler: &str) -> ServiceEntry {
    ServiceEntry {
        service: Service::new(key, scheduler.parse().unwrap()),
        odd_mask: None,
        stats: Stats::default(),
    }
}

fn tcp(address: &str) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::TCP,
        address: address.parse().unwrap(),
        port: 80,
    }
}

fn destination(address: &str, forward: Forward) -> DestinationEntry {
    let key = DestinationKey {
        address: address.parse().unwrap(),
        port: 8080,
    };
    let mut destination = Destination::new(key, forward, 7);
    destination.upper_threshold = 1000;
    destination.lower_threshold = 900;
    DestinationEntry {
        destination,
        active: 3,
        inactive: 1_234_567_890,
        persistent: 2,
        stats: STATS,
    }
}

const STATS: Stats = Stats {
    connections: 99_999_999,
    packets_in: 100_000_000,
    packets_out: 1_000_000_000,
    bytes_in: 99_999_999_999_999,
    bytes_out: u64::MAX,
    connections_per_s: 1,
    packets_in_per_s: 123_456_789,
    packets_out_per_s: 3,
    bytes_in_per_s: 4_000_000_000,
    bytes_out_per_s: 5,
};

fn rows(form: Form, exact: bool, service: &ServiceEntry, of: &[DestinationEntry]) -> String {
    let listing = Listing { form, exact };
    let mut out = String::new();
    listing.service(&mut out, service);
    for entry in of {
        listing.destination(&mut out, entry);
    }
    out
}

#[test]
fn the_header_is_the_version_and_the_table() {
    let info = Info {
        version: 0x01_0201,
        table_size: 4096,
    };
    assert_eq!(
        header(info),
        "IP Virtual Server version 1.2.1 (size=4096)\n"
    );
}

#[test]
fn titles_stand_over_their_columns() {
    let title = |form| Listing { form, exact: false }.title();
    assert_eq!(
        title(Form::Plain),
        "Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
    );
    assert_eq!(
        title(Form::Stats),
        "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  \
         -> RemoteAddress:Port\n"
    );
    assert_eq!(
        title(Form::Rate),
        "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  \
         -> RemoteAddress:Port\n"
    );
    assert_eq!(
        title(Form::Thresholds),
        "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  \
         -> RemoteAddress:Port\n"
    );
    assert_eq!(
        title(Form::Persistent),
        "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  \
         -> RemoteAddress:Port\n"
    );
    assert_eq!(
        title(Form::Tunnel),
        "Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
    );
}

#[test]
fn each_form_has_its_columns() {
    let mut entry = service(tcp("192.0.2.1"), "wrr");
    entry.stats = STATS;
    let to = [
        destination("10.0.0.1", Forward::MASQ),
        destination("2001:db8::ffff:ffff:ffff:ffff", Forward::ROUTE),
    ];
    assert_eq!(
        rows(Form::Plain, false, &entry, &to),
        "TCP  192.0.2.1:80 wrr\n  \
         -> 10.0.0.1:8080                Masq    7      3          1234567890\n  \
         -> [2001:db8::ffff:ffff:ffff:ffff]:8080 Route   7      3          1234567890\n"
    );
    assert_eq!(
        rows(Form::Stats, false, &entry, &to[..1]),
        "TCP  192.0.2.1:80                 99999999  100000K    1000M   99999G18446744T\n  \
         -> 10.0.0.1:8080                99999999  100000K    1000M   99999G18446744T\n"
    );
    assert_eq!(
        rows(Form::Stats, true, &entry, &[]),
        "TCP  192.0.2.1:80                 99999999 100000000 1000000000 99999999999999 \
         18446744073709551615\n"
    );
    assert_eq!(
        rows(Form::Rate, false, &entry, &to[..1]),
        "TCP  192.0.2.1:80                        1  123456K        3    4000M        5\n  \
         -> 10.0.0.1:8080                       1 123456789        3    4000M        5\n"
    );
    assert_eq!(
        rows(Form::Thresholds, false, &entry, &to[..1]),
        "TCP  192.0.2.1:80 wrr\n  \
         -> 10.0.0.1:8080                1000       900        3          1234567890\n"
    );
    assert_eq!(
        rows(Form::Persistent, false, &entry, &to[..1]),
        "TCP  192.0.2.1:80 wrr\n  \
         -> 10.0.0.1:8080                7         2           3          1234567890\n"
    );
}

#[test]
fn tunnels_are_told_where_there_are_some() {
    let mut all = Vec::new();
    for (kind, port, flags) in [
        (TunnelType::IPIP, 0, TunnelFlags::empty()),
        (TunnelType::GUE, 6080, TunnelFlags::CSUM),
        (TunnelType::GUE, 65535, TunnelFlags::REMCSUM),
        (TunnelType::GRE, 0, TunnelFlags::empty()),
        (TunnelType::GRE, 0, TunnelFlags::CSUM | TunnelFlags::REMCSUM),
        (TunnelType(9), 0, TunnelFlags::empty()),
    ] {
        let mut entry = destination("10.0.0.1", Forward::TUNNEL);
        entry.destination.tunnel = Tunnel { kind, port, flags };
        (entry.active, entry.inactive) = (0, 0);
        all.push(entry);
    }
    all.push(destination("10.0.0.1", Forward::ROUTE));
    let text = rows(Form::Tunnel, false, &service(tcp("192.0.2.1"), "rr"), &all);
    let columns: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| line.get(33..54).unwrap())
        .collect();
    assert_eq!(
        columns,
        [
            " Tunnel  ipip         ",
            " Tunnel  gue:6080:+c  ",
            " Tunnel  gue:65535:r+c",
            " Tunnel  gre:-c       ",
            " Tunnel  gre:+c,r+c   ",
            " Tunnel  n/a          ",
            " Route   n/a          ",
        ]
        .map(|column| column.get(..21).unwrap())
    );
}

#[test]
fn a_service_has_its_flags_behind_it() {
    let mark = |family| ServiceKey::Fwmark { mark: 5, family };
    let line = |entry: &ServiceEntry| rows(Form::Plain, false, entry, &[]);
    let mut entry = service(mark(Family::V6), "mh");
    entry.service.flags = ServiceFlags::PERSISTENT | ServiceFlags::SCHED1 | ServiceFlags::SCHED2;
    entry.service.timeout_s = 360;
    entry.service.prefix = 64;
    assert_eq!(
        line(&entry),
        "FWM  5 IPv6 mh (mh-fallback,mh-port) persistent 360 mask 64\n"
    );
    let mut entry = service(mark(Family::V4), "wlc");
    entry.service.flags = ServiceFlags::PERSISTENT | ServiceFlags::ONEPACKET;
    entry.service.timeout_s = 60;
    entry.service.engine = "sip".parse().unwrap();
    entry.service.prefix = Service::NO_PREFIX;
    entry.odd_mask = Some([255, 0, 255, 0].into());
    assert_eq!(
        line(&entry),
        "FWM  5 wlc persistent 60 mask 255.0.255.0 pe sip ops\n"
    );
    // What means something with persistence only is told with it only.
    entry.service.flags = ServiceFlags::empty();
    assert_eq!(line(&entry), "FWM  5 wlc\n");
}

#[test]
fn counters_are_cut_at_eight_digits() {
    for (number, cut) in [
        (0, "        0"),
        (99_999_999, " 99999999"),
        (100_000_000, "  100000K"),
        (999_999_999, "  999999K"),
        (1_000_000_000, "    1000M"),
        (99_999_999_999, "   99999M"),
        (100_000_000_000, "     100G"),
        (99_999_999_999_999, "   99999G"),
        (100_000_000_000_000, "     100T"),
        (u64::MAX, "18446744T"),
    ] {
        assert_eq!(scaled(number), cut);
    }
}
