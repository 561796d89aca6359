use super::*;
use crate::check::Verdict;
use crate::check::probe::laws::{TOKEN, verdict};
use crate::check::probe::{Probe, Regex, Room, Spec};
use proptest::prelude::*;
use simple_dns::rdata::{A, AAAA, CNAME, MX, NS, RData, SOA, SRV, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, ResourceRecord, TYPE};
use std::string::ToString;
use std::vec::Vec;

fn rr(owner: &'static str, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new_unchecked(owner), CLASS::IN, 10, data)
}

/// An answer by another implementation, its names compressed or not.
fn answer(
    name: &'static str,
    record: TYPE,
    records: &[ResourceRecord<'static>],
    compressed: bool,
) -> Vec<u8> {
    let mut packet = Packet::new_reply(TOKEN.id);
    let name = Name::new_unchecked(name);
    let question = Question::new(name, record.into(), CLASS::IN.into(), false);
    packet.questions.push(question);
    packet.answers.extend_from_slice(records);
    if compressed {
        packet.build_bytes_vec_compressed().unwrap()
    } else {
        packet.build_bytes_vec().unwrap()
    }
}

fn a(address: [u8; 4]) -> RData<'static> {
    RData::A(A {
        address: u32::from_be_bytes(address),
    })
}

fn cname(name: &'static str) -> RData<'static> {
    RData::CNAME(CNAME(Name::new_unchecked(name)))
}

/// What an answer means: over UDP, and the same over TCP.
fn check(dns: Dns<'_>, message: &[u8]) -> Option<Verdict> {
    dns.check().unwrap();
    let datagram = verdict(&Spec::Dns(&dns), message);
    let stream = Dns {
        transport: Transport::Stream,
        ..dns
    };
    let mut framed = Vec::from(u16::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let over_tcp = verdict(&Spec::Dns(&stream), &framed);
    if datagram.is_some() {
        assert_eq!(datagram, over_tcp);
    }
    over_tcp
}

fn failed(reason: Reason) -> Option<Verdict> {
    Some(Verdict::Failure(reason))
}

const UP: Option<Verdict> = Some(Verdict::Success);

#[test]
fn the_query_is_one_question() {
    let mut out = [0xa5; 64];
    let token = TOKEN;
    let step = Dns::new("www.Example.", RecordType::AAAA).begin(token, &mut out);
    assert_eq!(step, Step::Send(29));
    let packet = Packet::parse(&out[..29]).unwrap();
    assert_eq!(packet.id(), TOKEN.id);
    assert!(packet.has_flags(PacketFlag::RECURSION_DESIRED));
    assert!(!packet.has_flags(PacketFlag::RESPONSE));
    assert_eq!(packet.questions.len(), 1);
    assert_eq!(
        packet.questions[0].qname,
        Name::new_unchecked("www.Example")
    );
    assert_eq!(packet.questions[0].qtype, TYPE::AAAA.into());
    let dns = Dns {
        transport: Transport::Stream,
        recursion_desired: false,
        ..Dns::new(".", RecordType::NS)
    };
    assert_eq!(dns.begin(token, &mut out), Step::Send(19));
    assert_eq!(out[..6], [0, 17, 0x12, 0x34, 0, 0]);
    assert_eq!(out[14..19], [0, 0, 2, 0, 1]);
}

#[test]
fn each_type_and_what_it_can_have() {
    let name = "svc.example";
    let host = || Name::new_unchecked("host.svc.example");
    let six = "2001:db8::1".parse::<core::net::Ipv6Addr>().unwrap();
    let soa = SOA {
        mname: host(),
        rname: Name::new_unchecked("admin.example"),
        serial: 1,
        refresh: 2,
        retry: 3,
        expire: 4,
        minimum: 5,
    };
    let srv = SRV {
        priority: 1,
        weight: 2,
        port: 3,
        target: host(),
    };
    let text = TXT::new().with_string("half ").unwrap();
    let text = text.with_string("and half").unwrap();
    let by_name = Expected::Name("HOST.svc.example.");
    let by_text = Expected::Text(Pattern::Exact(b"half and half"));
    let address = |text: &str| Expected::Address(text.parse().unwrap());
    let v4 = address("192.0.2.7");
    #[rustfmt::skip]
    let table = [
        (RecordType::A, TYPE::A, a([192, 0, 2, 7]), v4, address("192.0.2.8")),
        (RecordType::AAAA, TYPE::AAAA, RData::AAAA(AAAA { address: six.into() }), address("2001:db8::1"), address("::1")),
        (RecordType::CNAME, TYPE::CNAME, cname("host.svc.example"), by_name, Expected::Name("host")),
        (RecordType::NS, TYPE::NS, RData::NS(NS(host())), by_name, Expected::Name(".")),
        (RecordType::MX, TYPE::MX, RData::MX(MX { preference: 5, exchange: host() }), by_name, Expected::Name("a.host.svc.example")),
        (RecordType::SOA, TYPE::SOA, RData::SOA(soa), by_name, Expected::Name("admin.example")),
        (RecordType::SRV, TYPE::SRV, RData::SRV(srv), by_name, Expected::Name("svc.example")),
        (RecordType::TXT, TYPE::TXT, RData::TXT(text), by_text, Expected::Text(Pattern::Exact(b"half "))),
    ];
    for (record, theirs, data, right, wrong) in table {
        for compressed in [false, true] {
            let records = [rr(name, data.clone())];
            let message = answer(name, theirs, &records, compressed);
            let dns = |expected| Dns {
                expected,
                ..Dns::new(name, record)
            };
            assert_eq!(check(dns(right), &message), UP, "{record:?}");
            assert_eq!(check(dns(Expected::Record), &message), UP, "{record:?}");
            assert_eq!(
                check(dns(wrong), &message),
                failed(Reason::DnsAnswer),
                "{record:?}"
            );
            let empty = answer(name, theirs, &[], compressed);
            assert_eq!(check(dns(right), &empty), failed(Reason::DnsNoRecord));
            // Cut anywhere, it is never the expected answer.
            for cut in 0..message.len() {
                assert_ne!(check(dns(right), &message[..cut]), UP, "{record:?} {cut}");
            }
        }
    }
}

#[test]
fn one_of_several_records_is_enough() {
    let records =
        [[1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]].map(|address| rr("n.example", a(address)));
    let message = answer("n.example", TYPE::A, &records, true);
    let dns = Dns::seesaw("n.example", [3, 3, 3, 3].into());
    assert_eq!(check(dns, &message), UP);
    let dns = Dns::seesaw("n.example", [4, 4, 4, 4].into());
    assert_eq!(check(dns, &message), failed(Reason::DnsAnswer));
}

/// Seesaw wants the name's own record; an alias's is taken if asked for.
#[test]
fn aliases_lead_to_the_record() {
    let records = [
        rr("edge.example", a([192, 0, 2, 7])),
        rr("WWW.example", cname("cdn.example")),
        rr("cdn.example", cname("Edge.example")),
    ];
    let message = answer("www.example", TYPE::A, &records, true);
    let strict = Dns::seesaw("www.example", [192, 0, 2, 7].into());
    assert_eq!(check(strict, &message), failed(Reason::DnsNoRecord));
    let dns = Dns {
        aliases: true,
        ..strict
    };
    assert_eq!(check(dns, &message), UP);
    // An address of some other name is none of ours.
    let stray = answer("www.example", TYPE::A, &records[..1], true);
    assert_eq!(check(dns, &stray), failed(Reason::DnsNoRecord));
    let round = [
        rr("a.example", cname("b.example")),
        rr("b.example", cname("a.example")),
    ];
    let message = answer("a.example", TYPE::A, &round, true);
    assert_eq!(
        check(Dns::new("a.example", RecordType::A), &message),
        failed(Reason::DnsNoRecord)
    );
}

#[test]
fn names_are_equal_in_any_case() {
    let message = answer(
        "WWW.Example",
        TYPE::A,
        &[rr("wWw.eXample", a([1, 2, 3, 4]))],
        false,
    );
    assert_eq!(
        check(Dns::seesaw("www.example", [1, 2, 3, 4].into()), &message),
        UP
    );
}

/// Seesaw takes an answer with any id. Here another's is passed over, so that a
/// late one or a forged one decides nothing, and the timeout says what came.
#[test]
fn seesaw_defect_the_id_and_the_question_are_checked() {
    let right = answer(
        "n.example",
        TYPE::A,
        &[rr("n.example", a([1, 2, 3, 4]))],
        false,
    );
    let dns = Dns::new("n.example", RecordType::A);
    let mut strangers = Vec::new();
    for byte in [0, 1, 13, 18, 24, 26] {
        // The id, the name, its second label, the type, the class.
        let mut other = right.clone();
        other[byte] ^= 1;
        strangers.push(other);
    }
    let mut query = right.clone();
    query[2] &= 0x7f;
    strangers.push(query);
    strangers.push(Vec::new());
    for stranger in strangers {
        let spec = Spec::Dns(&dns);
        let (out, keep) = (&mut [0; 128], &mut []);
        let (mut probe, _) = Probe::begin(&spec, TOKEN, &mut Room { out, keep });
        assert_eq!(probe.handle_timeout(), Reason::TimedOut);
        let step = probe.handle_bytes(&spec, &stranger, &mut Room { out, keep });
        assert_eq!(step, Step::More, "{stranger:?}");
        assert_eq!(probe.handle_timeout(), Reason::DnsStranger);
        let step = probe.handle_bytes(&spec, &right, &mut Room { out, keep });
        assert_eq!(
            step,
            Step::Verdict(Verdict::Success),
            "the answer still counts"
        );
        if !stranger.is_empty() {
            assert_eq!(
                check(dns, &stranger),
                failed(Reason::DnsStranger),
                "over TCP"
            );
        }
    }
}

#[test]
fn the_response_code_must_be_the_expected_one() {
    let mut packet = Packet::new_reply(TOKEN.id);
    *packet.rcode_mut() = RCODE::NameError;
    let name = Name::new_unchecked("no.example");
    packet
        .questions
        .push(Question::new(name, TYPE::A.into(), CLASS::IN.into(), false));
    let message = packet.build_bytes_vec().unwrap();
    let dns = Dns::new("no.example", RecordType::A);
    assert_eq!(check(dns, &message), failed(Reason::DnsRcode));
    let expected = Dns {
        rcode: Rcode::NAME_ERROR,
        expected: Expected::Nothing,
        ..dns
    };
    assert_eq!(check(expected, &message), UP);
    // Refused without repeating the question.
    let refused = [0x12, 0x34, 0x80, 0x05, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(check(dns, &refused), failed(Reason::DnsRcode));
    let expected = Dns {
        rcode: Rcode::REFUSED,
        ..expected
    };
    assert_eq!(check(expected, &refused), UP);
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let mut message = answer("n.example", TYPE::TXT, &[], false);
    message[2] |= 0x02;
    let dns = Dns::new("n.example", RecordType::TXT);
    let spec = Spec::Dns(&dns);
    let (out, keep) = (&mut [0; 128], &mut []);
    let (mut probe, _) = Probe::begin(&spec, TOKEN, &mut Room { out, keep });
    let step = probe.handle_bytes(&spec, &message, &mut Room { out, keep });
    assert_eq!(step, Step::OverTcp);
    assert_eq!(
        check(dns, &message),
        failed(Reason::DnsNoRecord),
        "there is no further way"
    );
}

#[test]
fn an_answer_longer_than_is_kept_is_not_read() {
    let dns = Dns {
        transport: Transport::Stream,
        ..Dns::new("n.example", RecordType::A)
    };
    let got = verdict(&Spec::Dns(&dns), &[0x10, 0x01, 0x12, 0x34]);
    assert_eq!(got, failed(Reason::DnsTooLong));
    let got = verdict(&Spec::Dns(&dns), &[0, 12, 0x12]);
    assert_eq!(got, failed(Reason::Closed));
}

#[test]
fn a_name_that_leads_nowhere_is_malformed() {
    let right = answer(
        "n.example",
        TYPE::A,
        &[rr("n.example", a([1, 2, 3, 4]))],
        true,
    );
    let owner = right.len() - 16;
    assert_eq!(right[owner..owner + 2], [0xc0, 12]);
    let here = u8::try_from(owner).unwrap();
    for pointer in [
        [0xc0, here],
        [0xc0, 0xff],
        [0xff, 0xff],
        [0x80, 12],
        [0x40, 12],
    ] {
        let mut message = right.clone();
        message[owner..owner + 2].copy_from_slice(&pointer);
        let dns = Dns::new("n.example", RecordType::A);
        assert_eq!(
            check(dns, &message),
            failed(Reason::DnsMalformed),
            "{pointer:x?}"
        );
    }
}

/// Not even to what is a name: the data of the record are the root's here.
#[test]
fn a_pointer_does_not_lead_forwards() {
    let mut message = answer(
        "n.example",
        TYPE::A,
        &[rr("n.example", a([0, 2, 3, 4]))],
        true,
    );
    let (owner, data) = (message.len() - 16, message.len() - 4);
    message[owner + 1] = u8::try_from(data).unwrap();
    let dns = Dns::new("n.example", RecordType::A);
    assert_eq!(check(dns, &message), failed(Reason::DnsMalformed));
}

#[test]
fn what_cannot_be_asked_is_named() {
    let long = "a".repeat(64);
    let longer = std::format!("{0}.{0}.{0}.{0}", "a".repeat(63));
    for (name, error) in [
        ("a..b", NameError::Label),
        (".a", NameError::Label),
        ("..", NameError::Label),
        (long.as_str(), NameError::Label),
        (longer.as_str(), NameError::TooLong),
        ("a b", NameError::Byte),
        (r"a\.b", NameError::Byte),
    ] {
        let dns = Dns::new(name, RecordType::A);
        assert_eq!(dns.check(), Err(DnsError::Name(error)), "{name}");
    }
    let dns = |record, expected| Dns {
        expected,
        ..Dns::new("", record)
    };
    let four = Expected::Address([1, 2, 3, 4].into());
    let text = Regex::new("x").unwrap();
    for (record, expected) in [
        (RecordType::AAAA, four),
        (RecordType::A, Expected::Name("a")),
        (RecordType::MX, Expected::Text(Pattern::Regex(&text))),
    ] {
        assert_eq!(dns(record, expected).check(), Err(DnsError::Expected));
    }
    assert_eq!(RecordType::named("aaaa"), Some(RecordType::AAAA));
    assert_eq!(RecordType::named("PTR"), None);
}

/// What unbound 1.17.1 answered to our queries.
#[test]
fn answers_of_a_real_server() {
    let hex = |text: &str| -> Vec<u8> {
        let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        text.as_bytes().chunks(2).map(pair).collect()
    };
    let a = "42428580000100010000000003777777076578616d706c650000010001c00c0001000100000e100004c0000207";
    let cname = "42428580000100010000000005616c696173076578616d706c650000050001c00c0005000100000e10000603777777c012";
    let mx = "424285800001000100000000076578616d706c6500000f0001c00c000f000100000e100009000a046d61696cc00c";
    let nope = "424285830001000000010000046e6f7065076578616d706c650000010001c01100060001000000050021036e7331c01104726f6f74c0110000000100000002000000030000000400000005";
    let big = "42428780000100000000000003626967076578616d706c650000100001";
    let named = |name, record, target| Dns {
        expected: Expected::Name(target),
        ..Dns::new(name, record)
    };
    let failed = |reason| Step::Verdict(Verdict::Failure(reason));
    let up = Step::Verdict(Verdict::Success);
    #[rustfmt::skip]
    let table = [
        (Dns::seesaw("www.example", [192, 0, 2, 7].into()), a, up),
        (Dns::seesaw("www.example", [192, 0, 2, 8].into()), a, failed(Reason::DnsAnswer)),
        (named("alias.example.", RecordType::CNAME, "www.example"), cname, up),
        (named("example", RecordType::MX, "mail.example"), mx, up),
        (Dns::new("nope.example", RecordType::A), nope, failed(Reason::DnsRcode)),
        (Dns::new("big.example", RecordType::TXT), big, Step::OverTcp),
    ];
    let token = Token {
        id: 0x4242,
        ..TOKEN
    };
    for (dns, message, expect) in table {
        assert_eq!(dns.answer(token, &hex(message)), expect, "{dns:?}");
    }
}

proptest! {
    /// Where this one finds the answer in a message with a changed byte, another
    /// implementation that can read it finds it, too; without a change both find
    /// the same.
    #[test]
    fn answers_as_simple_dns_reads_them(
        addresses in prop::collection::vec(0..4_u8, 0..4),
        compressed: bool,
        change in prop::option::weighted(0.8, (0..120_usize, any::<u8>())),
    ) {
        let name = "n.example";
        let records: Vec<_> = addresses.iter().map(|last| rr(name, a([10, 0, 0, *last]))).collect();
        let mut message = answer(name, TYPE::A, &records, compressed);
        if let Some((at, byte)) = change {
            let at = at % message.len();
            message[at] = byte;
        }
        let got = check(Dns::seesaw(name, [10, 0, 0, 1].into()), &message);
        // It refuses classes and types it does not know, in any record.
        let Ok(packet) = Packet::parse(&message) else {
            return Ok(());
        };
        let question = packet.questions.first().is_some_and(|question| {
            question.qname.to_string().eq_ignore_ascii_case(name)
        });
        let address = packet.answers.iter().any(|record| {
            record.name.to_string().eq_ignore_ascii_case(name)
                && record.class == CLASS::IN
                && record.rdata == a([10, 0, 0, 1])
        });
        let there = question && address && packet.id() == TOKEN.id;
        if got == UP {
            prop_assert!(there, "{:02x?}", message);
        }
        if change.is_none() {
            prop_assert_eq!(got == UP, there);
        }
    }
}
