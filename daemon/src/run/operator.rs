//! What operators have said of backends: kept by the control thread, written to
//! the run directory so that a restart knows it, and part of every plan, so that
//! a reload does.

use super::plan::OwnedLbPlan;
use crate::config::{Config, ServiceConfig};
use crate::control::operate::{Changed, Order, Refusal, Speaker};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};
use trunnion_core::director::plan::OperatorState;
use trunnion_core::model::{DestinationKey, ServiceKey};

/// File name in the run directory.
pub const FILE_NAME: &str = "operator.states";

type Key = (ServiceKey, DestinationKey);

/// What was said of one backend, by whom, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub state: OperatorState,
    /// By whom.
    pub by: Speaker,
    /// Seconds since 1970.
    pub at_s: u64,
}

/// All that is not [`OperatorState::Ready`].
#[derive(Debug, Default)]
pub struct Operators {
    path: PathBuf,
    said: BTreeMap<Key, Said>,
}

/// What the LB loop is told, and tells back.
#[derive(Debug, Default)]
pub struct Orders {
    /// Of whom what.
    pub list: Vec<(ServiceKey, DestinationKey, OperatorState)>,
}

impl Operators {
    /// What an earlier run left in `run_dir`, and what is wrong with it: a line
    /// that is not understood is passed over, and gone with the next change.
    #[must_use]
    pub fn load(run_dir: &Path) -> (Self, Vec<String>) {
        let path = run_dir.join(FILE_NAME);
        let mut complaints = Vec::new();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                complaints.push(format!("{}: {error}", path.display()));
                String::new()
            }
        };
        let mut said = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse(line) {
                Some((key, what)) => drop(said.insert(key, what)),
                None => complaints.push(format!(
                    "{}:{number}: not understood, passed over: {line}",
                    path.display()
                )),
            }
        }
        (Self { path, said }, complaints)
    }

    /// How many backends are not ready because someone said so.
    #[must_use]
    pub fn len(&self) -> usize {
        self.said.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// Puts into a plan what was said of its backends.
    pub fn tell(&self, plan: &mut OwnedLbPlan) {
        plan.operate(|service, destination| self.of(service, destination));
    }

    /// Forgets what was said of backends that `config` has not. Whether there
    /// were such.
    pub fn forget_others(&mut self, config: &Config) -> bool {
        let before = self.said.len();
        self.said.retain(|(service, backend), _| {
            let found = config
                .services
                .binary_search_by_key(service, |s| s.service.key);
            found.is_ok_and(|at| {
                let mut all = config.services[at].backends.iter();
                all.any(|b| b.destination.key == *backend)
            })
        });
        before != self.said.len()
    }

    /// Takes an order: what the loop is to be told, and what changed.
    ///
    /// # Errors
    /// [`Refusal`], when there is no such service or backend.
    pub fn take(
        &mut self,
        config: &Config,
        order: &Order,
        by: Speaker,
    ) -> Result<(Orders, Changed), Refusal> {
        let chosen = choose(config, order)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let at_s = since.map_or(0, |since| since.as_secs());
        let (mut orders, mut changed) = (Orders::default(), Changed::default());
        for (service, destination) in chosen {
            let key = (service.service.key, destination);
            let was = self.of(&key.0, &key.1);
            if order.state == OperatorState::Ready {
                self.said.remove(&key);
            } else {
                let state = order.state;
                self.said.insert(key, Said { state, by, at_s });
            }
            orders.list.push((key.0, key.1, order.state));
            changed
                .backends
                .push((service.name.clone(), destination.to_string(), was));
        }
        let served = |service: &ServiceConfig| {
            service.backends.iter().any(|b| {
                let state = self.of(&service.service.key, &b.destination.key);
                let may = matches!(state, OperatorState::Ready | OperatorState::ForcedUp);
                may && b.destination.weight > 0
            })
        };
        for service in &config.services {
            let told = orders
                .list
                .iter()
                .any(|(key, ..)| *key == service.service.key);
            if told && !served(service) {
                changed.warnings.push(format!(
                    "service {}: nobody is left who may get clients",
                    service.name
                ));
            }
        }
        Ok((orders, changed))
    }

    /// Writes all to the run directory, whole or not at all.
    ///
    /// # Errors
    /// Those of open(2), write(2) and rename(2).
    pub fn save(&self) -> io::Result<()> {
        if self.said.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let mut text =
            String::from("# What operators said of backends; trunnion reads it when it starts.\n");
        for ((service, backend), said) in &self.said {
            let Said { state, by, at_s } = said;
            let Speaker { uid, pid } = by;
            let key = ServiceConfig::key_words(service);
            let state = state.words();
            let _ = writeln!(
                text,
                "{state} {key} {backend} uid={uid} pid={pid} at={at_s}"
            );
        }
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.path)
    }

    fn of(&self, service: &ServiceKey, destination: &DestinationKey) -> OperatorState {
        let said = self.said.get(&(*service, *destination));
        said.map_or(OperatorState::Ready, |said| said.state)
    }
}

