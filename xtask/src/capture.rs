//! `cargo xtask capture`: records what ipvsadm and the kernel really say to each
//! other, as the golden files that our encoder and decoder are held to. It
//! shares no code with either.
//!
//! An `nlmon` device inside the VM sees every netlink message; tcpdump writes
//! them down while the commands below run one after the other.

mod files;
mod pcap;

use crate::failure::{Failure, Result};
use crate::process;
use crate::vm::{self, Vm};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

pub const HELP: &str = "\
usage: cargo xtask capture

Runs ipvsadm on a real ip_vs kernel, records its netlink messages and rewrites
tests/golden/ipvs: one file for each request, and the dumps of the table they
make, with what ipvsadm prints of it beside. Needs tcpdump.
";

/// Requests about synchronization daemons, which come before the others because
/// they and destinations of the other family exclude each other. `None` is where
/// the running ones are dumped.
const DAEMONS: &[Option<(&str, &str)>] = &[
    Some((
        "daemon-start",
        "--start-daemon master --mcast-interface sync0", // tidy: allow(master): ipvsadm's word
    )),
    Some((
        "daemon-stop",
        "--stop-daemon master", // tidy: allow(master): ipvsadm's word
    )),
    Some((
        "daemon-start6",
        concat!(
            "--start-daemon master ", // tidy: allow(master): ipvsadm's word
            "--mcast-interface sync0 --syncid 7 --sync-maxlen 1400 ",
            "--mcast-group ff02::8848 --mcast-port 8849 --mcast-ttl 3",
        ),
    )),
    Some((
        "daemon-start-backup",
        "--start-daemon backup --mcast-interface sync0 --syncid 0 --mcast-group 239.1.2.3",
    )),
    None,
    Some(("daemon-stop-backup", "--stop-daemon backup")),
    Some((
        "daemon-stop6",
        "--stop-daemon master", // tidy: allow(master): ipvsadm's word
    )),
];

/// Requests, in the order in which they are made: the name of the golden file,
/// and what ipvsadm is told. Each makes one request of IPVS.
const REQUESTS: &[(&str, &str)] = &[
    ("service-tcp4", "-A -t 192.0.2.1:80 -s wrr"),
    ("service-udp4", "-A -u 192.0.2.1:53 -s rr"),
    ("service-sctp4", "-A --sctp-service 192.0.2.1:3868 -s lc"),
    ("service-tcp6", "-A -t [2001:db8::1]:80 -s wlc"),
    (
        "service-sctp6",
        "-A --sctp-service [2001:db8::1]:3868 -s sed",
    ),
    (
        "service-udp6-persistent",
        "-A -u [2001:db8::1]:53 -s sh -p 600 -M 64",
    ),
    ("service-fwmark4", "-A -f 5 -s wrr"),
    ("service-fwmark6", "-A -f 5 -6 -s wrr"),
    ("service-fwmark-high", "-A -f 4294967295 -s nq"),
    (
        "service-all-ports-mask",
        "-A -t 192.0.2.2:0 -s wlc -p 360 -M 255.255.255.0",
    ),
    ("service-one-packet", "-A -u 192.0.2.2:53 -s rr -o"),
    ("service-sh-port", "-A -t 192.0.2.3:80 -s sh -b sh-port"),
    (
        "service-sh-both",
        "-A -t 192.0.2.3:81 -s sh -b sh-fallback,sh-port",
    ),
    ("service-mh-port", "-A -t 192.0.2.3:82 -s mh -b mh-port"),
    ("service-third-flag", "-A -t 192.0.2.3:83 -s rr -b flag-3"),
    (
        "service-pe-sip",
        "-A -u 192.0.2.4:5060 -s rr -p 60 --pe sip",
    ),
    (
        "destination-masq",
        "-a -t 192.0.2.1:80 -r 198.51.100.1:8080 -m -w 3",
    ),
    (
        "destination-route",
        "-a -u 192.0.2.1:53 -r 198.51.100.1:53 -g",
    ),
    (
        "destination-ipip",
        "-a -t 192.0.2.1:80 -r 198.51.100.2:80 -i",
    ),
    (
        "destination-gue",
        "-a -t 192.0.2.1:80 -r 198.51.100.3:80 -i --tun-type gue --tun-port 6080 --tun-nocsum",
    ),
    (
        "destination-gue-csum",
        "-a -t 192.0.2.1:80 -r 198.51.100.4:80 -i --tun-type gue --tun-port 6081 --tun-csum",
    ),
    (
        "destination-gue-remcsum",
        "-a -t 192.0.2.1:80 -r 198.51.100.5:80 -i --tun-type gue --tun-port 6082 --tun-remcsum",
    ),
    (
        "destination-gre",
        "-a -t 192.0.2.1:80 -r 198.51.100.6:80 -i --tun-type gre --tun-nocsum",
    ),
    (
        "destination-gre-csum",
        "-a -t 192.0.2.1:80 -r 198.51.100.7:80 -i --tun-type gre --tun-csum",
    ),
    (
        "destination-thresholds",
        "-a -t 192.0.2.1:80 -r 198.51.100.8:80 -g -x 2000 -y 1500",
    ),
    (
        "destination-heavy",
        "-a -t 192.0.2.1:80 -r 198.51.100.9:80 -g -w 70000",
    ),
    (
        "destination-drained",
        "-a -t 192.0.2.1:80 -r 198.51.100.10:80 -g -w 0",
    ),
    (
        "destination-mixed",
        "-a -t 192.0.2.1:80 -r [2001:db8::7]:80 -i",
    ),
    (
        "destination-masq6",
        "-a -t [2001:db8::1]:80 -r [2001:db8::8]:8080 -m",
    ),
    (
        "destination-route6",
        "-a -u [2001:db8::1]:53 -r [2001:db8::9]:53 -g",
    ),
    (
        "destination-mixed4",
        "-a -t [2001:db8::1]:80 -r 198.51.100.1:80 -i",
    ),
    ("destination-fwmark4", "-a -f 5 -r 198.51.100.1:0 -g"),
    (
        "destination-fwmark6",
        "-a -f 5 -6 -r [2001:db8::9]:0 -g -w 2",
    ),
    (
        "destination-sctp",
        "-a --sctp-service 192.0.2.1:3868 -r 198.51.100.1:3868 -m",
    ),
    ("edit-service", "-E -t 192.0.2.3:83 -s wlc -p 90"),
    ("edit-service-fwmark6", "-E -f 5 -6 -s lc"),
    (
        "edit-destination",
        "-e -t 192.0.2.1:80 -r 198.51.100.1:8080 -m -w 0",
    ),
    (
        "edit-destination-tunnel",
        "-e -t 192.0.2.1:80 -r 198.51.100.2:80 -i --tun-type gue --tun-port 7000 --tun-nocsum",
    ),
    (
        "delete-destination",
        "-d -t 192.0.2.1:80 -r 198.51.100.10:80",
    ),
    (
        "delete-destination6",
        "-d -t [2001:db8::1]:80 -r [2001:db8::8]:8080",
    ),
    (
        "delete-destination-mixed",
        "-d -t [2001:db8::1]:80 -r 198.51.100.1:80",
    ),
    (
        "delete-destination-fwmark6",
        "-d -f 5 -6 -r [2001:db8::9]:0",
    ),
    ("delete-service", "-D -t 192.0.2.3:82"),
    ("delete-service6", "-D --sctp-service [2001:db8::1]:3868"),
    ("delete-service-fwmark", "-D -f 4294967295"),
    ("zero-service", "-Z -t 192.0.2.3:80"),
    ("zero-all", "-Z"),
    ("timeouts", "--set 800 100 250"),
];

