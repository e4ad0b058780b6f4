//! `[[site]]`: one site of the file becomes a `Site`.

use std::collections::{BTreeSet, HashMap};

use crate::config::address;
use crate::config::config::{Alias, Host, HostPattern, Hsts, SessionProtection, Site};
use crate::config::defaults;
use crate::config::keys;
use crate::config::message::{Expected, What};
use crate::config::reader::Reader;
use crate::config::rules::SiteFacts;
use crate::config::values::Section;
use crate::config::written::{Table, Value};
use crate::dispatch::Place;

/// What no two sites may share.
#[derive(Default)]
pub(super) struct Claims {
    names: HashMap<String, Place>,
    /// With the site that claimed it.
    hosts: HashMap<HostPattern, (String, Place)>,
    /// Fields of client identities, in lowercase.
    pub(super) identity_fields: BTreeSet<String>,
}

impl Reader<'_> {
    /// The sites of one file, which are taken out of it: what was typed of one is gone before the next one is made.
    /// `body_default`: octets, from `[limits]`.
    pub(super) fn sites(
        &mut self,
        file: &mut Table,
        body_default: u64,
        claims: &mut Claims,
        sites: &mut Vec<Site>,
    ) {
        const EXAMPLE: &str = "[[site]], with two brackets";
        let Some(node) = file.take("site") else { return };
        let Value::Array(items) = node.value else {
            self.wrong_type(node.at, "site", Expected::Tables(EXAMPLE), &node.value);
            return;
        };
        for item in items {
            let Value::Table(table) = item.value else {
                self.wrong_type(item.at, "site", Expected::Tables(EXAMPLE), &item.value);
                continue;
            };
            if sites.len() >= defaults::SITES_MAX {
                self.error(item.at, What::TooMany { what: "sites", most: defaults::SITES_MAX });
                return;
            }
            let site = self.site(&table, body_default, claims);
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
        let alpn = self.alpn(section);
        let cipher_suites = self.cipher_suites(section, tls_versions);
        let client_auth = self.client_auth(section, claims);
        let certificate = self.certificate(section, &place);
        if !ssl {
            self.without_ssl(section, &name, is_ssl);
        }

        let session_cookies = self
            .distinct(section, "session_cookies", "\"z_sid\"", is_token, |text| What::BadCookieName { text });
        let languages = self
            .distinct(section, "languages", "\"en\", \"nl\"", is_language, |text| What::BadLanguage { text });
        let upstream = self.upstreams(section);
        let health_check = self.health_check(section);
        if ssl {
            self.acme_names(section, &name, [hosts.as_slice(), &aliases], &certificate);
        }
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
            alpn,
            cipher_suites,
            certificate_compression: self.boolean(
                section,
                "certificate_compression",
                defaults::CERTIFICATE_COMPRESSION,
            ),
            client_auth: client_auth.map(Box::new),
            request_body_bytes_max: self.size_or_unlimited(
                section,
                "request_body_bytes",
                &defaults::REQUEST_BODY_BYTES,
                body_default,
            ),
            certificate,
            upstream,
            balance: self.choice(section, "balance", defaults::BALANCE),
            health_check: health_check.map(Box::new),
            rewrite_location: self.boolean(section, "rewrite_location", defaults::REWRITE_LOCATION),
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

    pub(super) fn not_empty(&mut self, section: Section<'_>, key: &'static str) {
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
        hosts.shrink_to_fit();
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

    /// Settings that only mean something with HTTPS, written for a site without.
    fn without_ssl(&mut self, section: Section<'_>, name: &str, is_ssl: bool) {
        let what = |key| What::WithoutSsl { key, site: name.to_owned() };
        if is_ssl {
            self.error(section.key_at("is_ssl"), what("is_ssl"));
        }
        if section.has("hsts") {
            self.error(section.key_at("hsts"), what("hsts"));
        }
        for key in
            ["certificate", "tls_versions", "alpn", "cipher_suites", "certificate_compression", "client_auth"]
        {
            if section.has(key) {
                self.warning(section.key_at(key), what(key));
            }
        }
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
