//! What the config sets in the kernel's IPVS beside the table: timeouts of
//! connections, and parameters of net.ipv4.vs. The control thread's work: it
//! may wait, and neither loop needs it. Not the values' meaning: that is
//! `config::sysctl`.

use super::records::{
    OwnLog, SettingMade, SettingMissing, SettingNotKept, SettingRefused, SettingsFailed, text,
};
use crate::config::{Ipvs as Declared, Sysctl, Timeouts};
use crate::control::state::SettingState;
use std::io;
use std::time::Duration;
use trunnion_core::ipvs::Timeouts as KernelTimeouts;
use trunnion_core::netlink::genl::FamilyId;
use trunnion_sys::ipvs::Ipvs;
use trunnion_sys::sysctl::Tree;

/// How long the kernel may take to answer, which it does inside sendmsg(2).
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module's words.
#[derive(Debug, Default)]
pub(super) struct Settings {
    tree: Tree,
    timeouts: Timeouts,
    /// Why the kernel has not got the timeouts; empty where it has.
    trouble: String,
    /// Looks until IPVS is asked again: for the timeouts it did not take, or
    /// whether it was loaded anew, with none of this.
    patience: u32,
    /// Its family when it was asked last.
    family: Option<FamilyId>,
    /// Whether it took the timeouts then.
    held: bool,
    rows: Vec<Row>,
}

/// What is said of a value that was right once.
const CHANGED: &str = "someone changed it since";

/// Looks between attempts to reach IPVS: each makes the kernel try to load it.
const LOOKS_BETWEEN: u32 = 30;

#[derive(Debug)]
struct Row {
    sysctl: Sysctl,
    state: Kept,
}

/// What became of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    /// The kernel has not got it, or not yet: a module may bring it. Said so
    /// many times.
    Missing { looks: u32 },
    /// It reads back as declared.
    Held,
    /// It does not, for this reason.
    Not(String),
}

impl Settings {
    /// Takes what a config declares and sets what differs.
    pub(super) fn take(&mut self, declared: &Declared, log: &OwnLog) {
        self.timeouts = declared.timeouts;
        let row = |sysctl: &Sysctl| Row {
            sysctl: sysctl.clone(),
            state: Kept::Missing { looks: 0 },
        };
        self.rows = declared.sysctls.iter().map(row).collect();
        self.trouble.clear();
        self.held = false;
        if !self.declares_nothing() {
            self.reach(log);
            self.look_again(log);
        }
    }

    /// Sets what was not there when it was looked for last. To be called every
    /// second or so.
    pub(super) fn look_again(&mut self, log: &OwnLog) {
        if self.declares_nothing() {
            return;
        }
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 {
            self.reach(log);
        }
        for row in &mut self.rows {
            if let Kept::Missing { looks } = row.state {
                row.state = apply(&self.tree, &row.sysctl, looks, log);
            }
        }
    }

    /// Finds the family, which loads the module, without which there is nothing
    /// to set; and sets the timeouts.
    fn reach(&mut self, log: &OwnLog) {
        let before = std::mem::take(&mut self.trouble);
        self.patience = LOOKS_BETWEEN;
        let set = connect().and_then(|ipvs| self.set_again(ipvs, log));
        if let Err(why) = set {
            if why != before {
                let again_s = LOOKS_BETWEEN;
                log.log(&SettingsFailed {
                    why: text(&why),
                    again_s,
                });
            }
            self.trouble = why;
        }
    }

    fn declares_nothing(&self) -> bool {
        self.rows.is_empty() && self.timeouts == Timeouts::default()
    }

    /// Sets what IPVS lost when it was loaded anew, or did not take before.
    fn set_again(&mut self, mut ipvs: Ipvs, log: &OwnLog) -> Result<(), String> {
        self.note_family(ipvs.family());
        if !self.held {
            self.set_timeouts(&mut ipvs, log)?;
            self.held = true;
        }
        Ok(())
    }

    /// Another family than before is another `ip_vs`, with defaults.
    fn note_family(&mut self, family: FamilyId) {
        if self.family.replace(family).is_some_and(|it| it != family) {
            self.held = false;
            for row in &mut self.rows {
                row.state = Kept::Missing { looks: 0 };
            }
        }
    }