/// What makes the dumped table more than the requests above can: an IPv4 mask
/// that is no prefix, and a service with traffic on it. The kernel sums its
/// counters up every two seconds.
const MORE: &str = "\
ipvsadm -A -t 192.0.2.4:80 -s rr -p 60 -M 255.0.255.0
ip address add 192.0.2.5/32 dev lo
ipvsadm -A -u 192.0.2.5:9 -s rr
ipvsadm -a -u 192.0.2.5:9 -r 127.0.0.1:9 -m -w 1
for i in 1 2 3; do bash -c 'echo \"counted $0\" > /dev/udp/192.0.2.5/9' $i; done
sleep 5
";

/// `cargo xtask capture`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    if let Some(arg) = parser.next()? {
        return Err(arg.unexpected().into());
    }
    if process::which("tcpdump").is_none() {
        return Err(Failure::new(
            "capture: no tcpdump; install it with `apt-get install tcpdump`",
        ));
    }
    let scratch = process::target_dir().join("capture");
    fs::create_dir_all(&scratch).map_err(Failure::io("create", &scratch))?;
    let script = script(&scratch);
    let status = vm::run(&Vm::default(), &["sh", "-ec", &script])?;
    if !status.success() {
        return Err(Failure::new(format!("capture: the VM's script: {status}")));
    }
    let recorded = pcap::read(&scratch.join("netlink.pcap"))?;
    let daemons = DAEMONS.iter().flatten();
    let named: Vec<_> = daemons.chain(REQUESTS).copied().collect();
    let golden = process::root().join("tests/golden/ipvs");
    let count = files::write(&golden, &scratch, &named, &recorded)?;
    println!("{count} files in {}", golden.display());
    Ok(ExitCode::SUCCESS)
}

/// What runs in the VM.
fn script(scratch: &Path) -> String {
    let scratch = scratch.display();
    let mut text = format!(
        "\
cd '{scratch}'
modprobe ip_vs
modprobe nlmon
ip link set lo up
ip link add sync0 type veth peer name sync1
ip link set sync1 up
ip link set sync0 up
ip address add 203.0.113.1/24 dev sync0
ip link add nlmon0 type nlmon
ip link set nlmon0 up
tcpdump -i nlmon0 -s 0 -U -w netlink.pcap 2>tcpdump.err &
tcpdump=$!
until grep -q listening tcpdump.err; do sleep 0.1; done
"
    );
    for run in DAEMONS {
        let line = match run {
            // A daemon that is stopped before its thread ran is stopped without
            // an answer, for which ipvsadm would wait.
            Some((_, arguments)) => format!("ipvsadm {arguments}; sleep 0.3"),
            None => "ipvsadm -L --daemon > table.daemons".to_owned(),
        };
        writeln!(text, "{line}").expect("a String takes what it is given");
    }

    for (_, arguments) in REQUESTS {
        writeln!(text, "ipvsadm {arguments}").expect("a String takes what it is given");
    }
    text.push_str(MORE);
    text.push_str(
        "\
ipvsadm -Sn > table.save
ipvsadm -Ln --stats --exact > table.stats
ipvsadm -C
sleep 1
kill $tcpdump
wait $tcpdump || true
uname -r > kernel
ipvsadm --version > ipvsadm
",
    );
    text
}
