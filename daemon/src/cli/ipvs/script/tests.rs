//! Files, the table they make, and what is said of what they get wrong.

use super::Script;
use crate::cli::ipvs::rule;
use trunnion_core::reconcile::{Change, Cursor, Ownership};

/// The commands that make the file's table of an empty one.
fn made(text: &str) -> Vec<String> {
    let script = Script::read(text, "t").unwrap_or_else(|errors| panic!("{errors}"));
    let mut cursor = Cursor::new(Ownership::All);
    let empty = trunnion_core::model::Table::EMPTY;
    assert!(script.table().is_sorted());
    std::iter::from_fn(|| cursor.next(script.table(), empty))
        .map(|change| {
            if let Change::AddService(it) = change {
                let odd = script.odd_masks.get(&it.key).copied();
                format!("-A {}", rule::service(it, odd))
            } else {
                rule::change(&change)
            }
        })
        .collect()
}

/// `LINE:COLUMN SEVERITY MESSAGE | HELP` of everything that is wrong.
fn wrong(text: &str) -> Vec<String> {
    let mistakes = match Script::read(text, "t") {
        Ok(script) => script.warnings,
        Err(errors) => errors.mistakes,
    };
    mistakes
        .iter()
        .map(|m| {
            format!(
                "{}:{} {}: {} | {}",
                m.line, m.column, m.severity, m.message, m.help
            )
        })
        .collect()
}

const SAVED: &str = "\
-A -t 192.0.2.1:80 -s wrr
-A -t 192.0.2.2:0 -s wlc -p 360 -M 255.255.255.0
-A -t 192.0.2.3:81 -s sh -b sh-fallback,sh-port
-A -t 192.0.2.3:82 -s sh -b sh-port,flag-3
-A -t 192.0.2.4:80 -s rr -p 60 -M 255.0.255.0
-A -t [::10.0.0.1]:443 -s mh -p 2678401 -M 64
-A -u 192.0.2.2:53 -s rr -o
-A -u 192.0.2.4:5060 -s rr -p 0 --pe sip
-A --sctp-service 192.0.2.1:3868 -s lc -b flag-1,flag-2,flag-3
-A -f 5 -s none
-A -f 4294967295 -6 -s lc -p 10 -o
-a -t 192.0.2.1:80 -r 198.51.100.1:8080 -m -w 0
-a -t 192.0.2.1:80 -r 198.51.100.2:80 -i -w 1 --tun-type gue --tun-port 7000 --tun-nocsum
-a -t 192.0.2.1:80 -r 198.51.100.5:80 -i -w 1 --tun-type gue --tun-port 6082 --tun-remcsum
-a -t 192.0.2.1:80 -r 198.51.100.7:80 -i -w 1 --tun-type gre --tun-csum --tun-remcsum
-a -t 192.0.2.1:80 -r 198.51.100.9:80 -g -w 2147483647 -x 100 -y 100
-a -t 192.0.2.1:80 -r [2001:db8::7]:80 -i -w 1 --tun-type ipip
-a -f 5 -r 198.51.100.1:0 -g -w 1
-a -f 4294967295 -6 -r [2001:db8::9]:80 -m -w 1 -x 5
";

#[test]
fn what_is_saved_is_read_and_written_the_same() {
    let expect: Vec<_> = SAVED.lines().collect();
    assert_eq!(made(SAVED), expect);
    let [.., last] = &*wrong(SAVED) else {
        panic!("-p 0 is told");
    };
    assert!(last.starts_with("8:28 warning"), "{last}");
}

