//! What went wrong with a certificate: which file, what it is, what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::tls::{CertificateFlaw, TlsProblem};

/// A certificate that cannot be used.
#[derive(Debug)]
pub struct CertificateProblem {
    /// The file or directory it is about; empty when no source was left to ask.
    pub path: PathBuf,
    pub trouble: CertificateTrouble,
}

/// The trouble with it.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateTrouble {
    /// The system would not let us read or write it.
    Io(io::Error),
    /// Over 1 MiB: nothing a chain or a key needs.
    TooLarge,
    /// Not PEM, or PEM that ends early.
    NotPem,
    /// PEM, but without any certificate.
    NoCertificate,
    /// PEM, but without a private key.
    NoKey,
    /// A private key under a passphrase.
    EncryptedKey,
    /// Chain and key parse, and cannot be served.
    Flaw(CertificateFlaw),
    /// Its last second was `not_after` (seconds since 1970).
    Expired { not_after: i64 },
    /// Its first second is `not_before` (seconds since 1970).
    NotYetValid { not_before: i64 },
    /// A handshake in memory with it failed.
    Handshake(rustls::Error),
    /// A directory without a pair of the names we look for.
    NothingInDirectory,
    /// The key of `self_signed` is not ECDSA P-256 or could not be used to sign.
    KeyNotForSigning,
    /// Making the self-signed certificate failed.
    Generation,
    /// In the state directory, where the self-signed certificate goes, is a file of somebody else.
    NotOurs,
    /// A name of the site is none that a certificate can hold.
    Name { name: String },
    /// Source `acme` has no certificate yet.
    NotOrderedYet,
    /// Every source said no.
    NoSource,
    /// The policy of the site cannot be served.
    Policy(TlsProblem),
    /// PEM, but without a revocation list.
    NoRevocationList,
    /// An OCSP response that is of no use.
    Staple(&'static str),
    /// A secret that everybody can read.
    ReadableSecret,
    /// The source has nothing for a whole site: it is asked for names, in handshakes.
    AskedForNames,
}

impl CertificateProblem {
    pub(super) fn new(path: &Path, trouble: CertificateTrouble) -> CertificateProblem {
        CertificateProblem { path: path.to_owned(), trouble }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> CertificateProblem + '_ {
        move |error| CertificateProblem::new(path, CertificateTrouble::Io(error))
    }

