use super::*;
use crate::check::probe::laws::TOKEN;
use crate::check::probe::{Probe, Room, Spec};
use std::vec::Vec;

const SECRET: &[u8] = b"testing123";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn request(radius: &Radius<'_>, token: Token) -> Vec<u8> {
    radius.check().unwrap();
    let mut out = [0xa5; 512];
    let Step::Send(len) = radius.begin(token, &mut out) else {
        panic!("nothing to send");
    };
    out[..len].to_vec()
}

/// What an answer means: the step, and what a timeout means after it.
fn heard(radius: &Radius<'_>, token: Token, answer: &[u8]) -> (Step, Reason) {
    let spec = Spec::Radius(radius);
    let (out, keep) = (&mut [0; 512], &mut []);
    let (mut probe, _) = Probe::begin(&spec, token, &mut Room { out, keep });
    let step = probe.handle_bytes(&spec, answer, &mut Room { out, keep });
    (step, probe.handle_timeout())
}

fn access() -> Radius<'static> {
    Radius::access(SECRET, "probe", b"0123456789abcdef0")
}

/// pyrad reads these bytes: signed, user "probe", the password of 17 bytes.
#[test]
fn seesaw_defect_a_request_has_a_message_authenticator() {
    let expect = hex("01340065 7369787465656e2062797465732e2e2e
         5012 68cf2a4f2e04e89418970771f39374ed
         0107 70726f6265
         0222 c3f9d80012114106ecb592e42deb8e3bce24f576ace5efdfdc30323427a9a99a
         0606 00000001  3d06 00000005  200a 7472756e6e696f6e");
    assert_eq!(request(&access(), TOKEN), expect);
}

/// As pyrad hides them.
#[test]
fn passwords_are_hidden_in_blocks() {
    for (password, hidden) in [
        (&b"arctangent"[..], "0212 92ba8947474a1054baf8f3864e8feb5d"),
        (b"", "0212 f3c8ea3326247731d48cf3864e8feb5d"),
    ] {
        let request = request(&Radius::access(SECRET, "probe", password), TOKEN);
        assert_eq!(request[45..45 + 18], hex(hidden));
    }
    let long = request(&Radius::access(SECRET, "probe", &[b'x'; 128]), TOKEN);
    assert_eq!(long[45..47], [2, 130]);
}

/// RFC 2865 7.1, whose answer is not signed.
#[test]
fn the_example_of_rfc_2865() {
    let token = Token {
        id: 0,
        secret: *hex("0f403f9473978057bd83d5cb98f4227a")
            .first_chunk()
            .unwrap(),
    };
    let mut radius = Radius::access(b"xyzzy5461", "nemo", b"arctangent");
    let ours = request(&radius, token);
    let hidden = hex("0212 0dbe708d93d413ce3196e43f782a0aee");
    assert!(ours.windows(18).any(|window| window == hidden));
    let answer = hex("02000026 86fe220e7624ba2a1005f6bf9b55e0b2
         0606 00000001  0f06 00000000  0e06 c0a80103");
    assert_eq!(heard(&radius, token, &answer).0, success());
    radius.require_signed = true;
    let passed_over = (Step::More, Reason::RadiusUnsigned);
    assert_eq!(heard(&radius, token, &answer), passed_over);
}

/// RFC 5997 6.1.
#[test]
fn the_example_of_rfc_5997() {
    let token = Token {
        id: 0xda,
        secret: *hex("8a54f4686fb394c52866e302185d0623")
            .first_chunk()
            .unwrap(),
    };
    let radius = Radius {
        request: Request::Status,
        nas_identifier: "",
        ..Radius::access(b"xyzzy5461", "", b"")
    };
    let expect = hex("0cda0026 8a54f4686fb394c52866e302185d0623
         5012 5a665e2e1e8411f3e243822097c84fa3");
    assert_eq!(request(&radius, token), expect);
    let answer = hex("02da0014 ef0d552a4bf2d693ec2b6fe8b5411d66");
    assert_eq!(heard(&radius, token, &answer).0, success());
}

/// Answers as pyrad makes them: accept, reject with a text, challenge.
const ANSWERS: [(&str, Expected); 3] = [
    (
        "02340026 96c879a21033293078d9d2cfb555efd8 5012 0ef9b7db8e5d848568530708beb831b2",
        Expected::Accept,
    ),
    (
        "0334002a 1e81c32a574d765dc733844ec92d1f4e 5012 b961ae79edbc4f70cc2036a9c6ac6624 1204 6e6f",
        Expected::Reject,
    ),
    (
        "0b340029 3d59dd8467db796890330a0087052255 5012 ab741ecb31dda426aa11a6b45ccdfa21 1803 73",
        Expected::Challenge,
    ),
];

/// FreeRADIUS 3.2.1 took our requests with `require_message_authenticator = yes`
/// and answered so: the right password, a wrong one. It signs nothing.
#[test]
fn answers_of_a_real_server() {
    let token = Token {
        id: 0x4242,
        secret: *b"0123456789abcdef",
    };
    let accept = hex("02420014 0ef637e1faef2f891d94993ee470b219");
    let reject = hex("03420014 86a71cd7904a85eb50b3c6f3ba427ef8");
    let mut radius = access();
    assert_eq!(heard(&radius, token, &accept).0, success());
    assert_eq!(
        heard(&radius, token, &reject).0,
        failure(Reason::RadiusCode)
    );
    radius.expected = Expected::Reject;
    assert_eq!(heard(&radius, token, &reject).0, success());
    radius.require_signed = true;
    let passed_over = (Step::More, Reason::RadiusUnsigned);
    assert_eq!(heard(&radius, token, &reject), passed_over);
}

#[test]
fn answers_are_expected_or_not() {
    for (answer, is) in ANSWERS {
        for expected in [
            Expected::Accept,
            Expected::Reject,
            Expected::Challenge,
            Expected::Any,
        ] {
            for require_signed in [false, true] {
                let radius = Radius {
                    expected,
                    require_signed,
                    ..access()
                };
                let (step, _) = heard(&radius, TOKEN, &hex(answer));
                let right = expected == is || expected == Expected::Any;
                let expect = if right {
                    success()
                } else {
                    failure(Reason::RadiusCode)
                };
                assert_eq!(step, expect, "{is:?} {expected:?}");
            }
        }
    }
}

/// Nothing that an answer's authenticators do not cover may decide.
#[test]
fn every_flipped_bit_is_passed_over() {
    let answer = hex(ANSWERS[1].0);
    let radius = Radius {
        expected: Expected::Any,
        ..access()
    };
    for byte in 0..answer.len() {
        for bit in 0..8 {
            let mut answer = answer.clone();
            answer[byte] ^= 1 << bit;
            let (step, _) = heard(&radius, TOKEN, &answer);
            assert_eq!(step, Step::More, "byte {byte} bit {bit}");
        }
        assert_eq!(heard(&radius, TOKEN, &answer[..byte]).0, Step::More);
    }
    let mut padded = answer;
    padded.extend([1, 2, 3]);
    assert_eq!(
        heard(&radius, TOKEN, &padded).0,
        success(),
        "padding is no part of it"
    );
}

/// A wrong secret shows as a timeout to others; here it has a name.
#[test]
fn a_timeout_says_what_was_wrong_with_the_answers() {
    let answer = hex(ANSWERS[0].0);
    let wrong = Radius {
        secret: b"testing124",
        ..access()
    };
    assert_eq!(
        heard(&wrong, TOKEN, &answer),
        (Step::More, Reason::RadiusAuthenticator)
    );
    assert_eq!(
        heard(&access(), TOKEN, b"\x02\x34\xff\xff"),
        (Step::More, Reason::RadiusMalformed)
    );
    let late = Token { id: 0x35, ..TOKEN };
    assert_eq!(
        heard(&access(), late, &answer),
        (Step::More, Reason::TimedOut),
        "to an earlier one"
    );
}

/// The response authenticator alone is no proof that the attributes are whole:
/// with a right one, a wrong Message-Authenticator or attribute still is not an
/// answer.
#[test]
fn attributes_are_read_to_the_end() {
    let sealed = |attributes: &[u8]| {
        let length = u16::try_from(20 + attributes.len()).unwrap();
        let mut packet = Vec::from([2, 0x34]);
        packet.extend(length.to_be_bytes());
        let sum = Md5::new()
            .chain_update(&packet)
            .chain_update(TOKEN.secret)
            .chain_update(attributes)
            .chain_update(SECRET)
            .finalize();
        packet.extend(sum);
        packet.extend(attributes);
        packet
    };
    assert_eq!(heard(&access(), TOKEN, &sealed(&[])).0, success());
    let mut wrong = Vec::from([80, 18]);
    wrong.extend([7; 16]);
    let passed_over = (Step::More, Reason::RadiusAuthenticator);
    assert_eq!(heard(&access(), TOKEN, &sealed(&wrong)), passed_over);
    for attributes in [&[18][..], &[18, 0], &[18, 1], &[18, 4, 65], &[80, 17, 1]] {
        let passed_over = (Step::More, Reason::RadiusMalformed);
        assert_eq!(
            heard(&access(), TOKEN, &sealed(attributes)),
            passed_over,
            "{attributes:?}"
        );
    }
}

#[test]
fn what_cannot_be_sent_is_named() {
    let long = "x".repeat(254);
    for (radius, error) in [
        (Radius::access(b"", "u", b""), RadiusError::Secret),
        (Radius::access(b"s", "", b""), RadiusError::Name),
        (Radius::access(b"s", &long, b""), RadiusError::Name),
        (Radius::access(b"s", "u", &[0; 129]), RadiusError::Password),
    ] {
        assert_eq!(radius.check(), Err(error));
    }
    let radius = access();
    let whole = request(&radius, TOKEN).len();
    for room in 0..whole {
        assert_eq!(radius.begin(TOKEN, &mut [0; 512][..room]), NO_ROOM);
    }
}
