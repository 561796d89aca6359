//! What `trunnion show --json` says, as far as the lab asks.

use super::nlmon::{COMMANDS, Requests};
use super::{Context, LabError, Result};
use serde_json::Value;

/// The state of a node, by its own account.
#[derive(Clone, Debug)]
pub struct Shown(Value);

impl Shown {
    /// Reads the text.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn read(text: &str) -> Result<Self> {
        let value = serde_json::from_str(text).context(|| "read what it shows".to_owned())?;
        Ok(Self(value))
    }

    /// What it asked the kernel's IPVS to change since it started, by its own
    /// count.
    ///
    /// # Errors
    /// It does not count one of the six commands that change the table.
    pub fn requests(&self) -> Result<Requests> {
        let mut requests = Requests::default();
        for command in COMMANDS {
            let Some((verb, "service" | "dest")) = command.split_once('_') else {
                continue;
            };
            if verb != "get" {
                requests = requests.with(command, self.counter("ipvs_requests", command)?);
            }
        }
        Ok(requests)
    }

    /// What a thread allocated after its memory was sealed.
    ///
    /// # Errors
    /// It does not say.
    pub fn allocations(&self, thread: &str) -> Result<u64> {
        let threads = self.0["threads"].as_array().into_iter().flatten();
        threads
            .filter(|row| row["name"] == thread)
            .find_map(|row| row["allocations_after_seal"].as_u64())
            .ok_or_else(|| self.lacks(&format!("allocations_after_seal of {thread}")))
    }

    /// `active`, `backup` or `initialize`: the state of a router.
    ///
    /// # Errors
    /// There is no such router.
    pub fn router_state(&self, name: &str) -> Result<String> {
        let routers = self.0["routers"].as_array().into_iter().flatten();
        routers
            .filter(|row| row["name"] == name)
            .find_map(|row| Some(row["state"].as_str()?.to_owned()))
            .ok_or_else(|| self.lacks(&format!("a router {name}")))
    }

    /// A counter that stands for itself.
    ///
    /// # Errors
    /// There is none of the name.
    pub fn count(&self, name: &str) -> Result<u64> {
        self.find(name, "")
            .ok_or_else(|| self.lacks(&format!("a counter {name}")))
    }

    fn counter(&self, name: &str, of: &str) -> Result<u64> {
        self.find(name, of)
            .ok_or_else(|| self.lacks(&format!("a counter {name} of {of}")))
    }

    fn find(&self, name: &str, of: &str) -> Option<u64> {
        let mut counters = self.0["counters"].as_array().into_iter().flatten();
        counters
            .find(|row| row["name"] == name && row["of"] == of)
            .and_then(|row| row["value"].as_u64())
    }

    fn lacks(&self, what: &str) -> LabError {
        // A node of many backends says megabytes.
        let said: String = self.0.to_string().chars().take(2_000).collect();
        LabError::new(format!("`trunnion show` lacks {what}: {said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
        "routers": [{"name": "public", "state": "active"}],
        "threads": [
            {"name": "ha", "allocations_after_seal": 0, "records_dropped": 0},
            {"name": "lb", "allocations_after_seal": 3, "records_dropped": 0},
            {"name": "control", "allocations_after_seal": null}
        ],
        "counters": [
            {"name": "ipvs_requests", "of": "new_service", "value": 2},
            {"name": "ipvs_requests", "of": "set_service", "value": 0},
            {"name": "ipvs_requests", "of": "del_service", "value": 0},
            {"name": "ipvs_requests", "of": "new_dest", "value": 6},
            {"name": "ipvs_requests", "of": "set_dest", "value": 1},
            {"name": "ipvs_requests", "of": "del_dest", "value": 0},
            {"name": "ipvs_dumps", "of": "", "value": 1}
        ]
    }"#;

    #[test]
    fn what_is_there_is_read() {
        let shown = Shown::read(TEXT).expect("JSON");
        let requests = shown.requests().expect("all six");
        assert_eq!(
            requests.to_string(),
            "2 new_service, 6 new_dest, 1 set_dest"
        );
        assert_eq!(shown.allocations("lb").expect("it says"), 3);
        assert_eq!(shown.count("ipvs_dumps").expect("it counts"), 1);
        assert_eq!(shown.router_state("public").expect("it says"), "active");
    }

    #[test]
    fn what_is_missing_is_never_zero() {
        let shown = Shown::read(&TEXT.replace("del_dest", "del_test")).expect("JSON");
        let error = shown.requests().expect_err("a command is not counted");
        assert!(
            error.to_string().contains("ipvs_requests of del_dest"),
            "{error}"
        );
        assert!(shown.allocations("control").is_err());
        assert!(shown.allocations("hb").is_err());
        assert!(shown.count("ipvs_requests").is_err());
        assert!(shown.router_state("public6").is_err());
        assert!(Shown::read("trunnion: no answer").is_err());
    }
}
