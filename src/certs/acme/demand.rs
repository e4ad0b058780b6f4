//! Names that are ordered when a client asks for them: the thread's door for those who serve.
//!
//! For the thread a name on demand is a site with one host, kept as `<site>@<name>`: no site's name has an `@`. It knows those
//! that were asked for within the last hour; of the others there is what lies in the state directory. Renewed is what was
//! asked for since its renewal is due.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::WeakUnboundedSender;

use super::clock::now;
use super::files::SiteFiles;
use super::schedule::Said;
use super::settings::{AcmeSite, OnDemandSite};
use super::site::Site;
use crate::certs::{KeptOnDemand, OnDemandOrders};
use crate::tls::ServerConfigs;
use crate::tls::renewal::{Budget, renew_at};

/// Names known at a time. More are answered by the next source until some have not been asked for in an hour.
const NAMES_MAX: usize = 10_000;
/// Seconds without a client that asks, until a name is forgotten here.
const FORGOTTEN_AFTER: i64 = 3_600;

/// What a name on demand is kept as.
pub(super) fn kept_as(site: &str, name: &str) -> String {
    format!("{site}@{name}")
}

/// See the module. One for the process; the thread behind it may be another one after a reload.
pub struct Demand {
    door: Mutex<Door>,
    configs: ServerConfigs,
}

#[derive(Default)]
struct Door {
    state_directory: PathBuf,
    // Weak, so that the thread ends with its last `Acme`. `None`: it has not started yet.
    said: Option<WeakUnboundedSender<Said>>,
}

impl Default for Demand {
    fn default() -> Demand {
        Demand { door: Mutex::default(), configs: ServerConfigs::new(None) }
    }
}

impl Demand {
    /// What is kept is served from here on, before the thread has started.
    pub fn keep_in(&self, state_directory: &Path) {
        self.door().state_directory = state_directory.to_owned();
    }

