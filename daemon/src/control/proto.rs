//! Between [`State`] and the messages of proto/trunnion/v1/node.proto.

mod moves;
mod names;

use super::state::{
    AddressState, BackendState, CertificateState, CheckState, Counter, ServiceState, SettingState,
    State, ThreadState,
};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use trunnion_core::check::Health;
use trunnion_core::model::{DestinationKey, Family, Forward, Protocol, ServiceKey};

/// The generated messages, client and server.
#[allow(
    missing_docs,
    clippy::all,
    clippy::wildcard_enum_match_arm,
    reason = "generated; the proto has the words"
)]
pub mod v1 {
    tonic::include_proto!("trunnion.v1");
}

use v1::{
    Backend, Check, Endpoint, Fwmark, GetStateResponse, Service, Setting, Thread, VirtualAddress,
    check, service,
};

/// A message that is not what the proto promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd(
    /// The field.
    pub &'static str,
);

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the node's answer has an odd `{}`: is it of another version?",
            self.0
        )
    }
}

impl std::error::Error for Odd {}

impl From<State> for GetStateResponse {
    fn from(state: State) -> Self {
        let State {
            name,
            version,
            config,
            uptime,
            routers,
            groups,
            tracks,
            services,
            names,
            strangers,
            settings,
            threads,
            counters,
        } = state;
        Self {
            name,
            version,
            config,
            uptime_ms: ms(uptime),
            routers: all(routers),
            groups: all(groups),
            tracks: all(tracks),
            services: all(services),
            names: all(names),
            strangers,
            settings: all(settings),
            threads: all(threads),
            counters: all(counters),
        }
    }
}

impl TryFrom<GetStateResponse> for State {
    type Error = Odd;

    fn try_from(message: GetStateResponse) -> Result<Self, Odd> {
        let GetStateResponse {
            name,
            version,
            config,
            uptime_ms,
            routers,
            services,
            strangers,
            settings,
            threads,
            counters,
            tracks,
            groups,
            names,
        } = message;
        Ok(Self {
            name,
            version,
            config,
            uptime: Duration::from_millis(uptime_ms),
            routers: try_all(routers)?,
            groups: all(groups),
            tracks: all(tracks),
            services: try_all(services)?,
            names: try_all(names)?,
            strangers,
            settings: all(settings),
            threads: all(threads),
            counters: all(counters),
        })
    }
}

impl From<AddressState> for VirtualAddress {
    fn from(address: AddressState) -> Self {
        Self {
            address: address.address.to_string(),
            prefix: address.prefix.into(),
            present: address.present,
        }
    }
}

impl TryFrom<VirtualAddress> for AddressState {
    type Error = Odd;

    fn try_from(message: VirtualAddress) -> Result<Self, Odd> {
        Ok(Self {
            address: ip(&message.address)?,
            prefix: small(message.prefix, "prefix")?,
            present: message.present,
        })
    }
}

impl From<ServiceState> for Service {
    fn from(service: ServiceState) -> Self {
        let ServiceState {
            name,
            key,
            scheduler,
            in_kernel,
            fail_open,
            min_healthy,
            quorum,
            has_quorum,
            sorry,
            backends,
        } = service;
        let key = match key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => service::Key::Endpoint(Endpoint {
                protocol: protocol.0.into(),
                address: address.to_string(),
                port: port.into(),
            }),
            ServiceKey::Fwmark { mark, family } => service::Key::Fwmark(Fwmark {
                mark,
                family: of_family(family).into(),
            }),
        };
        Self {
            name,
            key: Some(key),
            scheduler,
            in_kernel,
            fail_open,
            min_healthy: min_healthy.into(),
            quorum,
            has_quorum,
            sorry,
            backends: all(backends),
        }
    }
}

impl TryFrom<Service> for ServiceState {
    type Error = Odd;

    fn try_from(message: Service) -> Result<Self, Odd> {
        let key = match message.key.ok_or(Odd("key"))? {
            service::Key::Endpoint(endpoint) => ServiceKey::Address {
                protocol: Protocol(small(endpoint.protocol, "protocol")?),
                address: ip(&endpoint.address)?,
                port: small(endpoint.port, "port")?,
            },
            service::Key::Fwmark(fwmark) => ServiceKey::Fwmark {
                mark: fwmark.mark,
                family: to_family(fwmark.family())?,
            },
        };
        Ok(Self {
            name: message.name,
            key,
            scheduler: message.scheduler,
            in_kernel: message.in_kernel,
            fail_open: message.fail_open,
            min_healthy: small(message.min_healthy, "min_healthy")?,
            quorum: message.quorum,
            has_quorum: message.has_quorum,
            sorry: message.sorry,
            backends: try_all(message.backends)?,
        })
    }
}

impl From<BackendState> for Backend {
    fn from(backend: BackendState) -> Self {
        let BackendState {
            key: DestinationKey { address, port },
            forward,
            weight,
            kernel_weight,
            check,
            operator,
            sorry,
            rising,
        } = backend;
        Self {
            address: address.to_string(),
            port: port.into(),
            forward: forward.0.into(),
            weight,
            kernel_weight,
            check: check.map(Check::from),
            operator: v1::OperatorState::from(operator).into(),
            sorry,
            rising,
        }
    }
}

