//! Building a generation: certificates found, names resolved, rules compiled. All problems at once.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::StartFailure;
use super::sealing;
use super::upstreams;
use crate::access_log::{AccessLog, Destination};
use crate::certs::{self, CertificateProblem, CertificateWarning, FoundCertificate};
use crate::config::{
    self, Config, Endpoint, Generation, Kept, SelfSignedKey, ServedSite, SessionMode, SessionProtection,
    Site, SiteTls, TlsVersions, UpstreamId,
};
use crate::dispatch::{Place, Ports, Sites};
use crate::http::Scheme;
use crate::limits::AddressLimits;
use crate::sealing::Binding as SealedFor;
use crate::spool;
use crate::tls::{
    self, Binding, CacheLimits, CertificateSet, Moment, Policy, ServerConfigs, SessionCache, Sessions,
    TicketKeys, TlsProblem, Versions,
};

/// Something about a site's certificate the operator should hear.
pub struct SiteWarning {
    pub site: String,
    /// Where the site's certificate is written, or the site.
    pub place: Place,
    pub warning: CertificateWarning,
}

/// Builds a generation for listeners bound to `addresses`; what is served and hardly meant goes to
/// `warnings`. `before`: the one that serves now, whose sessions it goes on with; it is not changed.
///
/// # Errors
/// All problems of the first kind that was met.
pub fn build(
    config: Config,
    addresses: &[(Scheme, SocketAddr)],
    before: Option<&Generation>,
    warnings: &mut Vec<SiteWarning>,
) -> Result<Generation, StartFailure> {
    let ports = outside_ports(&config, addresses);
    let configs = ServerConfigs::new(None);
    let policies = policies(&config)?;
    let sites = compile(&config, &policies, ports)?;
    let (endpoints, upstreams) = upstreams::endpoints(&config, before)?;
    let access_log = access_log(&config, before)?;
    let certificates = certificates(&config, &configs, warnings)?;
    // Sessions are dated by one clock as long as the process lives.
    let dates = before.map_or_else(|| Arc::new(SystemClock) as Arc<dyn tls::Clock>, |b| b.dates.clone());
    let sessions = sessions(&config, &dates, before)
        .map_err(|problem| StartFailure::Tls(vec![("*".to_owned(), problem)]))?;

    let challenges = before.map_or_else(Arc::default, |before| before.challenges.clone());
    let sealing = before.map_or_else(Arc::default, |before| before.sealing.clone());
    if seals(&config) {
        sealing::KeyFile::in_directory(&config.state_directory)
            .look(&sealing)
            .map_err(StartFailure::Sealing)?;
    }

    let mut served = Vec::with_capacity(config.sites.len());
    let mut problems = Vec::new();
    let parts = config.sites.iter().zip(policies).zip(certificates).zip(upstreams);
    for (((site, policy), certificates), upstreams) in parts {
        let tls = certificates.map(|certificates| {
            let sessions = sessions.for_site(Binding::of(&site.name, &policy));
            let config = configs.build(&policy, certificates.clone(), sessions);
            let (site, policy) = (site.name.clone(), policy.number());
            config.map(|config| Arc::new(SiteTls { site, policy, config, certificates }))
        });
        match tls.transpose() {
            Ok(tls) => served.push(serve(site, tls, upstreams, &endpoints)),
            Err(problem) => problems.push((site.name.clone(), problem)),
        }
    }
    if !problems.is_empty() {
        return Err(StartFailure::Tls(problems));
    }
    let address_limits = before
        .map_or_else(|| Arc::new(AddressLimits::new(Instant::now())), |before| before.address_limits.clone());
    let kept = Kept { sessions, dates, sealing, challenges, access_log, address_limits };
    let outside = (ports.http.unwrap_or(80), ports.https.unwrap_or(443));
    let written = config.listen.http.iter().chain(&config.listen.https);
    let settings = written.map(|listener| listener.settings.clone());
    let listeners = addresses.iter().copied().zip(settings).collect();
    let number = before.map_or(1, |before| before.number + 1);
    Ok(Generation::new(number, config, sites, endpoints, served, kept, (listeners, outside)))
}

/// The sites as a generation has them, for those who only ask what is decided. `ports`: what visitors see, as
/// [`Listen::ports`](crate::config::Listen::ports) says.
///
/// # Errors
/// All problems of the first kind that was met.
pub fn sites(config: &Config, ports: Ports) -> Result<Sites, StartFailure> {
    compile(config, &policies(config)?, ports)
}

/// What `check` says of a good configuration.
pub struct Summary {
    sites: usize,
    rules: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let Summary { sites, rules } = *self;
        write!(f, "{sites} site{}, {rules} rule{}", plural(sites), plural(rules))
    }
}

