//! The certificates of a process: made for each generation, kept current while it serves.
//!
//! ```text
//! build a generation ─▶ Keeper::site ─▶ KeptSite ─ tls: Arc<SiteTls>, read by workers without a lock
//! generation serves  ─▶ Keeper::watch(kept sites)
//!                              │
//! thread "certificates": a file changed, or an hour passed ─▶ KeptSite::refresh ─▶ SiteTls' slots swapped
//! threads "certificates-N": questions to sources that are asked for names ─▶ the certificate cache
//! ```
//!
//! A source that finds its certificates by itself and later, as `acme` does, keeps them in the state directory and says so
//! with [`Keeper::refresh_site`]: handshakes before that get the next source in order. One that keeps nothing on disk
//! hands them over with [`KeptSite::publish`].

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::asked::{AskedSource, Asking, Room};
use super::counts::ReasonCounts;
use super::find::{LastGiven, find_again};
use super::lookup::Lookups;
use super::on_demand::{self, OnDemand, OnDemandOrders, OnDemandRule};
use super::questions::{QuestionCounters, Questions};
use super::watch::{Look, Watch, Woken, directories};
use super::{
    AskUrl, CertificateProblem, CertificateTrouble, CertificateWarning, PolicyPlan, Source, http, secret,
};
use crate::tls::{
    CertificateCache, CertificateSet, Clock, KeyKind, Moment, Policy, ServedTls, ServerConfigs, Sessions,
    SiteTls, Slot, TicketKeys,
};

/// Self-signed certificates are renewed a month before their end, those of files may have ended.
const RENEWAL_LOOK: Duration = Duration::from_secs(3600);
/// Where the kernel does not tell of changes (network file systems, no more watches), looking does.
const FILE_LOOK: Duration = Duration::from_secs(30);
const FILE_LOOK_UNWATCHED: Duration = Duration::from_secs(1);

/// What a site's certificates and policy are made from.
#[derive(Clone)]
pub struct SitePlan {
    pub site: String,
    /// Hosts and aliases, wildcards and `*` among them.
    pub names: Vec<String>,
    pub sources: Vec<Source>,
    /// Sites with equal ones share it.
    pub policy: Arc<PolicyPlan>,
    pub state_directory: Arc<Path>,
    pub sessions: Sessions,
}

/// Bounds of what is asked for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskLimits {
    /// Names remembered.
    pub size: usize,
    /// How long an answer is good.
    pub lifetime: Duration,
    /// Names nobody has a certificate of that are asked for in a second.
    pub unknown_names_per_second: u32,
}

/// Counted since the start.
#[derive(Default)]
pub struct KeeperCounters {
    /// Certificates, policies and secrets taken up from changed files or renewed.
    pub taken_up: AtomicU64,
    /// Files that could not be taken up, by the reason of [`CertificateProblem`].
    pub refused: ReasonCounts,
}

/// See the module. One for the process.
pub struct Keeper {
    room: Arc<Room>,
    watched: Mutex<Watched>,
    // By their numbers.
    policies: Mutex<HashMap<u64, Weak<Policy>>>,
    pub counters: KeeperCounters,
    // Wakes the thread that watches.
    wake: UnixStream,
    orders: on_demand::Orders,
    woken: Mutex<Option<UnixStream>>,
}

#[derive(Default)]
struct Watched {
    sites: Vec<Arc<KeptSite>>,
    by_name: HashMap<String, Arc<KeptSite>>,
    secret: Option<KeptSecret>,
}

#[derive(Clone)]
struct KeptSecret {
    path: PathBuf,
    keys: Arc<TicketKeys>,
    seen: Look,
}

/// The certificates of one site of one generation.
pub struct KeptSite {
    plan: SitePlan,
    tls: Arc<SiteTls>,
    fixed: Vec<Fixed>,
    asked: Vec<Arc<AskedSource>>,
    state: Mutex<KeptState>,
}

/// Sources one after the other that answer for the whole site; the first good one is served.
struct Fixed {
    /// Which of the plan's.
    sources: Range<usize>,
    live: Arc<ArcSwapOption<ServedTls>>,
}

struct KeptState {
    seen: Look,
    // For each of `fixed`.
    fixed: Vec<FixedState>,
    // What was wrong when it was read last.
    troubles: Vec<Trouble>,
}

