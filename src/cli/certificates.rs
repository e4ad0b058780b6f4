//! `portcullis certificates`: what each site is served with, as its files say now.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::explain::certificate::{self, SourceState};
use super::flags::CertificatesFlags;
use super::{fail, read};
use crate::certs;
use crate::config::{Config, Overrides, SelfSignedKey, Site, Source};
use crate::tls::{CertificateSet, ServedCertificate, ServerConfigs};

/// Something that is served ends within the time asked for, or has ended.
const ENDS_SOON: u8 = 4;
const DAY: i64 = 86_400;

/// One line of the list.
struct Row {
    site: String,
    source: String,
    /// In a word or a few: `served`, `not served`, why not.
    state: String,
    served: bool,
    certificate: Option<ServedCertificate>,
}

pub fn main(flags: &CertificatesFlags) -> ExitCode {
    let config = match read(&flags.config, &Overrides::default()) {
        Ok(config) => config,
        Err(problems) => return fail(&problems),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let rows = rows(&config);
    if flags.json {
        println!("{}", rows.iter().map(|row| row.to_json(now)).collect::<Value>());
    } else {
        print(&rows, now);
    }
    let within = flags.within.unwrap_or(Duration::ZERO);
    let end = now.saturating_add(i64::try_from(within.as_secs()).unwrap_or(i64::MAX));
    let ends_soon =
        |row: &Row| row.served && row.certificate.as_ref().is_some_and(|one| one.not_after() < end);
    if rows.iter().any(ends_soon) { ExitCode::from(ENDS_SOON) } else { ExitCode::SUCCESS }
}

fn rows(config: &Config) -> Vec<Row> {
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
            let state = "served, renewed before it ends".to_owned();
            Row { site: site.name.clone(), source, state, served: true, certificate: Some(certificate) }
        }
        Ok(None) => Row::without(site, source, "made when the server needs it"),
        Err(problem) => Row::without(site, source, &problem.to_string()),
    }
}

impl Row {
    fn without(site: &Site, source: String, state: &str) -> Row {
        let (site, state) = (site.name.clone(), state.to_owned());
        Row { site, source, state, served: false, certificate: None }
    }

    fn of<'a>(
        site: &'a Site,
        source: &'a str,
        set: &'a CertificateSet,
        state: &'a str,
    ) -> impl Iterator<Item = Row> + 'a {
        set.certificates().iter().map(move |certificate| Row {
            site: site.name.clone(),
            source: source.to_owned(),
            state: state.to_owned(),
            served: state == "served",
            certificate: Some(certificate.clone()),
        })
    }

    fn days_left(&self, now: i64) -> Option<i64> {
        Some((self.certificate.as_ref()?.not_after() - now).div_euclid(DAY))
    }

    fn to_json(&self, now: i64) -> Value {
        let certificate = self.certificate.as_ref();
        json!({
            "site": self.site,
            "source": self.source,
            "state": self.state,
            "served": self.served,
            "names": certificate.map(|one| one.names().display().collect::<Vec<_>>()),
            "key": certificate.map(|one| one.key_kind().word()),
            "not_before": certificate.map(ServedCertificate::not_before),
            "not_after": certificate.map(ServedCertificate::not_after),
            "days_left": self.days_left(now),
        })
    }
}

fn print(rows: &[Row], now: i64) {
    let mut lines = vec![["site", "days left", "key", "names", "source", "state"].map(str::to_owned)];
    for row in rows {
        let days = row.days_left(now).map_or_else(|| "-".to_owned(), |days| days.to_string());
        let key = row.certificate.as_ref().map_or("-", |one| one.key_kind().word());
        let names = row.certificate.as_ref().map_or_else(|| "-".to_owned(), names);
        lines.push([row.site.clone(), days, key.to_owned(), names, row.source.clone(), row.state.clone()]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
}

/// The first three: a certificate may have hundreds.
fn names(certificate: &ServedCertificate) -> String {
    let all: Vec<String> = certificate.names().display().collect();
    match all.len() {
        0..=3 => all.join(", "),
        count => format!("{} and {} more", all[..3].join(", "), count - 3),
    }
}
