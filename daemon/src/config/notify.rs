//! `notify`: programs that are run when a virtual router or a group moves.

use super::section::{Notes, Section};
use super::track::command;
use std::time::Duration;
use trunnion_core::director::ha::Standing;

/// Programs and their arguments, by what they are run for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// When it became Active.
    pub active: Option<Vec<String>>,
    /// When it became Backup.
    pub backup: Option<Vec<String>>,
    /// When it cannot take part.
    pub fault: Option<Vec<String>>,
    /// When it says goodbye: at the end of the daemon, or by a reload.
    pub stop: Option<Vec<String>>,
    /// Each time, after the one above, with keepalived's four arguments after
    /// its own.
    pub any: Option<Vec<String>>,
    /// How long each may take. Default 30 s.
    pub timeout: Duration,
}

impl Notify {
    /// The program for a standing.
    #[must_use]
    pub const fn of(&self, standing: Standing) -> Option<&Vec<String>> {
        match standing {
            Standing::Active => self.active.as_ref(),
            Standing::Backup => self.backup.as_ref(),
            Standing::Fault => self.fault.as_ref(),
            Standing::Stop => self.stop.as_ref(),
        }
    }
}

pub(super) const KEYS: &[&str] = &["active", "backup", "fault", "stop", "any", "timeout"];

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn read(section: &Section<'_>, notes: &mut Notes) -> Option<Notify> {
    let section = Section::of("notify", section.raw("notify")?, KEYS, notes)?;
    let range = Duration::from_millis(100)..=Duration::from_secs(600);
    let timeout = section.duration("timeout", range, notes);
    let mut program = |key| command(&section, key, notes);
    let notify = Notify {
        active: program("active"),
        backup: program("backup"),
        fault: program("fault"),
        stop: program("stop"),
        any: program("any"),
        timeout: timeout.map_or(TIMEOUT, |at| at.value),
    };
    if KEYS
        .iter()
        .all(|key| *key == "timeout" || !section.has(key))
    {
        let help = "add any = \"/usr/local/bin/moved\"";
        notes.error(&section.span, "`notify` names no program", help);
    }
    Some(notify)
}
