//! The TLS settings: sessions, policies, where certificates come from.

use std::path::PathBuf;

use crate::config::address;
use crate::config::defaults;
use crate::config::keys;
use crate::config::message::{CertificateForm, Expected, What};
use crate::config::reader::Reader;
use crate::config::site::Claims;
use crate::config::values::Section;
use crate::config::written::{Table, Value};
use crate::config::{
    CertificateCache, CertificateSource, ClientAuth, SelfSignedKey, SessionCache, SessionMode, Source,
    TlsVersions,
};
use crate::dispatch::Place;
use crate::http::FieldName;
use crate::tls::{Versions, cipher_suites};

/// The sources, each with its settings.
const SOURCES: &[(&str, &[&str])] = &[
    ("files", &["certificate", "key", "directory", "ocsp"]),
    ("self_signed", &["key"]),
    ("command", &["run", "timeout"]),
    ("http", &["url", "timeout", "ca"]),
    // Reads its own.
    ("acme", &[]),
];

impl Reader<'_> {
    pub(super) fn session_cache(&mut self, top: Section<'_>) -> SessionCache {
        let table = self.table(top, "session_cache", "[session_cache]");
        let section = self.section(&table, &keys::SESSION_CACHE);
        let mode = self.choice(section, "mode", defaults::SESSION_MODE);
        let fleet_secret_file = self.file(section, "fleet_secret_file");
        if fleet_secret_file.is_some() && mode != SessionMode::Tickets && !top.has("store") {
            self.error(section.key_at("fleet_secret_file"), What::FleetSecret {});
        }
        SessionCache {
            mode,
            size: self.usize(section, "size", &defaults::SESSION_CACHE_SIZE),
            lifetime: self.seconds(section, "lifetime", &defaults::SESSION_LIFETIME),
            fleet_secret_file,
        }
    }

    pub(super) fn certificate_cache(&mut self, top: Section<'_>) -> CertificateCache {
        let table = self.table(top, "certificate_cache", "[certificate_cache]");
        let section = self.section(&table, &keys::CERTIFICATE_CACHE);
        let unknown = self.count(section, "unknown_names_per_second", &defaults::UNKNOWN_NAMES_PER_SECOND);
        CertificateCache {
            size: self.usize(section, "size", &defaults::CERTIFICATE_CACHE_SIZE),
            lifetime: self.duration(section, "lifetime", &defaults::CERTIFICATE_CACHE_LIFETIME),
            unknown_names_per_second: u32::try_from(unknown).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn alpn(&mut self, site: Section<'_>) -> Vec<String> {
        if !site.has("alpn") {
            return defaults::ALPN.iter().map(|name| (*name).to_owned()).collect();
        }
        let mut names: Vec<String> = Vec::new();
        for (name, at) in self.texts(site, "alpn", "\"http/1.1\"") {
            if !defaults::ALPN.contains(&name.as_str()) {
                self.unknown_word(at, "alpn", name, defaults::ALPN.to_vec());
            } else if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    pub(super) fn cipher_suites(&mut self, site: Section<'_>, versions: TlsVersions) -> Vec<String> {
        self.not_empty(site, "cipher_suites");
        let known = cipher_suites();
        let mut names: Vec<String> = Vec::new();
        let (mut tls12, mut tls13) = (false, false);
        for (name, at) in self.texts(site, "cipher_suites", "\"TLS_AES_128_GCM_SHA256\"") {
            match known.iter().find(|(suite, _)| *suite == name) {
                None => {
                    let words = known.iter().map(|(suite, _)| *suite).collect();
                    self.unknown_word(at, "cipher_suites", name, words);
                    // What it was meant to be is not known: no more is said about versions.
                    (tls12, tls13) = (true, true);
                }
                Some((_, version)) => {
                    tls12 |= *version == Versions::Tls12;
                    tls13 |= *version == Versions::Tls13;
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
        if !names.is_empty() {
            let missing = match versions {
                TlsVersions::Tls12AndTls13 | TlsVersions::Tls12 if !tls12 => Some("1.2"),
                TlsVersions::Tls12AndTls13 | TlsVersions::Tls13 if !tls13 => Some("1.3"),
                _ => None,
            };
            if let Some(version) = missing {
                self.error(site.key_at("cipher_suites"), What::NoSuite { version });
            }
        }
        names
    }

    pub(super) fn client_auth(&mut self, site: Section<'_>, claims: &mut Claims) -> Option<ClientAuth> {
        let table = self.table(site, "client_auth", "client_auth = { ca = \"clients.pem\" }");
        site.get("client_auth")?;
        let section = self.section(&table, &keys::CLIENT_AUTH);
        if !section.has("ca") {
            self.missing(section, "ca");
        }
        let ca = self.file(section, "ca");
        let mode = self.choice(section, "mode", defaults::CLIENT_AUTH_MODE);
        let identity = self.choice(section, "identity", defaults::CLIENT_AUTH_IDENTITY);
        let crl: Vec<_> = self.texts(section, "crl", "\"clients.crl\"");
        let crl = crl.into_iter().map(|(path, at)| self.beside(at, &path)).collect();
        let header = match self.word(section, "header") {
            Some((name, at)) if !is_own_field(&name) => {
                self.error(at, What::BadFieldName { text: name });
                return None;
            }
            Some((name, _)) => name,
            None => defaults::CLIENT_AUTH_HEADER.to_owned(),
        };
        claims.identity_fields.insert(header.to_ascii_lowercase());
        if claims.identity_fields.len() > defaults::IDENTITY_FIELDS_MAX {
            let most = defaults::IDENTITY_FIELDS_MAX;
            self.error(section.at("header"), What::TooMany { what: "fields for client identities", most });
        }
        Some(ClientAuth { ca: ca?, mode, crl, header, identity })
    }

    pub(super) fn tls_versions(&mut self, site: Section<'_>) -> TlsVersions {
        self.not_empty(site, "tls_versions");
        let (mut tls12, mut tls13) = (false, false);
        for (text, at) in self.texts(site, "tls_versions", "\"1.2\", \"1.3\"") {
            match text.as_str() {
                "1.2" => tls12 = true,
                "1.3" => tls13 = true,
                _ => self.unknown_word(at, "tls_versions", text, vec!["1.2", "1.3"]),
            }
        }
        match (tls12, tls13) {
            (true, true) => TlsVersions::Tls12AndTls13,
            (true, false) => TlsVersions::Tls12,
            (false, true) => TlsVersions::Tls13,
            (false, false) => defaults::TLS_VERSIONS,
        }
    }

    pub(super) fn certificate(&mut self, site: Section<'_>, place: &Place) -> Vec<CertificateSource> {
        const SELF_SIGNED: Source = Source::SelfSigned { key: SelfSignedKey::Ours };
        let default = || vec![CertificateSource { source: SELF_SIGNED, place: place.clone() }];
        let Some(node) = site.get("certificate") else {
            return default();
        };
        let Value::Array(items) = &node.value else {
            self.wrong_type(node.at, "certificate", Expected::Sources, &node.value);
            return default();
        };
        self.not_empty(site, "certificate");
        let mut sources = Vec::new();
        for item in items {
            let Value::Table(table) = &item.value else {
                self.wrong_type(item.at, "certificate", Expected::Sources, &item.value);
                continue;
            };
            if sources.len() >= defaults::ENTRIES_MAX {
                self.error(
                    item.at,
                    What::TooMany { what: "entries in one array", most: defaults::ENTRIES_MAX },
                );
                break;
            }
            if let Some(source) = self.source(table) {
                sources.push(CertificateSource { source, place: self.place(item.at) });
            }
        }
        // Serving does not wait for a CA.
        if let Some(CertificateSource { source: Source::Acme(_), place }) = sources.last() {
            let place = place.clone();
            sources.push(CertificateSource { source: SELF_SIGNED, place });
        }
        sources.shrink_to_fit();
        sources
    }

    fn source(&mut self, table: &Table) -> Option<Source> {
        let word = match table.get("source").map(|node| (&node.value, node.at)) {
            Some((Value::Text(word), at)) => Some((word.as_str(), at)),
            _ => None,
        };
        // The settings of a source that is not there are no mistakes of their own.
        if let Some((word, at)) = word
            && keys::SOURCES_UNAVAILABLE.contains(&word)
        {
            self.error(at, What::Unavailable { key: format!("source = \"{word}\"") });
            return None;
        }
        if word.is_some_and(|(word, _)| word == "acme") {
            return self.acme(table).map(|source| Source::Acme(Box::new(source)));
        }
        let section = self.section(table, &keys::CERTIFICATE);
        if !section.has("source") {
            self.missing(section, "source");
            return None;
        }
        let (word, at) = self.word(section, "source")?;
        let Some((source, settings)) = SOURCES.iter().find(|(source, _)| *source == word) else {
            let words: Vec<&'static str> = SOURCES.iter().map(|(source, _)| *source).collect();
            self.unknown_word(at, "source", word, words);
            return None;
        };
        for key in keys::CERTIFICATE.keys.iter().map(|key| key.name) {
            if key != "source" && section.has(key) && !settings.contains(&key) {
                self.error(section.key_at(key), What::SourceKey { key: key.to_owned(), source });
            }
        }
        match *source {
            "files" => self.files_source(section),
            "self_signed" => {
                let key = self.file(section, "key").map_or(SelfSignedKey::Ours, SelfSignedKey::File);
                Some(Source::SelfSigned { key })
            }
            "command" => {
                if !section.has("run") {
                    self.missing(section, "run");
                }
                self.not_empty(section, "run");
                let words = self.texts(section, "run", "\"/usr/local/bin/site-cert\"");
                let timeout = self.duration(section, "timeout", &defaults::ASK_TIMEOUT);
                let mut words = words.into_iter();
                let (program, at) = words.next()?;
                // A name alone is looked up in PATH, as a shell does.
                let program = if program.contains('/') {
                    self.beside(at, &program).to_string_lossy().into_owned()
                } else {
                    program
                };
                if program.is_empty() {
                    self.error(at, What::Empty { key: "run" });
                    return None;
                }
                let run = std::iter::once(program).chain(words.map(|(word, _)| word)).collect();
                Some(Source::Command { run, timeout })
            }
            _ => {
                if !section.has("url") {
                    self.missing(section, "url");
                }
                let timeout = self.duration(section, "timeout", &defaults::ASK_TIMEOUT);
                let ca = self.file(section, "ca");
                let (text, at) = self.filled(section, "url")?;
                match address::source_url(&text) {
                    Ok(url) => Some(Source::Http { url: Box::new(url), timeout, ca }),
                    Err(why) => {
                        self.error(at, What::BadSourceUrl { text, why });
                        None
                    }
                }
            }
        }
    }

    fn files_source(&mut self, section: Section<'_>) -> Option<Source> {
        let certificate = self.file(section, "certificate");
        let key = self.file(section, "key");
        let directory = self.file(section, "directory");
        let ocsp = self.file(section, "ocsp");
        match (certificate, key, directory) {
            (Some(certificate), Some(key), None) => Some(Source::Files { certificate, key, ocsp }),
            (None, None, Some(directory)) if ocsp.is_none() => Some(Source::Directory { directory }),
            _ => {
                self.certificate_form(section);
                None
            }
        }
    }

    /// A path, joined to the directory of the file that names it.
    fn file(&mut self, section: Section<'_>, key: &'static str) -> Option<PathBuf> {
        let (path, at) = self.filled(section, key)?;
        Some(self.beside(at, &path))
    }

    fn certificate_form(&mut self, section: Section<'_>) {
        let (certificate, key, directory) =
            (section.has("certificate"), section.has("key"), section.has("directory"));
        let (at, why) = match (certificate, key, directory) {
            (false, false, false) => (section.table.at, CertificateForm::Nothing),
            (true, false, false) => (section.key_at("certificate"), CertificateForm::NoKey),
            (false, true, false) => (section.key_at("key"), CertificateForm::NoCertificate),
            (true, _, true) | (_, true, true) => (section.key_at("directory"), CertificateForm::Both),
            (false, false, true) if section.has("ocsp") => (section.key_at("ocsp"), CertificateForm::Both),
            // Written in the right form: what is wrong with the values was said.
            (true, true, false) | (false, false, true) => return,
        };
        self.error(at, What::CertificateForm { why });
    }
}

/// A name that is neither HTTP's nor a front end's, and that nobody reads as another one.
fn is_own_field(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(plain)
        && FieldName::of(name.as_bytes()) == FieldName::Other
}
