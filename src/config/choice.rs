//! The words of settings that are one of a few.

use crate::access_log::Format;
use crate::config::{
    AcmeChallenge, Alias, Balance, ClientAuthMode, IdentityForm, LogLevel, PathReading, ProxyProtocol,
    SessionMode, SessionProtection, SocketAccess, Unmatched,
};

/// A setting written as one of a few words.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every word with what it means, in the order messages list them.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for it.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, choice)| *choice == self).map_or("", |(word, _)| word)
    }
}

impl Choice for LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

impl Choice for Format {
    const WORDS: &'static [(&'static str, Self)] =
        &[("json", Self::Json), ("combined", Self::Combined), ("vhost_combined", Self::VhostCombined)];
}

impl Choice for SocketAccess {
    const WORDS: &'static [(&'static str, Self)] = &[("owner", Self::Owner), ("group", Self::Group)];
}

impl Choice for ClientAuthMode {
    const WORDS: &'static [(&'static str, Self)] = &[("require", Self::Require), ("request", Self::Request)];
}

impl Choice for IdentityForm {
    const WORDS: &'static [(&'static str, Self)] =
        &[("subject", Self::Subject), ("fingerprint", Self::Fingerprint), ("certificate", Self::Certificate)];
}

impl Choice for SessionMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("cache", Self::Cache), ("tickets", Self::Tickets), ("off", Self::Off)];
}

impl Choice for Alias {
    const WORDS: &'static [(&'static str, Self)] = &[("redirect", Self::Redirect), ("serve", Self::Serve)];
}

impl Choice for Unmatched {
    const WORDS: &'static [(&'static str, Self)] =
        &[("forward", Self::Forward), ("not_found", Self::NotFound)];
}

impl Choice for SessionProtection {
    const WORDS: &'static [(&'static str, Self)] = &[("secure", Self::Secure), ("sealed", Self::Sealed)];
}

impl Choice for AcmeChallenge {
    const WORDS: &'static [(&'static str, Self)] =
        &[("http-01", Self::Http01), ("tls-alpn-01", Self::TlsAlpn01), ("dns-01", Self::Dns01)];
}

impl Choice for PathReading {
    const WORDS: &'static [(&'static str, Self)] = &[("raw", Self::Raw), ("normalized", Self::Normalized)];
}

impl Choice for Balance {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("round_robin", Self::RoundRobin),
        ("least_connections", Self::LeastConnections),
        ("hash", Self::Hash),
    ];
}

impl Choice for ProxyProtocol {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("v1", Self::V1), ("v2", Self::V2)];
}