/// Builds all of a generation but its sockets and threads, and leaves nothing behind: self-signed
/// certificates are made in a place of their own.
///
/// # Errors
/// As [`build`].
pub fn verify(mut config: Config) -> Result<(Summary, Vec<SiteWarning>), StartFailure> {
    if seals(&config) {
        sealing::KeyFile::in_directory(&config.state_directory).verify().map_err(StartFailure::Sealing)?;
    }
    let scratch = std::env::temp_dir().join(format!("portcullis-check-{}", std::process::id()));
    std::fs::create_dir(&scratch).map_err(StartFailure::System)?;
    config.state_directory = scratch.clone();
    let log = config.access_log.take();
    let mut warnings = Vec::new();
    let built = build(config, &[], None, &mut warnings);
    // What cannot be removed is in the system's directory for such things.
    let _ = std::fs::remove_dir_all(&scratch);
    // Nothing is ordered here, and what was is in the directory of the configuration.
    warnings.retain(|warning| !warning.warning.is_not_ordered_yet());
    let generation = built?;
    log.as_ref().map_or(Ok(()), log_can_be)?;
    let rules = generation.config.sites.iter().map(|site| site.rules().len()).sum();
    Ok((Summary { sites: generation.config.sites.len(), rules }, warnings))
}

fn serve(
    site: &Site,
    tls: Option<Arc<SiteTls>>,
    upstreams: Vec<(UpstreamId, u32)>,
    endpoints: &[Arc<Endpoint>],
) -> ServedSite {
    let inside = upstreams.iter().filter_map(|(id, _)| endpoints[id.0 as usize].key.authority());
    let inside =
        inside.filter(|_| site.rewrite_location).map(|authority| authority.into_bytes().into()).collect();
    ServedSite {
        upstreams,
        balance: site.balance,
        inside,
        tls,
        hsts: site.hsts.map(|hsts| Bytes::from(hsts.to_string())),
        session_cookies: if site.is_secure { site.session_cookies.clone() } else { Vec::new() },
        sealing: (site.session_protection == SessionProtection::Sealed)
            .then(|| site.session_cookies.iter().map(|cookie| SealedFor::of(&site.name, cookie)).collect()),
        path_reading: site.path_reading,
        request_body_bytes_max: site.request_body_bytes_max,
    }
}

/// Whether any site seals its session cookies.
pub fn seals(config: &Config) -> bool {
    config.sites.iter().any(|site| site.session_protection == SessionProtection::Sealed)
}

fn outside_ports(config: &Config, addresses: &[(Scheme, SocketAddr)]) -> Ports {
    let bound =
        |scheme| addresses.iter().find(|(of, _)| *of == scheme).map_or(0, |(_, address)| address.port());
    config.listen.ports(bound(Scheme::Http), bound(Scheme::Https))
}

fn policies(config: &Config) -> Result<Vec<Policy>, StartFailure> {
    let mut problems = Vec::new();
    let mut policies = Vec::with_capacity(config.sites.len());
    for site in &config.sites {
        let versions = match site.tls_versions {
            TlsVersions::Tls12AndTls13 => Versions::Tls12And13,
            TlsVersions::Tls12 => Versions::Tls12,
            TlsVersions::Tls13 => Versions::Tls13,
        };
        match Policy::new(versions, vec![b"h2".to_vec(), b"http/1.1".to_vec()], None) {
            Ok(policy) => policies.push(policy),
            Err(problem) => problems.push((site.name.clone(), problem)),
        }
    }
    if problems.is_empty() { Ok(policies) } else { Err(StartFailure::Tls(problems)) }
}

fn compile(config: &Config, policies: &[Policy], ports: Ports) -> Result<Sites, StartFailure> {
    // The table knows classes of equal policies, numbered as they come.
    let mut classes: Vec<u64> = Vec::new();
    let mut class = |policy: &Policy| {
        let number = policy.number();
        let known = classes.iter().position(|known| *known == number);
        known.unwrap_or_else(|| {
            classes.push(number);
            classes.len() - 1
        }) as u32
    };
    let mut rules = config.site_rules();
    for (rules, policy) in rules.iter_mut().zip(policies) {
        rules.tls_policy = class(policy);
    }
    // The configuration's reader compiled the same rules before.
    Sites::compile(rules, ports).map_err(|problems| {
        StartFailure::System(std::io::Error::other(format!("{} rules do not compile", problems.len())))
    })
}

/// The sessions of the generation before where they can go on: a cache always, whose bounds [`adopt`] sets, and
/// ticket keys of the same lifetime.
fn sessions(
    config: &Config,
    dates: &Arc<dyn tls::Clock>,
    before: Option<&Generation>,
) -> Result<Sessions, TlsProblem> {
    let clock = dates.clone();
    let settings = config.session_cache;
    if let Some(before) = before {
        let same_lifetime = before.config.session_cache.lifetime == settings.lifetime;
        match (settings.mode, &before.sessions) {
            (SessionMode::Cache, sessions @ Sessions::Cache { .. }) => return Ok(sessions.clone()),
            (SessionMode::Tickets, sessions @ Sessions::Tickets { .. }) if same_lifetime => {
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
            Sessions::Tickets { keys: Arc::new(TicketKeys::random(settings.lifetime)?), clock }
        }
    })
}

