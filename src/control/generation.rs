//! Building a generation: certificates found, names resolved, rules compiled. All problems at once.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::acme::AcmeKeeper;
use super::{StartFailure, run_as, sealing, tls, upstreams};
use crate::access_log::{AccessLog, Destination};
use crate::certs::{CertificateWarning, Keeper, KeptSite, PolicyPlan};
use crate::config::{
    self, Config, Endpoint, Generation, Kept, ServedSite, SessionProtection, Site, UpstreamId,
};
use crate::dispatch::{Place, Ports, Sites};
use crate::http::Scheme;
use crate::limits::AddressLimits;
use crate::sealing::Binding as SealedFor;
use crate::spool;
use crate::tls::SiteTls;

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
    mut config: Config,
    addresses: &[(Scheme, SocketAddr)],
    before: Option<&Generation>,
    keeper: &Keeper,
    warnings: &mut Vec<SiteWarning>,
) -> Result<(Generation, Vec<Arc<KeptSite>>), StartFailure> {
    config.sites.iter_mut().for_each(Site::forget_places);
    let ports = outside_ports(&config, addresses);
    let sites = sites(&config, ports)?;
    let (endpoints, upstreams) = upstreams::endpoints(&config, before)?;
    let access_log = access_log(&config, before)?;
    // Sessions are dated by one clock as long as the process lives.
    let dates = keeper.clock().clone();
    let sessions = tls::sessions(&config, &dates, before)?;
    AcmeKeeper::verify(&config)?;
    let kept_sites = tls::keep_sites(&config, keeper, &sessions, warnings)?;

    let challenges = before.map_or_else(Arc::default, |before| before.challenges.clone());
    let sealing = before.map_or_else(Arc::default, |before| before.sealing.clone());
    if seals(&config) {
        sealing::KeyFile::in_directory(&config.state_directory)
            .look(&sealing)
            .map_err(StartFailure::Sealing)?;
    }

    let parts = config.sites.iter().zip(&kept_sites).zip(upstreams);
    let served = parts
        .map(|((site, kept), upstreams)| {
            serve(site, kept.as_ref().map(|kept| kept.tls().clone()), upstreams, &endpoints)
        })
        .collect();
    let address_limits = before
        .map_or_else(|| Arc::new(AddressLimits::new(Instant::now())), |before| before.address_limits.clone());
    let kept = Kept { sessions, dates, sealing, challenges, access_log, address_limits };
    let outside = (ports.http.unwrap_or(80), ports.https.unwrap_or(443));
    let written = config.listen.http.iter().chain(&config.listen.https);
    let settings = written.map(|listener| listener.settings.clone());
    let listeners = addresses.iter().copied().zip(settings).collect();
    let number = before.map_or(1, |before| before.number + 1);
    let generation = Generation::new(number, config, sites, endpoints, served, kept, (listeners, outside));
    Ok((generation, kept_sites.into_iter().flatten().collect()))
}

/// The sites as a generation has them, for those who only ask what is decided. `ports`: what visitors see, as
/// [`Listen::ports`](crate::config::Listen::ports) says.
///
/// # Errors
/// All problems of the first kind that was met.
pub fn sites(config: &Config, ports: Ports) -> Result<Sites, StartFailure> {
    compile(config, ports)
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
    run_as::find(config.run_as.as_ref()).map_err(StartFailure::RunAs)?;
    if seals(&config) {
        sealing::KeyFile::in_directory(&config.state_directory).verify().map_err(StartFailure::Sealing)?;
    }
    let scratch = std::env::temp_dir().join(format!("portcullis-check-{}", std::process::id()));
    std::fs::create_dir(&scratch).map_err(StartFailure::System)?;
    config.state_directory = scratch.clone();
    let log = config.access_log.take();
    let mut warnings = Vec::new();
    let keeper = tls::keeper(&config)?;
    let built = build(config, &[], None, &keeper, &mut warnings);
    // What cannot be removed is in the system's directory for such things.
    let _ = std::fs::remove_dir_all(&scratch);
    // Nothing is ordered here, and what was is in the directory of the configuration.
    warnings.retain(|warning| !warning.warning.is_not_ordered_yet());
    let (generation, _) = built?;
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

fn compile(config: &Config, ports: Ports) -> Result<Sites, StartFailure> {
    // The table knows classes of equal policies, numbered as they come.
    let mut classes: HashMap<PolicyPlan, u32> = HashMap::new();
    let mut rules = config.site_rules();
    for (rules, site) in rules.iter_mut().zip(&config.sites) {
        let number = classes.len() as u32;
        rules.tls_policy = *classes.entry(tls::policy(site)).or_insert(number);
    }
    // The configuration's reader compiled the same rules before.
    Sites::compile(rules, ports).map_err(|problems| {
        StartFailure::System(std::io::Error::other(format!("{} rules do not compile", problems.len())))
    })
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
