//! Which certificate a site would be served with, as far as looking tells: nothing is made, renewed or asked for.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::certs;
use crate::config::{SelfSignedKey, Site, Source};
use crate::control;
use crate::dispatch::{Covers, Place};
use crate::tls::{CertificateNames, CertificateSet, ServerConfigs};

/// One of a site's sources.
pub struct SourceSeen<'a> {
    pub source: &'a Source,
    pub place: &'a Place,
    pub state: SourceState,
}

pub enum SourceState {
    /// The first that answers: it is served.
    Answers(Answer),
    /// Asked, and passed over.
    Fails(String),
    /// Asked, and passed over for one whose dates hold.
    OutOfDate(Answer),
    /// Would be the first that answers; its certificate is made when the server needs it.
    Made,
    /// Asked for each name, in handshakes; not here.
    AskedForNames,
    /// After one that answers.
    NotAsked,
}

pub struct Answer {
    pub set: CertificateSet,
    pub warnings: Vec<String>,
}

/// The sources of a site in the order they are asked, up to the first that answers.
pub fn sources<'a>(site: &'a Site, state_directory: &Path) -> Vec<SourceSeen<'a>> {
    let names: Vec<String> = names(site).collect();
    let configs = ServerConfigs::new(None);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let ask = |source: &Source| {
        let wanted = match source {
            Source::SelfSigned { .. } => return SourceState::Made,
            Source::Command { .. } | Source::Http { .. } => return SourceState::AskedForNames,
            other => control::certificate_source(site, other),
        };
        match certs::find(&site.name, &names, &[wanted], state_directory, now, &configs) {
            Err(problem) => SourceState::Fails(problem.to_string()),
            Ok(found) => {
                let warnings = found.warnings.iter().map(ToString::to_string).collect();
                let is_current = found.set.certificates().iter().all(|one| one.is_current(now));
                let answer = Answer { set: found.set, warnings };
                if is_current { SourceState::Answers(answer) } else { SourceState::OutOfDate(answer) }
            }
        }
    };
    let mut seen: Vec<SourceSeen<'a>> = Vec::with_capacity(site.certificate.len());
    let mut answered = false;
    for written in &site.certificate {
        let state = if answered { SourceState::NotAsked } else { ask(&written.source) };
        answered |= matches!(state, SourceState::Answers(_) | SourceState::Made);
        seen.push(SourceSeen { source: &written.source, place: &written.place, state });
    }
    if !answered
        && let Some(last_resort) =
            seen.iter_mut().find(|seen| matches!(seen.state, SourceState::OutOfDate(_)))
        && let SourceState::OutOfDate(answer) =
            std::mem::replace(&mut last_resort.state, SourceState::NotAsked)
    {
        last_resort.state = SourceState::Answers(answer);
    }
    seen
}

fn names(site: &Site) -> impl Iterator<Item = String> {
    site.hosts.iter().chain(&site.aliases).map(|host| host.pattern.to_string())
}

/// What the certificate of a handshake is good for.
pub enum InUse {
    /// As its files say.
    Loaded(CertificateSet),
    /// Not looked at: the names the site has, a wildcard standing for one label (RFC 9525 §6.3).
    Supposed(CertificateNames),
}

impl InUse {
    pub fn of(site: &Site, sources: &[SourceSeen<'_>]) -> InUse {
        let loaded = sources.iter().find_map(|source| match &source.state {
            SourceState::Answers(answer) => Some(answer.set.clone()),
            _ => None,
        });
        loaded.map_or_else(|| InUse::supposed(site), InUse::Loaded)
    }

    fn supposed(site: &Site) -> InUse {
        let names: Vec<String> = names(site).collect();
        let addresses = names.iter().filter_map(|name| name.trim_matches(['[', ']']).parse().ok());
        let addresses = addresses.collect();
        InUse::Supposed(CertificateNames::new(names.iter().map(String::as_bytes), addresses))
    }
}

impl Covers for InUse {
    fn covers(&self, host: &[u8]) -> bool {
        match self {
            InUse::Loaded(set) => set.covers(host),
            InUse::Supposed(names) => names.covers(host),
        }
    }
}

/// A source in the words of the configuration.
pub fn describe(source: &Source) -> String {
    match source {
        Source::Files { certificate, key, ocsp: None } => {
            format!("files: {}, key {}", certificate.display(), key.display())
        }
        Source::Files { certificate, key, ocsp: Some(ocsp) } => {
            let (certificate, key) = (certificate.display(), key.display());
            format!("files: {certificate}, key {key}, ocsp {}", ocsp.display())
        }
        Source::Command { run, .. } => format!("command: {}", run.join(" ")),
        Source::Http { url, .. } => format!("http: {}", control::certificate_url(url)),
        Source::Directory { directory } => format!("files: {}", directory.display()),
        Source::Acme(acme) => format!("acme: {}", acme.directory_url),
        Source::SelfSigned { key: SelfSignedKey::Ours } => "self_signed".to_owned(),
        Source::SelfSigned { key: SelfSignedKey::File(key) } => {
            format!("self_signed: key {}", key.display())
        }
    }
}
