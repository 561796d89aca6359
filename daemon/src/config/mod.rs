//! The config file: TOML read by hand over a document with spans, so that one
//! reading finds every mistake, each with its place and what to write instead.
//! Not the plan of what to change: that is the director's.
//!
//! The keys are described in docs/config.md; what is legal follows ip_vs.h,
//! ipvsadm(8) and RFC 9568.

mod backend;
mod check;
mod course;
mod forward;
mod group;
mod key;
mod mac;
mod mistake;
mod node;
mod notify;
mod pieces;
mod place;
mod policy;
mod probe;
mod reader;
mod relate;
mod scalar;
mod section;
mod service;
mod suggest;
mod summary;
mod sync;
mod syntax;
mod sysctl;
mod target;
mod track;
mod tracked;
mod value;
mod vrrp;

pub use backend::Backend;
pub use group::Group;
pub(crate) use mistake::plural;
pub use mistake::{Also, Errors, Mistake, Severity};
pub use node::{Ipvs, Limits, Node, OnCrash, OnExit, Own, SOCKET_NAME, Timeouts};
pub use notify::Notify;
pub use probe::{OwnedScript, OwnedTls, echo_identifier};
pub use reader::Reader;
pub(crate) use scalar::duration;
pub use scalar::{Prefixed, Shown};
pub(crate) use section::Notes;
pub use service::ServiceConfig;
pub(crate) use service::{SCHEDULER_FLAGS, SCHEDULERS};
pub use suggest::nearest;
pub use sync::SyncConfig;
pub use sysctl::{GROUP as SYSCTL_GROUP, Sysctl};
pub use target::TargetName;
pub use track::{Script, Track, TrackSource};
pub use tracked::Tracked;
pub use vrrp::Instance;

use mistake::Note;
use node::LimitsRead;
use place::Places;
use section::Section;
use service::ServiceRead;
use std::path::Path;
use std::sync::Arc;
use toml::de::DeTable;
use track::TrackRead;
use vrrp::InstanceRead;

/// A config without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The node itself.
    pub node: Node,
    /// What memory is taken for.
    pub limits: Limits,
    /// How the kernel's table is treated.
    pub ipvs: Ipvs,
    /// Virtual routers, in the order of the file; no two with the same
    /// interface, vrid and family, no address twice.
    pub vrrp: Vec<Instance>,
    /// Groups of them, in the order of the file; an instance is in one at most.
    pub groups: Vec<Group>,
    /// What they track, in the order of the file, no name twice.
    pub tracks: Vec<Track>,
    /// Services sorted by key, none twice.
    pub services: Vec<Arc<ServiceConfig>>,
    /// What someone should look at.
    pub warnings: Vec<Mistake>,
}

const ROOT_KEYS: &[&str] = &[
    "node",
    "limits",
    "ipvs",
    "vrrp",
    "vrrp_group",
    "track",
    "service",
];

/// Every section and its keys, in the order of docs/config.md.
pub const SECTIONS: &[(&str, &[&str])] = &[
    ("the file", ROOT_KEYS),
    ("[node]", node::NODE_KEYS),
    ("[limits]", node::LIMITS_KEYS),
    ("[ipvs]", node::IPVS_KEYS),
    ("[ipvs.sysctl]", sysctl::KEYS),
    ("[ipvs.sync]", sync::KEYS),
    ("[[vrrp]]", vrrp::KEYS),
    ("announce", vrrp::ANNOUNCE_KEYS),
    ("track", tracked::KEYS),
    ("[[vrrp_group]]", group::KEYS),
    ("notify", notify::KEYS),
    ("[[track]]", track::KEYS),
    ("[[service]]", service::KEYS),
    ("persistence", service::PERSISTENCE_KEYS),
    ("[[service.backend]]", backend::KEYS),
    ("tunnel", forward::TUNNEL_KEYS),
    ("check", check::KEYS),
    ("expect", probe::EXPECT_KEYS),
    ("expect_headers", probe::HEADER_KEYS),
    ("damping", course::DAMPING_KEYS),
    ("tls", probe::TLS_KEYS),
];

