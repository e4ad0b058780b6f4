//! Source `files`: a chain and a key named by the operator, or found in a directory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;

use super::{CertificateProblem, CertificateTrouble, pem};
use crate::tls::{KeyKind, ServedCertificate, SourceWord};

/// Entries of a directory that are looked at.
const DIRECTORY_ENTRIES_MAX: usize = 1000;

/// A certificate out of files.
pub struct LoadedCertificate {
    pub certificate: ServedCertificate,
    /// The file with the leaf.
    pub path: PathBuf,
    /// The file with the key, if everybody can read it.
    pub key_readable: Option<PathBuf>,
}

/// The chain in `certificate` with the key in `key`, or in the same file.
///
/// # Errors
/// What is wrong with which of the two files. Dates are not judged here.
pub fn pair(
    certificate: &Path,
    key: Option<&Path>,
    provider: &CryptoProvider,
) -> Result<LoadedCertificate, CertificateProblem> {
    load(certificate, None, key.unwrap_or(certificate), provider)
}

/// The chain in `certificate` and then `intermediates`.
fn load(
    certificate: &Path,
    intermediates: Option<&Path>,
    key_path: &Path,
    provider: &CryptoProvider,
) -> Result<LoadedCertificate, CertificateProblem> {
    let mut chain = pem::chain(certificate, &pem::read(certificate)?.bytes)?;
    if let Some(path) = intermediates {
        for more in pem::chain(path, &pem::read(path)?.bytes)? {
            // Often the `.crt` holds the whole chain already.
            if !chain.contains(&more) {
                chain.push(more);
            }
        }
    }
    let file = pem::read(key_path)?;
    let key = pem::key(key_path, &file.bytes)?;
    let certificate_path = certificate;
    let certificate = ServedCertificate::new(chain, key, SourceWord::Files, provider)
        .map_err(|flaw| CertificateProblem::new(certificate_path, CertificateTrouble::Flaw(flaw)))?;
    Ok(LoadedCertificate {
        certificate,
        path: certificate_path.to_owned(),
        key_readable: file.readable_by_all.then(|| key_path.to_owned()),
    })
}

/// The certificates in `directory` for a site: of each kind of key the one whose dates hold at
/// `now` (seconds since 1970) and that covers most of `names`, so that ECDSA and RSA lie side by side.
///
/// Looked at are `fullchain.pem` with `privkey.pem` (certbot's names), then `<site>.crt`, then
/// every other `<name>.crt` in order, each with its key in `<name>.pem` or `<name>.key` and, if
/// there is one, `<name>.ca.crt` (Zotonic's names). The first two are taken even when they cover
/// nothing asked for, others belong to somebody else then.
///
/// The problems are those of pairs that cannot be used.
///
/// # Errors
/// The directory cannot be read, or nothing in it can be used: the first problem, or
/// `NothingInDirectory`.
pub fn directory(
    directory: &Path,
    site: &str,
    names: &[String],
    now: i64,
    provider: &CryptoProvider,
) -> Result<(Vec<LoadedCertificate>, Vec<CertificateProblem>), CertificateProblem> {
    let mut best: Vec<(KeyKind, (bool, usize), LoadedCertificate)> = Vec::new();
    let mut problems = Vec::new();
    for candidate in candidates(directory, site)? {
        let loaded =
            load(&candidate.certificate, candidate.intermediates.as_deref(), &candidate.key, provider);
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(problem) if candidate.named_for_site => {
                problems.push(problem);
                continue;
            }
            // Some other site's: its own reading tells.
            Err(_) => continue,
        };
        let covered =
            names.iter().filter(|name| loaded.certificate.names().covers_pattern(name.as_bytes())).count();
        if covered == 0 && !candidate.named_for_site {
            continue;
        }
        let kind = loaded.certificate.key_kind();
        let rank = (loaded.certificate.is_current(now), covered);
        match best.iter_mut().find(|(known, ..)| *known == kind) {
            Some(known) if rank > known.1 => *known = (kind, rank, loaded),
            Some(_) => {}
            None => best.push((kind, rank, loaded)),
        }
    }
    if best.is_empty() {
        return Err(if problems.is_empty() {
            CertificateProblem::new(directory, CertificateTrouble::NothingInDirectory)
        } else {
            problems.swap_remove(0)
        });
    }
    Ok((best.into_iter().map(|(.., loaded)| loaded).collect(), problems))
}

struct Candidate {
    certificate: PathBuf,
    intermediates: Option<PathBuf>,
    key: PathBuf,
    /// By its name it is this site's, whatever it covers.
    named_for_site: bool,
}

fn candidates(directory: &Path, site: &str) -> Result<Vec<Candidate>, CertificateProblem> {
    let mut stems = Vec::new();
    let entries = fs::read_dir(directory).map_err(CertificateProblem::io(directory))?;
    for entry in entries.take(DIRECTORY_ENTRIES_MAX) {
        let name = entry.map_err(CertificateProblem::io(directory))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".crt"));
        if let Some(stem) = stem
            && !stem.ends_with(".ca")
        {
            stems.push(stem.to_owned());
        }
    }
    // The site's own first, then by name: the order of a directory is that of chance.
    stems.sort_by(|a, b| (a != site, a).cmp(&(b != site, b)));
    let mut candidates = Vec::new();
    let certbot = directory.join("fullchain.pem");
    if exists(&certbot)? {
        candidates.push(Candidate {
            certificate: certbot,
            intermediates: None,
            key: directory.join("privkey.pem"),
            named_for_site: true,
        });
    }
    for stem in stems {
        let file = |ending: &str| directory.join(format!("{stem}{ending}"));
        let intermediates = file(".ca.crt");
        let key = file(".pem");
        candidates.push(Candidate {
            certificate: file(".crt"),
            intermediates: exists(&intermediates)?.then_some(intermediates),
            key: if exists(&key)? { key } else { file(".key") },
            named_for_site: stem == site,
        });
    }
    Ok(candidates)
}

fn exists(path: &Path) -> Result<bool, CertificateProblem> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(CertificateProblem::io(path)(error)),
    }
}