/// The backends an order is about: at least one.
fn choose<'c>(
    config: &'c Config,
    order: &Order,
) -> Result<Vec<(&'c ServiceConfig, DestinationKey)>, Refusal> {
    let named = |service: &ServiceConfig| {
        order.service.is_empty()
            || service.name == order.service
            || ServiceConfig::key_words(&service.service.key) == order.service
    };
    let services: Vec<&ServiceConfig> = config
        .services
        .iter()
        .map(|service| &**service)
        .filter(|service| named(service))
        .collect();
    if services.is_empty() {
        let names = config.services.iter().map(|s| s.name.as_str());
        let help = match crate::config::nearest(&order.service, names) {
            Some(meant) => format!(": did you mean {meant}?"),
            None => ": `trunnion show` lists them".to_owned(),
        };
        return Err(Refusal(format!("no service {}{help}", order.service)));
    }
    let wanted = match order.backend.as_str() {
        "" => None,
        text => Some(endpoint(text).ok_or_else(|| {
            Refusal(format!(
                "`{text}` is no backend: write its address, with or without the port"
            ))
        })?),
    };
    let meant = |key: &DestinationKey| {
        wanted.is_none_or(|(address, port)| {
            key.address == address && port.is_none_or(|port| key.port == port)
        })
    };
    let mut chosen = Vec::new();
    for service in services {
        let keys = service.backends.iter().map(|b| b.destination.key);
        chosen.extend(keys.filter(meant).map(|key| (service, key)));
    }
    if chosen.is_empty() {
        let whose = match order.service.as_str() {
            "" => "no service has".to_owned(),
            service => format!("service {service} has not"),
        };
        let what = match order.backend.as_str() {
            "" => "any backend".to_owned(),
            backend => format!("the backend {backend}"),
        };
        return Err(Refusal(format!("{whose} {what}")));
    }
    Ok(chosen)
}

/// `10.0.0.1`, `10.0.0.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn endpoint(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, None));
    }
    let socket: SocketAddr = text.parse().ok()?;
    Some((socket.ip(), Some(socket.port())))
}

/// A line of the file.
fn parse(line: &str) -> Option<(Key, Said)> {
    let mut words = line.split(' ');
    let state = words.next()?;
    let state = OperatorState::ALL
        .into_iter()
        .find(|s| s.words() == state)?;
    let service = ServiceConfig::parse_key(words.next()?)?;
    let backend: SocketAddr = words.next()?.parse().ok()?;
    let uid = words.next()?.strip_prefix("uid=")?.parse().ok()?;
    let pid = words.next()?.strip_prefix("pid=")?.parse().ok()?;
    let at_s = words.next()?.strip_prefix("at=")?.parse().ok()?;
    let key = DestinationKey {
        address: backend.ip(),
        port: backend.port(),
    };
    let by = Speaker { uid, pid };
    (words.next().is_none() && state != OperatorState::Ready)
        .then_some(((service, key), Said { state, by, at_s }))
}

#[cfg(test)]
mod tests {
    use super::super::datagrams::HalfOpens;
    use super::*;

    const CONFIG: &str = r#"
[[service]]
name = "web"
address = "192.0.2.10:80"
backends = ["10.0.0.1", "10.0.0.2"]

[[service]]
address = "[2001:db8::10]:443"
backends = ["2001:db8::1", "2001:db8::2"]

[[service]]
fwmark = 7
backends = ["10.0.0.1", { address = "10.0.0.3", weight = 0 }]
"#;

    const BY: Speaker = Speaker { uid: 0, pid: 77 };

    fn config() -> Config {
        Config::parse(CONFIG, "t").unwrap()
    }

    fn order(state: OperatorState, service: &str, backend: &str) -> Order {
        Order {
            state,
            service: service.to_owned(),
            backend: backend.to_owned(),
        }
    }