#[test]
fn every_spelling_says_the_same() {
    for (text, expect) in [
        (
            "--add-service --tcp-service 192.0.2.1:80 --scheduler wrr",
            "-A -t 192.0.2.1:80 -s wrr",
        ),
        ("-At192.0.2.1:80 -swrr", "-A -t 192.0.2.1:80 -s wrr"),
        (
            "  \t-At=192.0.2.1:80  --scheduler=wrr\t\r",
            "-A -t 192.0.2.1:80 -s wrr",
        ),
        (
            "ipvsadm -A -t 192.0.2.1:80 -s wrr # web",
            "-A -t 192.0.2.1:80 -s wrr",
        ),
        (
            "/sbin/ipvsadm -A -t 192.0.2.1:80",
            "-A -t 192.0.2.1:80 -s wlc",
        ),
        ("-A -t 192.0.2.1 -p", "-A -t 192.0.2.1:0 -s wlc -p 360"),
        ("-A -p -t 192.0.2.1", "-A -t 192.0.2.1:0 -s wlc -p 360"),
        (
            "-A -t 192.0.2.1:1 -p30 --netmask 255.255.0.0",
            "-A -t 192.0.2.1:1 -s wlc -p 30 -M 255.255.0.0",
        ),
        ("-A -6of 7", "-A -f 7 -6 -s wlc -o"),
        (
            "-A -M 64 --persistent=30 -t 2001:db8::1",
            "-A -t [2001:db8::1]:0 -s wlc -p 30 -M 64",
        ),
        // Of what is not persistent a mask says nothing.
        (
            "-A -t 192.0.2.1:1 -M 255.0.255.0",
            "-A -t 192.0.2.1:1 -s wlc",
        ),
    ] {
        assert_eq!(made(text), [expect], "{text}");
    }
    for (options, expect) in [
        ("-r 10.0.0.1", "10.0.0.1:80 -g -w 1"),
        ("-mr 10.0.0.1:8080 -w5", "10.0.0.1:8080 -m -w 5"),
        (
            "--real-server 10.0.0.1 --ipip --weight 0 --u-threshold 9 --l-threshold 8",
            "10.0.0.1:80 -i -w 0 --tun-type ipip -x 9 -y 8",
        ),
        (
            "-r 10.0.0.1 -i --tun-type=gue --tun-port=1",
            "10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 1 --tun-nocsum",
        ),
    ] {
        let text = format!("-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 {options}");
        let expect = format!("-a -t 192.0.2.1:80 -r {expect}");
        assert_eq!(made(&text)[1..], [expect], "{options}");
    }
}

