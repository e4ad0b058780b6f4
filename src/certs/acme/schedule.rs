//! The thread that orders certificates: what is due is started, what ends is kept, what fails waits.
//!
//! One queue brings what it is told and what its own tasks say at their end, so that all of its state has one owner.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use instant_acme::{Account, CertificateIdentifier, Error};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::account::account;
use super::failure::{OrderFailure, at};
use super::files::{AccountFile, SiteFiles};
use super::order::{Means, Ordered, Wanted, order, within};
use super::settings::{AcmeCa, AcmeSite};
use super::site::{Issued, Site};
use super::status::{AcmeStatus, Statuses};
use crate::tls::renewal::{Failure, Window, ask_window_again};
use crate::tls::{PendingChallenges, ServerConfigs};

/// Orders under way at a time: a thousand sites at the first start must not take all of a CA's patience.
const ORDERS_MAX: usize = 4;
/// The clock may be set, and machines sleep: moments are looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// A CA that has no windows, or does not say when to ask again, is asked for one after this many seconds.
const WINDOW_AGAIN: u64 = 6 * 3_600;

/// The thread, as others see it. It ends when this is dropped; what is under way is taken up by the next process.
pub struct Acme {
    said: UnboundedSender<Said>,
    statuses: Statuses,
    counts: Arc<Counts>,
    thread: JoinHandle<()>,
}

/// How long the end of the thread is waited for. It comes at once, but for a program that sets records just then.
const END: Duration = Duration::from_millis(500);

/// What was counted since the start.
#[derive(Default)]
struct Counts {
    ordered: AtomicU64,
    unreachable: AtomicU64,
    refused: AtomicU64,
    rate_limited: AtomicU64,
}

impl Counts {
    fn failed(&self, failure: Failure) -> &AtomicU64 {
        match failure {
            Failure::Unreachable => &self.unreachable,
            Failure::Refused => &self.refused,
            Failure::RateLimited => &self.rate_limited,
        }
    }
}

enum Said {
    Install(Vec<AcmeSite>),
    Renew(String),
    Ordered(Box<Ended>),
    Window { site: String, directory_url: String, window: Option<Window>, again: u64 },
}

/// An order that has come to its end.
struct Ended {
    site: String,
    ca: AcmeCa,
    result: Result<Ordered, OrderFailure>,
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
        let statuses = Statuses::default();
        let counts = Arc::new(Counts::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let means = Means {
            state_directory: state_directory.to_owned(),
            challenges,
            configs: ServerConfigs::new(None),
        };
        let (mine, statuses_written, counted) = (said.downgrade(), statuses.clone(), counts.clone());
        let thread = std::thread::Builder::new().name("acme".to_owned()).spawn(move || {
            let schedule = Schedule {
                means: Rc::new(means),
                said: mine,
                statuses: statuses_written,
                counts: counted,
                renewed: Box::new(renewed),
                accounts: Rc::default(),
                sites: BTreeMap::new(),
            };
            runtime.block_on(LocalSet::new().run_until(schedule.run(inbox)));
        })?;
        Ok(Acme { said, statuses, counts, thread })
    }

