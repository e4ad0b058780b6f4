//! Why a handshake came to nothing, in words that logs and metrics share.

use std::io;

use rustls::{CertificateError, Error};

/// See the variants of [`rustls::Error`], of which these are classes that an operator can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// No site has the name.
    UnknownName,
    /// No source has a certificate for the name.
    NoCertificate,
    /// Too many handshakes run on the worker already.
    TooMany,
    /// `timeouts.handshake` passed.
    TimedOut,
    /// The client closed the connection, or reset it.
    ClientLeft,
    /// The client said with an alert that it does not want to go on: most often it does not trust the certificate.
    ClientAlert,
    /// What came is not TLS.
    NotTls,
    /// No version, suite, group or signature in common.
    NothingInCommon,
    /// No protocol of ALPN in common.
    NoCommonProtocol,
    /// A client certificate is required, and none was shown.
    ClientCertificateMissing,
    /// The client's certificate does not verify.
    ClientCertificateRefused,
    /// The client's certificate is on a revocation list.
    ClientCertificateRevoked,
    /// The client breaks the rules of TLS, or somebody changed what it sent.
    BrokenRules,
    /// The system or the library failed.
    Other,
}

impl HandshakeFailure {
    /// For the error a handshake ended with.
    pub fn of(error: &io::Error) -> HandshakeFailure {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => Self::of_tls(error),
            None => match error.kind() {
                io::ErrorKind::TimedOut => Self::TimedOut,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::ClientLeft,
                _ => Self::Other,
            },
        }
    }

    fn of_tls(error: &Error) -> HandshakeFailure {
        match error {
            Error::NoCertificatesPresented => Self::ClientCertificateMissing,
            Error::InvalidCertificate(CertificateError::Revoked) => Self::ClientCertificateRevoked,
            Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
                Self::ClientCertificateRefused
            }
            Error::AlertReceived(_) => Self::ClientAlert,
            Error::NoApplicationProtocol => Self::NoCommonProtocol,
            Error::PeerIncompatible(_) => Self::NothingInCommon,
            Error::InvalidMessage(_) => Self::NotTls,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord
            | Error::DecryptError => Self::BrokenRules,
            _ => Self::Other,
        }
    }

    /// The word for it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownName => "unknown_name",
            Self::NoCertificate => "no_certificate",
            Self::TooMany => "too_many",
            Self::TimedOut => "timed_out",
            Self::ClientLeft => "client_left",
            Self::ClientAlert => "client_alert",
            Self::NotTls => "not_tls",
            Self::NothingInCommon => "nothing_in_common",
            Self::NoCommonProtocol => "no_common_protocol",
            Self::ClientCertificateMissing => "client_certificate_missing",
            Self::ClientCertificateRefused => "client_certificate_refused",
            Self::ClientCertificateRevoked => "client_certificate_revoked",
            Self::BrokenRules => "broken_rules",
            Self::Other => "other",
        }
    }
}
