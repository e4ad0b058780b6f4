//! The room from outside: vectors, decisions, redirects. Beside it: the model and the allocator.

mod decisions;
mod model;
mod vectors;

use std::path::Path;
use std::sync::Arc;

use super::*;

/// A site that says nothing: one host, no rules, defaults as configured by default.
pub(super) fn site(name: &str, hosts: &[&str]) -> SiteRules {
    SiteRules {
        name: name.into(),
        hosts: hosts.iter().map(|host| host.to_string()).collect(),
        aliases: Vec::new(),
        alias: Alias::Redirect,
        ssl: true,
        is_secure: true,
        is_ssl: false,
        is_permanent: false,
        languages: Vec::new(),
        unmatched: Unmatched::Forward,
        rules: Rules::default(),
        tls_policy: 0,
    }
}

pub(super) fn place(line: u32) -> Place {
    Place { file: Arc::from(Path::new("rules.toml")), line, column: 1 }
}

pub(super) fn rule(name: &str, path: Vec<Element>, ssl: Option<Ssl>) -> Rule {
    Rule { name: name.into(), path, ssl, place: place(1) }
}

pub(super) fn literal(text: &str) -> Element {
    Element::Literal(text.as_bytes().to_vec())
}

pub(super) fn variable(name: &str) -> Element {
    Element::Variable(name.into())
}

pub(super) fn pattern(name: &str, pattern: &str) -> Element {
    Element::Pattern { name: name.into(), pattern: pattern.into() }
}

pub(super) const PORTS: Ports = Ports { http: Some(80), https: Some(443) };
