//! Names that checks' targets are, between their state and their message.

use super::v1::Name;
use super::{Odd, ip, ms, of_family, to_family};
use crate::control::state::NameState;
use std::time::Duration;

impl From<NameState> for Name {
    fn from(name: NameState) -> Self {
        let NameState {
            name,
            family,
            address,
            others,
            since,
            trouble,
        } = name;
        Self {
            name,
            family: of_family(family).into(),
            address: address.map_or_else(String::new, |address| address.to_string()),
            others: others.iter().map(ToString::to_string).collect(),
            since_ms: since.map(ms),
            trouble,
        }
    }
}

impl TryFrom<Name> for NameState {
    type Error = Odd;

    fn try_from(message: Name) -> Result<Self, Odd> {
        let family = to_family(message.family())?;
        let address = Some(message.address).filter(|address| !address.is_empty());
        Ok(Self {
            name: message.name,
            family,
            address: address.map(|address| ip(&address)).transpose()?,
            others: message
                .others
                .iter()
                .map(|other| ip(other))
                .collect::<Result<_, _>>()?,
            since: message.since_ms.map(Duration::from_millis),
            trouble: message.trouble,
        })
    }
}
