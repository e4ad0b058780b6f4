//! The TLS side of a generation: from what the configuration says to what `certs` keeps.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::StartFailure;
use super::generation::SiteWarning;
use crate::certs::{self, AskLimits, Keeper, KeptSite, PolicyPlan, SitePlan};
use crate::config::{self, Config, Generation, SelfSignedKey, SessionMode, Site, TlsVersions};
use crate::tls::{
    self, CacheLimits, Moment, ServerConfigs, SessionCache, Sessions, TicketKeys, TlsProblem, Versions,
};

/// # Errors
/// The system gives no socket pair.
pub fn keeper(config: &Config) -> Result<Arc<Keeper>, StartFailure> {
    let clock = Arc::new(SystemClock { began: Instant::now() });
    Keeper::new(ServerConfigs::new(None), clock, ask_limits(config)).map_err(StartFailure::System)
}

pub fn ask_limits(config: &Config) -> AskLimits {
    let settings = config.certificate_cache;
    AskLimits {
        size: settings.size,
        lifetime: settings.lifetime,
        unknown_names_per_second: settings.unknown_names_per_second,
    }
}

/// The certificates of all sites, in their order; `None` for a site without HTTPS.
///
/// # Errors
/// Those of all sites.
pub fn keep_sites(
    config: &Config,
    keeper: &Keeper,
    sessions: &Sessions,
    warnings: &mut Vec<SiteWarning>,
) -> Result<Vec<Option<Arc<KeptSite>>>, StartFailure> {
    let mut problems = Vec::new();
    let mut all = Vec::with_capacity(config.sites.len());
    for site in &config.sites {
        if !site.ssl {
            all.push(None);
            continue;
        }
        let place = site.certificate.first().map_or(&site.place, |written| &written.place);
        let mut found = Vec::new();
        match keeper.site(plan(config, site, sessions), &mut found) {
            Ok(kept) => all.push(Some(kept)),
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

fn plan(config: &Config, site: &Site, sessions: &Sessions) -> SitePlan {
    SitePlan {
        site: site.name.clone(),
        names: site.hosts.iter().chain(&site.aliases).map(|host| host.pattern.to_string()).collect(),
        sources: site.certificate.iter().map(|written| source(&written.source)).collect(),
        policy: policy(site),
        state_directory: config.state_directory.clone(),
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
        alpn: vec!["http/1.1".to_owned()],
        ..PolicyPlan::default()
    }
}

pub fn source(written: &config::Source) -> certs::Source {
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

/// The sessions of the generation before where they can go on: a cache always, whose bounds [`adopt`] sets, and
/// ticket keys of the same lifetime.
///
/// # Errors
/// A lifetime too short for tickets.
pub fn sessions(
    config: &Config,
    clock: &Arc<dyn tls::Clock>,
    before: Option<&Generation>,
) -> Result<Sessions, TlsProblem> {
    let clock = clock.clone();
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
pub fn adopt(generation: &Generation, keeper: &Keeper) {
    if let Sessions::Cache { cache, .. } = &generation.sessions {
        let settings = generation.config.session_cache;
        cache.set_limits(CacheLimits::new(settings.size, settings.lifetime));
    }
    keeper.set_limits(ask_limits(&generation.config));
}

/// The system's clocks, as sessions are dated.
struct SystemClock {
    began: Instant,
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
