//! The certificate of a site: its sources asked in order, the first good answer wins.
//!
//! `files` that stand one after the other serve side by side where their kinds of key differ: an ECDSA and an RSA
//! certificate of a name may be two entries. What a source gave last stands in for it while it gives
//! nothing good ([`LastGiven`]), so that a broken file displaces nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::LoadedCertificate;
use super::http::AskUrl;
use super::on_demand::OnDemandRule;
use super::{CertificateProblem, CertificateTrouble, CertificateWarning, files, ocsp, self_signed, verify};
use crate::tls::{CertificateSet, KeyKind, ServedCertificate, ServerConfigs};

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
    Http { url: Box<AskUrl>, timeout: Duration, ca: Option<PathBuf> },
    /// `{ source = "acme", on_demand = … }`, asked for each name.
    OnDemand { rule: Box<OnDemandRule> },
    /// `{ source = "acme", … }`: what was ordered for these names lies in the state directory.
    Acme { names: Vec<String> },
}

impl Source {
    /// Whether it is asked for each name. The others answer for the whole site.
    pub fn is_asked(&self) -> bool {
        matches!(self, Source::Command { .. } | Source::Http { .. } | Source::OnDemand { .. })
    }

    /// Whether it is a chain and a key that the operator wrote.
    fn is_files(&self) -> bool {
        matches!(self, Source::Files { .. } | Source::Directory { .. })
    }

    /// The files and directories it reads; not those it writes itself.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let files: [Option<&PathBuf>; 3] = match self {
            Source::Files { certificate, key, ocsp } => [Some(certificate), key.as_ref(), ocsp.as_ref()],
            Source::Directory { directory } => [Some(directory), None, None],
            Source::SelfSigned { key } => [key.as_ref(), None, None],
            Source::Command { .. } | Source::Http { .. } | Source::OnDemand { .. } | Source::Acme { .. } => {
                [None, None, None]
            }
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
    /// Those of the set that are from a later source, by their kind of key.
    pub beside: Vec<(usize, KeyKind)>,
    outdated: bool,
}

/// What each source gave last, good or out of its dates.
#[derive(Clone)]
pub(super) struct LastGiven(Vec<Option<CertificateSet>>);

impl LastGiven {
    pub(super) fn nothing(sources: usize) -> LastGiven {
        LastGiven(vec![None; sources])
    }

    pub(super) fn put(&mut self, source: usize, set: CertificateSet) {
        self.0[source] = Some(set);
    }
}

/// What sources are asked with.
struct Asking<'a> {
    site: &'a str,
    names: &'a [String],
    state_directory: &'a Path,
    now: i64,
    configs: &'a ServerConfigs,
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
    let mut last = LastGiven::nothing(sources.len());
    find_again(site, names, sources, state_directory, now, configs, &mut last)
}

/// The same, where what each source gave before counts: while it is good, its source is not passed over.
pub(super) fn find_again(
    site: &str,
    names: &[String],
    sources: &[Source],
    state_directory: &Path,
    now: i64,
    configs: &ServerConfigs,
    last: &mut LastGiven,
) -> Result<FoundCertificate, CertificateProblem> {
    let asking = Asking { site, names, state_directory, now, configs };
    let mut warnings = Vec::new();
    let mut first_problem = None;
    let mut last_resort: Option<FoundCertificate> = None;
    for (at, source) in sources.iter().enumerate() {
        match asking.ask_or_keep(at, source, last) {
            Ok(mut found) if !found.outdated => {
                warnings.append(&mut found.warnings);
                asking.put_beside(&mut found, sources, last, &mut warnings);
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

impl Asking<'_> {
    /// What the source of number `at` has; what it gave last, where that is better.
    fn ask_or_keep(
        &self,
        at: usize,
        source: &Source,
        last: &mut LastGiven,
    ) -> Result<FoundCertificate, CertificateProblem> {
        let asked = ask(source, self.site, self.names, self.state_directory, self.now, self.configs);
        let kept = last.0.get(at).cloned().flatten();
        let (set, warnings) = match (asked, kept) {
            (Ok(found), Some(kept)) if found.outdated && is_current(&kept, self.now) => {
                (kept, found.warnings)
            }
            (Ok(found), _) => {
                last.put(at, found.set.clone());
                return Ok(FoundCertificate { at, ..found });
            }
            (Err(problem), Some(kept)) => (kept, vec![CertificateWarning::Skipped(problem)]),
            (Err(problem), None) => return Err(problem),
        };
        let outdated = !is_current(&set, self.now);
        Ok(FoundCertificate { set, warnings, at, beside: Vec::new(), outdated })
    }

    /// Adds the certificates of the `files` that follow, of other kinds of key and for all names that
    /// those found cover.
    fn put_beside(
        &self,
        found: &mut FoundCertificate,
        sources: &[Source],
        last: &mut LastGiven,
        warnings: &mut Vec<CertificateWarning>,
    ) {
        let following = sources.iter().enumerate().skip(found.at);
        for (at, source) in following.take_while(|(_, source)| source.is_files()).skip(1) {
            let mut other = match self.ask_or_keep(at, source, last) {
                Ok(other) if !other.outdated => other,
                Ok(_) => continue,
                Err(problem) => {
                    warnings.push(CertificateWarning::Skipped(problem));
                    continue;
                }
            };
            let fits = |one: &&ServedCertificate| {
                let covers = |name: &&String| one.names().covers_pattern(name.as_bytes());
                let is_wanted = |name: &&String| found.set.covers_pattern(name.as_bytes());
                let kinds = found.set.certificates().iter().map(ServedCertificate::key_kind);
                kinds.clone().all(|kind| kind != one.key_kind())
                    && self.names.iter().filter(is_wanted).all(|name| covers(&name))
            };
            let more: Vec<_> = other.set.certificates().iter().filter(fits).cloned().collect();
            if !more.is_empty() {
                warnings.append(&mut other.warnings);
                found.beside.extend(more.iter().map(|one| (at, one.key_kind())));
                let all = found.set.certificates().iter().cloned().chain(more).collect();
                found.set = CertificateSet::new(all).expect("the found one is in it");
            }
        }
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
                match ocsp::staple(path, &loaded.certificate, now, provider) {
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
            return Ok(FoundCertificate {
                set: certificate.into(),
                warnings,
                at: 0,
                beside: Vec::new(),
                outdated: false,
            });
        }
        Source::Command { .. } | Source::Http { .. } | Source::OnDemand { .. } => {
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
            Ok(FoundCertificate { set, warnings, at: 0, beside: Vec::new(), outdated: is_outdated })
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
