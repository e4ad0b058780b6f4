//! The TLS side of a generation: from what the configuration says to what `certs` keeps.

use std::collections::HashSet;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::StartFailure;
use super::generation::SiteWarning;
use crate::certs::{
    self, AskLimits, AskServer, AskUrl, ClientAuthPlan, Keeper, KeptSite, PolicyPlan, SitePlan,
};
use crate::config::{self, Config, Generation, SelfSignedKey, SessionMode, Site, TlsVersions};
use crate::tls::{self, CacheLimits, Moment, ServerConfigs, SessionCache, Sessions, TicketKeys, Versions};

/// # Errors
/// The system gives no socket pair.
pub fn keeper(config: &Config) -> Result<Arc<Keeper>, StartFailure> {
    Keeper::new(ServerConfigs::new(None), Arc::new(SystemClock), ask_limits(config))
        .map_err(StartFailure::System)
}

pub fn ask_limits(config: &Config) -> AskLimits {
    let settings = config.certificate_cache;
    AskLimits {
        size: settings.size,
        lifetime: settings.lifetime,
        unknown_names_per_second: settings.unknown_names_per_second,
    }
}

/// The certificates of all sites, in their order; `None` for a site without HTTPS. Reading and proving one takes
/// half a millisecond: ten thousand are shared by as many threads as there are cores.
///
/// # Errors
/// Those of all sites.
pub fn keep_sites(
    config: &Config,
    keeper: &Keeper,
    sessions: &Sessions,
    warnings: &mut Vec<SiteWarning>,
) -> Result<Vec<Option<Arc<KeptSite>>>, StartFailure> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let part = config.sites.len().div_ceil(threads).max(SITES_PER_THREAD_MIN);
    let state_directory: Arc<Path> = config.state_directory.as_path().into();
    let policies = shared_policies(config);
    let keep = |sites: &[Site], policies: &[Arc<PolicyPlan>]| -> Vec<_> {
        sites
            .iter()
            .zip(policies)
            .map(|(site, policy)| {
                let mut found = Vec::new();
                let plan = || plan(site, Arc::clone(policy), Arc::clone(&state_directory), sessions);
                let kept = site.ssl.then(|| keeper.site(plan(), &mut found));
                (kept, found)
            })
            .collect()
    };
    let keep = &keep;
    let kept: Vec<Vec<_>> = std::thread::scope(|scope| {
        let mut parts = config.sites.chunks(part).zip(policies.chunks(part));
        let (first, of_first) = parts.next().unwrap_or_default();
        let others: Vec<_> =
            parts.map(|(sites, policies)| scope.spawn(move || keep(sites, policies))).collect();
        let first = keep(first, of_first);
        let others = others.into_iter().map(|other| match other.join() {
            Ok(kept) => kept,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(first).chain(others).collect()
    });
    let mut problems = Vec::new();
    let mut all = Vec::with_capacity(config.sites.len());
    for (site, (kept, found)) in config.sites.iter().zip(kept.into_iter().flatten()) {
        let place = site.certificate.first().map_or(&site.place, |written| &written.place);
        match kept.transpose() {
            Ok(kept) => all.push(kept),
            Err(problem) => problems.push((place.clone(), site.name.clone(), problem)),
        }
        warnings.extend(found.into_iter().map(|warning| SiteWarning {
            site: site.name.clone(),
            place: place.clone(),
            warning,
        }));
    }
    if problems.is_empty() { Ok(all) } else { Err(StartFailure::Certificates(problems)) }
}

/// Fewer sites are not worth a thread.
const SITES_PER_THREAD_MIN: usize = 32;

/// The policies of the sites in their order, equal ones one: most sites have the same.
fn shared_policies(config: &Config) -> Vec<Arc<PolicyPlan>> {
    let mut known: HashSet<Arc<PolicyPlan>> = HashSet::new();
    let shared = config.sites.iter().map(|site| {
        let policy = policy(site);
        if let Some(known) = known.get(&policy) {
            return Arc::clone(known);
        }
        let policy = Arc::new(policy);
        known.insert(Arc::clone(&policy));
        policy
    });
    shared.collect()
}

fn plan(site: &Site, policy: Arc<PolicyPlan>, state_directory: Arc<Path>, sessions: &Sessions) -> SitePlan {
    SitePlan {
        site: site.name.clone(),
        names: site.hosts.iter().chain(&site.aliases).map(|host| host.pattern.to_string()).collect(),
        sources: site.certificate.iter().map(|written| source(site, &written.source)).collect(),
        policy,
        state_directory,
        sessions: sessions.clone(),
    }
}

/// What of a site's settings two sites must have in common to share a connection.
pub fn policy(site: &Site) -> PolicyPlan {
    PolicyPlan {
        versions: match site.tls_versions {
            TlsVersions::Tls12AndTls13 => Versions::Tls12And13,
            TlsVersions::Tls12 => Versions::Tls12,
            TlsVersions::Tls13 => Versions::Tls13,
        },
        alpn: site.alpn.clone(),
        cipher_suites: site.cipher_suites.clone(),
        compression: site.certificate_compression,
        client_auth: site.client_auth.as_ref().map(|auth| ClientAuthPlan {
            mode: match auth.mode {
                config::ClientAuthMode::Require => tls::ClientAuthMode::Require,
                config::ClientAuthMode::Request => tls::ClientAuthMode::Request,
            },
            ca: auth.ca.clone(),
            crl: auth.crl.clone(),
        }),
    }
}

/// A source in the words of `certs`.
pub fn source(site: &Site, written: &config::Source) -> certs::Source {
    match written {
        config::Source::Files { certificate, key, ocsp } => certs::Source::Files {
            certificate: certificate.clone(),
            key: Some(key.clone()),
            ocsp: ocsp.clone(),
        },
        config::Source::Directory { directory } => certs::Source::Directory { directory: directory.clone() },
        config::Source::Acme(acme) => match &acme.on_demand {
            Some(on_demand) => certs::Source::OnDemand { rule: Box::new(on_demand_rule(site, on_demand)) },
            None => certs::Source::Acme { names: site.acme_names(acme) },
        },
        config::Source::SelfSigned { key } => certs::Source::SelfSigned {
            key: match key {
                SelfSignedKey::Ours => None,
                SelfSignedKey::File(path) => Some(path.clone()),
            },
        },
        config::Source::Command { run, timeout } => {
            certs::Source::Command { run: run.clone(), timeout: *timeout }
        }
        config::Source::Http { url, timeout, ca } => {
            certs::Source::Http { url: Box::new(ask_url(url)), timeout: *timeout, ca: ca.clone() }
        }
    }
}

/// Hosts that the site names one by one may be ordered as those that are allowed.
fn on_demand_rule(site: &Site, on_demand: &config::OnDemand) -> certs::OnDemandRule {
    let mut allow: Vec<String> = on_demand.allow.iter().map(ToString::to_string).collect();
    if !allow.is_empty() {
        let hosts = site.hosts.iter().chain(&site.aliases).map(|host| &host.pattern);
        let exact = hosts.filter(|pattern| matches!(pattern, config::HostPattern::Exact(_)));
        allow.extend(exact.map(ToString::to_string));
    }
    certs::OnDemandRule { allow, ask: on_demand.ask.as_ref().map(ask_url) }
}

pub fn ask_url(url: &config::SourceUrl) -> AskUrl {
    AskUrl {
        server: match &url.server {
            config::Upstream::Tcp { host, port } => AskServer::Tcp { host: host.to_string(), port: *port },
            config::Upstream::Tls { host, port } => AskServer::Tls { host: host.to_string(), port: *port },
            config::Upstream::Unix { path } => AskServer::Unix { path: path.clone() },
        },
        authority: url.authority.clone(),
        target: url.target.clone(),
    }
}

/// The sessions of the generation before where they can go on: a cache always, whose bounds [`adopt`] sets, and
/// ticket keys of the same lifetime.
///
/// # Errors
/// A lifetime too short for tickets.
pub fn sessions(
    config: &Config,
    clock: &Arc<dyn tls::Clock>,
    before: Option<&Generation>,
) -> Result<Sessions, StartFailure> {
    let clock = clock.clone();
    let settings = &config.session_cache;
    if let Some(before) = before {
        let old = &before.config.session_cache;
        let same_keys =
            old.lifetime == settings.lifetime && old.fleet_secret_file == settings.fleet_secret_file;
        match (settings.mode, &before.sessions) {
            (SessionMode::Cache, sessions @ Sessions::Cache { .. }) => return Ok(sessions.clone()),
            // Another secret in the same file is taken up by the thread that watches it.
            (SessionMode::Tickets, sessions @ Sessions::Tickets { .. }) if same_keys => {
                return Ok(sessions.clone());
            }
            _ => {}
        }
    }
    Ok(match settings.mode {
        SessionMode::Off => Sessions::Off,
        SessionMode::Cache => Sessions::Cache {
            cache: Arc::new(SessionCache::new(CacheLimits::new(settings.size, settings.lifetime))),
            clock,
        },
        SessionMode::Tickets => {
            let keys = match &settings.fleet_secret_file {
                None => TicketKeys::random(settings.lifetime),
                Some(path) => {
                    let secret = certs::read_secret(path).map_err(StartFailure::Secret)?;
                    TicketKeys::from_secret(&secret, settings.lifetime)
                }
            };
            let keys = keys.map_err(|problem| StartFailure::Tls(vec![("*".to_owned(), problem)]))?;
            Sessions::Tickets { keys: Arc::new(keys), clock }
        }
    })
}

/// Gives what outlives generations the bounds of this one, which is about to serve.
pub fn adopt(generation: &Generation, keeper: &Keeper) {
    if let Sessions::Cache { cache, .. } = &generation.sessions {
        let settings = &generation.config.session_cache;
        cache.set_limits(CacheLimits::new(settings.size, settings.lifetime));
    }
    keeper.set_limits(ask_limits(&generation.config));
}

/// Has the certificates of a generation kept current, and the fleet's secret.
///
/// # Errors
/// No thread can be started.
pub fn watch(
    keeper: &Arc<Keeper>,
    generation: &Generation,
    sites: Vec<Arc<KeptSite>>,
) -> std::io::Result<()> {
    let secret = match (&generation.config.session_cache.fleet_secret_file, &generation.sessions) {
        (Some(path), Sessions::Tickets { keys, .. }) => Some((path.clone(), keys.clone())),
        _ => None,
    };
    keeper.watch(sites, secret)
}

/// The system's clocks, as sessions are dated. The monotonic one is the machine's, not the process's: the process
/// that takes over goes on with the same dates.
struct SystemClock;

impl tls::Clock for SystemClock {
    fn now(&self) -> Moment {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Moment {
            monotonic: monotonic.tv_sec as u64 * 1000 + monotonic.tv_nsec as u64 / 1_000_000,
            unix: unix.map_or(0, |since| since.as_millis() as u64),
        }
    }
}