struct FixedState {
    // What its sources gave when they were asked last.
    last: LastGiven,
    // Which of them serves, and which of them beside it, with which kind of key; none: nothing does.
    from: Option<(usize, Vec<(usize, KeyKind)>)>,
}

impl Keeper {
    /// # Errors
    /// The system gives no socket pair.
    pub fn new(
        configs: ServerConfigs,
        clock: Arc<dyn Clock>,
        limits: AskLimits,
    ) -> std::io::Result<Arc<Keeper>> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let room = Room {
            questions: Questions::new(limits.unknown_names_per_second),
            cache: CertificateCache::new(limits.size, limits.lifetime),
            lookups: Lookups::default(),
            configs,
            clock,
        };
        Ok(Arc::new(Keeper {
            room: Arc::new(room),
            watched: Mutex::default(),
            policies: Mutex::default(),
            counters: KeeperCounters::default(),
            wake,
            orders: on_demand::Orders::default(),
            woken: Mutex::new(Some(woken)),
        }))
    }

    pub fn configs(&self) -> &ServerConfigs {
        &self.room.configs
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.room.clock
    }

    /// What sources said of names.
    pub fn cache(&self) -> &CertificateCache {
        &self.room.cache
    }

    pub fn questions(&self) -> &QuestionCounters {
        &self.room.questions.counters
    }

    pub fn set_limits(&self, limits: AskLimits) {
        self.room.cache.set_limits(limits.size, limits.lifetime);
        self.room.questions.set_budget(limits.unknown_names_per_second);
    }

    /// The certificates of a site, ready to serve; what the operator should hear goes to `warnings`.
    ///
    /// # Errors
    /// The policy cannot be made, or no source has a certificate and none is asked for names.
    pub fn site(
        &self,
        plan: SitePlan,
        warnings: &mut Vec<CertificateWarning>,
    ) -> Result<Arc<KeptSite>, CertificateProblem> {
        let configs = &self.room.configs;
        let now = self.now();
        let warned = warnings.len();
        // Before anything is read: a change meanwhile is seen later.
        let seen = plan.look();
        let policy = self.shared_policy(plan.policy.make(configs.provider())?);
        let before = self.lock().by_name.get(&plan.site).filter(|kept| kept.is_alike(&plan)).cloned();
        let mut slots = Vec::new();
        let mut fixed = Vec::new();
        let mut states = Vec::new();
        let mut asked = Vec::new();
        let mut problem = None;
        let mut run_end = 0;
        for run in plan.sources.chunk_by(|one, next| !one.is_asked() && !next.is_asked()) {
            let run_start = run_end;
            run_end += run.len();
            if let [source] = run
                && let Some(asking) = self.asking(source)?
            {
                let (sessions, room) = (plan.sessions.clone(), Arc::clone(&self.room));
                let source = AskedSource::new(&plan.site, asking, Arc::clone(&policy), sessions, room);
                let source = Arc::new(source);
                slots.push(Slot::Asked(Arc::clone(&source) as _));
                asked.push(source);
                continue;
            }
            let before = before.as_ref().and_then(|before| before.last_given(fixed.len()));
            let mut last = before.unwrap_or_else(|| LastGiven::nothing(run.len()));
            let live = Arc::new(ArcSwapOption::empty());
            let mut from = None;
            match find_again(&plan.site, &plan.names, run, &plan.state_directory, now, configs, &mut last) {
                Ok(found) => {
                    warnings.extend(found.warnings);
                    from = Some((found.at, found.beside));
                    live.store(Some(Arc::new(plan.served(&policy, found.set, configs)?)));
                }
                Err(error) => {
                    problem.get_or_insert(error);
                }
            }
            states.push(FixedState { last, from });
            slots.push(Slot::Fixed(Arc::clone(&live)));
            fixed.push(Fixed { sources: run_start..run_end, live });
        }
        fixed.shrink_to_fit();
        states.shrink_to_fit();
        let tls = Arc::new(SiteTls::new(policy, slots));
        match problem {
            Some(problem) if asked.is_empty() && tls.fixed().is_none() => return Err(problem),
            Some(problem) => warnings.push(CertificateWarning::Skipped(problem)),
            None if plan.sources.is_empty() => {
                return Err(CertificateProblem::new(Path::new(""), CertificateTrouble::NoSource));
            }
            None => {}
        }
        if !asked.is_empty() {
            let started = self.room.questions.start();
            started.map_err(CertificateProblem::io(Path::new("the threads that ask sources")))?;
        }
        let troubles = warnings[warned..].iter().filter_map(Trouble::of_warning).collect();
        let state = Mutex::new(KeptState { seen, fixed: states, troubles });
        Ok(Arc::new(KeptSite { plan, tls, fixed, asked, state }))
    }

    /// Equal policies are one: most sites have the same, and a verifier of client certificates is large.
    fn shared_policy(&self, policy: Policy) -> Arc<Policy> {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) =
            policies.get(&policy.number()).and_then(Weak::upgrade).filter(|known| **known == policy)
        {
            return known;
        }
        policies.retain(|_, known| known.strong_count() > 0);
        let policy = Arc::new(policy);
        policies.insert(policy.number(), Arc::downgrade(&policy));
        policy
    }

    fn asking(&self, source: &Source) -> Result<Option<Asking>, CertificateProblem> {
        Ok(match source {
            Source::Command { run, timeout } => Some(Asking::Command { run: run.clone(), timeout: *timeout }),
            Source::Http { url, timeout, ca } => {
                let is_tls = matches!(url.server, http::AskServer::Tls { .. });
                let trust = is_tls.then(|| http::trust(ca.as_deref(), &self.room.configs)).transpose()?;
                Some(Asking::Http { url: AskUrl::clone(url), timeout: *timeout, trust })
            }
            Source::OnDemand { rule } => {
                let is_tls =
                    rule.ask.as_ref().is_some_and(|ask| matches!(ask.server, http::AskServer::Tls { .. }));
                let trust = is_tls.then(|| http::trust(None, &self.room.configs)).transpose()?;
                Some(Asking::OnDemand(OnDemand {
                    rule: OnDemandRule::clone(rule),
                    trust,
                    orders: self.orders.clone(),
                }))
            }
            _ => None,
        })
    }

    /// Who orders what is asked for on demand; told once.
    pub fn set_orders(&self, orders: Arc<dyn OnDemandOrders>) {
        let _ = self.orders.set(orders);
    }

    /// Keeps these current from here on, and no others. `secret`: the fleet's, with the keys made of it.
    ///
    /// # Errors
    /// The thread that watches cannot be started.
    pub fn watch(
        self: &Arc<Self>,
        sites: Vec<Arc<KeptSite>>,
        secret: Option<(PathBuf, Arc<TicketKeys>)>,
    ) -> std::io::Result<()> {
        // As if never looked at: what changed since it was read is read again.
        let secret = secret.map(|(path, keys)| KeptSecret { path, keys, seen: Look::default() });
        let by_name = sites.iter().map(|kept| (kept.plan.site.clone(), Arc::clone(kept))).collect();
        *self.lock() = Watched { sites, by_name, secret };
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(woken) = woken {
            let keeper = Arc::clone(self);
            std::thread::Builder::new().name("certificates".to_owned()).spawn(move || keeper.run(&woken))?;
        }
        // Full of bytes already: it will wake.
        let _ = (&self.wake).write(&[1]);
        Ok(())
    }

    /// Those that serve now.
    pub fn sites(&self) -> Vec<Arc<KeptSite>> {
        self.lock().sites.clone()
    }

    fn run(&self, woken: &UnixStream) {
        let mut watch = match Watch::new() {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, "files cannot be watched (fs.inotify.max_user_instances): they are looked at every second");
                None
            }
        };
        let mut renewals = Instant::now();
        loop {
            // Watched first, looked at then: nothing falls between.
            if let Some(watch) = &mut watch
                && let Err(error) = watch.set(self.directories())
            {
                tracing::warn!(%error, "files cannot be watched (fs.inotify.max_user_watches)");
            }
            self.look(false);
            if renewals.elapsed() >= RENEWAL_LOOK {
                renewals = Instant::now();
                self.look(true);
                self.room.cache.sweep(self.room.clock.now());
            }
            let unwatched = watch.as_ref().is_none_or(Watch::is_incomplete);
            let timeout = if unwatched { FILE_LOOK_UNWATCHED } else { FILE_LOOK };
            let woken_by = match &watch {
                Some(watch) => watch.wait(woken, timeout),
                None => {
                    std::thread::sleep(timeout);
                    Woken::Nothing
                }
            };
            if woken_by == Woken::Asked {
                let mut bytes = [0; 64];
                while matches!((&mut &*woken).read(&mut bytes), Ok(1..)) {}
            }
        }
    }

    fn directories(&self) -> BTreeSet<PathBuf> {
        let watched = self.lock();
        let mut all = BTreeSet::new();
        for site in &watched.sites {
            site.plan.files().for_each(|path| directories(path, &mut all));
        }
        if let Some(secret) = &watched.secret {
            directories(&secret.path, &mut all);
        }
        all
    }

    /// Takes up what changed. `renew`: and what changes with time.
    fn look(&self, renew: bool) {
        let (sites, secret) = {
            let watched = self.lock();
            (watched.sites.clone(), watched.secret.clone())
        };
        for site in sites {
            let changed = site.lock().seen != site.plan.look();
            if changed || (renew && site.changes_with_time(self.now())) {
                self.refresh(&site);
            }
        }
        if let Some(secret) = secret {
            self.refresh_secret(secret);
        }
    }

    /// The same for a site by its name: another certificate of it has come.
    pub fn refresh_site(&self, name: &str) {
        let site = self.lock().by_name.get(name).cloned();
        // None: it went with a reload, whose generation reads it anew.
        if let Some(site) = site {
            self.refresh(&site);
        }
    }

    /// Reads a site's files anew, and has it served with what is good of them.
    pub fn refresh(&self, site: &KeptSite) {
        let mut problems = Vec::new();
        let taken_up = site.refresh(self.now(), &self.room.configs, &mut problems);
        site.lock().troubles = problems.iter().map(Trouble::of).collect();
        for problem in problems {
            self.counters.refused.add(problem.reason());
            let site = &site.plan.site;
            tracing::error!(site, "{problem}; what was served before stays. {}", problem.remedy());
        }
        for what in taken_up {
            self.counters.taken_up.fetch_add(1, Ordering::Relaxed);
            tracing::info!(site = site.plan.site, "taken up: {what}");
        }
    }

    fn refresh_secret(&self, mut secret: KeptSecret) {
        let seen = Look::at([&*secret.path]);
        if seen == secret.seen {
            return;
        }
        secret.seen = seen;
        match secret::read(&secret.path).map(|bytes| secret.keys.set_secret(&bytes, self.room.clock.now())) {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                self.counters.taken_up.fetch_add(1, Ordering::Relaxed);
                tracing::info!("taken up: another fleet secret");
            }
            Ok(Err(problem)) => {
                self.counters.refused.add("secret");
                tracing::error!("{}: {problem}; the secret from before stays", secret.path.display());
            }
            Err(problem) => {
                self.counters.refused.add(problem.reason());
                tracing::error!("{problem}; the secret from before stays. {}", problem.remedy());
            }
        }
        let mut watched = self.lock();
        if let Some(current) = &mut watched.secret
            && Arc::ptr_eq(&current.keys, &secret.keys)
        {
            current.seen = secret.seen;
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.room.clock.now().unix / 1000).unwrap_or(i64::MAX)
    }

    /// As the cache of names counts time.
    pub fn moment(&self) -> Moment {
        self.room.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SitePlan {
    /// All files that say how the site is served.
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().flat_map(Source::files).chain(self.policy.files())
    }

    fn look(&self) -> Look {
        Look::at(self.files())
    }

    fn served(
        &self,
        policy: &Arc<Policy>,
        set: CertificateSet,
        configs: &ServerConfigs,
    ) -> Result<ServedTls, CertificateProblem> {
        ServedTls::new(&self.site, policy.number(), Arc::clone(policy), set, &self.sessions, configs)
            .map_err(|problem| CertificateProblem::new(Path::new(""), CertificateTrouble::Policy(problem)))
    }
}

