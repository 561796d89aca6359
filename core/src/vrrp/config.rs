//! What an operator says about one virtual router.

use super::{Centis, PRIORITY_OWNER};
use crate::model::Family;
use core::time::Duration;

/// One virtual router of one family. The addresses are the owner's: this
/// machine needs none of them to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// Virtual router identifier, 1 to 255. With the family it names the
    /// router on its link; a router's identity does not change.
    pub vrid: u8,
    /// Family of the adverts and of every address.
    pub family: Family,
    /// 1 to 255; 255 is the address owner's, which never waits. A tracked
    /// script or interface that weighs on it comes as a new config.
    pub priority: u8,
    /// `Advertisement_Interval`: how often we advertise when Active.
    pub interval: Centis,
    /// Whether a living Active of lower priority is taken over from. The owner
    /// (255) preempts whatever this says.
    pub preempt: bool,
    /// How long a living Active of lower priority is left alone, counted from
    /// its first advert. A dead one is replaced at once. Zero for never; the
    /// owner (255) does not wait.
    pub preempt_delay: Duration,
    /// When the addresses are announced to the link.
    pub announce: AnnounceConfig,
    /// Whether priority 255 is the addresses' owner, as the RFC has it. To
    /// `seesaw_ha` it is one among others, which waits and may not preempt.
    pub owner_rules: bool,
}

impl RouterConfig {
    /// Priority 100, one second, preempting at once: the RFC's defaults (6.1).
    #[must_use]
    pub const fn new(vrid: u8, family: Family) -> Self {
        Self {
            vrid,
            family,
            priority: 100,
            interval: Centis::SECOND,
            preempt: true,
            preempt_delay: Duration::ZERO,
            announce: AnnounceConfig::DEFAULT,
            owner_rules: true,
        }
    }

    /// Whether this router owns its addresses (RFC 9568 6.1: priority 255).
    #[must_use]
    pub const fn is_owner(&self) -> bool {
        self.priority == PRIORITY_OWNER && self.owner_rules
    }

    /// Whether a living Active of lower priority is taken over from at all.
    #[must_use]
    pub const fn preempts(&self) -> bool {
        self.preempt || self.is_owner()
    }
}

/// When gratuitous ARP and unsolicited neighbour advertisements go out. The RFC
/// asks for one of each address; one lost frame then leaves a switch sending to
/// the dead, so they are repeated, and repeated again once the link has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceConfig {
    /// How many times all addresses are announced in one burst, at least 1.
    pub repeat: u8,
    /// Time between the announcements of a burst.
    pub interval: Duration,
    /// Time from the transition to the second burst. Zero for none.
    pub again_after: Duration,
    /// Time between single announcements after the bursts, for as long as we
    /// are Active. Zero for none.
    pub refresh: Duration,
}

impl AnnounceConfig {
    /// Five times, 100 ms apart; again after 5 s; then each minute: hosts that
    /// learned an address from a rival which we never heard are told sooner or
    /// later.
    pub const DEFAULT: Self = Self {
        repeat: 5,
        interval: Duration::from_millis(100),
        again_after: Duration::from_secs(5),
        refresh: Duration::from_secs(60),
    };
}

impl Default for AnnounceConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
