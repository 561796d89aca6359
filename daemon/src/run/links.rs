//! The `links` thread: does to macvlans what would keep the `ha` loop waiting for
//! the kernel. It decides nothing and answers nothing: what comes of it the
//! kernel's events tell.

use super::link::ChoresOut;
use super::records::{MacvlanTrouble, OwnLog, text};
use std::collections::BTreeMap;
use std::io;
use trunnion_core::director::ha::{Chore, WantedMacvlan};
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;
use trunnion_core::route::link::{self, Ipv4Parameter};
use trunnion_core::route::{Command, InterfaceIndex, LinkGroup, LinkName};
use trunnion_sys::route::{Error, Route};
use trunnion_sys::sysctl::Tree;

/// What the kernel is to do with IPv4 on a macvlan, of either family: it carries
/// virtual addresses and nothing else.
const ABOVE: [(Ipv4Parameter, u32); 4] = [
    // Who asks for an address of the interface beneath is answered by that.
    (Ipv4Parameter::ARP_IGNORE, 1),
    // Nobody is asked in the name of an address that is not on it.
    (Ipv4Parameter::ARP_ANNOUNCE, 2),
    // Answers go by the interface beneath, and so does nothing come in "by the
    // way that answers go". 0 would leave it to `conf.all`, which may be strict.
    (Ipv4Parameter::RP_FILTER, 2),
    // Who takes the first address off means that one.
    (Ipv4Parameter::PROMOTE_SECONDARIES, 1),
];

/// And on the interface beneath, at least.
const BENEATH: [(Ipv4Parameter, &str, u32); 2] = [
    // It would answer for the virtual addresses with its own MAC address.
    (Ipv4Parameter::ARP_IGNORE, "arp_ignore", 1),
    // Or ask in their name, and whoever is asked would learn that address.
    (Ipv4Parameter::ARP_ANNOUNCE, "arp_announce", 2),
];

/// Starts the thread, unless that was done.
///
/// # Errors
/// Those of pthread_create(3).
pub(super) fn start(chores: Option<ChoresOut>, log: OwnLog) -> io::Result<()> {
    let Some(chores) = chores else { return Ok(()) };
    let thread = std::thread::Builder::new().name("links".to_owned());
    thread.spawn(move || {
        let mut hand = Hand {
            route: None,
            tree: Tree::default(),
            log,
            said: BTreeMap::new(),
        };
        hand.work(chores);
    })?;
    Ok(())
}

struct Hand {
    route: Option<Route>,
    tree: Tree,
    log: OwnLog,
    /// What was said last of each macvlan: a chore that fails is given again.
    said: BTreeMap<LinkName, String>,
}

impl Hand {
    fn work(&mut self, mut chores: ChoresOut) {
        // Ends with the process.
        while let Ok(chore) = chores.wait() {
            let result = self.act(&chore);
            let Chore::Make(WantedMacvlan { link, .. }) = chore else {
                continue;
            };
            match result {
                Ok(()) => drop(self.said.remove(&link.name)),
                Err(error) => self.complain(link.name, &error.to_string()),
            }
        }
    }

    fn complain(&mut self, name: LinkName, why: &str) {
        if self.said.insert(name, why.to_owned()).as_deref() != Some(why) {
            self.log.log(&MacvlanTrouble {
                name: text(&name.to_string()),
                why: text(why),
            });
        }
    }

    fn act(&mut self, chore: &Chore) -> Result<(), Error> {
        let route = match &mut self.route {
            Some(route) => route,
            none => none.insert(Route::open()?),
        };
        match chore {
            Chore::Make(wanted) => self.make(wanted),
            Chore::Lower(index) => change(route, |batch| link::set_up(batch, *index, false)),
            Chore::Delete(index) => {
                gone(route.change(Command::DELLINK, |batch| link::delete(batch, *index)))
            }
            Chore::Clear => gone(route.change(Command::DELLINK, |batch| {
                link::delete_group(batch, LinkGroup::TRUNNION)
            })),
        }
    }

    /// Makes a macvlan what it should be; its group last, which says that it is.
    fn make(&mut self, wanted: &WantedMacvlan) -> Result<(), Error> {
        let Some(route) = &mut self.route else {
            return Ok(());
        };
        let WantedMacvlan {
            link: macvlan,
            lower,
            family,
        } = wanted;
        let found = match route.link(&macvlan.name)? {
            None => {
                route.add_macvlan(macvlan)?;
                route.link(&macvlan.name)?
            }
            found => found,
        };
        // Another one of that name is for the `ha` loop to see.
        let Some(found) = found.filter(|found| macvlan.is(found)) else {
            return Ok(());
        };
        let index = found.index;
        change(route, |batch| {
            link::set_ipv4_parameters(batch, index, &ABOVE)
        })?;
        without_ipv6(change(route, |batch| link::set_no_link_local(batch, index)))?;
        self.set_ipv6(macvlan.name, *family);
        if *family == Family::V4 {
            self.set_beneath(macvlan.lower, lower)?;
        }
        let route = self.route.as_mut().ok_or(Error::Unknown)?;
        change(route, |batch| {
            link::set_group(batch, index, LinkGroup::TRUNNION)
        })?;
        // It has it: but now the `ha` loop is told of the group.
        change(route, |batch| link::set_mac(batch, index, macvlan.mac))
    }

    /// What rtnetlink has no words for. Of IPv6 on a macvlan of IPv4 nothing is
    /// wanted; on one of IPv6 no address and no route that a router advertises:
    /// those are the business of the interface beneath.
    fn set_ipv6(&mut self, name: LinkName, family: Family) {
        let group = format!("net.ipv6.conf.{}", name.to_string().replace('.', "/"));
        let set: &[_] = match family {
            Family::V4 => &[("disable_ipv6", "1")],
            Family::V6 => &[("accept_ra", "0"), ("disable_ipv6", "0")],
        };
        for (parameter, value) in set {
            let parameter = format!("{group}.{parameter}");
            match self.tree.write(&parameter, value) {
                Ok(()) => {}
                // A kernel without IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let why = format!("cannot set {parameter} = {value}: {error}");
                    self.complain(name, &why);
                }
            }
        }
    }

    fn set_beneath(&mut self, index: InterfaceIndex, name: &str) -> Result<(), Error> {
        let group = format!("net.ipv4.conf.{}", name.replace('.', "/"));
        for (parameter, word, least) in BENEATH {
            let found = self.tree.read(&format!("{group}.{word}"));
            let found = found.ok().and_then(|value| value.parse::<u32>().ok());
            if found.is_some_and(|value| value >= least) {
                continue;
            }
            let route = self.route.as_mut().ok_or(Error::Unknown)?;
            change(route, |batch| {
                link::set_ipv4_parameters(batch, index, &[(parameter, least)])
            })?;
        }
        Ok(())
    }
}

fn change(
    route: &mut Route,
    fill: impl FnOnce(
        &mut trunnion_core::netlink::Batch<'_>,
    ) -> Result<u32, trunnion_core::route::Refused>,
) -> Result<(), Error> {
    route.change(Command::SETLINK, fill)
}

/// What is not there needs not be deleted.
fn gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Kernel {
            errno: Errno::ENODEV,
            ..
        }) => Ok(()),
        result => result,
    }
}

/// A kernel without IPv6 makes no IPv6 addresses.
fn without_ipv6(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Kernel {
            errno: Errno::EAFNOSUPPORT,
            ..
        }) => Ok(()),
        result => result,
    }
}
