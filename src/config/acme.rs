//! Source `acme` of a site's `certificate`.

use crate::config::defaults;
use crate::config::keys;
use crate::config::message::What;
use crate::config::reader::Reader;
use crate::config::values::Section;
use crate::config::written::Table;
use crate::config::{
    AcmeBinding, AcmeChallenge, AcmeDns, AcmeSource, CertificateSource, Host, HostPattern, Source,
};

impl Reader<'_> {
    /// `None` after an error that leaves nothing to order from.
    pub(super) fn acme(&mut self, table: &Table) -> Option<AcmeSource> {
        let section = self.section(table, &keys::ACME);
        let directory_url = match self.filled(section, "directory_url") {
            Some((text, at)) if !is_directory_url(&text) => {
                self.error(at, What::BadDirectoryUrl { text });
                return None;
            }
            Some((text, _)) => text,
            None => defaults::ACME_DIRECTORY_URL.to_owned(),
        };
        let mut contact = Vec::new();
        for (text, at) in self.texts(section, "contact", "\"you@example.com\"") {
            match contact_url(&text) {
                Some(url) => contact.push(url),
                None => self.error(at, What::BadContact { text }),
            }
        }
        let challenge = self.choice(section, "challenge", defaults::ACME_CHALLENGE);
        let dns = self.acme_dns(section);
        if (challenge == AcmeChallenge::Dns01) != section.has("dns") {
            let at = if section.has("dns") { section.key_at("dns") } else { section.at("challenge") };
            self.error(at, What::AcmeDns { has_command: section.has("dns") });
        }
        Some(AcmeSource {
            directory_url,
            contact,
            challenge,
            profile: self.filled(section, "profile").map(|(profile, _)| profile),
            eab: self.acme_eab(section),
            ca: self.filled(section, "ca").map(|(path, at)| self.beside(at, &path)),
            dns,
        })
    }

    fn acme_eab(&mut self, source: Section<'_>) -> Option<AcmeBinding> {
        let table = self.table(source, "eab", "eab = { key_id = \"kid-1\", key_file = \"eab.key\" }");
        source.get("eab")?;
        let section = self.section(&table, &keys::ACME_EAB);
        for key in ["key_id", "key_file"] {
            if !section.has(key) {
                self.missing(section, key);
            }
        }
        let key_id = self.filled(section, "key_id");
        let key_file = self.filled(section, "key_file");
        let ((key_id, _), (path, at)) = key_id.zip(key_file)?;
        Some(AcmeBinding { key_id, key_file: self.beside(at, &path) })
    }

    fn acme_dns(&mut self, source: Section<'_>) -> Option<AcmeDns> {
        let table = self.table(source, "dns", "dns = { run = [\"/usr/local/bin/set-record\"] }");
        source.get("dns")?;
        let section = self.section(&table, &keys::ACME_DNS);
        if !section.has("run") {
            self.missing(section, "run");
        }
        let run: Vec<String> = self
            .texts(section, "run", "\"/usr/local/bin/set-record\"")
            .into_iter()
            .map(|(text, _)| text)
            .collect();
        if section.has("run") && run.first().is_none_or(String::is_empty) {
            self.error(section.at("run"), What::Empty { key: "run" });
        }
        Some(AcmeDns { run, timeout: self.duration(section, "timeout", &defaults::ACME_DNS_TIMEOUT) })
    }

    /// Says which hosts no certificate will be ordered for.
    pub(super) fn acme_names(
        &mut self,
        section: Section<'_>,
        site: &str,
        hosts: [&[Host]; 2],
        certificate: &[CertificateSource],
    ) {
        let sources: Vec<&AcmeSource> = certificate
            .iter()
            .filter_map(|written| match &written.source {
                Source::Acme(source) => Some(&**source),
                _ => None,
            })
            .collect();
        if sources.is_empty() {
            return;
        }
        let by_record = sources.iter().all(|source| source.challenge == AcmeChallenge::Dns01);
        let is_ordered = |host: &&Host| match host.pattern {
            HostPattern::Exact(_) => true,
            HostPattern::Wildcard(_) => by_record,
            HostPattern::Any => false,
        };
        let (ordered, others): (Vec<&Host>, Vec<&Host>) = hosts.into_iter().flatten().partition(is_ordered);
        // Without any host something else was said.
        if ordered.is_empty() && !others.is_empty() {
            self.error(section.at("certificate"), What::AcmeNames { site: site.to_owned() });
            return;
        }
        for host in others {
            self.warning(section.at("hosts"), What::AcmeNotOrdered { host: host.pattern.to_string() });
        }
    }
}

/// Absolute, with TLS: an account key is only as good as the CA it is used with.
fn is_directory_url(text: &str) -> bool {
    text.strip_prefix("https://").is_some_and(|rest| {
        !rest.starts_with('/') && !rest.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// As RFC 8555 §7.3 wants it. No header fields (`?`) and one address only: CAs refuse both.
fn contact_url(text: &str) -> Option<String> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let (user, host) = address.split_once('@')?;
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"?,@/\\\"<>".contains(&byte))
    };
    (fits(user) && fits(host)).then(|| format!("mailto:{address}"))
}
