//! Certificates as they are served: chain, key, names, dates, and the choice among kinds of key.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, SignatureAlgorithm};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{CertificateFlaw, CertificateNames};

/// The kind of a private key, the preferred one first: an ECDSA signature costs a fifth of an RSA one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    Ecdsa,
    Ed25519,
    Rsa,
}

impl KeyKind {
    /// The word for it in `certificates`, `explain` and logs.
    pub fn word(self) -> &'static str {
        match self {
            KeyKind::Ecdsa => "ecdsa",
            KeyKind::Ed25519 => "ed25519",
            KeyKind::Rsa => "rsa",
        }
    }
}

/// Which kind of source a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceWord {
    Files,
    SelfSigned,
    Command,
    Http,
    Acme,
}

impl SourceWord {
    /// As written in `source = `.
    pub fn word(self) -> &'static str {
        match self {
            SourceWord::Files => "files",
            SourceWord::SelfSigned => "self_signed",
            SourceWord::Command => "command",
            SourceWord::Http => "http",
            SourceWord::Acme => "acme",
        }
    }
}

/// One chain with its key, parsed and found to fit each other.
#[derive(Clone)]
pub struct ServedCertificate {
    certified: Arc<CertifiedKey>,
    names: CertificateNames,
    not_before: i64,
    not_after: i64,
    key_kind: KeyKind,
    source: SourceWord,
}

impl ServedCertificate {
    /// `chain`: the leaf first. `key`: PKCS#1, PKCS#8 or SEC1.
    ///
    /// Dates are not judged here: see [`is_current`](Self::is_current).
    ///
    /// # Errors
    /// The first flaw found, in the order of [`CertificateFlaw`]'s variants.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        source: SourceWord,
        provider: &CryptoProvider,
    ) -> Result<ServedCertificate, CertificateFlaw> {
        let leaf = chain.first().ok_or(CertificateFlaw::EmptyChain)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateFlaw::Malformed)?;
        let names = subject_names(&parsed)?;
        let validity = parsed.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if names.is_empty() {
            return Err(CertificateFlaw::NoNames);
        }
        let key = provider.key_provider.load_private_key(key).map_err(|_| CertificateFlaw::KeyUnusable)?;
        let key_kind = match key.algorithm() {
            SignatureAlgorithm::RSA => KeyKind::Rsa,
            SignatureAlgorithm::ECDSA => KeyKind::Ecdsa,
            SignatureAlgorithm::ED25519 => KeyKind::Ed25519,
            _ => return Err(CertificateFlaw::KeyUnusable),
        };
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| match error {
            Error::InvalidCertificate(_) => CertificateFlaw::Malformed,
            _ => CertificateFlaw::KeyMismatch,
        })?;
        Ok(ServedCertificate {
            certified: Arc::new(certified),
            names,
            not_before,
            not_after,
            key_kind,
            source,
        })
    }

    /// The same with an OCSP response (DER) that clients who ask for one get (RFC 6066 §8).
    pub fn stapled(self, response: Vec<u8>) -> ServedCertificate {
        let mut certified = CertifiedKey::clone(&self.certified);
        certified.ocsp = Some(response);
        ServedCertificate { certified: Arc::new(certified), ..self }
    }

    /// Whether an OCSP response goes with it.
    pub fn is_stapled(&self) -> bool {
        self.certified.ocsp.is_some()
    }

    /// Whether the certificate is one for `host`. Allocates nothing.
    pub fn covers(&self, host: &[u8]) -> bool {
        self.names.covers(host)
    }

    pub fn names(&self) -> &CertificateNames {
        &self.names
    }

    /// Seconds since 1970; good from this second on.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Seconds since 1970; good up to and including this second (RFC 5280 §4.1.2.5).
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Whether its dates hold at `unix_seconds`.
    pub fn is_current(&self, unix_seconds: i64) -> bool {
        (self.not_before..=self.not_after).contains(&unix_seconds)
    }

    pub fn key_kind(&self) -> KeyKind {
        self.key_kind
    }

    pub fn source(&self) -> SourceWord {
        self.source
    }

    /// The chain in DER, the leaf first; never empty.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

fn subject_names(parsed: &X509Certificate<'_>) -> Result<CertificateNames, CertificateFlaw> {
    let extension = parsed.subject_alternative_name().map_err(|_| CertificateFlaw::Malformed)?;
    let general = extension.map_or(&[][..], |extension| &extension.value.general_names[..]);
    let hosts = general.iter().filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host.as_bytes()),
        _ => None,
    });
    let addresses = general.iter().filter_map(|name| match name {
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .ok(),
        _ => None,
    });
    Ok(CertificateNames::new(hosts, addresses.collect()))
}

/// What a site serves: one certificate, or several that differ in the kind of key.
#[derive(Clone)]
pub struct CertificateSet {
    // The preferred kind first; never empty.
    certificates: Arc<[ServedCertificate]>,
}

impl CertificateSet {
    /// `None` when `certificates` is empty. Of two of the same kind the first given is preferred.
    pub fn new(mut certificates: Vec<ServedCertificate>) -> Option<CertificateSet> {
        certificates.sort_by_key(ServedCertificate::key_kind);
        (!certificates.is_empty()).then(|| CertificateSet { certificates: certificates.into() })
    }

    pub fn certificates(&self) -> &[ServedCertificate] {
        &self.certificates
    }

    /// Whether every one of the set is for `host`: which one a connection got is the client's
    /// doing. Allocates nothing.
    pub fn covers(&self, host: &[u8]) -> bool {
        self.certificates.iter().all(|certificate| certificate.covers(host))
    }

    /// Whether the same chains are in both, in the same order.
    pub fn is_same(&self, other: &CertificateSet) -> bool {
        let chains = |set: &CertificateSet| -> Vec<Arc<CertifiedKey>> {
            set.certificates.iter().map(|one| Arc::clone(&one.certified)).collect()
        };
        let (ours, theirs) = (chains(self), chains(other));
        ours.len() == theirs.len()
            && ours.iter().zip(&theirs).all(|(one, other)| one.cert == other.cert && one.ocsp == other.ocsp)
    }

    /// When the first of them ends, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.certificates.iter().map(ServedCertificate::not_after).min().unwrap_or(i64::MIN)
    }
}

impl From<ServedCertificate> for CertificateSet {
    fn from(certificate: ServedCertificate) -> CertificateSet {
        CertificateSet { certificates: Arc::new([certificate]) }
    }
}

impl std::fmt::Debug for CertificateSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateSet")
    }
}

impl ResolvesServerCert for CertificateSet {
    /// The first whose key can sign as the client understands; else the last, so that the client
    /// hears what it lacks (`handshake_failure`) and not that there is no certificate.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (last, preferred) = self.certificates.split_last()?;
        let schemes = hello.signature_schemes();
        let chosen =
            preferred.iter().find(|one| one.certified.key.choose_scheme(schemes).is_some()).unwrap_or(last);
        Some(Arc::clone(&chosen.certified))
    }
}
