//! What can be wrong with certificates and policies, as values the shell turns into words.

use std::fmt;

/// Why a chain and key cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFlaw {
    /// No certificate at all.
    EmptyChain,
    /// The leaf does not parse as X.509 (RFC 5280).
    Malformed,
    /// The leaf names no host and no address in its subjectAltName; clients ignore the common name (RFC 9110 §4.3.4).
    NoNames,
    /// The private key is of no kind that can sign here.
    KeyUnusable,
    /// The private key is not the one of the leaf.
    KeyMismatch,
}

impl fmt::Display for CertificateFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyChain => "there is no certificate",
            Self::Malformed => "the first certificate does not parse",
            Self::NoNames => "the certificate has no subjectAltName with a host or an address",
            Self::KeyUnusable => "the private key is not an RSA, ECDSA or Ed25519 key that can be used",
            Self::KeyMismatch => "the private key does not belong to the first certificate",
        })
    }
}

impl std::error::Error for CertificateFlaw {}

/// Why a policy or a configuration of rustls cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// A protocol name is empty or longer than 255 bytes (RFC 7301 §3.1).
    AlpnName,
    /// No certificate authority for clients is usable.
    ClientAuthorities,
    /// No certificate authority for site servers is usable.
    Authorities,
    /// A revocation list for client certificates does not parse.
    RevocationLists,
    /// A cipher suite that is not known.
    CipherSuite,
    /// The cryptography has no suite for the versions.
    Versions,
    /// No certificate in the set.
    NoCertificate,
    /// The source of randomness failed.
    Randomness,
    /// The fleet secret is shorter than [`TicketKeys::SECRET_BYTES_MIN`](super::TicketKeys::SECRET_BYTES_MIN).
    ShortSecret,
    /// `lifetime` is shorter than two seconds: keys could not rotate.
    ShortLifetime,
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlpnName => "a protocol name of alpn must have 1 to 255 bytes",
            Self::ClientAuthorities => "client_auth has no usable certificate authority",
            Self::Authorities => "there is no usable certificate authority",
            Self::RevocationLists => "client_auth has a revocation list that does not parse",
            Self::CipherSuite => "a cipher suite is not one of those there are",
            Self::Versions => "no cipher suite serves the TLS versions",
            Self::NoCertificate => "there is no certificate to serve",
            Self::Randomness => "the system gave no random bytes",
            Self::ShortSecret => "the fleet secret must have at least 32 bytes",
            Self::ShortLifetime => "with tickets the session lifetime must be at least 2s",
        })
    }
}

impl std::error::Error for TlsProblem {}