    /// Ends the thread, and returns when it touches the state directory no more.
    pub fn end(self) {
        let Acme { said, thread, .. } = self;
        drop(said);
        let since = Instant::now();
        while !thread.is_finished() && since.elapsed() < END {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// From here on these certificates are wanted, and no others. Orders under way go on.
    pub fn install(&self, sites: Vec<AcmeSite>) {
        let _ = self.said.send(Said::Install(sites));
    }

    /// Orders the certificate of a site now, whatever was to be waited for. False: it has none from here.
    pub fn renew(&self, site: &str) -> bool {
        let known = self.statuses.all().iter().any(|status| status.site == site);
        known && self.said.send(Said::Renew(site.to_owned())).is_ok()
    }

    /// How far each certificate is, by site.
    pub fn statuses(&self) -> Vec<AcmeStatus> {
        self.statuses.all()
    }

    /// Name, meaning and value of what was counted.
    pub fn counts(&self) -> [(&'static str, &'static str, u64); 4] {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { ordered, unreachable, refused, rate_limited } = &*self.counts;
        [
            ("acme_ordered", "Certificates issued by ACME authorities.", value(ordered)),
            (
                "acme_unreachable",
                "Orders that failed because the authority did not answer.",
                value(unreachable),
            ),
            ("acme_refused", "Orders that an authority refused or could not validate.", value(refused)),
            (
                "acme_rate_limited",
                "Orders refused because an authority was asked too often.",
                value(rate_limited),
            ),
        ]
    }
}

/// By the name of their file.
type Accounts = Rc<RefCell<HashMap<String, Account>>>;

struct Schedule {
    means: Rc<Means>,
    // Weak, so that the thread ends with the last `Acme`.
    said: tokio::sync::mpsc::WeakUnboundedSender<Said>,
    statuses: Statuses,
    counts: Arc<Counts>,
    renewed: Box<dyn Fn(&str)>,
    accounts: Accounts,
    sites: BTreeMap<String, Site>,
}

impl Schedule {
    async fn run(mut self, mut inbox: UnboundedReceiver<Said>) {
        loop {
            let now = now();
            self.start_what_is_due(now);
            for site in self.sites.values() {
                self.statuses.put(site.status(now));
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
        for (name, site) in &mut self.sites {
            if site.window_due().is_some_and(|due| due <= now) {
                // Not again before there is an answer.
                site.history.window_again = ask_window_again(now, WINDOW_AGAIN);
                start_window(&self.means, &self.accounts, &self.said, name, site);
            }
            let (ca, due) = site.next();
            if free == 0 || site.is_ordering || due > now {
                continue;
            }
            let Some(ca) = site.wanted.cas.get(ca).cloned() else { continue };
            tracing::info!(site = name, ca = %ca.directory_url, method = ca.method.word(), "ordering a certificate");
            site.is_ordering = true;
            free -= 1;
            start_order(&self.means, &self.accounts, &self.said, name, site, ca, now);
        }
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Install(wanted) => self.install(wanted),
            Said::Renew(name) => {
                if let Some(site) = self.sites.get_mut(&name) {
                    site.is_forced = true;
                    site.history.cas.clear();
                }
            }
            Said::Ordered(ended) => {
                let Ended { site, ca, result } = *ended;
                self.ordered(&site, &ca, result);
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
        self.statuses.keep_only(|site| self.sites.contains_key(site));
    }

    /// What an earlier process left.
    fn load(&self, wanted: AcmeSite) -> Site {
        let files = SiteFiles::new(&self.means.state_directory, &wanted.site);
        let kept = files.certificate(self.means.configs.provider()).unwrap_or_else(|problem| {
            tracing::warn!(site = wanted.site, "{problem}; another one is ordered");
            None
        });
        let issued =
            kept.map(|kept| Issued { certificate: kept.certificate, directory_url: kept.directory_url });
        Site::new(wanted, files.history(), issued)
    }

    fn ordered(&mut self, name: &str, ca: &AcmeCa, result: Result<Ordered, OrderFailure>) {
        let files = SiteFiles::new(&self.means.state_directory, name);
        let kept = result.and_then(|ordered| {
            files.put_certificate(&ordered.text)?;
            files.forget_order()?;
            Ok(ordered.certificate)
        });
        let now = now();
        let Some(site) = self.sites.get_mut(name) else { return };
        site.is_ordering = false;
        match kept {
            Ok(certificate) => {
                self.counts.ordered.fetch_add(1, Ordering::Relaxed);
                let until = super::super::problem::date(certificate.not_after());
                tracing::info!(site = name, ca = %ca.directory_url, until, "certificate issued");
                site.succeeded(certificate, &ca.directory_url, now);
                self.put_history(name);
                (self.renewed)(name);
            }
            Err(failure) => {
                let kind = failure.kind();
                self.counts.failed(kind).fetch_add(1, Ordering::Relaxed);
                site.failed(&ca.directory_url, kind, failure.to_string(), now, random());
                let (_, next) = site.next();
                let wait = Duration::from_secs(u64::try_from(next.saturating_sub(now)).unwrap_or(0));
                let reason = kind.word();
                tracing::warn!(site = name, ca = %ca.directory_url, reason, next = ?wait, "no certificate: {failure}");
                self.put_history(name);
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

/// The account with a CA, kept open.
async fn open_account(means: &Means, accounts: &Accounts, ca: &AcmeCa) -> Result<Account, OrderFailure> {
    let file = AccountFile::new(&means.state_directory, ca);
    let known = accounts.borrow().get(&file.name).cloned();
    if let Some(account) = known {
        return Ok(account);
    }
    let account = account(&file, ca).await?;
    accounts.borrow_mut().insert(file.name, account.clone());
    Ok(account)
}

fn start_order(
    means: &Rc<Means>,
    accounts: &Accounts,
    said: &tokio::sync::mpsc::WeakUnboundedSender<Said>,
    name: &str,
    site: &Site,
    ca: AcmeCa,
    now: i64,
) {
    let (means, accounts, said, name) = (means.clone(), accounts.clone(), said.clone(), name.to_owned());
    let names = site.wanted.names.clone();
    let issued = site.certificate.as_ref().filter(|issued| issued.directory_url == ca.directory_url);
    let replaces = issued.and_then(|issued| issued.certificate.chain().first().cloned());
    tokio::task::spawn_local(async move {
        let mut result;
        let mut tries = 0;
        loop {
            tries += 1;
            let replaces = replaces.clone();
            result = match open_account(&means, &accounts, &ca).await {
                Ok(account) => {
                    let wanted = Wanted { site: &name, names: &names, ca: &ca, replaces, now };
                    order(&means, &account, wanted).await
                }
                Err(failure) => Err(failure),
            };
            let Err(failure) = &result else { break };
            // The directory may have moved: it is read anew at the next order.
            let file = AccountFile::new(&means.state_directory, &ca);
            accounts.borrow_mut().remove(&file.name);
            let is_nonce = failure.is_type("badNonce");
            let is_unknown = failure.is_type("accountDoesNotExist");
            if is_unknown && let Err(problem) = file.forget() {
                result = Err(problem.into());
                break;
            }
            if tries >= 5 || !(is_nonce || is_unknown) {
                break;
            }
        }
        if let Some(said) = said.upgrade() {
            let _ = said.send(Said::Ordered(Box::new(Ended { site: name, ca, result })));
        }
    });
}

/// Asks the issuer of a site's certificate when to renew it.
fn start_window(
    means: &Rc<Means>,
    accounts: &Accounts,
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
            let account = open_account(&means, &accounts, &ca).await?;
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

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// Spreads waits; nothing rests on its being unknown.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without it all wait the same time, which is well, too.
    let _ = rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