#[test]
fn commands_are_carried_out_one_after_the_other() {
    let text = "\
-A -t 192.0.2.1:80 -p 60
-a -t 192.0.2.1:80 -r 10.0.0.1 -w 7
-a -t 192.0.2.1:80 -r 10.0.0.2
-A -t 192.0.2.1:81
# The rest of a service that is edited is ipvsadm's default again.
-E -t 192.0.2.1:80 -s rr
-e -t 192.0.2.1:80 -r 10.0.0.1 -m
-d -t 192.0.2.1:80 -r 10.0.0.2
-D -t 192.0.2.1:81
";
    let script = Script::read(text, "t").unwrap();
    let service = &script.table().services[0].service;
    assert_eq!(script.line(&service.key, None), Some(6));
    assert_eq!(
        made(text),
        [
            "-A -t 192.0.2.1:80 -s rr",
            "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1",
        ]
    );
    assert!(!script.clears);
    assert!(Script::read(&format!("{text}-C\n"), "t").unwrap().clears);
    assert_eq!(made(&format!("{text}--clear")), [""; 0]);
    for nothing in ["", "\n\n", "# only\n  # comments", " \t\r\n"] {
        assert_eq!(made(nothing), [""; 0]);
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    assert_eq!(
        wrong(
            "\
-A -t www:80
-A -t 192.0.2.1:http -s
-A -u 192.0.2.1 -s wrrr
-B -t 192.0.2.1:80
-A --tcp-servce 192.0.2.1:80
-A -t 192.0.2.1:80 -w 3 -o --pe 1234567890123456
-A -t 192.0.2.2:80 -s rr -b sh-port,sh-prot,,flag-1
-A -t 192.0.2.3:80 -M 24 -p -1
-A -t [2001:db8::3]:80 -M 255.255.255.0
wat
-L -n
--set 1 2 3
-A -t 192.0.2.4:80 -u 192.0.2.4:80
-A -t 192.0.2.5:80 -s rr -s wrr
-A -E -f 5
-A -f 0
-A -6 -t 192.0.2.6:80
-A
-D
-C -t 192.0.2.1:80
"
        ),
        [
            "1:7 error: `www:80` is no address and port | write ADDRESS:PORT in numbers, \
             192.0.2.1:80 or [2001:db8::1]:80",
            "2:7 error: `http` is no port | write a number from 0 to 65535",
            "2:22 error: `-s` needs a value | write -s wrr",
            "3:7 error: port 0 is all ports, which a persistent service alone can have | write a \
             port, or -p",
            "3:20 warning: Linux has no scheduler `wrrr` | write wrr, unless ip_vs_wrrr is a \
             module of yours",
            "4:2 error: unknown option `-B` | remove it: it says nothing of a table",
            "5:4 error: unknown option `--tcp-servce` | write `--tcp-service`",
            "6:20 error: `-w` does not go with -A | remove it: it goes with -a and -e",
            "6:25 error: only udp is scheduled packet by packet | remove -o, or write -u for the \
             service",
            "6:33 error: `1234567890123456` is no name the kernel knows | write a name of 1 to 15 \
             bytes",
            "7:29 error: sh-port is a flag of the scheduler sh, the service has rr | remove it, or \
             write -s sh",
            "7:37 error: unknown scheduler flag `sh-prot` | write sh-port",
            "8:23 error: `24` is no mask | write an IPv4 mask, 255.255.255.0",
            "8:29 error: `-1` is no value of -p | write a number from 0 to 4294967",
            "9:27 error: `255.255.255.0` is no mask | write the bits of an IPv6 prefix, 1 to 128",
            "10:1 error: `wat` belongs to no option | remove it, or write the option it is a value \
             of before it",
            "11:1 error: `-L` is no row of a table | remove the line, and run `trunnion ipvs \
             list` instead",
            "12:1 error: `--set` is no row of a table | remove the line, and run `trunnion ipvs \
             timeout --set` instead",
            "13:20 error: a second service | write one service on a line",
            "14:26 error: `-s` is said twice | remove one of them",
            "15:4 error: a second command, `-E` | write each command on a line of its own",
            "16:7 error: `0` is no firewall mark | write a number from 1 to 4294967295",
            "17:4 error: `-6` goes with -f only | remove it: the address tells its family",
            "18:1 error: -A without a service | write -t, -u or --sctp-service ADDRESS:PORT, or -f \
             MARK",
            "19:1 error: -D without a service | write -t, -u or --sctp-service ADDRESS:PORT, or -f \
             MARK",
            "20:4 error: `-t` does not go with -C | remove it",
        ]
    );
}

#[test]
fn destinations_are_held_to_what_the_kernel_can_do() {
    let head = "-A -t 192.0.2.1:80\n-A -f 3\n";
    let mut said = Vec::new();
    for line in [
        "-a -t 192.0.2.1:80",
        "-a -r 10.0.0.1:80",
        "-a -t 192.0.2.9:80 -r 10.0.0.1",
        "-e -t 192.0.2.1:80 -r 10.0.0.1",
        "-d -t 192.0.2.1:80 -r 10.0.0.1 -w 1",
        "-a -t 192.0.2.1:80 -r 10.0.0.1 -g -m",
        "-a -t 192.0.2.1:80 -r 10.0.0.1 -w 2147483648 -x -5 -y 1",
        "-a -t 192.0.2.1:80 -r 10.0.0.1 -x 4 -y 5",
        "-a -t 192.0.2.1:80 -r 2001:db8::1 -m",
        "-a -t 192.0.2.1:80 -r 0.0.0.0",
        "-a -f 3 -r 224.0.0.1",
        "-a -t 192.0.2.1:80 -r 10.0.0.1:81",
        "-a -t 192.0.2.1:80 -r 10.0.0.1 -m --tun-type ipip",
        "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-port 5",
        "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue --tun-csum --tun-nocsum",
        "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gre --tun-port 0",
        "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type vxlan",
        "-a -f 3 -r 10.0.0.1\n-a -f 3 -r 10.0.0.1:0",
        "-A -t 192.0.2.1:80",
    ] {
        said.extend(wrong(&format!("{head}{line}")));
    }
    assert_eq!(
        said,
        [
            "3:1 error: -a without a destination | write -r ADDRESS:PORT",
            "3:1 error: -a without a service | write -t, -u or --sctp-service ADDRESS:PORT, or -f \
             MARK",
            "3:1 error: no line above adds the service -t 192.0.2.9:80 | write -A -t 192.0.2.9:80 \
             above",
            "3:1 error: no line above adds the destination 10.0.0.1:80 to the service | write -a \
             with -r 10.0.0.1:80 above",
            "3:1 error: no line above adds the destination 10.0.0.1:80 to the service | write -a \
             with -r 10.0.0.1:80 above",
            "3:32 error: `-w` does not go with -d | remove it: it goes with -a and -e",
            "3:35 error: `-m` after `-g` | write one forwarding method",
            "3:35 error: `2147483648` is no value of -w | write a number from 0 to 2147483647",
            "3:49 error: `-5` is no value of -x | write a number from 0 to 2147483647",
            "3:37 error: the lower threshold 5 is above the upper one, 4 | write -x 5 or more",
            "3:23 error: a destination of the other address family needs a tunnel | write -i",
            "3:23 error: 0.0.0.0 is the address of no host | write the address of one host",
            "3:12 error: 224.0.0.1 is the address of no host | write the address of one host",
            "3:23 warning: packets keep port 80: only -m changes it, and 81 is but a name | write \
             port 80, or -m",
            "3:35 error: `--tun-type` without a tunnel | write -i, or remove --tun-type",
            "3:35 error: `--tun-port` does not go with a tunnel of type ipip | write --tun-type \
             gue, or remove --tun-port",
            "3:46 error: a tunnel of type gue needs a port | write --tun-port, 6080 as a rule",
            "3:61 error: `--tun-nocsum` beside a checksum | remove --tun-nocsum",
            "3:50 error: `--tun-port` does not go with a tunnel of type gre | remove --tun-port",
            "3:61 error: `0` is no value of --tun-port | write a number from 1 to 65535",
            "3:46 error: `vxlan` is no tunnel type | write ipip, gue or gre",
            "4:1 error: -f 3 -r 10.0.0.1:0 is there already | remove the line, or write -e",
            "3:1 error: -t 192.0.2.1:80 is there already | remove the line, or write -E",
        ]
    );
}

#[test]
fn anything_at_all_is_read_to_its_end() {
    // Words of the grammar in any order, and noise.
    let words = [
        "-A",
        "-At",
        "-a",
        "-t",
        "-f",
        "-6",
        "-p",
        "-p5",
        "-r",
        "-w",
        "=",
        "--",
        "---",
        "-",
        "--tcp-service=",
        "192.0.2.1:80",
        "[::1]:1",
        "[",
        "]:",
        "5",
        "\u{e9}",
        "-\u{e9}",
        "#",
        "\n",
        "\n",
        "\r\n",
        "\0",
        "--tun-type",
        "gue",
        "-b",
        ",,",
        "sh-port,",
        "ipvsadm",
        "-C",
    ];
    let mut state = 1_u64;
    for _ in 0..5_000 {
        let mut text = String::new();
        for _ in 0..24 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = usize::try_from(state >> 33).unwrap();
            text.push_str(words[at % words.len()]);
            if at % 5 != 0 {
                text.push(' ');
            }
        }
        match Script::read(&text, "t") {
            Ok(script) => assert!(script.table().is_sorted(), "{text:?}"),
            Err(errors) => assert!(errors.mistakes.iter().all(|m| m.line <= 25), "{text:?}"),
        }
    }
    let bytes = b"-A -t 192.0.2.1:80\n-A -t \xff";
    let [mistake] = &*Script::read_bytes(bytes, "t").unwrap_err().mistakes else {
        panic!("one mistake");
    };
    assert_eq!((mistake.line, mistake.column), (2, 7));
}
