//! How a virtual router speaks. A part of the [state](super).

use std::time::Duration;

/// How one virtual router speaks, and with which MAC address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voice {
    /// The MAC address of its virtual addresses, where that is the virtual
    /// router's; empty for the interface's own.
    pub virtual_mac: String,
    /// The macvlan that has it and them; empty as above.
    pub macvlan: String,
    /// Whether that is up; `None` where there is none.
    pub macvlan_up: Option<bool>,
    /// What the checksum of its adverts covers: `rfc9568`, `rfc5798`, `seesaw`;
    /// empty over IPv6, where there is one way.
    pub checksum: String,
    /// That was learned from what was heard.
    pub learned: bool,
    /// For how long the kernel has refused its adverts.
    pub refused: Option<Duration>,
}