    fn set_timeouts(&self, ipvs: &mut Ipvs, log: &OwnLog) -> Result<(), String> {
        if self.timeouts == Timeouts::default() {
            return Ok(());
        }
        let before = ipvs.timeouts().map_err(|error| error.to_string())?;
        let wanted = KernelTimeouts {
            tcp_s: seconds(self.timeouts.tcp),
            tcp_fin_s: seconds(self.timeouts.tcp_fin),
            udp_s: seconds(self.timeouts.udp),
        };
        ipvs.set_timeouts(&wanted)
            .map_err(|error| error.to_string())?;
        let after = ipvs.timeouts().map_err(|error| error.to_string())?;
        let named = self.timeouts.named().into_iter();
        for (((name, wanted), was), is) in named.zip(each(before)).zip(each(after)) {
            let Some(wanted) = wanted else { continue };
            if u64::from(is) != wanted.as_secs() {
                return Err(format!(
                    "{name} is {is}s after it was set to {}s",
                    wanted.as_secs()
                ));
            }
            if was != is {
                let (was, is) = (text(&format!("{was}s")), text(&format!("{is}s")));
                log.log(&SettingMade { name, was, is });
            }
        }
        Ok(())
    }

    /// What is declared and what the kernel has now.
    pub(super) fn state(&self) -> Vec<SettingState> {
        if self.declares_nothing() {
            return Vec::new();
        }
        let present = connect().and_then(|mut ipvs| ipvs.timeouts().map_err(|e| e.to_string()));
        let present = present.ok().map(each);
        let named = self.timeouts.named().into_iter().enumerate();
        let timeouts = named.filter_map(|(at, (name, wanted))| {
            let declared_s = wanted?.as_secs();
            let present_s = present.map(|present| present[at]);
            let held = present_s.is_none_or(|present| u64::from(present) == declared_s);
            Some(SettingState {
                name: name.to_owned(),
                declared: format!("{declared_s}s"),
                present: present_s.map(|present| format!("{present}s")),
                trouble: match self.trouble.as_str() {
                    "" if !held => CHANGED.to_owned(),
                    trouble => trouble.to_owned(),
                },
            })
        });
        let sysctls = self.rows.iter().map(|row| {
            let present = self.tree.read(&row.sysctl.full_name()).ok();
            let held = present
                .as_ref()
                .is_some_and(|text| row.sysctl.is_held_by(text));
            SettingState {
                name: row.sysctl.full_name(),
                declared: row.sysctl.value().to_owned(),
                trouble: match &row.state {
                    Kept::Missing { .. } => format!("needs {}", row.sysctl.needs()),
                    Kept::Not(why) => why.clone(),
                    Kept::Held if held => String::new(),
                    Kept::Held => CHANGED.to_owned(),
                },
                present,
            }
        });
        timeouts.chain(sysctls).collect()
    }
}

fn connect() -> Result<Ipvs, String> {
    let mut ipvs = Ipvs::open().map_err(|error| error.to_string())?;
    ipvs.set_patience(PATIENCE);
    Ok(ipvs)
}

fn seconds(timeout: Option<Duration>) -> u32 {
    // The config bounds it; 0 leaves it as it is.
    timeout.map_or(0, |timeout| {
        u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX)
    })
}

/// In the order of [`Timeouts::named`].
const fn each(timeouts: KernelTimeouts) -> [u32; 3] {
    [timeouts.tcp_s, timeouts.tcp_fin_s, timeouts.udp_s]
}

/// Sets a parameter if it differs, and reads it back.
fn apply(tree: &Tree, sysctl: &Sysctl, looks: u32, log: &OwnLog) -> Kept {
    let (name, value) = (sysctl.name(), text(sysctl.value()));
    match set(tree, &sysctl.full_name(), sysctl) {
        Ok((was, is)) if sysctl.is_held_by(&is) => {
            if !sysctl.is_held_by(&was) {
                let (was, is) = (text(&was), text(&is));
                log.log(&SettingMade { name, was, is });
            }
            Kept::Held
        }
        Ok((_, is)) => {
            let trouble = format!("the kernel took {} and shows {is}", sysctl.value());
            let is = text(&is);
            log.log(&SettingNotKept { name, value, is });
            Kept::Not(trouble)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The first look may be before the module's work is done.
            if looks == 1 {
                let needs = sysctl.needs();
                log.log(&SettingMissing { name, needs });
            }
            Kept::Missing {
                looks: looks.saturating_add(1),
            }
        }
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(0);
            log.log(&SettingRefused { name, value, errno });
            Kept::Not(format!("the kernel refused it: {error}"))
        }
    }
}

