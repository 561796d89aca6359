//! The verbs of `trunnion ipvs` that change something: what the kernel is asked
//! for, what is refused, and that nothing breaks then.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Service, ServiceFlags, ServiceKey, SyncState,
    Tunnel, TunnelFlags, TunnelType,
};
use trunnion_sys::ipvs::Ipvs;
use trunnion_tests::cli::{Ran, binary, ipvsadm, network, our, ours, run};
use trunnion_tests::drawn::{Drawn, Limits, SERVED};
use trunnion_tests::lab::netns::Netns;
use trunnion_tests::lab::nlmon::Capture;

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_restore_asks_the_kernel_for_what_differs_and_nothing_else() {
    network();
    let name = format!("trunnion-cli-{}", std::process::id());
    run(&["ip", "netns", "add", &name], "");
    let netns = Netns::new(&name, "restore");
    netns.enter().unwrap();
    run(&["ip", "link", "set", "lo", "up"], "");
    let log = std::env::temp_dir().join(format!("{name}.log"));
    let mut capture = Capture::start(&netns, &log).unwrap();
    let mut asked = |work: &dyn Fn()| {
        let before = capture.counted().unwrap();
        work();
        (capture.counted().unwrap() - before).writes().to_string()
    };
    let limits = Limits {
        services: 6,
        destinations: 5,
        odd_masks: true,
    };
    // ipvsadm's own tables, restored from what we saved of them.
    for seed in 1000..1010 {
        ipvsadm("-C", "");
        ipvsadm("-R", &Drawn::of(seed, limits).script());
        let saved = our("save", "");
        let again = asked(&|| drop(our("restore", &saved)));
        assert_eq!(again, "none", "seed {seed}:\n{saved}");
    }

    our("restore", &format!("-C\n{SERVED}"));
    let declared = "-A -u 192.0.2.1:53 -s rr
        -a -u 192.0.2.1:53 -r 127.0.0.1:5302 -m -w 9
        -a -u 192.0.2.1:53 -r 127.0.0.1:5303 -m -w 1";
    let planned = "-a -u 192.0.2.1:53 -r 127.0.0.1:5303 -m -w 1\n\
                   -e -u 192.0.2.1:53 -r 127.0.0.1:5302 -m -w 9\n\
                   -d -u 192.0.2.1:53 -r 127.0.0.1:5301\n";
    let dry = asked(&|| assert_eq!(our("restore --keep --dry-run", declared), planned));
    assert_eq!(dry, "none");
    let kept = asked(&|| {
        assert_eq!(
            our("restore --keep", declared),
            "standard input: 3 changes\n"
        );
    });
    assert_eq!(kept, "1 new_dest, 1 set_dest, 1 del_dest");
    let whole = asked(&|| drop(our("restore", declared)));
    assert_eq!(whole, "3 del_service");
    let listed = ipvsadm("-S -n", "");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    // The dry run's own words do the same by ipvsadm.
    ipvsadm("-C", "");
    ipvsadm("-R", SERVED);
    ipvsadm("-R", planned);
    assert_eq!(asked(&|| drop(our("restore --keep", declared))), "none");
    drop(capture);
    std::fs::remove_file(log).unwrap();
    run(&["ip", "netns", "del", &name], "");
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_restore_that_cannot_be_breaks_nothing() {
    network();
    our("restore", SERVED);
    let before = ipvsadm("-S -n", "");
    // Each with what it is told for.
    for (words, text, reason) in [
        ("restore", "", "declares no service"),
        (
            "restore",
            "-A -t 192.0.2.1:80\n-B\n",
            "2:2: error: unknown option `-B`",
        ),
        (
            "restore",
            "-A -f 9 -s nosuch",
            "1: error: the kernel has no such scheduler",
        ),
        ("restore", "-A -f 9 -s nosuch", "4 deletes held back"),
        ("restore /nonexistent", "", "/nonexistent: cannot be read"),
        (
            "list -t 192.0.2.77:80",
            "",
            "no such service: -t 192.0.2.77:80",
        ),
        ("zero -f 77", "", "no such service: -f 77"),
    ] {
        let Ran { code, stderr, .. } = ours(words, text);
        assert_eq!(code, Some(1), "{words} {text}: {stderr}");
        assert!(stderr.contains(reason), "{words} {text}: {stderr}");
        assert_eq!(ipvsadm("-S -n", ""), before);
    }
    for words in [
        "",
        "lst",
        "list --stats --rate",
        "list -6",
        "timeout --set 1 2",
        "zero all",
    ] {
        let Ran { code, stderr, .. } = ours(words, "");
        assert_eq!(code, Some(2), "{words}: {stderr}");
    }
    // Without the right, every verb says which one.
    let mut nobody = Command::new(binary());
    let output = nobody.args(["ipvs", "list"]).uid(65534).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("CAP_NET_ADMIN"), "{stderr}");
    let text = ours("restore --json", "-A -t www:80").stdout;
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&value["valid"], &value["mistakes"][0]["column"]),
        (&false.into(), &7.into())
    );
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn what_ipvsadm_loses_we_keep() {
    network();
    let mut ipvs = Ipvs::open().unwrap();
    let mark = ServiceKey::Fwmark {
        mark: 3_000_000_000,
        family: Family::V4,
    };
    let mut service = Service::new(mark, "sh".parse().unwrap());
    service.flags = ServiceFlags::SCHED3 | ServiceFlags::PERSISTENT;
    service.timeout_s = 4_000_000;
    ipvs.add_service(&service).unwrap();
    let at = |last| DestinationKey {
        address: [10, 0, 0, last].into(),
        port: 80,
    };
    let mut gue = Destination::new(at(1), Forward::TUNNEL, 1);
    gue.tunnel = Tunnel {
        kind: TunnelType::GUE,
        port: 6080,
        flags: TunnelFlags::CSUM | TunnelFlags::REMCSUM,
    };
    ipvs.add_destination(&mark, &gue).unwrap();
    // What means nothing for its method makes no difference.
    let mut masq = gue;
    masq.key = at(2);
    masq.forward = Forward::MASQ;
    ipvs.add_destination(&mark, &masq).unwrap();
    let saved = our("save", "");
    assert_eq!(
        saved,
        "-A -f 3000000000 -s sh -p 4000000 -b flag-3\n\
         -a -f 3000000000 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum \
         --tun-remcsum\n\
         -a -f 3000000000 -r 10.0.0.2:80 -m -w 1\n"
    );
    assert_eq!(
        our("restore", &saved),
        "standard input: the table is so already\n"
    );
    let listed = our("list --tun-info", "");
    assert!(
        listed.contains("FWM  3000000000 sh (flag-3) persistent 4000000\n"),
        "{listed}"
    );

    // And what no line can say is told.
    let bypass = Destination::new(at(3), Forward::BYPASS, 1);
    ipvs.add_destination(&mark, &bypass).unwrap();
    let Ran { code, stderr, .. } = ours("save", "");
    assert_eq!(code, Some(0));
    assert!(
        stderr.contains("no words for its forwarding method"),
        "{stderr}"
    );
    assert!(our("list", "").contains("10.0.0.3:80                  Bypass  1 "));
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn timeouts_and_daemons_are_set_and_told() {
    network();
    for words in [
        "ip link add sync0 type veth peer name sync1",
        "ip link set sync1 up",
        "ip link set sync0 up",
        "ip address add 203.0.113.1/24 dev sync0",
    ] {
        run(&words.split(' ').collect::<Vec<_>>(), "");
    }
    our("timeout --set 800 0 250", "");
    let timeouts = "Timeout (tcp tcpfin udp): 800 120 250\n";
    assert_eq!(ipvsadm("-L --timeout", ""), timeouts);
    assert_eq!(our("timeout", ""), timeouts);
    assert_eq!(our("list --timeout", ""), timeouts);

    let listed = || {
        let lines = our("daemon", "");
        assert_eq!(lines, ipvsadm("-L --daemon", ""));
        assert_eq!(lines, our("list --daemon", ""));
        lines
    };
    assert_eq!(listed(), "");
    let sender = SyncState::MASTER.to_string();
    our(
        &format!(
            "daemon start {sender} --mcast-interface sync0 --syncid 7 --sync-maxlen 1400 \
             --mcast-group 239.1.2.3 --mcast-port 8849 --mcast-ttl 3"
        ),
        "",
    );
    our("daemon start backup --mcast-interface sync0", "");
    assert_eq!(
        listed(),
        format!(
            "{sender} sync daemon (mcast=sync0, syncid=7, maxlen=1400, group=239.1.2.3, \
             port=8849, ttl=3)\n\
             backup sync daemon (mcast=sync0, syncid=0, maxlen=1472, group=224.0.0.81, \
             port=8848, ttl=1)\n"
        )
    );
    let Ran { code, stderr, .. } = ours("daemon start backup --mcast-interface sync0", "");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("runs already"), "{stderr}");
    our(&format!("daemon stop {sender}"), "");
    our("daemon stop backup", "");
    assert_eq!(listed(), "");
    let Ran { code, stderr, .. } = ours("daemon stop backup", "");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no backup sync daemon runs"), "{stderr}");
}