impl Config {
    /// Whether a check needs a runner.
    #[must_use]
    pub fn has_errands(&self) -> bool {
        let mut scripts = self.services.iter().flat_map(|service| &service.scripts);
        scripts.any(|script| script.is_errand())
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Refused::Unread`] when it cannot be read, [`Refused::Wrong`] with
    /// every mistake in it.
    pub fn load(path: &Path) -> Result<Self, Refused> {
        Reader::default().load(path)
    }

    /// Reads a file's bytes; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake in it, in the order of its lines.
    pub fn parse_bytes(bytes: &[u8], file: &str) -> Result<Self, Errors> {
        match str::from_utf8(bytes) {
            Ok(text) => Self::parse(text, file),
            Err(error) => {
                let at = error.valid_up_to();
                let sound = String::from_utf8_lossy(bytes);
                let mut notes = Notes::default();
                notes.error(
                    &(at..at + 1),
                    format!("byte {:#04x} is not UTF-8", bytes[at]),
                    "save the file as UTF-8",
                );
                Err(errors(&sound, file, notes.list))
            }
        }
    }

    /// Reads a file's text; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake in it, in the order of its lines.
    pub fn parse(text: &str, file: &str) -> Result<Self, Errors> {
        Reader::default().parse(text, file)
    }

    /// Reads a text as one document, whatever is in it.
    fn whole(text: &str, file: &str) -> Result<Self, Errors> {
        let (document, syntax_errors) = DeTable::parse_recoverable(text);
        let mut notes = Notes::default();
        let config = read(document.get_ref(), &mut notes);
        notes
            .list
            .retain(|note| !syntax::spoils(&syntax_errors, &note.span));
        syntax::note(text, document.get_ref(), &syntax_errors, &mut notes);
        let Errors { file, mistakes } = errors(text, file, notes.list);
        if mistakes.iter().any(|m| m.severity == Severity::Error) {
            return Err(Errors { file, mistakes });
        }
        Ok(Self {
            warnings: mistakes,
            ..config
        })
    }
}

/// The whole document, as far as it can be read.
fn read(document: &DeTable<'_>, notes: &mut Notes) -> Config {
    let root = Section::new("the file", document, 0..0, ROOT_KEYS, notes);
    let Beside {
        mut config,
        limits,
        instances,
        tracks,
    } = read_beside_services(&root, notes);
    let mut services: Vec<ServiceRead> = root
        .items("service", "[[service]]", notes)
        .into_iter()
        .filter_map(|raw| ServiceRead::read(raw, notes))
        .collect();
    relate::declares_something(&root, notes);
    relate::services(&services, notes);
    sync::services(&root, &config.ipvs, &services, notes);
    relate::limits(&limits, &instances, &services, notes);
    services.sort_by_key(|read| read.config.service.key);
    let configs: Vec<_> = services.iter().map(|read| &read.config).collect();
    track::services(&tracks, &configs, notes);
    let each = services.into_iter();
    config.services = each.map(|read| Arc::new(read.config)).collect();
    config
}

/// All but the services, and where it stands.
struct Beside {
    config: Config,
    limits: LimitsRead,
    instances: Vec<InstanceRead>,
    tracks: Vec<TrackRead>,
}

/// All but the services.
fn read_beside_services(root: &Section<'_>, notes: &mut Notes) -> Beside {
    let node = Node::read(root, notes);
    let limits = LimitsRead::read(root, notes);
    let ipvs = Ipvs::read(root, notes);
    let tracks = track::read(root, notes);
    let mut instances: Vec<InstanceRead> = root
        .items("vrrp", "[[vrrp]]", notes)
        .into_iter()
        .filter_map(|raw| InstanceRead::read(raw, notes))
        .collect();
    relate::instances(&instances, notes);
    let groups = group::read(root, &tracks, &mut instances, notes);
    relate::tracks(&limits, &tracks, notes);
    sync::followed(root, &ipvs, &instances, notes);
    let config = Config {
        node,
        limits: limits.limits,
        ipvs,
        vrrp: instances.iter().map(|read| read.instance.clone()).collect(),
        groups,
        tracks: tracks.iter().map(|read| read.track.clone()).collect(),
        services: Vec::new(),
        warnings: Vec::new(),
    };
    Beside {
        config,
        limits,
        instances,
        tracks,
    }
}

/// Notes as mistakes, in the order of their places, none twice.
pub(crate) fn errors(text: &str, file: &str, mut notes: Vec<Note>) -> Errors {
    notes.sort_by_key(|note| (note.span.start, note.severity));
    notes.dedup_by(|a, b| a.span == b.span && a.message == b.message);
    let places = Places::new(text);
    let mistakes = notes
        .into_iter()
        .map(|note| Mistake::new(file, &places, note))
        .collect();
    Errors {
        file: file.to_owned(),
        mistakes,
    }
}

/// Why there is no config.
#[derive(Debug)]
pub enum Refused {
    /// The file cannot be read.
    Unread {
        /// Its name.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// The file has mistakes.
    Wrong(Errors),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unread { file, error } => write!(f, "{file}: cannot be read: {error}"),
            Self::Wrong(errors) => errors.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}