    pub(super) fn open(&self, state_directory: &Path, said: WeakUnboundedSender<Said>) {
        *self.door() = Door { state_directory: state_directory.to_owned(), said: Some(said) };
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OnDemandOrders for Demand {
    fn kept(&self, site: &str, name: &str) -> Option<KeptOnDemand> {
        let directory = self.door().state_directory.clone();
        let files = SiteFiles::new(&directory, &kept_as(site, name));
        // What is broken is ordered anew, and told there.
        let kept = files.certificate(self.configs.provider()).ok().flatten()?;
        let now = now();
        let is_due = renew_at(kept.validity(), None, kept.seed()) <= now;
        kept.certificate.is_current(now).then_some(KeptOnDemand { certificate: kept.certificate, is_due })
    }

    fn want(&self, site: &str, name: &str, patience: Duration) -> bool {
        let (done, ended) = channel();
        // Not started yet: it will be at once.
        let Some(said) = self.door().said.clone() else { return true };
        let said = said.upgrade();
        let wanted = Said::Wanted { site: site.to_owned(), name: name.to_owned(), done };
        if said.is_none_or(|said| said.send(wanted).is_err()) {
            return false;
        }
        match ended.recv_timeout(patience) {
            Ok(is_under_way) => is_under_way,
            // Too long for this handshake.
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => true,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => false,
        }
    }
}

/// What the thread knows of it.
#[derive(Default)]
pub(super) struct Demanded {
    sites: BTreeMap<String, (OnDemandSite, Budget)>,
    /// By what they wait for.
    waiting: HashMap<String, Vec<Sender<bool>>>,
}

impl Demanded {
    /// From here on these sites have names on demand. Budgets that are the same go on.
    pub(super) fn install(&mut self, sites: Vec<OnDemandSite>, now: i64) {
        let mut before = std::mem::take(&mut self.sites);
        for site in sites {
            let known = before.remove(&site.site).filter(|(known, _)| known.per_hour == site.per_hour);
            let budget = known.map_or_else(|| Budget::new(site.per_hour, now), |(_, budget)| budget);
            self.sites.insert(site.site.clone(), (site, budget));
        }
    }

    /// What is wanted now of a name that is known already; `None`: nothing any more.
    pub(super) fn still_wanted(&self, kept_as: &str) -> Option<AcmeSite> {
        let (site, name) = kept_as.split_once('@')?;
        let (site, _) = self.sites.get(site)?;
        Some(wanted(site, name))
    }

    /// A name that a client asks for. `known`: the names known now, `load` reads what lies in the state directory.
    /// True: it is one of them, or has become one.
    pub(super) fn admit(
        &mut self,
        site: &str,
        name: &str,
        known: &mut BTreeMap<String, Site>,
        now: i64,
        load: impl FnOnce(AcmeSite) -> Site,
    ) -> bool {
        let Some((on_demand, budget)) = self.sites.get_mut(site) else { return false };
        let key = kept_as(site, name);
        if !known.contains_key(&key) {
            if known.values().filter(|site| site.asked_for.is_some()).count() >= NAMES_MAX {
                tracing::warn!(site, name, "not ordered on demand: {NAMES_MAX} names are known already");
                return false;
            }
            let new = load(wanted(on_demand, name));
            // One that was ordered before, or in vain, was counted then.
            if new.is_new() && !budget.take(now) {
                tracing::warn!(
                    site,
                    name,
                    "not ordered on demand: the budget of this hour is spent (`per_hour`)"
                );
                return false;
            }
            known.insert(key.clone(), new);
        }
        if let Some(site) = known.get_mut(&key) {
            site.asked_for = Some(now);
        }
        true
    }

    pub(super) fn wait(&mut self, kept_as: String, done: Sender<bool>) {
        self.waiting.entry(kept_as).or_default().push(done);
    }

    /// An attempt for this name has ended.
    pub(super) fn ended(&mut self, kept_as: &str) {
        for done in self.waiting.remove(kept_as).into_iter().flatten() {
            // Whoever waited may have had no more patience.
            let _ = done.send(true);
        }
    }
}

/// Whether nobody has asked for a name for long. What is asked for by nobody is not one on demand.
pub(super) fn is_forgotten(site: &Site, now: i64) -> bool {
    !site.is_ordering && site.asked_for.is_some_and(|at| now.saturating_sub(at) > FORGOTTEN_AFTER)
}

fn wanted(site: &OnDemandSite, name: &str) -> AcmeSite {
    AcmeSite { site: kept_as(&site.site, name), names: vec![name.to_owned()], cas: site.cas.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::acme::files::History;

    #[test]
    fn new_names_are_counted_and_known_ones_are_not() {
        let mut demanded = Demanded::default();
        let on_demand = |site: &str| OnDemandSite { site: site.to_owned(), cas: Vec::new(), per_hour: 1 };
        demanded.install(vec![on_demand("shops")], 0);
        let mut known = BTreeMap::new();
        let new = |wanted| Site::new(wanted, History::default(), None);
        let tried = |wanted| {
            let history = History { last_error: Some((0, "no".to_owned())), ..History::default() };
            Site::new(wanted, history, None)
        };
        assert!(demanded.admit("shops", "a.test", &mut known, 5, new));
        assert!(demanded.admit("shops", "a.test", &mut known, 6, |_| unreachable!("it is known")));
        assert!(!demanded.admit("shops", "b.test", &mut known, 7, new), "the budget is spent");
        assert!(demanded.admit("shops", "c.test", &mut known, 7, tried), "it was counted then");
        assert!(
            !demanded.admit("other", "d.test", &mut known, 7, new),
            "no site of this name has names on demand"
        );
        assert_eq!(known.keys().collect::<Vec<_>>(), ["shops@a.test", "shops@c.test"]);
        assert_eq!(known["shops@a.test"].asked_for, Some(6));
        // A reload gives no budget anew.
        demanded.install(vec![on_demand("shops")], 8);
        assert!(!demanded.admit("shops", "b.test", &mut known, 9, new));
        assert!(demanded.still_wanted("shops@a.test").is_some() && demanded.still_wanted("shops").is_none());
        assert!(!is_forgotten(&known["shops@a.test"], 6 + FORGOTTEN_AFTER));
        assert!(is_forgotten(&known["shops@a.test"], 7 + FORGOTTEN_AFTER));
    }

    #[test]
    fn who_waits_hears_of_the_end() {
        let mut demanded = Demanded::default();
        let (done, ended) = channel();
        demanded.wait("shops@a.test".to_owned(), done);
        demanded.ended("shops@b.test");
        assert!(ended.try_recv().is_err());
        demanded.ended("shops@a.test");
        assert_eq!(ended.try_recv(), Ok(true));
    }
}
