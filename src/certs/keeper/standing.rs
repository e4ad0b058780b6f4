//! How the sources of a site stand, for those who list them.

use std::fmt;
use std::path::PathBuf;

use super::{KeptSite, Source};
use crate::certs::{CertificateProblem, CertificateWarning};
use crate::tls::CertificateSet;

/// The sources of one site.
pub struct SiteStanding {
    pub site: String,
    /// In the order they are asked.
    pub sources: Vec<SourceStanding>,
    /// What could not be taken up of other files: those of `client_auth`.
    pub troubles: Vec<String>,
}

pub struct SourceStanding {
    /// Its word and what it is given, as in the configuration.
    pub source: String,
    pub standing: Standing,
    /// What was wrong with its files when they were read last.
    pub trouble: Option<String>,
}

pub enum Standing {
    /// It answers for the whole site.
    Serves(CertificateSet),
    /// It was asked, and has nothing good.
    PassedOver,
    /// After one that answers.
    NotAsked,
    /// Asked for each name: what it said is in the certificate cache.
    AskedForNames,
}

/// What was wrong, with the file or directory it was wrong in.
pub(super) struct Trouble {
    path: PathBuf,
    words: String,
}

impl Trouble {
    pub(super) fn of(problem: &CertificateProblem) -> Trouble {
        Trouble { path: problem.path.clone(), words: problem.to_string() }
    }

    pub(super) fn of_warning(warning: &CertificateWarning) -> Option<Trouble> {
        match warning {
            CertificateWarning::Skipped(problem) if !warning.is_not_ordered_yet() => {
                Some(Trouble::of(problem))
            }
            _ => None,
        }
    }

    fn is_of(&self, source: &Source) -> bool {
        // A directory holds the file; the path of none is empty.
        !self.path.as_os_str().is_empty() && source.files().any(|file| self.path.starts_with(file))
    }
}

impl KeptSite {
    /// How its sources stand now.
    pub fn standing(&self) -> SiteStanding {
        let state = self.lock();
        let mut sources = Vec::new();
        let mut fixed = self.fixed.iter().zip(&state.from);
        for run in self.plan.sources.chunk_by(|one, next| !one.is_asked() && !next.is_asked()) {
            if run.iter().any(Source::is_asked) {
                sources.extend(run.iter().map(|source| (source, Standing::AskedForNames)));
                continue;
            }
            let Some((kept, from)) = fixed.next() else { break };
            let served = kept.live.load_full();
            sources.extend(run.iter().enumerate().map(|(at, source)| {
                let standing = match &served {
                    Some(served) if at == *from => Standing::Serves(served.certificates.clone()),
                    Some(_) if at > *from => Standing::NotAsked,
                    _ => Standing::PassedOver,
                };
                (source, standing)
            }));
        }
        let is_of_a_source =
            |trouble: &&Trouble| self.plan.sources.iter().any(|source| trouble.is_of(source));
        let troubles = state.troubles.iter().filter(|trouble| !is_of_a_source(trouble));
        let troubles = troubles.map(|trouble| trouble.words.clone()).collect();
        let sources = sources
            .into_iter()
            .map(|(source, standing)| {
                let trouble = state.troubles.iter().find(|trouble| trouble.is_of(source));
                let trouble = trouble.map(|trouble| trouble.words.clone());
                SourceStanding { source: source.to_string(), standing, trouble }
            })
            .collect();
        SiteStanding { site: self.plan.site.clone(), sources, troubles }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Files { certificate, key, ocsp } => {
                write!(f, "files: {}", certificate.display())?;
                key.iter().try_for_each(|key| write!(f, ", key {}", key.display()))?;
                ocsp.iter().try_for_each(|ocsp| write!(f, ", ocsp {}", ocsp.display()))
            }
            Source::Directory { directory } => write!(f, "files: {}", directory.display()),
            Source::SelfSigned { key: None } => f.write_str("self_signed"),
            Source::SelfSigned { key: Some(key) } => write!(f, "self_signed: key {}", key.display()),
            Source::Command { run, .. } => write!(f, "command: {}", run.join(" ")),
            Source::Http { url, .. } => write!(f, "http: {url}"),
            Source::Acme { .. } => f.write_str("acme"),
        }
    }
}
