//! What the files of a configuration say of its certificates, without a process.

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Row;
use crate::certs;
use crate::cli::explain::certificate::{self, SourceState};
use crate::config::{Config, Overrides, SelfSignedKey, Site, Source};
use crate::control;
use crate::tls::{CertificateSet, ServedCertificate, ServerConfigs};

/// # Errors
/// The exit code, after the problems of the configuration were printed.
pub(super) fn rows(config: &Path) -> Result<Vec<Row>, ExitCode> {
    match crate::cli::read(config, &Overrides::default()) {
        Ok(config) => {
            let mut rows = of(&config);
            add_orders(&mut rows, &config);
            Ok(rows)
        }
        Err(problems) => Err(crate::cli::fail(&problems)),
    }
}

/// Adds to what comes from authorities when it is ordered next, as the state directory says.
fn add_orders(rows: &mut [Row], config: &Config) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for order in control::orders_kept(config, i64::try_from(now).unwrap_or(i64::MAX)) {
        let of_it = |row: &&mut Row| row.site == order.site && row.source.starts_with("acme");
        if let Some(row) = rows.iter_mut().find(of_it) {
            row.order = order.to_json();
        }
    }
}

fn of(config: &Config) -> Vec<Row> {
    let configs = ServerConfigs::new(None);
    let mut rows = Vec::new();
    for site in &config.sites {
        if !site.ssl {
            rows.push(Row::without(site, String::new(), "no HTTPS"));
            continue;
        }
        for seen in certificate::sources(site, &config.state_directory) {
            let source = certificate::describe(seen.source);
            match seen.state {
                SourceState::Answers(answer) => rows.extend(Row::of(site, &source, &answer.set, "served")),
                SourceState::OutOfDate(answer) => {
                    rows.extend(Row::of(site, &source, &answer.set, "out of its dates, passed over"));
                }
                SourceState::Fails(why) => {
                    rows.push(Row::without(site, source, &format!("passed over: {why}")))
                }
                SourceState::AskedForNames => rows.push(Row::without(site, source, "asked for each name")),
                SourceState::NotAsked => rows.push(Row::without(site, source, "after one that answers")),
                SourceState::Made => rows.push(self_signed(site, seen.source, source, config, &configs)),
            }
        }
    }
    rows
}

/// What is kept of it in the state directory.
fn self_signed(
    site: &Site,
    written: &Source,
    source: String,
    config: &Config,
    configs: &ServerConfigs,
) -> Row {
    let key = match written {
        Source::SelfSigned { key: SelfSignedKey::File(path) } => Some(path.as_path()),
        _ => None,
    };
    match certs::kept_self_signed(&site.name, key, &config.state_directory, configs.provider()) {
        Ok(Some(certificate)) => {
            let row = Row { served: true, ..Row::without(site, source, "served, renewed before it ends") };
            row.with(&certificate)
        }
        Ok(None) => Row::without(site, source, "made when the server needs it"),
        Err(problem) => Row::without(site, source, &problem.to_string()),
    }
}

impl Row {
    fn without(site: &Site, source: String, state: &str) -> Row {
        Row { site: site.name.clone(), source, state: state.to_owned(), ..Row::default() }
    }

    fn of<'a>(
        site: &'a Site,
        source: &'a str,
        set: &'a CertificateSet,
        state: &'a str,
    ) -> impl Iterator<Item = Row> + 'a {
        set.certificates().iter().map(move |certificate| {
            let row = Row { served: state == "served", ..Row::without(site, source.to_owned(), state) };
            row.with(certificate)
        })
    }

    fn with(self, certificate: &ServedCertificate) -> Row {
        Row {
            names: Some(certificate.names().display().collect()),
            key: Some(certificate.key_kind().word().to_owned()),
            not_before: Some(certificate.not_before()),
            not_after: Some(certificate.not_after()),
            ..self
        }
    }
}
