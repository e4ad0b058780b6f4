//! `portcullis certificates`: what each site is served with, as the running process says, or its files.

mod files;

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::flags::{CertificatesAct, CertificatesFlags, Remote};
use super::{numbers, remote};
use crate::admin::Client;
use crate::certs;

/// Something that is served ends within the time asked for, or has ended.
const ENDS_SOON: u8 = 4;
const DAY: i64 = 86_400;
const WAIT: Duration = Duration::from_secs(30);

/// One line of the list; of a certificate, or of a source or name without one.
#[derive(Default)]
struct Row {
    site: String,
    source: String,
    /// In a word or a few: `served`, `fresh`, why not.
    state: String,
    served: bool,
    /// What the source was asked for; `None`: it answers for the whole site.
    name: Option<String>,
    asked_again_seconds: Option<u64>,
    names: Option<Vec<String>>,
    key: Option<String>,
    not_before: Option<i64>,
    not_after: Option<i64>,
    /// Of source `acme`: how far its next certificate is. As `/status` has it; null for others.
    order: Value,
}

pub fn main(flags: &CertificatesFlags) -> ExitCode {
    if let Some(CertificatesAct::Renew { site, remote }) = &flags.act {
        return remote::renew(site, remote);
    }
    let rows = match rows(flags) {
        Ok(rows) => rows,
        Err(code) => return code,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    if flags.json {
        println!("{}", rows.iter().map(|row| row.to_json(now)).collect::<Value>());
    } else {
        print(&rows, now);
    }
    let within = flags.within.unwrap_or(Duration::ZERO);
    let end = now.saturating_add(i64::try_from(within.as_secs()).unwrap_or(i64::MAX));
    let ends_soon = |row: &Row| row.served && row.not_after.is_some_and(|not_after| not_after < end);
    if rows.iter().any(ends_soon) { ExitCode::from(ENDS_SOON) } else { ExitCode::SUCCESS }
}

/// Of the running process; of the files when that is wanted, or nobody runs with them.
fn rows(flags: &CertificatesFlags) -> Result<Vec<Row>, ExitCode> {
    let Remote { config, .. } = &flags.remote;
    if let (true, Some(config)) = (flags.files, config) {
        return files::rows(config);
    }
    let Some(socket) = remote::socket(&flags.remote)? else {
        let config = config.as_ref().expect("only a configuration turns the socket off");
        eprintln!("portcullis: the admin socket is off: this is what the files say");
        return files::rows(config);
    };
    match (Client::new(&socket, WAIT).get("/certificates"), config) {
        (Ok(reply), _) if reply.status == 200 => of_process(&reply.body).ok_or_else(|| {
            eprintln!("portcullis: the answer is no list of certificates");
            ExitCode::FAILURE
        }),
        (Ok(reply), _) => {
            eprintln!("portcullis: {}", remote::refused(&reply));
            Err(ExitCode::FAILURE)
        }
        (Err(failure), Some(config)) if failure.is_absent() => {
            eprintln!("portcullis: nobody serves with this configuration: this is what the files say");
            files::rows(config)
        }
        (Err(failure), _) => Err(remote::no_answer(&failure)),
    }
}

fn of_process(body: &[u8]) -> Option<Vec<Row>> {
    let told: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let row = |told: &Value| Row {
        site: text(&told["site"]).unwrap_or_default(),
        source: text(&told["source"]).unwrap_or_default(),
        state: text(&told["state"]).unwrap_or_default(),
        served: told["served"] == true,
        name: text(&told["name"]),
        asked_again_seconds: told["asked_again_seconds"].as_u64(),
        names: told["names"].as_array().map(|names| names.iter().filter_map(text).collect()),
        key: text(&told["key"]),
        not_before: told["not_before"].as_i64(),
        not_after: told["not_after"].as_i64(),
        order: told["order"].clone(),
    };
    Some(told["certificates"].as_array()?.iter().map(row).collect())
}

impl Row {
    fn days_left(&self, now: i64) -> Option<i64> {
        Some((self.not_after? - now).div_euclid(DAY))
    }

    fn to_json(&self, now: i64) -> Value {
        json!({
            "site": self.site,
            "source": self.source,
            "state": self.state,
            "served": self.served,
            "name": self.name,
            "asked_again_seconds": self.asked_again_seconds,
            "names": self.names,
            "key": self.key,
            "not_before": self.not_before,
            "not_after": self.not_after,
            "days_left": self.days_left(now),
            "order": self.order,
        })
    }

    /// With what becomes of it in a while.
    fn state(&self) -> String {
        match self.asked_again_seconds {
            None => self.state.clone() + &self.next_order(),
            Some(0) => format!("{}, asked again when it comes", self.state),
            Some(seconds) => format!("{}, asked again in {}", self.state, numbers::span(seconds as f64)),
        }
    }
}

impl Row {
    /// When its next certificate is ordered, and what went wrong with it.
    fn next_order(&self) -> String {
        let Some(next) = self.order["next"].as_i64() else { return String::new() };
        let word = self.order["state"].as_str().unwrap_or_default();
        let what = match word {
            "ordering" => ", ordered now".to_owned(),
            "elsewhere" => ", ordered now by another machine".to_owned(),
            _ => format!(", next order {}", certs::date(next)),
        };
        match (self.order["last_error"]["time"].as_i64(), self.order["last_error"]["text"].as_str()) {
            (Some(at), Some(why)) => format!("{what}; failed {}: {why}", certs::date(at)),
            _ => what,
        }
    }
}

fn print(rows: &[Row], now: i64) {
    let mut lines = vec![["site", "days left", "key", "names", "source", "state"].map(str::to_owned)];
    for row in rows {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let days = or_none(row.days_left(now).map(|days| days.to_string()));
        let names = match (&row.name, &row.names) {
            (Some(name), _) => name.clone(),
            (None, names) => or_none(names.as_deref().map(first_names)),
        };
        let key = or_none(row.key.clone());
        let line = [row.site.clone(), days, key, names, row.source.clone(), row.state()];
        lines.push(line.map(|cell| numbers::printable(&cell, false)));
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
fn first_names(all: &[String]) -> String {
    match all.len() {
        0..=3 => all.join(", "),
        count => format!("{} and {} more", all[..3].join(", "), count - 3),
    }
}
