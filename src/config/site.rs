//! `[[site]]`: one site of the file becomes a `Site`.

use std::collections::HashMap;

use crate::config::address;
use crate::config::config::{
    Alias, CertificateSource, Host, HostPattern, Hsts, SelfSignedKey, SessionProtection, Site, SiteUpstream,
    Source, TlsVersions,
};
use crate::config::defaults;
use crate::config::keys;
use crate::config::message::{CertificateForm, Expected, What};
use crate::config::near::nearest;
use crate::config::reader::Reader;
use crate::config::rules::SiteFacts;
use crate::config::values::Section;
use crate::config::written::{Spot, Table, Value};
use crate::dispatch::Place;

/// What no two sites may share.
#[derive(Default)]
pub(super) struct Claims {
    names: HashMap<String, Place>,
    /// With the site that claimed it.
    hosts: HashMap<HostPattern, (String, Place)>,
}

impl Reader<'_> {
    /// The sites of one file. `body_default`: octets, from `[limits]`.
    pub(super) fn sites(
        &mut self,
        file: &Table,
        body_default: u64,
        claims: &mut Claims,
        sites: &mut Vec<Site>,
    ) {
        const EXAMPLE: &str = "[[site]], with two brackets";
        let Some(node) = file.get("site") else { return };
        let Value::Array(items) = &node.value else {
            self.wrong_type(node.at, "site", Expected::Tables(EXAMPLE), &node.value);
            return;
        };
        for item in items {
            let Value::Table(table) = &item.value else {
                self.wrong_type(item.at, "site", Expected::Tables(EXAMPLE), &item.value);
                continue;
            };
            if sites.len() >= defaults::SITES_MAX {
                self.error(item.at, What::TooMany { what: "sites", most: defaults::SITES_MAX });
                return;
            }
            let site = self.site(table, body_default, claims);
            sites.push(site);
        }
    }

    fn site(&mut self, table: &Table, body_default: u64, claims: &mut Claims) -> Site {
        let section = self.section(table, &keys::SITE);
        let place = self.place(table.at);
        let name = self.site_name(section, claims);

        let hosts = self.hosts(section, "hosts", &name, claims);
        if !section.has("hosts") {
            self.missing(section, "hosts");
        }
        self.not_empty(section, "hosts");
        let aliases = self.hosts(section, "aliases", &name, claims);
        let alias = self.choice(section, "alias", defaults::ALIAS);
        if let (Alias::Redirect, [_, ..], Some(first)) = (alias, aliases.as_slice(), hosts.first())
            && !matches!(first.pattern, HostPattern::Exact(_))
        {
            self.error(
                section.at("aliases"),
                What::AliasWithoutCanonical { first: first.pattern.to_string() },
            );
        }

        let ssl = self.boolean(section, "ssl", defaults::SSL);
        let is_ssl = self.boolean(section, "is_ssl", defaults::IS_SSL);
        let is_secure = self.boolean(section, "is_secure", defaults::IS_SECURE);
        let hsts = self.hsts(section);
        let tls_versions = self.tls_versions(section);
        let certificate = self.certificate(section, &place);
        if !ssl {
            self.without_ssl(section, &name, is_ssl);
        }

        let session_cookies = self
            .distinct(section, "session_cookies", "\"z_sid\"", is_token, |text| What::BadCookieName { text });
        let languages = self
            .distinct(section, "languages", "\"en\", \"nl\"", is_language, |text| What::BadLanguage { text });
        let upstream = self.upstreams(section);
        let facts = SiteFacts { name: &name, ssl, hsts };
        let dispatch = self.rules(section, &facts);
        Site {
            hosts,
            aliases,
            alias,
            ssl,
            is_secure,
            is_ssl,
            is_permanent: self.boolean(section, "is_permanent", defaults::IS_PERMANENT),
            session_protection: self.session_protection(section, &name, ssl, is_secure, &session_cookies),
            path_reading: self.choice(section, "path_reading", defaults::PATH_READING),
            session_cookies,
            languages,
            unmatched: self.choice(section, "unmatched", defaults::UNMATCHED),
            hsts,
            tls_versions,
            request_body_bytes_max: self.size_or_unlimited(
                section,
                "request_body_bytes",
                &defaults::REQUEST_BODY_BYTES,
                body_default,
            ),
            certificate,
            upstream,
            dispatch,
            name,
            place,
            written: self.written_at(section),
        }
    }

    /// `"secure"` after an error.
    fn session_protection(
        &mut self,
        section: Section<'_>,
        site: &str,
        ssl: bool,
        is_secure: bool,
        cookies: &[String],
    ) -> SessionProtection {
        const KEY: &str = "session_protection";
        let protection = self.choice(section, KEY, defaults::SESSION_PROTECTION);
        if protection == SessionProtection::Secure {
            return protection;
        }
        if !ssl {
            self.error(section.at(KEY), What::WithoutSsl { key: KEY, site: site.to_owned() });
            return SessionProtection::Secure;
        }
        if !is_secure {
            self.error(section.at(KEY), What::SealedWithoutSecure { site: site.to_owned() });
            return SessionProtection::Secure;
        }
        if cookies.is_empty() {
            self.warning(section.at(KEY), What::SealsNothing { site: site.to_owned() });
        }
        protection
    }

    /// Empty after an error.
    fn site_name(&mut self, section: Section<'_>, claims: &mut Claims) -> String {
        if !section.has("name") {
            self.missing(section, "name");
        }
        let Some((name, at)) = self.word(section, "name") else {
            return String::new();
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(fits) {
            self.error(at, What::BadName { text: name.clone() });
        } else if let Some(first) = claims.names.get(&name).cloned() {
            self.error(at, What::NameTwice { name: name.clone(), first });
        } else {
            claims.names.insert(name.clone(), self.place(at));
        }
        name
    }

    fn not_empty(&mut self, section: Section<'_>, key: &'static str) {
        if let Some(node) = section.get(key)
            && matches!(&node.value, Value::Array(items) if items.is_empty())
        {
            self.error(node.at, What::Empty { key });
        }
    }

    fn hosts(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        site: &str,
        claims: &mut Claims,
    ) -> Vec<Host> {
        let mut hosts = Vec::new();
        for (text, at) in self.texts(section, key, "\"example.com\"") {
            let pattern = match address::host(&text) {
                Ok(pattern) => pattern,
                Err(why) => {
                    self.error(at, What::BadHostName { text, why });
                    continue;
                }
            };
            let place = self.place(at);
            if let Some((site, first)) = claims.hosts.get(&pattern).cloned() {
                self.error(at, What::HostTwice { host: pattern.to_string(), site, first });
                continue;
            }
            claims.hosts.insert(pattern.clone(), (site.to_owned(), place.clone()));
            hosts.push(Host { pattern, place });
        }
        hosts
    }

    fn hsts(&mut self, site: Section<'_>) -> Option<Hsts> {
        let table = self.table(site, "hsts", "hsts = { max_age = \"365d\" }");
        site.get("hsts")?;
        let section = self.section(&table, &keys::HSTS);
        let hsts = Hsts {
            max_age: self.seconds(section, "max_age", &defaults::HSTS_MAX_AGE),
            include_subdomains: self.boolean(
                section,
                "include_subdomains",
                defaults::HSTS_INCLUDE_SUBDOMAINS,
            ),
            preload: self.boolean(section, "preload", defaults::HSTS_PRELOAD),
        };
        if hsts.preload && (!hsts.include_subdomains || hsts.max_age < defaults::HSTS_MAX_AGE.default) {
            self.warning(section.at("preload"), What::Preload {});
        }
        Some(hsts)
    }

    fn tls_versions(&mut self, site: Section<'_>) -> TlsVersions {
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

    fn certificate(&mut self, site: Section<'_>, place: &Place) -> Vec<CertificateSource> {
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
        sources
    }

    fn source(&mut self, table: &Table) -> Option<Source> {
        const SOURCES: &[&str] = &["files", "self_signed"];
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
        let section = self.section(table, &keys::CERTIFICATE);
        if !section.has("source") {
            self.missing(section, "source");
            return None;
        }
        let (word, at) = self.word(section, "source")?;
        let certificate = self.filled(section, "certificate");
        let key = self.filled(section, "key");
        let directory = self.filled(section, "directory");
        let path = |reader: &Self, (path, at): &(String, Spot)| reader.beside(*at, path);
        match word.as_str() {
            "files" => match (&certificate, &key, &directory) {
                (Some(certificate), Some(key), None) => {
                    Some(Source::Files { certificate: path(self, certificate), key: path(self, key) })
                }
                (None, None, Some(directory)) => Some(Source::Directory { directory: path(self, directory) }),
                _ => {
                    self.certificate_form(section);
                    None
                }
            },
            "self_signed" => {
                for unused in ["certificate", "directory"] {
                    if section.has(unused) {
                        let what = What::SourceKey { key: unused.to_owned(), source: "self_signed" };
                        self.error(section.key_at(unused), what);
                    }
                }
                let key = key.map_or(SelfSignedKey::Ours, |key| SelfSignedKey::File(path(self, &key)));
                Some(Source::SelfSigned { key })
            }
            _ => {
                let near = nearest(&word, SOURCES.iter().copied()).map(|(near, _)| near);
                self.error(
                    at,
                    What::UnknownWord { key: "source", text: word, words: SOURCES.to_vec(), near },
                );
                None
            }
        }
    }

    fn certificate_form(&mut self, section: Section<'_>) {
        let (certificate, key, directory) =
            (section.has("certificate"), section.has("key"), section.has("directory"));
        let (at, why) = match (certificate, key, directory) {
            (false, false, false) => (section.table.at, CertificateForm::Nothing),
            (true, false, false) => (section.key_at("certificate"), CertificateForm::NoKey),
            (false, true, false) => (section.key_at("key"), CertificateForm::NoCertificate),
            (true, _, true) | (_, true, true) => (section.key_at("directory"), CertificateForm::Both),
            // Written in the right form: what is wrong with the values was said.
            (true, true, false) | (false, false, true) => return,
        };
        self.error(at, What::CertificateForm { why });
    }

    /// Settings that only mean something with HTTPS, written for a site without.
    fn without_ssl(&mut self, section: Section<'_>, name: &str, is_ssl: bool) {
        let what = |key| What::WithoutSsl { key, site: name.to_owned() };
        if is_ssl {
            self.error(section.key_at("is_ssl"), what("is_ssl"));
        }
        if section.has("hsts") {
            self.error(section.key_at("hsts"), what("hsts"));
        }
        for key in ["certificate", "tls_versions"] {
            if section.has(key) {
                self.warning(section.key_at(key), what(key));
            }
        }
    }

    fn upstreams(&mut self, site: Section<'_>) -> Vec<SiteUpstream> {
        if !site.has("upstream") {
            self.missing(site, "upstream");
        }
        self.not_empty(site, "upstream");
        let mut upstreams: Vec<SiteUpstream> = Vec::new();
        for (text, at) in self.texts(site, "upstream", "\"http://127.0.0.1:8000\"") {
            match address::upstream(&text) {
                Ok(upstream) => {
                    if let Some(first) = upstreams.iter().find(|first| first.upstream == upstream) {
                        let first = first.place.clone();
                        self.error(at, What::ListedTwice { key: "upstream", text, first });
                    } else {
                        let place = self.place(at);
                        upstreams.push(SiteUpstream { upstream, text, place });
                    }
                }
                Err(why) => self.error(at, What::BadUpstreamAddress { text, why }),
            }
        }
        upstreams
    }
}

/// RFC 9110 §5.6.2, which RFC 6265 takes for names of cookies.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// `en`, `zh-hant`: compared with the first segment of a path, byte by byte.
fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or("");
    (2..=3).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}
