//! What a site says of its TLS: versions, where its certificates come from, whose certificates it asks for.

use std::path::PathBuf;
use std::time::Duration;

use super::config::{Host, HostPattern, Site, Upstream};
use crate::dispatch::Place;
pub use crate::tls::IdentityForm;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersions {
    Tls12AndTls13,
    Tls12,
    Tls13,
}

/// One entry of `certificate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSource {
    pub source: Source,
    pub place: Place,
}

/// Paths are joined to the directory of the file that names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A PEM chain and its PEM key.
    Files {
        certificate: PathBuf,
        key: PathBuf,
        /// An OCSP response to staple.
        ocsp: Option<PathBuf>,
    },
    /// A directory that holds them under one of the known names.
    Directory {
        directory: PathBuf,
    },
    SelfSigned {
        key: SelfSignedKey,
    },
    /// A program that is run for each name.
    Command {
        /// Never empty.
        run: Vec<String>,
        timeout: Duration,
    },
    /// A server that is asked for each name.
    Http {
        url: Box<SourceUrl>,
        timeout: Duration,
        /// Whom to trust for https, in place of the system's authorities.
        ca: Option<PathBuf>,
    },
    Acme(Box<AcmeSource>),
}

/// A certificate authority that certificates are ordered from (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSource {
    /// `https`.
    pub directory_url: String,
    /// `mailto:` URLs.
    pub contact: Vec<String>,
    pub challenge: AcmeChallenge,
    /// `None`: the CA's own choice.
    pub profile: Option<String>,
    pub eab: Option<AcmeBinding>,
    /// What the directory's certificate is checked against; `None`: the roots of the system.
    pub ca: Option<PathBuf>,
    /// With `AcmeChallenge::Dns01`, and only then.
    pub dns: Option<AcmeDns>,
    /// Not for the site's hosts from the start, but for each name when a client asks for it.
    pub on_demand: Option<OnDemand>,
}

/// Which names may be ordered when clients ask for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDemand {
    /// Not empty, or there is somebody to ask; with both, both must say yes.
    pub allow: Vec<HostPattern>,
    /// Answers 200 for a name that may.
    pub ask: Option<SourceUrl>,
    /// Names that were never ordered before.
    pub per_hour: u32,
}

/// How a CA is shown that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    Http01,
    TlsAlpn01,
    Dns01,
}

/// External account binding (RFC 8555 §7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeBinding {
    pub key_id: String,
    pub key_file: PathBuf,
}

/// The program that sets and removes records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeDns {
    /// Never empty.
    pub run: Vec<String>,
    pub timeout: Duration,
}

impl Site {
    /// Whether its certificate is ordered from an authority.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.certificate.iter().any(|written| matches!(written.source, Source::Acme(_)))
    }

    /// The names that can be ordered from this CA: without `*`, and wildcards only where a record proves them.
    #[must_use]
    pub fn acme_names(&self, source: &AcmeSource) -> Vec<String> {
        let fits = |host: &&Host| match host.pattern {
            HostPattern::Exact(_) => true,
            HostPattern::Wildcard(_) => source.challenge == AcmeChallenge::Dns01,
            HostPattern::Any => false,
        };
        self.hosts.iter().chain(&self.aliases).filter(fits).map(|host| host.pattern.to_string()).collect()
    }
}

/// The URL of a server that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUrl {
    pub server: Upstream,
    /// As in `Host`.
    pub authority: String,
    /// Path and query, with the `/` in front.
    pub target: String,
}

/// `client_auth`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM certificates of those who may issue client certificates.
    pub ca: PathBuf,
    pub mode: ClientAuthMode,
    /// Revocation lists.
    pub crl: Vec<PathBuf>,
    /// The field site servers are told the identity in.
    pub header: String,
    pub identity: IdentityForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// The handshake fails without a certificate that verifies.
    Require,
    /// One that is shown must verify, none is fine.
    Request,
}

/// The key of a self-signed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelfSignedKey {
    /// Made when missing, kept in the state directory.
    Ours,
    /// The operator's PEM file: read, never written.
    File(PathBuf),
}
