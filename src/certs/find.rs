//! The certificate of a site: its sources asked in order, the first good answer wins.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::LoadedCertificate;
use super::http::AskUrl;
use super::{CertificateProblem, CertificateTrouble, CertificateWarning, files, ocsp, self_signed, verify};
use crate::tls::{CertificateSet, ServedCertificate, ServerConfigs};

/// Where a site's certificate may come from, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `{ source = "files", certificate = …, key = … }`; without `key` it is in the same file.
    /// `ocsp`: a response to be stapled (RFC 6066 §8).
    Files { certificate: PathBuf, key: Option<PathBuf>, ocsp: Option<PathBuf> },
    /// `{ source = "files", directory = … }`
    Directory { directory: PathBuf },
    /// `{ source = "self_signed", key = … }`
    SelfSigned { key: Option<PathBuf> },
    /// `{ source = "command", run = …, timeout = … }`, asked for each name.
    Command { run: Vec<String>, timeout: Duration },
    /// `{ source = "http", url = …, timeout = … }`, likewise. `ca`: whom to trust in place of the system's.
    Http { url: AskUrl, timeout: Duration, ca: Option<PathBuf> },
    /// `{ source = "acme", … }`: what was ordered for these names lies in the state directory.
    Acme { names: Vec<String> },
}

impl Source {
    /// Whether it is asked for each name. The others answer for the whole site.
    pub fn is_asked(&self) -> bool {
        matches!(self, Source::Command { .. } | Source::Http { .. })
    }

    /// The files and directories it reads; not those it writes itself.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let files: [Option<&PathBuf>; 3] = match self {
            Source::Files { certificate, key, ocsp } => [Some(certificate), key.as_ref(), ocsp.as_ref()],
            Source::Directory { directory } => [Some(directory), None, None],
            Source::SelfSigned { key } => [key.as_ref(), None, None],
            Source::Command { .. } | Source::Http { .. } | Source::Acme { .. } => [None, None, None],
        };
        files.into_iter().flatten().map(PathBuf::as_path)
    }
}

/// What a site is to be served with.
pub struct FoundCertificate {
    pub set: CertificateSet,
    /// What the operator should hear, in the order it was met.
    pub warnings: Vec<CertificateWarning>,
    /// Which of the sources it is from.
    pub at: usize,
    outdated: bool,
}

impl FoundCertificate {
    /// Whether it may take the place of `old`: what is expired or not yet valid never displaces
    /// what is good.
    pub fn may_replace(&self, old: &CertificateSet, now: i64) -> bool {
        !self.outdated || !is_current(old, now)
    }
}

/// The certificate for `names` (the site's hosts and aliases, wildcards and `*` among them).
///
/// A source whose certificate does not parse, does not fit its key, fails a handshake in memory
/// or is out of its dates is passed over, and the next one asked. If no source is better, the
/// first one that is only out of its dates is served: a browser's warning tells more than a
/// refused connection, and the operator is warned here. `now`: seconds since 1970.
///
/// Names that the certificate does not cover are a warning: the site may be reached by the others.
///
/// # Errors
/// The problem of the first source, when none can be used; `NoSource` without any.
pub fn find(
    site: &str,
    names: &[String],
    sources: &[Source],
    state_directory: &Path,
    now: i64,
    configs: &ServerConfigs,
) -> Result<FoundCertificate, CertificateProblem> {
    let mut warnings = Vec::new();
    let mut first_problem = None;
    let mut last_resort: Option<FoundCertificate> = None;
    for (at, source) in sources.iter().enumerate() {
        let found = ask(source, site, names, state_directory, now, configs);
        match found.map(|found| FoundCertificate { at, ..found }) {
            Ok(mut found) if !found.outdated => {
                warnings.append(&mut found.warnings);
                found.warnings = skipped(first_problem, last_resort, warnings);
                return Ok(found);
            }
            Ok(found) if last_resort.is_none() => last_resort = Some(found),
            Ok(_) => {}
            Err(problem) if first_problem.is_none() => first_problem = Some(problem),
            Err(problem) => warnings.push(CertificateWarning::Skipped(problem)),
        }
    }
    match (last_resort, first_problem) {
        (Some(mut found), problem) => {
            found.warnings.extend(problem.map(CertificateWarning::Skipped));
            found.warnings.append(&mut warnings);
            Ok(found)
        }
        (None, Some(problem)) => Err(problem),
        (None, None) => Err(CertificateProblem::new(Path::new(""), CertificateTrouble::NoSource)),
    }
}

/// What was passed over on the way to a good answer, and then its own warnings.
fn skipped(
    first_problem: Option<CertificateProblem>,
    last_resort: Option<FoundCertificate>,
    own: Vec<CertificateWarning>,
) -> Vec<CertificateWarning> {
    let mut all: Vec<_> = first_problem.map(CertificateWarning::Skipped).into_iter().collect();
    all.extend(last_resort.into_iter().flat_map(|found| found.warnings));
    all.extend(own);
    all
}