    /// A word for metrics.
    pub fn reason(&self) -> &'static str {
        use CertificateTrouble as T;
        match &self.trouble {
            T::Io(_) => "unreadable",
            T::TooLarge => "too_large",
            T::NotPem | T::NoCertificate | T::NoKey | T::NoRevocationList => "not_pem",
            T::EncryptedKey => "encrypted_key",
            T::Flaw(CertificateFlaw::KeyMismatch) => "key_mismatch",
            T::Flaw(_) | T::Name { .. } => "bad_certificate",
            T::Expired { .. } | T::NotYetValid { .. } => "out_of_dates",
            T::Handshake(_) => "handshake",
            T::NothingInDirectory | T::NoSource | T::AskedForNames | T::NotOrderedYet => "nothing_there",
            T::KeyNotForSigning | T::Generation | T::NotOurs => "self_signed",
            T::Policy(_) => "policy",
            T::Staple(_) => "staple",
            T::ReadableSecret => "readable_secret",
        }
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        use CertificateTrouble as T;
        match &self.trouble {
            T::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                "write the path of an existing file, or remove this source"
            }
            T::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "give the user that runs portcullis the right to it; for self-signed certificates, or set state_directory"
            }
            T::Io(_) => "see to the file system",
            T::TooLarge => "name the PEM file with the chain or the key alone",
            T::NotPem => "convert it to PEM: openssl x509 -inform der, or openssl pkey -inform der",
            T::NoCertificate => {
                "put the certificate and its intermediates into this file, the site's own first"
            }
            T::NoKey => "name the file with the private key in `key`",
            T::EncryptedKey => {
                "store the key without passphrase, readable by its owner only: openssl pkey -in KEY -out NEW"
            }
            T::Flaw(CertificateFlaw::KeyMismatch) => {
                "use the key this certificate was requested with; the site's own certificate comes first in the file"
            }
            T::Flaw(CertificateFlaw::NoNames) => "request a certificate with the hosts as subjectAltName",
            T::Flaw(_) => "request the certificate again",
            T::Expired { .. } => "renew it",
            T::NotYetValid { .. } => "wait, or check the clock of this machine",
            T::Handshake(_) => {
                "request the certificate again, with an ECDSA P-256 or RSA key of 2048 bits or more"
            }
            T::NothingInDirectory => {
                "put fullchain.pem and privkey.pem there, or NAME.crt with NAME.pem or NAME.key"
            }
            T::KeyNotForSigning => "use an ECDSA P-256 key: openssl ecparam -name prime256v1 -genkey -noout",
            T::Generation => "remove `key`, so that a new one is made",
            T::NotOurs => "move it away, or name it in a source { source = \"files\", certificate = … }",
            T::Name { .. } => "write the host in lowercase ASCII (xn-- for others)",
            T::NotOrderedYet => "wait: it is ordered in the background; see the log if it does not come",
            T::NoSource => "add { source = \"self_signed\" } as the last source",
            T::Policy(TlsProblem::ClientAuthorities) => {
                "name a PEM file with the certificates of those who issue client certificates in `ca`"
            }
            T::Policy(TlsProblem::RevocationLists) => "fetch the revocation list again, in PEM or DER",
            T::Policy(TlsProblem::Versions) => {
                "name a cipher suite for each of the site's `tls_versions`, or none"
            }
            T::Policy(_) => "see to the site's TLS settings",
            T::NoRevocationList => "name a file with a revocation list (BEGIN X509 CRL)",
            T::Staple(_) => "fetch it again: openssl ocsp -respout FILE; without it nothing is stapled",
            T::ReadableSecret => "chmod 600, owned by the user that starts portcullis",
            T::AskedForNames => "add { source = \"self_signed\" } as the last source",
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CertificateTrouble as T;
        if !self.path.as_os_str().is_empty() {
            write!(f, "{}: ", self.path.display())?;
        }
        match &self.trouble {
            T::Io(error) => write!(f, "{error}"),
            T::TooLarge => f.write_str("larger than 1 MiB"),
            T::NotPem => f.write_str("not PEM, or PEM that ends early"),
            T::NoCertificate => f.write_str("no certificate in it"),
            T::NoKey => f.write_str("no private key in it"),
            T::EncryptedKey => f.write_str("the private key has a passphrase"),
            T::Flaw(flaw) => write!(f, "{flaw}"),
            T::Expired { not_after } => write!(f, "expired on {}", date(*not_after)),
            T::NotYetValid { not_before } => write!(f, "not valid before {}", date(*not_before)),
            T::Handshake(error) => write!(f, "a handshake with it fails: {error}"),
            T::NothingInDirectory => f.write_str("no certificate with its key in this directory"),
            T::KeyNotForSigning => f.write_str("not a key that can sign a certificate here"),
            T::Generation => f.write_str("the self-signed certificate could not be made"),
            T::NotOurs => f.write_str("not written by portcullis, so it is left as it is"),
            T::Name { name } => write!(f, "\"{name}\" cannot stand in a certificate"),
            T::NotOrderedYet => f.write_str("source acme has no certificate yet"),
            T::NoSource => f.write_str("no source of certificates"),
            T::Policy(problem) => write!(f, "{problem}"),
            T::NoRevocationList => f.write_str("no revocation list in it"),
            T::Staple(what) => f.write_str(what),
            T::ReadableSecret => f.write_str("everybody can read this secret"),
            T::AskedForNames => f.write_str("a source that is asked for names only"),
        }
    }
}

impl std::error::Error for CertificateProblem {}

/// Something to tell the operator about a certificate that is used nevertheless.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateWarning {
    /// A certificate that was passed over, or is out of its dates and used for want of a better one.
    Skipped(CertificateProblem),
    /// Names of the site that it does not cover.
    NotCovered { path: PathBuf, names: Vec<String> },
    /// Others than its owner can read the key.
    KeyReadable { path: PathBuf },
}

impl fmt::Display for CertificateWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(problem) => write!(f, "{problem}"),
            Self::NotCovered { path, names } => {
                write!(f, "{}: does not cover {}", path.display(), names.join(", "))
            }
            Self::KeyReadable { path } => {
                write!(f, "{}: everybody can read this private key", path.display())
            }
        }
    }
}

impl CertificateWarning {
    /// Whether it says no more than that source `acme` needs its time.
    pub fn is_not_ordered_yet(&self) -> bool {
        matches!(self, Self::Skipped(problem) if matches!(problem.trouble, CertificateTrouble::NotOrderedYet))
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Skipped(problem) => problem.remedy(),
            Self::NotCovered { .. } => {
                "request a certificate for all hosts of the site, or move the host to a site of its own"
            }
            Self::KeyReadable { .. } => "chmod 600, owned by the user that starts portcullis",
        }
    }
}

/// An HTTP date of a second since 1970; the number itself where there is no such date.
pub fn date(unix_seconds: i64) -> String {
    match u64::try_from(unix_seconds) {
        // httpdate writes years up to 9999.
        Ok(seconds) if seconds < 253_402_300_800 => {
            httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
        }
        _ => format!("second {unix_seconds}"),
    }
}