impl TryFrom<Backend> for BackendState {
    type Error = Odd;

    fn try_from(message: Backend) -> Result<Self, Odd> {
        let operator = message.operator().try_into()?;
        Ok(Self {
            operator,
            sorry: message.sorry,
            rising: message.rising,
            key: DestinationKey {
                address: ip(&message.address)?,
                port: small(message.port, "port")?,
            },
            forward: Forward(small(message.forward, "forward")?),
            weight: message.weight,
            kernel_weight: message.kernel_weight,
            check: message.check.map(CheckState::try_from).transpose()?,
        })
    }
}

impl From<CheckState> for Check {
    fn from(check: CheckState) -> Self {
        let CheckState {
            target,
            health,
            last,
            latency,
            http_status,
            since,
            held,
            advised,
            certificate,
        } = check;
        let (health, streak) = match health {
            Health::Unknown => (check::Health::Unknown, 0),
            Health::Up => (check::Health::Up, 0),
            Health::GoingDown { failures } => (check::Health::GoingDown, failures),
            Health::Down => (check::Health::Down, 0),
            Health::GoingUp { successes } => (check::Health::GoingUp, successes),
        };
        Self {
            target: target.to_string(),
            health: health.into(),
            streak: streak.into(),
            last,
            latency_us: latency
                .map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
            since_ms: since.map(ms),
            http_status: http_status.map(u32::from),
            held,
            advised,
            certificate: certificate.map(|shown| v1::Certificate {
                expires_in_s: shown.left.as_secs(),
                soon: shown.soon,
            }),
        }
    }
}

impl TryFrom<Check> for CheckState {
    type Error = Odd;

    fn try_from(message: Check) -> Result<Self, Odd> {
        let streak = small(message.streak, "streak")?;
        Ok(Self {
            health: match message.health() {
                check::Health::Unknown => Health::Unknown,
                check::Health::Up => Health::Up,
                check::Health::GoingDown => Health::GoingDown { failures: streak },
                check::Health::Down => Health::Down,
                check::Health::GoingUp => Health::GoingUp { successes: streak },
                check::Health::Unspecified => return Err(Odd("health")),
            },
            target: message.target.parse().map_err(|_| Odd("target"))?,
            last: message.last,
            latency: message.latency_us.map(Duration::from_micros),
            http_status: message
                .http_status
                .map(|status| small(status, "http status"))
                .transpose()?,
            since: message.since_ms.map(Duration::from_millis),
            held: message.held,
            advised: message.advised,
            certificate: message.certificate.map(|shown| CertificateState {
                left: Duration::from_secs(shown.expires_in_s),
                soon: shown.soon,
            }),
        })
    }
}

impl From<SettingState> for Setting {
    fn from(setting: SettingState) -> Self {
        let SettingState {
            name,
            declared,
            present,
            trouble,
        } = setting;
        Self {
            name,
            declared,
            present,
            trouble,
        }
    }
}

impl From<Setting> for SettingState {
    fn from(message: Setting) -> Self {
        let Setting {
            name,
            declared,
            present,
            trouble,
        } = message;
        Self {
            name,
            declared,
            present,
            trouble,
        }
    }
}

impl From<ThreadState> for Thread {
    fn from(thread: ThreadState) -> Self {
        let ThreadState {
            name,
            allocations_after_seal,
            records_dropped,
        } = thread;
        Self {
            name,
            allocations_after_seal,
            records_dropped,
        }
    }
}

impl From<Thread> for ThreadState {
    fn from(message: Thread) -> Self {
        let Thread {
            name,
            allocations_after_seal,
            records_dropped,
        } = message;
        Self {
            name,
            allocations_after_seal,
            records_dropped,
        }
    }
}

impl From<Counter> for v1::Counter {
    fn from(counter: Counter) -> Self {
        let Counter { name, of, value } = counter;
        Self { name, of, value }
    }
}

impl From<v1::Counter> for Counter {
    fn from(message: v1::Counter) -> Self {
        let v1::Counter { name, of, value } = message;
        Self { name, of, value }
    }
}

fn all<A, B: From<A>>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(B::from).collect()
}

fn try_all<A, B: TryFrom<A, Error = Odd>>(items: Vec<A>) -> Result<Vec<B>, Odd> {
    items.into_iter().map(B::try_from).collect()
}

fn of_family(family: Family) -> v1::Family {
    match family {
        Family::V4 => v1::Family::Ipv4,
        Family::V6 => v1::Family::Ipv6,
    }
}

fn to_family(family: v1::Family) -> Result<Family, Odd> {
    match family {
        v1::Family::Ipv4 => Ok(Family::V4),
        v1::Family::Ipv6 => Ok(Family::V6),
        v1::Family::Unspecified => Err(Odd("family")),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn small<N: TryFrom<u32>>(number: u32, field: &'static str) -> Result<N, Odd> {
    N::try_from(number).map_err(|_| Odd(field))
}

fn ip(text: &str) -> Result<IpAddr, Odd> {
    text.parse().map_err(|_| Odd("address"))
}
