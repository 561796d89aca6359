//! The binary as an operator or a script calls it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn trunnion(args: &[&str], input: &str) -> (i32, String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut child = Command::new(env!("CARGO_BIN_EXE_trunnion"))
        .args(args)
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A verb that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_right_file_is_summed_up() {
    let (code, out, err) = trunnion(&["check", "docs/examples/full.toml"], "");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.ends_with("docs/examples/full.toml: right\n"), "{out}");
    assert!(
        out.contains("service edge: tcp 192.0.2.11:443 wlc, 2 backends by tunnel"),
        "{out}"
    );
}

#[test]
fn a_wrong_file_says_all_on_standard_error() {
    let (code, out, err) = trunnion(&["check", "daemon/tests/mistakes/ten.toml"], "");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.starts_with("daemon/tests/mistakes/ten.toml:3:7: error: "),
        "{err}"
    );
    assert!(
        err.ends_with("\ndaemon/tests/mistakes/ten.toml: 10 errors\n"),
        "{err}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, _, err) = trunnion(&["check", "no/such.toml"], "");
    assert_eq!(code, 1);
    assert_eq!(
        err,
        "no/such.toml: cannot be read: No such file or directory (os error 2)\n"
    );
}

#[test]
fn standard_input_is_a_file() {
    let (code, _, err) = trunnion(&["check", "-"], "[node]\nlog = \"x\"\n[[vrrp]]\n");
    assert_eq!(code, 1);
    assert!(err.starts_with("standard input:2:7: error"), "{err}");
    assert!(err.ends_with("standard input: 4 errors\n"), "{err}");
}

#[test]
fn machines_read_json() {
    let (code, out, err) = trunnion(&["check", "--json", "-"], "[node]\nlgo = \"info\"\n");
    assert_eq!((code, err.as_str()), (1, ""));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["valid"], false);
    assert_eq!((&json["errors"], &json["warnings"]), (&1.into(), &1.into()));
    let found = &json["mistakes"][1];
    assert_eq!((&found["line"], &found["column"]), (&2.into(), &1.into()));
    assert_eq!(found["message"], "unknown key `lgo` in [node]");
    assert_eq!(found["help"], "write `log`");

    let (code, out, _) = trunnion(&["check", "--json", "docs/examples/pair.toml"], "");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["valid"]), (0, &true.into()));
}

#[test]
fn what_is_not_understood_is_status_2_with_a_hint() {
    for (args, hint) in [
        (&["chekc", "x"][..], "did you mean `trunnion check`?"),
        (&["dance"], "write one of run, check"),
        (&[], "no verb"),
        (&["check"], "trunnion check FILE"),
        (&["check", "a", "b"], "\"b\""),
        (&["check", "--jsn", "a"], "'--jsn'"),
        (&["--verbose"], "'--verbose'"),
        (&["help", "chek"], "did you mean `trunnion check`?"),
    ] {
        let (code, out, err) = trunnion(args, "");
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(
            err.contains(hint) && err.lines().count() == 1,
            "{args:?}: {err}"
        );
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["help", "check"],
        &["--help", "check"],
    ] {
        let (code, out, err) = trunnion(args, "");
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(
            out.contains("trunnion check [--json] FILE"),
            "{args:?}: {out}"
        );
    }
    let (code, out, _) = trunnion(&["--version"], "");
    assert_eq!(
        (code, out.as_str()),
        (0, concat!("trunnion ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}
