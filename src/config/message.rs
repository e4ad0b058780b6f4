//! Every message of this room: what can be wrong, as data.
//!
//! The words are in `words.rs`. A code is stable: `check --json` prints it, and the golden file of the
//! message has its name.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::config::address::{BadHost, BadListen, BadUpstream};
use crate::config::amount::Amount;
use crate::dispatch::written_path::WrongPath;
use crate::dispatch::zotonic::WrongDispatch;
use crate::dispatch::{PatternProblemKind, Place};
use crate::http::BadNetwork;

macro_rules! messages {
    ($($(#[$doc:meta])* $code:literal $variant:ident { $($field:ident: $type:ty),* })*) => {
        /// What is wrong.
        #[derive(Clone, Debug)]
        pub(super) enum What {
            $($(#[$doc])* $variant { $($field: $type),* },)*
        }

        impl What {
            /// Every code.
            #[cfg(test)]
            pub(super) const CODES: &'static [&'static str] = &[$($code),*];

            pub(super) fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)*
                }
            }
        }
    };
}

messages! {
    // Files

    "file-unreadable" FileUnreadable { path: PathBuf, cause: ErrorKind }
    "not-utf8" NotUtf8 {}
    "file-too-large" FileTooLarge { path: PathBuf }
    /// An `include` or `dispatch_files` entry that names one file, or (as a warning) a pattern.
    "matches-nothing" MatchesNothing { key: &'static str, pattern: String, path: String }
    "bad-glob" BadGlob { pattern: String }
    "included-twice" IncludedTwice { path: PathBuf, first: Option<Place> }
    "include-too-deep" IncludeTooDeep {}
    "include-not-sites" IncludeNotSites { key: String }
    "too-many" TooMany { what: &'static str, most: usize }

    // The notation

    /// In the words of the TOML parser.
    "syntax" Syntax { message: String, expected: Option<String> }
    "key-twice" KeyTwice { key: String, first: Option<u32> }

    // Keys

    "unknown-key" UnknownKey { key: String, table: &'static str, near: Option<&'static str>, elsewhere: Option<&'static str>, known: Vec<&'static str> }
    "unavailable" Unavailable { key: String }
    "missing-key" MissingKey { key: &'static str, table: &'static str }
    "wrong-type" WrongType { key: &'static str, expected: Expected, found: &'static str }

    // Values

    "bad-duration" BadDuration { text: String, why: Amount }
    "bad-size" BadSize { text: String, why: Amount }
    /// Of a flag; in a file that is a wrong type.
    "not-a-number" NotANumber { text: String }
    "whole-seconds" WholeSeconds { text: String }
    "out-of-range" OutOfRange { key: &'static str, text: String, least: String, most: String }
    "unknown-word" UnknownWord { key: &'static str, text: String, words: Vec<&'static str>, near: Option<&'static str> }
    "empty" Empty { key: &'static str }
    "listed-twice" ListedTwice { key: &'static str, text: String, first: Place }

    // [listen]

    "bad-listen-address" BadListenAddress { text: String, why: BadListen }
    "bad-network" BadNetworkAddress { text: String, why: BadNetwork }
    "listen-both" ListenBoth { text: String, first: Place }
    "nothing-listens" NothingListens {}

    // [admin]

    "admin-token" AdminToken {}

    // [[site]]

    "bad-name" BadName { text: String }
    "name-twice" NameTwice { name: String, first: Place }
    "bad-host" BadHostName { text: String, why: BadHost }
    "host-twice" HostTwice { host: String, site: String, first: Place }
    "alias-without-canonical" AliasWithoutCanonical { first: String }
    "bad-language" BadLanguage { text: String }
    "bad-cookie-name" BadCookieName { text: String }
    "bad-upstream" BadUpstreamAddress { text: String, why: BadUpstream }
    "without-tls" WithoutTls { key: &'static str }
    "bad-server-name" BadServerName { text: String }
    "bad-target" BadTarget { text: String }
    "bad-authority" BadAuthority { text: String }
    "certificate-form" CertificateForm { why: CertificateForm }
    "source-key" SourceKey { key: String, source: &'static str }
    "preload" Preload {}
    "fleet-secret" FleetSecret {}
    "no-suite" NoSuite { version: &'static str }
    "bad-source-url" BadSourceUrl { text: String, why: BadUpstream }
    "bad-field-name" BadFieldName { text: String }

    // certificate, source = "acme"

    "bad-directory-url" BadDirectoryUrl { text: String }
    "bad-contact" BadContact { text: String }
    "acme-dns" AcmeDns { has_command: bool }
    "acme-names" AcmeNames { site: String }
    "acme-not-ordered" AcmeNotOrdered { host: String }

    // store

    "bad-store" BadStore { why: BadStore }
    "store-password" StorePassword {}
    "store-secret" StoreSecret {}
    "store-unused" StoreUnused {}
    "store-without-tls" StoreWithoutTls {}

    // What does not go together

    "no-https-listener" NoHttpsListener { site: String }
    "without-ssl" WithoutSsl { key: &'static str, site: String }
    "sealed-without-secure" SealedWithoutSecure { site: String }
    "seals-nothing" SealsNothing { site: String }
    "rule-without-ssl" RuleWithoutSsl { rule: String, site: String }
    "http-rule-under-hsts" HttpRuleUnderHsts { rule: String, site: String }

    "ejection-order" EjectionOrder {}
    "burst-without-rate" BurstWithoutRate {}

    // Rules

    "bad-path" BadPath { why: WrongPath }
    "bad-pattern" BadPattern { rule: String, pattern: String, why: PatternProblemKind }
    "path-too-long" PathTooLong { rule: String }
    "literal-too-long" LiteralTooLong { rule: String }
    "dispatch-file" DispatchFile { why: WrongDispatch }
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    Duration,
    Size,
    SizeOrUnlimited,
    Count(u64),
    Text,
    Flag,
    /// An array of strings; the example.
    Texts(&'static str),
    Table(&'static str),
    /// `[[site]]`
    Tables(&'static str),
    Workers,
    /// The example.
    Listeners(&'static str),
    /// The example.
    Upstreams(&'static str),
    Ssl,
    Path,
    Sources,
    Store,
}

/// Which part of the URL of a `store` is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadStore {
    Scheme,
    Credentials,
    Host,
    Port,
    Database,
    /// A query, a fragment, or what no URL holds.
    Rest,
}

/// What is wrong with a `certificate` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateForm {
    /// `source = "files"` with neither.
    Nothing,
    /// `directory` beside `certificate` or `key`.
    Both,
    NoKey,
    NoCertificate,
}
