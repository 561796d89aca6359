//! An order of an operator's about backends, on its way from the command line
//! to who takes it. Not what it leads to: that is the director's.

use super::client::{Silence, call};
use super::proto::{Odd, v1};
use std::path::Path;
use trunnion_core::director::plan::OperatorState;

/// What is to become of which backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub state: OperatorState,
    /// Name or key of a service; empty for all that have such a backend.
    pub service: String,
    /// Address, or address and port; empty for all backends of the service.
    pub backend: String,
}

/// Who gives an order, as the kernel says (unix(7), `SO_PEERCRED`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    /// User.
    pub uid: u32,
    /// Process; 0 where it is not known.
    pub pid: u32,
}

/// What an order changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Service, backend, and what was said of it before.
    pub backends: Vec<(String, String, OperatorState)>,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

/// Why an order was not taken, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(
    /// The words.
    pub String,
);

/// Gives an order to the node on the control socket at `path`; blocks for at
/// most 5 s.
///
/// # Errors
/// [`Silence`] says what to do.
pub fn order(path: &Path, order: &Order) -> Result<Changed, Silence> {
    let request = v1::SetBackendsRequest {
        state: v1::OperatorState::from(order.state).into(),
        service: order.service.clone(),
        backend: order.backend.clone(),
    };
    let answer = call(path, async |mut client| client.set_backends(request).await)?;
    let mut changed = Changed {
        backends: Vec::with_capacity(answer.backends.len()),
        warnings: answer.warnings,
    };
    for message in answer.backends {
        let was = message.was().try_into().map_err(Silence::Odd)?;
        changed
            .backends
            .push((message.service, message.backend, was));
    }
    Ok(changed)
}

impl From<Changed> for v1::SetBackendsResponse {
    fn from(changed: Changed) -> Self {
        let Changed { backends, warnings } = changed;
        let each = backends.into_iter();
        let backends = each.map(|(service, backend, was)| v1::BackendChange {
            service,
            backend,
            was: v1::OperatorState::from(was).into(),
        });
        Self {
            backends: backends.collect(),
            warnings,
        }
    }
}

impl From<OperatorState> for v1::OperatorState {
    fn from(state: OperatorState) -> Self {
        match state {
            OperatorState::Ready => Self::Ready,
            OperatorState::Drain => Self::Drain,
            OperatorState::Maint => Self::Maint,
            OperatorState::ForcedUp => Self::ForcedUp,
            OperatorState::ForcedDown => Self::ForcedDown,
        }
    }
}

impl TryFrom<v1::OperatorState> for OperatorState {
    type Error = Odd;

    fn try_from(message: v1::OperatorState) -> Result<Self, Odd> {
        match message {
            v1::OperatorState::Unspecified => Err(Odd("operator")),
            v1::OperatorState::Ready => Ok(Self::Ready),
            v1::OperatorState::Drain => Ok(Self::Drain),
            v1::OperatorState::Maint => Ok(Self::Maint),
            v1::OperatorState::ForcedUp => Ok(Self::ForcedUp),
            v1::OperatorState::ForcedDown => Ok(Self::ForcedDown),
        }
    }
}
