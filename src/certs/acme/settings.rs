//! What is to be ordered, and from whom.

use std::path::PathBuf;
use std::time::Duration;

/// The certificate of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSite {
    pub site: String,
    /// Hosts and addresses (`[v6]`) to be covered, wildcards only where `dns-01` proves them. Never empty.
    pub names: Vec<String>,
    /// In the order to ask. Never empty.
    pub cas: Vec<AcmeCa>,
}

/// A site whose names are ordered when clients ask for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDemandSite {
    pub site: String,
    /// In the order to ask. Never empty.
    pub cas: Vec<AcmeCa>,
    /// Names that were never ordered before.
    pub per_hour: u32,
}

/// A certificate authority, and how it is dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeCa {
    pub directory_url: String,
    /// `mailto:` URLs; may be empty.
    pub contact: Vec<String>,
    pub method: Method,
    pub profile: Option<String>,
    pub external_account: Option<ExternalAccount>,
    /// PEM file with the certificate that the directory's own is checked against; `None`: the system's.
    pub ca: Option<PathBuf>,
}

/// How control of a name is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    Http01,
    TlsAlpn01,
    Dns01(DnsCommand),
}

impl Method {
    pub fn word(&self) -> &'static str {
        match self {
            Method::Http01 => "http-01",
            Method::TlsAlpn01 => "tls-alpn-01",
            Method::Dns01(_) => "dns-01",
        }
    }
}

/// A program that sets and removes TXT records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsCommand {
    /// Program and first arguments; `present NAME VALUE` or `cleanup NAME VALUE` follow.
    pub run: Vec<String>,
    pub timeout: Duration,
}

/// External account binding (RFC 8555 §7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    pub key_id: String,
    /// Holds the HMAC key in base64url, as the CA gives it.
    pub key_file: PathBuf,
}