/// Gives what outlives generations the bounds of this one, which is about to serve.
pub fn adopt(generation: &Generation) {
    if let Sessions::Cache { cache, .. } = &generation.sessions {
        let settings = generation.config.session_cache;
        cache.set_limits(CacheLimits::new(settings.size, settings.lifetime));
    }
}

/// The log of the generation before when it is the same one.
fn access_log(config: &Config, before: Option<&Generation>) -> Result<Option<Arc<AccessLog>>, StartFailure> {
    let Some(log) = &config.access_log else {
        return Ok(None);
    };
    if let Some(kept) = before.and_then(|before| before.access_log.as_ref())
        && kept.destination == log.to
        && kept.format == log.format
    {
        return Ok(Some(kept.clone()));
    }
    match spool::open(&log.to) {
        Ok(sink) => Ok(Some(Arc::new(AccessLog { destination: log.to.clone(), format: log.format, sink }))),
        Err(error) => Err(no_log(log, error)),
    }
}

/// As far as can be told without making the file.
fn log_can_be(log: &config::AccessLog) -> Result<(), StartFailure> {
    let Destination::File(path) = &log.to else {
        return Ok(());
    };
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    match std::fs::metadata(path).or_else(|_| std::fs::metadata(directory)) {
        Ok(found) if found.is_dir() && path.is_dir() => {
            Err(no_log(log, std::io::ErrorKind::IsADirectory.into()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(no_log(log, error)),
    }
}

fn no_log(log: &config::AccessLog, error: std::io::Error) -> StartFailure {
    let path = match &log.to {
        Destination::File(path) | Destination::Syslog(path) => path.clone(),
        Destination::Stdout => "stdout".into(),
    };
    StartFailure::AccessLog { place: log.place.clone(), path, error }
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

/// A certificate for each site with HTTPS, each source asked in turn. Reading and proving one takes half a
/// millisecond: ten thousand are shared by as many threads as there are cores.
fn certificates(
    config: &Config,
    configs: &ServerConfigs,
    warnings: &mut Vec<SiteWarning>,
) -> Result<Vec<Option<CertificateSet>>, StartFailure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let part = config.sites.len().div_ceil(threads).max(SITES_PER_THREAD_MIN);
    let find = |sites: &[Site]| -> Vec<_> {
        sites.iter().map(|site| certificate(site, &config.state_directory, now, configs)).collect()
    };
    let found: Vec<Vec<_>> = std::thread::scope(|scope| {
        let mut parts = config.sites.chunks(part);
        let first = parts.next().unwrap_or_default();
        let others: Vec<_> = parts.map(|sites| scope.spawn(move || find(sites))).collect();
        let first = find(first);
        let others = others.into_iter().map(|other| match other.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(first).chain(others).collect()
    });
    let mut problems = Vec::new();
    let mut all = Vec::with_capacity(config.sites.len());
    for (site, found) in config.sites.iter().zip(found.into_iter().flatten()) {
        let place = site.certificate.first().map_or(&site.place, |written| &written.place);
        match found {
            Some(Ok(found)) => {
                warnings.extend(found.warnings.into_iter().map(|warning| SiteWarning {
                    site: site.name.clone(),
                    place: place.clone(),
                    warning,
                }));
                all.push(Some(found.set));
            }
            Some(Err(problem)) => problems.push((place.clone(), site.name.clone(), problem)),
            None => all.push(None),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(StartFailure::Certificates(problems)) }
}

/// Fewer sites are not worth a thread.
const SITES_PER_THREAD_MIN: usize = 32;

/// The certificate of one site; `None`: it has no HTTPS.
fn certificate(
    site: &Site,
    state_directory: &Path,
    now: i64,
    configs: &ServerConfigs,
) -> Option<Result<FoundCertificate, CertificateProblem>> {
    site.ssl.then(|| {
        let names: Vec<String> =
            site.hosts.iter().chain(&site.aliases).map(|host| host.pattern.to_string()).collect();
        let sources: Vec<certs::Source> =
            site.certificate.iter().map(|written| source(site, &written.source)).collect();
        certs::find(&site.name, &names, &sources, state_directory, now, configs)
    })
}

fn source(site: &Site, written: &config::Source) -> certs::Source {
    match written {
        config::Source::Files { certificate, key } => {
            certs::Source::Files { certificate: certificate.clone(), key: Some(key.clone()) }
        }
        config::Source::Directory { directory } => certs::Source::Directory { directory: directory.clone() },
        config::Source::Acme(acme) => certs::Source::Acme { names: site.acme_names(acme) },
        config::Source::SelfSigned { key } => certs::Source::SelfSigned {
            key: match key {
                SelfSignedKey::Ours => None,
                SelfSignedKey::File(path) => Some(path.clone()),
            },
        },
    }
}