fn ask(
    source: &Source,
    site: &str,
    names: &[String],
    state_directory: &Path,
    now: i64,
    configs: &ServerConfigs,
) -> Result<FoundCertificate, CertificateProblem> {
    let provider = configs.provider();
    let mut warnings = Vec::new();
    let loaded = match source {
        Source::Files { certificate, key, ocsp } => {
            let mut loaded = files::pair(certificate, key.as_deref(), provider)?;
            if let Some(path) = ocsp {
                match ocsp::staple(path, &loaded.certificate, now) {
                    Ok(response) => loaded.certificate = loaded.certificate.stapled(response),
                    // Clients that insist on one will say so; all others are served.
                    Err(problem) => warnings.push(CertificateWarning::Skipped(problem)),
                }
            }
            vec![loaded]
        }
        Source::Directory { directory } => {
            let (loaded, problems) = files::directory(directory, site, names, now, provider)?;
            warnings.extend(problems.into_iter().map(CertificateWarning::Skipped));
            loaded
        }
        Source::SelfSigned { key } => {
            let key = key.as_deref();
            let certificate = self_signed::self_signed(site, names, key, state_directory, now, provider)?;
            let path = state_directory.join("self_signed");
            prove(&certificate, &path, configs)?;
            return Ok(FoundCertificate { set: certificate.into(), warnings, at: 0, outdated: false });
        }
        Source::Command { .. } | Source::Http { .. } => {
            return Err(CertificateProblem::new(Path::new(""), CertificateTrouble::AskedForNames));
        }
        #[cfg(feature = "acme")]
        Source::Acme { names } => {
            let (certificate, path) = super::acme::kept(site, state_directory, provider)?;
            let loaded = LoadedCertificate { certificate, path, key_readable: None };
            return judge(vec![loaded], names, now, configs, warnings);
        }
        // The configuration refuses it.
        #[cfg(not(feature = "acme"))]
        Source::Acme { .. } => {
            return Err(CertificateProblem::new(Path::new(""), CertificateTrouble::NotOrderedYet));
        }
    };
    judge(loaded, names, now, configs, warnings)
}

/// Of several kinds those that are good; if none is, those out of their dates.
fn judge(
    loaded: Vec<LoadedCertificate>,
    names: &[String],
    now: i64,
    configs: &ServerConfigs,
    mut warnings: Vec<CertificateWarning>,
) -> Result<FoundCertificate, CertificateProblem> {
    let mut good = Vec::new();
    let mut outdated = Vec::new();
    let mut problem = None;
    for LoadedCertificate { certificate, path, key_readable } in loaded {
        if let Err(unusable) = prove(&certificate, &path, configs) {
            problem = Some(unusable);
            continue;
        }
        warnings.extend(key_readable.map(|path| CertificateWarning::KeyReadable { path }));
        let missing: Vec<String> = names
            .iter()
            .filter(|name| *name != "*" && !certificate.names().covers_pattern(name.as_bytes()))
            .cloned()
            .collect();
        if !missing.is_empty() {
            warnings.push(CertificateWarning::NotCovered { path: path.clone(), names: missing });
        }
        match out_of_dates(&certificate, &path, now) {
            None => good.push(certificate),
            Some(warning) => {
                warnings.push(warning);
                outdated.push(certificate);
            }
        }
    }
    let (certificates, is_outdated) = if good.is_empty() { (outdated, true) } else { (good, false) };
    match (CertificateSet::new(certificates), problem) {
        (Some(set), problem) => {
            warnings.extend(problem.map(CertificateWarning::Skipped));
            Ok(FoundCertificate { set, warnings, at: 0, outdated: is_outdated })
        }
        (None, Some(problem)) => Err(problem),
        (None, None) => Err(CertificateProblem::new(Path::new(""), CertificateTrouble::NoSource)),
    }
}

fn prove(
    certificate: &ServedCertificate,
    path: &Path,
    configs: &ServerConfigs,
) -> Result<(), CertificateProblem> {
    verify(certificate, configs)
        .map_err(|error| CertificateProblem::new(path, CertificateTrouble::Handshake(error)))
}

fn out_of_dates(certificate: &ServedCertificate, path: &Path, now: i64) -> Option<CertificateWarning> {
    let trouble = if now > certificate.not_after() {
        CertificateTrouble::Expired { not_after: certificate.not_after() }
    } else if now < certificate.not_before() {
        CertificateTrouble::NotYetValid { not_before: certificate.not_before() }
    } else {
        return None;
    };
    Some(CertificateWarning::Skipped(CertificateProblem::new(path, trouble)))
}

fn is_current(set: &CertificateSet, now: i64) -> bool {
    set.certificates().iter().all(|certificate| certificate.is_current(now))
}
