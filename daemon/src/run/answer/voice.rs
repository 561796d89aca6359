//! How virtual routers speak, from a snapshot to what is shown.

use crate::control::state::Voice;
use crate::run::snapshot::{HaSnapshot, RouterView};
use trunnion_core::model::Family;
use trunnion_core::vrrp::AdvertForm;

/// How one router speaks.
pub(super) fn of(ha: &HaSnapshot, view: &RouterView) -> Voice {
    let mac = view.virtual_mac;
    let macvlan = view.macvlan.as_ref();
    let checksum = match (view.router.config().family, view.form) {
        (Family::V6, _) => "",
        (Family::V4, AdvertForm::Rfc9568) => "rfc9568",
        (Family::V4, AdvertForm::Rfc5798) => "rfc5798",
        (Family::V4, AdvertForm::Seesaw) => "seesaw",
    };
    Voice {
        virtual_mac: mac.map_or_else(String::new, |mac| mac.to_string()),
        macvlan: macvlan.map_or_else(String::new, |(name, _)| name.to_string()),
        macvlan_up: macvlan.and_then(|(_, up)| *up),
        checksum: checksum.to_owned(),
        learned: view.learned && !checksum.is_empty(),
        refused: view.silent_since.map(|since| ha.at.since(since)),
    }
}
