//! The thread that orders certificates: what is due is started, what ends is kept, what fails waits.
//!
//! One queue brings what it is told and what its own tasks say at their end, so that all of its state has one owner.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{CertificateIdentifier, Error};
use rustls::crypto::CryptoProvider;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, LocalSet};

use super::account::Accounts;
use super::clock::now;
use super::failure::{OrderFailure, at};
use super::files::{AccountFile, SiteFiles};
use super::order::{Means, Ordered, within};
use super::settings::{AcmeCa, AcmeSite};
use super::site::Site;
use super::status::{AcmeSeen, AcmeStatus};
use super::store::{Fleet, Heard, Known, StoreSettings, follow};
use super::turn::{Attempt, Got, Why};
use crate::certs::CertificateProblem;
use crate::tls::renewal::{Window, ask_window_again};
use crate::tls::{PendingChallenges, ServerConfigs};

/// Orders under way at a time: a thousand sites at the first start must not take all of a CA's patience.
const ORDERS_MAX: usize = 4;
/// The clock may be set, and machines sleep: moments are looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// A certificate that could not be written is tried again after so many seconds.
const KEEP_AGAIN: i64 = 60;
/// A CA that has no windows, or does not say when to ask again, is asked for one after this many seconds.
const WINDOW_AGAIN: u64 = 6 * 3_600;

/// The thread, as others see it. It ends when this is dropped; what is under way is taken up by the next process.
pub struct Acme {
    said: UnboundedSender<Said>,
    seen: AcmeSeen,
}

enum Said {
    Install(Vec<AcmeSite>, Option<StoreSettings>),
    Renew(String),
    /// An attempt has come to its end.
    Got(Box<(String, AcmeCa, Got)>),
    /// Of the fleet's store.
    Heard(Heard),
    Window {
        site: String,
        directory_url: String,
        window: Option<Window>,
        again: u64,
    },
}

impl Acme {
    /// Starts the thread. `renewed` is called with the name of a site whose certificate is another one now, and must
    /// not block.
    ///
    /// # Errors
    /// When no thread or runtime can be had.
    pub fn start(
        state_directory: &Path,
        challenges: Arc<PendingChallenges>,
        renewed: impl Fn(&str) + Send + 'static,
    ) -> io::Result<Acme> {
        let (said, inbox) = unbounded_channel();
        let seen = AcmeSeen::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let means = Means {
            state_directory: state_directory.to_owned(),
            challenges,
            configs: ServerConfigs::new(None),
        };
        let (mine, told) = (said.downgrade(), seen.clone());
        std::thread::Builder::new().name("acme".to_owned()).spawn(move || {
            let schedule = Schedule {
                means: Rc::new(means),
                said: mine,
                told,
                renewed: Box::new(renewed),
                accounts: Accounts::default(),
                known: Rc::default(),
                fleet: None,
                sites: BTreeMap::new(),
            };
            runtime.block_on(LocalSet::new().run_until(schedule.run(inbox)));
        })?;
        Ok(Acme { said, seen })
    }

    /// From here on these certificates are wanted, and no others, and shared by way of `store`. Orders under way go on.
    pub fn install(&self, sites: Vec<AcmeSite>, store: Option<StoreSettings>) {
        let _ = self.said.send(Said::Install(sites, store));
    }

    /// Orders the certificate of a site now, whatever was to be waited for. False: it has none from here.
    pub fn renew(&self, site: &str) -> bool {
        self.seen.statuses.has(site) && self.said.send(Said::Renew(site.to_owned())).is_ok()
    }

    /// What the thread tells, for those who ask.
    pub fn seen(&self) -> &AcmeSeen {
        &self.seen
    }
}

struct Schedule {
    means: Rc<Means>,
    // Weak, so that the thread ends with the last `Acme`.
    said: tokio::sync::mpsc::WeakUnboundedSender<Said>,
    told: AcmeSeen,
    renewed: Box<dyn Fn(&str)>,
    accounts: Accounts,
    /// What the fleet's store is compared with.
    known: Rc<Known>,
    fleet: Option<(Rc<Fleet>, AbortHandle)>,
    sites: BTreeMap<String, Site>,
}