fn is_current(set: &CertificateSet, now: i64) -> bool {
    set.certificates().iter().all(|certificate| certificate.is_current(now))
}

impl KeptSite {
    pub fn tls(&self) -> &Arc<SiteTls> {
        &self.tls
    }

    pub fn plan(&self) -> &SitePlan {
        &self.plan
    }

    /// Whether what serves here may go on under `plan`.
    fn is_alike(&self, plan: &SitePlan) -> bool {
        let here = &self.plan;
        here.site == plan.site && here.names == plan.names && here.sources == plan.sources
    }

    /// What the sources of the fixed slot of this number gave.
    fn last_given(&self, number: usize) -> Option<LastGiven> {
        Some(self.lock().fixed.get(number)?.last.clone())
    }

    fn changes_with_time(&self, now: i64) -> bool {
        // A staple is past its time long before its certificate is.
        let self_signed =
            self.plan.sources.iter().any(|source| {
                matches!(source, Source::SelfSigned { .. } | Source::Files { ocsp: Some(_), .. })
            });
        let ended = || {
            let mut served = self.fixed.iter().map(|fixed| fixed.live.load_full());
            served.any(|served| served.is_none_or(|served| !is_current(&served.certificates, now)))
        };
        self_signed || ended()
    }

    /// Reads everything anew; returns what is served differently, in words. What cannot be used goes to
    /// `problems`, and what was served stays. `now`: seconds since 1970.
    pub fn refresh(
        &self,
        now: i64,
        configs: &ServerConfigs,
        problems: &mut Vec<CertificateProblem>,
    ) -> Vec<String> {
        let mut state = self.lock();
        // Before anything is read: a change meanwhile is seen later.
        state.seen = self.plan.look();
        let mut taken_up = Vec::new();
        let before = self.tls.policy.load_full();
        let policy = match self.plan.policy.make(configs.provider()) {
            Ok(policy) if policy == *before => before,
            Ok(policy) => {
                let policy = Arc::new(policy);
                taken_up.push("other rules for client certificates".to_owned());
                // First of all those that ask: an answer from here on is under the new one.
                self.asked.iter().for_each(|asked| asked.set_policy(Arc::clone(&policy)));
                self.tls.policy.store(Arc::clone(&policy));
                policy
            }
            Err(problem) => {
                problems.push(problem);
                before
            }
        };
        for (fixed, state) in self.fixed.iter().zip(&mut state.fixed) {
            let serving = fixed.live.load_full();
            let (plan, last) = (&self.plan, &mut state.last);
            let found = find_again(
                &plan.site,
                &plan.names,
                &plan.sources[fixed.sources.clone()],
                &plan.state_directory,
                now,
                configs,
                last,
            );
            // Nothing was ever given, then: a source that gave something has it stand in.
            let found = match found {
                Ok(found) => found,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            problems.extend(found.warnings.into_iter().filter_map(|warning| match warning {
                warning if warning.is_not_ordered_yet() => None,
                CertificateWarning::Skipped(problem) => Some(problem),
                _ => None,
            }));
            let set = found.set;
            state.from = Some((found.at, found.beside));
            let same_set = serving.as_ref().is_some_and(|served| served.certificates.is_same(&set));
            let same_policy = serving.as_ref().is_some_and(|served| served.policy == policy);
            if same_set && same_policy {
                continue;
            }
            match plan.served(&policy, set.clone(), configs) {
                Ok(served) => {
                    fixed.live.store(Some(Arc::new(served)));
                    if !same_set {
                        taken_up.push(describe(&set));
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        taken_up
    }

    /// Serves `set` from the fixed slot whose sources hold the one that `is_source` knows: for sources
    /// that find their certificates by themselves. False: there is no such slot.
    ///
    /// # Errors
    /// The policy of the site cannot be served with it.
    pub fn publish(
        &self,
        is_source: impl Fn(&Source) -> bool,
        set: CertificateSet,
        configs: &ServerConfigs,
    ) -> Result<bool, CertificateProblem> {
        let mut state = self.lock();
        for (fixed, state) in self.fixed.iter().zip(&mut state.fixed) {
            if let Some(at) = self.plan.sources[fixed.sources.clone()].iter().position(&is_source) {
                let policy = self.tls.policy.load_full();
                fixed.live.store(Some(Arc::new(self.plan.served(&policy, set.clone(), configs)?)));
                state.last.put(at, set);
                state.from = Some((at, Vec::new()));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn lock(&self) -> MutexGuard<'_, KeptState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(set: &CertificateSet) -> String {
    let one = |certificate: &crate::tls::ServedCertificate| {
        let names: Vec<String> = certificate.names().display().take(3).collect();
        format!(
            "{} certificate for {} from source {}, good until {}",
            certificate.key_kind().word(),
            names.join(", "),
            certificate.source().word(),
            super::problem::date(certificate.not_after())
        )
    };
    set.certificates().iter().map(one).collect::<Vec<_>>().join("; ")
}

mod standing;

#[cfg(test)]
mod tests;

use standing::Trouble;
pub use standing::{SiteStanding, SourceStanding, Standing};
