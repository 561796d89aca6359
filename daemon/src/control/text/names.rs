//! Names that checks' targets are, for a terminal.

use super::{age, family};
use crate::control::state::NameState;

/// Its row.
pub(super) fn row(name: &NameState) -> [String; 6] {
    let NameState {
        name,
        family: its_family,
        address,
        others,
        since,
        trouble,
    } = name;
    let none = || "-".to_owned();
    let others: Vec<_> = others.iter().map(ToString::to_string).collect();
    [
        name.clone(),
        family(*its_family).to_owned(),
        address.map_or_else(none, |address| address.to_string()),
        age(*since),
        if others.is_empty() {
            none()
        } else {
            others.join(" ")
        },
        trouble.clone(),
    ]
}