impl Schedule {
    async fn run(mut self, mut inbox: UnboundedReceiver<Said>) {
        loop {
            let now = now();
            self.start_what_is_due(now);
            for site in self.sites.values() {
                self.told.statuses.put(site.status(now));
            }
            match tokio::time::timeout(self.wait(now), inbox.recv()).await {
                Ok(Some(said)) => self.take(said),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    /// Until something is due.
    fn wait(&self, now: i64) -> Duration {
        if self.ordering() >= ORDERS_MAX {
            return LOOK;
        }
        let moments = self.sites.values().flat_map(|site| {
            let order = (!site.is_ordering).then(|| site.next().1);
            [order, site.window_due()].into_iter().flatten()
        });
        let next = moments.min().unwrap_or(i64::MAX).saturating_sub(now);
        u64::try_from(next).map_or(Duration::ZERO, Duration::from_secs).min(LOOK)
    }

    fn ordering(&self) -> usize {
        self.sites.values().filter(|site| site.is_ordering).count()
    }

    fn start_what_is_due(&mut self, now: i64) {
        let mut free = ORDERS_MAX.saturating_sub(self.ordering());
        let fleet = self.fleet.as_ref().map(|(fleet, _)| fleet.clone());
        for (name, site) in &mut self.sites {
            if site.window_due().is_some_and(|due| due <= now) {
                // Not again before there is an answer.
                site.history.window_again = ask_window_again(now, WINDOW_AGAIN);
                start_window(&self.means, &self.accounts, fleet.clone(), &self.said, name, site);
            }
            let (ca, due) = site.next();
            if free == 0 || site.is_ordering || due > now {
                continue;
            }
            let Some(ca) = site.wanted.cas.get(ca).cloned() else { continue };
            site.is_ordering = true;
            free -= 1;
            let attempt = Attempt {
                means: self.means.clone(),
                accounts: self.accounts.clone(),
                fleet: fleet.clone(),
                site: site.wanted.clone(),
                ca: ca.clone(),
                kept: site.certificate.clone(),
                history: site.history.clone(),
                is_forced: site.is_forced,
            };
            let (said, name) = (self.said.clone(), name.clone());
            tokio::task::spawn_local(async move {
                let got = attempt.run().await;
                if let Some(said) = said.upgrade() {
                    let _ = said.send(Said::Got(Box::new((name, ca, got))));
                }
            });
        }
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Install(wanted, store) => {
                self.install(wanted);
                self.join(store);
                self.known.set(self.sites.values().map(|site| site.wanted.clone()));
            }
            Said::Renew(name) => {
                if let Some(site) = self.sites.get_mut(&name) {
                    site.is_forced = true;
                    site.later = None;
                    site.history.cas.clear();
                }
            }
            Said::Got(got) => {
                let (site, ca, got) = *got;
                self.got(&site, &ca, got);
            }
            Said::Heard(Heard::Reached) => {
                for site in self.sites.values_mut() {
                    site.later.take_if(|(_, why)| *why == Why::Away);
                }
            }
            Said::Heard(Heard::Found(found)) => {
                let (wanted, found) = *found;
                // What was found for other names than are wanted now is for nobody here.
                let site = self.sites.get(&wanted.site).filter(|site| site.wanted.names == wanted.names);
                let is_newer =
                    |site: &Site| site.certificate.as_ref().is_none_or(|kept| found.kept.is_newer(kept));
                if site.is_some_and(is_newer) {
                    self.found(&wanted.site, found);
                }
            }
            Said::Window { site: name, directory_url, window, again } => {
                if let Some(site) = self.sites.get_mut(&name)
                    && site.certificate.as_ref().is_some_and(|issued| issued.directory_url == directory_url)
                {
                    site.history.window = window.or(site.history.window);
                    site.history.window_again = ask_window_again(now(), again);
                    self.put_history(&name);
                }
            }
        }
    }

    fn install(&mut self, wanted: Vec<AcmeSite>) {
        let mut before = std::mem::take(&mut self.sites);
        for wanted in wanted {
            let site = match before.remove(&wanted.site) {
                Some(mut site) => {
                    site.wanted = wanted;
                    site
                }
                None => self.load(wanted),
            };
            self.sites.insert(site.wanted.site.clone(), site);
        }
        self.told.statuses.keep_only(|site| self.sites.contains_key(site));
    }

    /// What an earlier process left.
    fn load(&self, wanted: AcmeSite) -> Site {
        let (site, problem) = load(&self.means.state_directory, wanted, self.means.configs.provider());
        if let Some(problem) = problem {
            tracing::warn!(site = site.wanted.site, "{problem}; another one is ordered");
        }
        site
    }

    /// Shares with those who have this store; what was shared with others before is not any more.
    fn join(&mut self, store: Option<StoreSettings>) {
        if self.fleet.as_ref().map(|(fleet, _)| fleet.settings()) == store.as_ref() {
            return;
        }
        if let Some((_, following)) = self.fleet.take() {
            following.abort();
        }
        self.told.store.set_wanted(store.is_some());
        let Some(settings) = store else { return };
        match Fleet::new(settings, self.told.store.clone()) {
            Ok(fleet) => {
                let fleet = Rc::new(fleet);
                let said = self.said.clone();
                let heard = move |heard: Heard| {
                    if let Some(said) = said.upgrade() {
                        let _ = said.send(Said::Heard(heard));
                    }
                };
                let follow = follow(fleet.clone(), self.known.clone(), self.means.clone(), heard);
                self.fleet = Some((fleet, tokio::task::spawn_local(follow).abort_handle()));
            }
            Err(_) => tracing::error!("the fleet's store is not used: the system gives no random numbers"),
        }
    }

    fn got(&mut self, name: &str, ca: &AcmeCa, got: Got) {
        let Some(site) = self.sites.get_mut(name) else { return };
        site.is_ordering = false;
        match got {
            Got::Ordered(ordered) => {
                let until = super::super::problem::date(ordered.kept.certificate.not_after());
                if !self.keep(name, ordered) {
                    return;
                }
                self.told.counts.ordered();
                tracing::info!(site = name, ca = %ca.directory_url, until, "certificate issued");
            }
            Got::Found(found) => self.found(name, found),
            Got::Later(seconds, why) => {
                tracing::debug!(site = name, reason = why.word(), next = seconds, "no order now");
                site.later = Some((now().saturating_add(seconds), why));
            }
            Got::Failed(failure, history) => {
                let kind = failure.kind();
                self.told.counts.failed(kind);
                site.failed(history);
                let (_, next) = site.next();
                let wait = Duration::from_secs(u64::try_from(next.saturating_sub(now())).unwrap_or(0));
                let reason = kind.word();
                tracing::warn!(site = name, ca = %ca.directory_url, reason, next = ?wait, "no certificate: {failure}");
                self.put_history(name);
            }
        }
    }

    fn found(&mut self, name: &str, found: Ordered) {
        let ca = found.kept.directory_url.clone();
        let until = super::super::problem::date(found.kept.certificate.not_after());
        if self.keep(name, found) {
            self.told.counts.found();
            tracing::info!(site = name, %ca, until, "certificate of another machine taken up");
        }
    }

    /// Has it served from here on, unless it cannot be written.
    fn keep(&mut self, name: &str, ordered: Ordered) -> bool {
        let Some(site) = self.sites.get_mut(name) else { return false };
        let files = SiteFiles::new(&self.means.state_directory, name);
        let kept = files.put_certificate(&ordered.text).and_then(|()| files.forget_order());
        match kept {
            Ok(()) => {
                site.succeeded(ordered.kept, now());
                self.put_history(name);
                (self.renewed)(name);
                true
            }
            Err(problem) => {
                // In the fleet's store, or with the CA, it is still there: it comes again.
                site.later = Some((now().saturating_add(KEEP_AGAIN), Why::Waits));
                tracing::error!(site = name, "a certificate cannot be kept: {problem}");
                false
            }
        }
    }

    fn put_history(&self, name: &str) {
        let Some(site) = self.sites.get(name) else { return };
        let files = SiteFiles::new(&self.means.state_directory, name);
        if let Err(problem) = files.put_history(&site.history) {
            tracing::warn!(site = name, "what happened with its certificate cannot be kept: {problem}");
        }
    }
}

/// What lies in the state directory for a site, and what is wrong with it.
fn load(
    state_directory: &Path,
    wanted: AcmeSite,
    provider: &CryptoProvider,
) -> (Site, Option<CertificateProblem>) {
    let files = SiteFiles::new(state_directory, &wanted.site);
    let (kept, problem) = match files.certificate(provider) {
        Ok(kept) => (kept, None),
        Err(problem) => (None, Some(problem)),
    };
    (Site::new(wanted, files.history(), kept), problem)
}

/// How far a certificate is, as the state directory says. `now`: seconds since 1970.
pub fn status_kept(state_directory: &Path, wanted: AcmeSite, now: i64) -> AcmeStatus {
    let configs = ServerConfigs::new(None);
    load(state_directory, wanted, configs.provider()).0.status(now)
}

/// Asks the issuer of a site's certificate when to renew it.
fn start_window(
    means: &Rc<Means>,
    accounts: &Accounts,
    fleet: Option<Rc<Fleet>>,
    said: &tokio::sync::mpsc::WeakUnboundedSender<Said>,
    name: &str,
    site: &Site,
) {
    let Some(issued) = &site.certificate else { return };
    let Some(ca) = site.wanted.cas.iter().find(|ca| ca.directory_url == issued.directory_url).cloned() else {
        return;
    };
    let Some(leaf) = issued.certificate.chain().first().cloned() else { return };
    let (means, accounts, said, name) = (means.clone(), accounts.clone(), said.clone(), name.to_owned());
    tokio::task::spawn_local(async move {
        let asked = async {
            let file = AccountFile::new(&means.state_directory, &ca);
            let account = accounts.open(&file, &ca, fleet.as_deref()).await?;
            let Ok(identifier) = CertificateIdentifier::try_from(&leaf) else { return Ok(None) };
            match within("renewal information", async { Ok(account.renewal_info(&identifier).await) }).await?
            {
                Ok((info, again)) => {
                    let window = info.suggested_window;
                    let window =
                        Window { start: window.start.unix_timestamp(), end: window.end.unix_timestamp() };
                    Ok(Some((window, again.as_secs())))
                }
                Err(Error::Unsupported(_)) => Ok(None),
                Err(error) => Err(at("renewal information")(error)),
            }
        };
        let answer = asked.await.unwrap_or_else(|failure: OrderFailure| {
            tracing::debug!(site = name, "no renewal information: {failure}");
            None
        });
        let (window, again) = answer.map_or((None, WINDOW_AGAIN), |(window, again)| (Some(window), again));
        if let Some(said) = said.upgrade() {
            let _ = said.send(Said::Window { site: name, directory_url: ca.directory_url, window, again });
        }
    });
}
