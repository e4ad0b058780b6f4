//! Building a generation: certificates found, names resolved, rules compiled. All problems at once.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::StartFailure;
use super::failure::ResolveFailure;
use super::sealing;
use crate::certs::{self, CertificateWarning};
use crate::config::{
    self, Config, Endpoint, Generation, SelfSignedKey, ServedSite, SessionMode, SessionProtection, Site,
    SiteTls, TlsVersions, Upstream, UpstreamHost, UpstreamId,
};
use crate::dispatch::{Place, Ports, Sites};
use crate::http::Scheme;
use crate::sealing::Binding as SealedFor;
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
    let (endpoints, upstreams) = endpoints(&config)?;
    let certificates = certificates(&config, &configs, warnings)?;
    // Sessions are dated by one clock as long as the process lives.
    let dates =
        before.map_or_else(|| Arc::new(SystemClock::new()) as Arc<dyn tls::Clock>, |b| b.dates.clone());
    let sessions = sessions(&config, &dates, before)
        .map_err(|problem| StartFailure::Tls(vec![("*".to_owned(), problem)]))?;

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
            Ok(tls) => served.push(serve(site, tls, upstreams)),
            Err(problem) => problems.push((site.name.clone(), problem)),
        }
    }
    if !problems.is_empty() {
        return Err(StartFailure::Tls(problems));
    }
    let outside = (ports.http.unwrap_or(80), ports.https.unwrap_or(443));
    let written = config.listen.http.iter().chain(&config.listen.https);
    let settings = written.map(|listener| listener.settings.clone());
    let listeners = addresses.iter().copied().zip(settings).collect();
    let number = before.map_or(1, |before| before.number + 1);
    Ok(Generation::new(
        number,
        config,
        sites,
        endpoints,
        served,
        (sessions, dates, sealing),
        (listeners, outside),
    ))
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
    let mut warnings = Vec::new();
    let built = build(config, &[], None, &mut warnings);
    // What cannot be removed is in the system's directory for such things.
    let _ = std::fs::remove_dir_all(&scratch);
    let generation = built?;
    let rules = generation.config.sites.iter().map(|site| site.rules().len()).sum();
    Ok((Summary { sites: generation.config.sites.len(), rules }, warnings))
}

fn serve(site: &Site, tls: Option<Arc<SiteTls>>, upstreams: Vec<UpstreamId>) -> ServedSite {
    ServedSite {
        upstreams,
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
        match Policy::new(versions, vec![b"http/1.1".to_vec()], None) {
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

/// Addresses of all site servers, each once, and which of them each site has.
fn endpoints(config: &Config) -> Result<(Vec<Endpoint>, Vec<Vec<UpstreamId>>), StartFailure> {
    let mut known: std::collections::HashMap<&Upstream, UpstreamId> = std::collections::HashMap::new();
    let mut endpoints = Vec::new();
    let mut failures = Vec::new();
    let mut all = Vec::with_capacity(config.sites.len());
    for site in &config.sites {
        let mut ids = Vec::with_capacity(site.upstream.len());
        for written in &site.upstream {
            if let Some(id) = known.get(&written.upstream) {
                ids.push(*id);
                continue;
            }
            match resolve(&written.upstream) {
                Ok(endpoint) => {
                    let id = UpstreamId(endpoints.len() as u32);
                    endpoints.push(endpoint);
                    known.insert(&written.upstream, id);
                    ids.push(id);
                }
                Err(error) => failures.push(ResolveFailure {
                    place: written.place.clone(),
                    upstream: written.text.clone(),
                    error,
                }),
            }
        }
        all.push(ids);
    }
    if failures.is_empty() { Ok((endpoints, all)) } else { Err(StartFailure::Resolve(failures)) }
}

fn resolve(upstream: &Upstream) -> std::io::Result<Endpoint> {
    match upstream {
        Upstream::Unix { path } => Ok(Endpoint::Unix(path.clone())),
        Upstream::Tcp { host: UpstreamHost::Address(address), port } => {
            Ok(Endpoint::Tcp(vec![SocketAddr::new(*address, *port)]))
        }
        Upstream::Tcp { host: UpstreamHost::Name(name), port } => {
            let addresses: Vec<SocketAddr> = (name.as_str(), *port).to_socket_addrs()?.collect();
            if addresses.is_empty() {
                return Err(std::io::ErrorKind::NotFound.into());
            }
            Ok(Endpoint::Tcp(addresses))
        }
        Upstream::Tls { .. } => Err(std::io::ErrorKind::Unsupported.into()),
    }
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

/// The system's clocks, as sessions are dated.
struct SystemClock {
    began: Instant,
}

impl SystemClock {
    fn new() -> SystemClock {
        SystemClock { began: Instant::now() }
    }
}

impl tls::Clock for SystemClock {
    fn now(&self) -> Moment {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Moment {
            monotonic: self.began.elapsed().as_millis() as u64,
            unix: unix.map_or(0, |since| since.as_millis() as u64),
        }
    }
}

/// A certificate for each site with HTTPS, each source asked in turn.
fn certificates(
    config: &Config,
    configs: &ServerConfigs,
    warnings: &mut Vec<SiteWarning>,
) -> Result<Vec<Option<CertificateSet>>, StartFailure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut problems = Vec::new();
    let mut all = Vec::with_capacity(config.sites.len());
    for site in &config.sites {
        if !site.ssl {
            all.push(None);
            continue;
        }
        let names: Vec<String> =
            site.hosts.iter().chain(&site.aliases).map(|host| host.pattern.to_string()).collect();
        let sources: Vec<certs::Source> =
            site.certificate.iter().map(|written| source(&written.source)).collect();
        let place = site.certificate.first().map_or(&site.place, |written| &written.place);
        match certs::find(&site.name, &names, &sources, &config.state_directory, now, configs) {
            Ok(found) => {
                warnings.extend(found.warnings.into_iter().map(|warning| SiteWarning {
                    site: site.name.clone(),
                    place: place.clone(),
                    warning,
                }));
                all.push(Some(found.set));
            }
            Err(problem) => problems.push((place.clone(), site.name.clone(), problem)),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(StartFailure::Certificates(problems)) }
}

fn source(written: &config::Source) -> certs::Source {
    match written {
        config::Source::Files { certificate, key } => {
            certs::Source::Files { certificate: certificate.clone(), key: Some(key.clone()) }
        }
        config::Source::Directory { directory } => certs::Source::Directory { directory: directory.clone() },
        config::Source::SelfSigned { key } => certs::Source::SelfSigned {
            key: match key {
                SelfSignedKey::Ours => None,
                SelfSignedKey::File(path) => Some(path.clone()),
            },
        },
    }
}