/// What it was and what it is then. One that is right is not written: it may be
/// read-only here.
fn set(tree: &Tree, name: &str, sysctl: &Sysctl) -> io::Result<(String, String)> {
    let was = tree.read(name)?;
    if sysctl.is_held_by(&was) {
        return Ok((was.clone(), was));
    }
    tree.write(name, sysctl.value())?;
    Ok((was, tree.read(name)?))
}

#[cfg(test)]
mod tests {
    use super::super::records::OwnLogEnd;
    use super::*;
    use crate::config::Config;
    use crate::control::Records;
    use std::fs;
    use std::path::PathBuf;

    /// Parameters in a directory of the test's own.
    struct Fake(PathBuf);

    impl Fake {
        fn new(test: &str) -> Self {
            let root = format!("trunnion-settings-{test}-{}", std::process::id());
            let root = std::env::temp_dir().join(root);
            fs::create_dir_all(root.join("net/ipv4/vs")).unwrap();
            Self(root)
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.0.join("net/ipv4/vs").join(name), text).unwrap();
        }

        fn get(&self, name: &str) -> String {
            fs::read_to_string(self.0.join("net/ipv4/vs").join(name)).unwrap()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn rows(text: &str) -> Vec<Row> {
        let service = "[[service]]\naddress = \"192.0.2.1:80\"\nbackends = [\"10.0.0.1\"]\n";
        let config = Config::parse(&format!("{service}[ipvs.sysctl]\n{text}"), "t").unwrap();
        let sysctls = config.ipvs.sysctls.into_iter();
        let missing = Kept::Missing { looks: 0 };
        sysctls
            .map(|sysctl| Row {
                sysctl,
                state: missing.clone(),
            })
            .collect()
    }

    fn ids(end: &mut OwnLogEnd) -> Vec<u16> {
        std::iter::from_fn(|| end.poll_record().map(|frame| frame.id)).collect()
    }

    #[test]
    fn what_differs_is_set_and_what_is_right_is_not_written() {
        let fake = Fake::new("set");
        fake.put("conntrack", "0\n");
        fake.put("sync_threshold", "3\t50\n");
        let mut settings = Settings {
            tree: Tree::at(&fake.0),
            rows: rows("conntrack = true\nsync_threshold = [3, 50]"),
            patience: LOOKS_BETWEEN,
            ..Settings::default()
        };
        let (log, mut end) = OwnLog::new();
        settings.look_again(&log);
        assert_eq!(fake.get("conntrack"), "1\n");
        assert_eq!(fake.get("sync_threshold"), "3\t50\n");
        assert!(settings.rows.iter().all(|row| row.state == Kept::Held));
        assert_eq!(ids(&mut end).len(), 1);
    }

    #[test]
    fn a_module_that_was_loaded_anew_is_given_all_again() {
        let fake = Fake::new("anew");
        fake.put("conntrack", "0\n");
        let mut settings = Settings {
            tree: Tree::at(&fake.0),
            rows: rows("conntrack = true"),
            patience: LOOKS_BETWEEN,
            ..Settings::default()
        };
        let (log, _end) = OwnLog::new();
        // What an operator changes by hand is left to him.
        for (family, left) in [(31, "1\n"), (31, "0\n"), (32, "1\n")] {
            settings.held = true;
            settings.note_family(FamilyId(family));
            assert_eq!(settings.held, family == 31);
            settings.look_again(&log);
            assert_eq!(fake.get("conntrack"), left, "{family}");
            fake.put("conntrack", "0\n");
        }
    }

    #[test]
    fn what_is_missing_is_said_once_and_set_when_it_comes() {
        let fake = Fake::new("missing");
        let mut settings = Settings {
            tree: Tree::at(&fake.0),
            rows: rows("lblc_expiration = 60"),
            patience: LOOKS_BETWEEN,
            ..Settings::default()
        };
        let (log, mut end) = OwnLog::new();
        for _ in 0..5 {
            settings.look_again(&log);
        }
        assert_eq!(ids(&mut end).len(), 1);
        fake.put("lblc_expiration", "86400\n");
        settings.look_again(&log);
        settings.look_again(&log);
        assert_eq!(fake.get("lblc_expiration"), "60\n");
        assert_eq!(ids(&mut end).len(), 1);
    }
}