    fn directory(name: &str) -> PathBuf {
        let name = format!("trunnion-operator-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_was_said_is_there_after_a_restart() {
        let directory = directory("restart");
        let config = config();
        let (mut operators, none) = Operators::load(&directory);
        assert_eq!((operators.len(), none.len()), (0, 0));
        for (state, service, backend) in [
            (OperatorState::Drain, "web", "10.0.0.1"),
            (OperatorState::Maint, "tcp/[2001:db8::10]:443", ""),
            (OperatorState::ForcedUp, "fwmark/7", "10.0.0.3:0"),
            (OperatorState::ForcedDown, "web", "10.0.0.2:80"),
            (OperatorState::Ready, "web", "10.0.0.2:80"),
        ] {
            operators
                .take(&config, &order(state, service, backend), BY)
                .unwrap();
        }
        operators.save().unwrap();
        let (again, complaints) = Operators::load(&directory);
        assert_eq!(complaints, Vec::<String>::new());
        assert_eq!(again.said, operators.said);
        assert_eq!(again.len(), 4);
        // Every service key there is has words that can be read back.
        for service in &config.services {
            let words = ServiceConfig::key_words(&service.service.key);
            assert_eq!(ServiceConfig::parse_key(&words), Some(service.service.key));
        }
        // A damaged line costs itself alone.
        let text = fs::read_to_string(directory.join(FILE_NAME)).unwrap();
        let damaged = text.replacen("maint ", "maintt ", 1);
        fs::write(directory.join(FILE_NAME), damaged).unwrap();
        let (again, complaints) = Operators::load(&directory);
        assert_eq!((again.len(), complaints.len()), (3, 1), "{complaints:?}");
        // Nothing said is no file.
        let all = ["web", "tcp/[2001:db8::10]:443", "fwmark/7"];
        for service in all {
            operators
                .take(&config, &order(OperatorState::Ready, service, ""), BY)
                .unwrap();
        }
        operators.save().unwrap();
        assert!(!directory.join(FILE_NAME).exists());
        operators.save().unwrap();
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_order_is_about_whom_it_names() {
        let config = config();
        let (mut operators, _) = Operators::load(&directory("names"));
        let mut taken = |service: &str, backend: &str| {
            let order = order(OperatorState::Drain, service, backend);
            match operators.take(&config, &order, BY) {
                Ok((orders, changed)) => {
                    assert_eq!(orders.list.len(), changed.backends.len());
                    let each = changed.backends.iter();
                    let each = each.map(|(service, backend, was)| {
                        format!("{service} {backend} {}", was.words())
                    });
                    let warnings = changed.warnings.iter().map(|w| format!("! {w}"));
                    each.chain(warnings).collect::<Vec<_>>().join(", ")
                }
                Err(Refusal(words)) => words,
            }
        };
        assert_eq!(taken("web", "10.0.0.1"), "web 10.0.0.1:80 ready");
        assert_eq!(
            taken("", "10.0.0.1"),
            "web 10.0.0.1:80 drain, fwmark/7 10.0.0.1:0 ready, ! service fwmark/7: nobody is left who may get clients"
        );
        assert_eq!(
            taken("web", ""),
            "web 10.0.0.1:80 drain, web 10.0.0.2:80 ready, ! service web: nobody is left who may get clients"
        );
        assert_eq!(taken("wep", ""), "no service wep: did you mean web?");
        assert_eq!(
            taken("web", "10.0.0.9"),
            "service web has not the backend 10.0.0.9"
        );
        assert_eq!(taken("", "10.0.0.9"), "no service has the backend 10.0.0.9");
        assert_eq!(
            taken("web", "one"),
            "`one` is no backend: write its address, with or without the port"
        );
    }

    #[test]
    fn a_plan_says_what_was_said_and_others_are_forgotten() {
        let config = config();
        let (mut operators, _) = Operators::load(&directory("plan"));
        let drain = order(OperatorState::Drain, "web", "10.0.0.2");
        operators.take(&config, &drain, BY).unwrap();
        let (bell, _) = crate::run::link::Bell::new().unwrap();
        let names = crate::run::names::Names::new(bell);
        let mut plan = OwnedLbPlan::of(&config, &[], &names, HalfOpens::default());
        operators.tell(&mut plan);
        let plan = plan.plan();
        let drained: Vec<_> = (plan.table.destinations.iter().zip(plan.members))
            .filter(|(_, member)| member.operator == OperatorState::Drain)
            .map(|(destination, _)| destination.key.to_string())
            .collect();
        assert_eq!(drained, ["10.0.0.2:80"]);
        assert!(!operators.forget_others(&config));
        let less = CONFIG.replacen(", \"10.0.0.2\"", "", 1);
        assert!(operators.forget_others(&Config::parse(&less, "t").unwrap()));
        assert!(operators.is_empty());
    }
}
