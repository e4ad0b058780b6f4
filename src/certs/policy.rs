//! A site's TLS policy, with the files it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;

use super::{CertificateProblem, CertificateTrouble, pem};
use crate::tls::{ClientAuth, ClientAuthMode, Policy, PolicySettings, Versions};

/// How a site talks TLS, as the configuration says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicyPlan {
    pub versions: Versions,
    /// The preferred one first.
    pub alpn: Vec<String>,
    /// By their IANA names; empty: all.
    pub cipher_suites: Vec<String>,
    pub compression: bool,
    pub client_auth: Option<ClientAuthPlan>,
}

/// `client_auth`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientAuthPlan {
    pub mode: ClientAuthMode,
    /// PEM certificates of those who may issue client certificates.
    pub ca: PathBuf,
    /// PEM or DER revocation lists.
    pub crl: Vec<PathBuf>,
}

impl PolicyPlan {
    /// # Errors
    /// A file that cannot be read or is not what it should be; with an empty path, what does not go together.
    pub fn make(&self, provider: &Arc<CryptoProvider>) -> Result<Policy, CertificateProblem> {
        let client_auth = self.client_auth.as_ref().map(|plan| plan.make(provider)).transpose()?;
        let settings = PolicySettings {
            versions: self.versions,
            alpn: self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
            cipher_suites: self.cipher_suites.clone(),
            client_auth,
            compression: self.compression,
        };
        Policy::new(settings, provider)
            .map_err(|problem| CertificateProblem::new(Path::new(""), CertificateTrouble::Policy(problem)))
    }

    /// The files in it.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let client_auth = self.client_auth.iter();
        client_auth.flat_map(|auth| std::iter::once(&auth.ca).chain(&auth.crl)).map(PathBuf::as_path)
    }
}

impl ClientAuthPlan {
    fn make(&self, provider: &Arc<CryptoProvider>) -> Result<ClientAuth, CertificateProblem> {
        let authorities = pem::chain(&self.ca, &pem::read(&self.ca)?.bytes)?;
        let mut revoked = Vec::new();
        for path in &self.crl {
            revoked.extend(revocation_lists(path)?);
        }
        ClientAuth::new(self.mode, authorities, revoked, provider).map_err(|problem| {
            let path = match problem {
                crate::tls::TlsProblem::RevocationLists => self.crl.first().unwrap_or(&self.ca),
                _ => &self.ca,
            };
            CertificateProblem::new(path, CertificateTrouble::Policy(problem))
        })
    }
}

/// Authorities publish lists in DER, operators keep them in PEM.
fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, CertificateProblem> {
    let file = pem::read(path)?;
    // A SEQUENCE.
    if file.bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(file.bytes.to_vec())]);
    }
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&file.bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateProblem::new(path, CertificateTrouble::NotPem))?;
    if lists.is_empty() {
        return Err(CertificateProblem::new(path, CertificateTrouble::NoRevocationList));
    }
    Ok(lists)
}
