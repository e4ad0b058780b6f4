//! Commands that ask the running process over its admin socket: `status`, `reload`, `drain`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::flags::{DrainFlags, Remote};
use super::numbers::{self, Durations};
use crate::admin::{Client, ClientFailure, Reply};
use crate::config::{self, Overrides};

/// For an answer that is at hand.
const WAIT: Duration = Duration::from_secs(10);
/// For a reload, which the process itself gives up on after five minutes.
const RELOAD_WAIT: Duration = Duration::from_secs(310);

/// Where the socket is: as named, or as the configuration says; `None`: that one turns it off.
///
/// # Errors
/// The exit code, after the reason was printed.
pub fn socket(remote: &Remote) -> Result<Option<PathBuf>, ExitCode> {
    if let Some(path) = &remote.socket {
        return Ok(Some(path.clone()));
    }
    let Some(file) = &remote.config else {
        return Ok(Some(config::default_admin_socket()));
    };
    match super::read(file, &Overrides::default()) {
        Ok(config) => Ok(config.admin.socket.map(|socket| socket.path)),
        Err(problems) => Err(super::fail(&problems)),
    }
}

pub fn client(remote: &Remote, wait: Duration) -> Result<Client, ExitCode> {
    match socket(remote)? {
        Some(path) => Ok(Client::new(&path, wait)),
        None => {
            eprintln!("portcullis: the admin socket is off in the configuration");
            Err(ExitCode::FAILURE)
        }
    }
}

pub fn no_answer(failure: &ClientFailure) -> ExitCode {
    eprintln!("portcullis: {failure}");
    ExitCode::FAILURE
}

/// The JSON of `/status`.
///
/// # Errors
/// Why there is none, in words.
pub fn fetch(client: &Client) -> Result<Value, String> {
    let reply = client.get("/status").map_err(|failure| failure.to_string())?;
    if reply.status != 200 {
        return Err(format!("the process answered {}", reply.status));
    }
    serde_json::from_slice(&reply.body).map_err(|error| format!("the answer is no JSON: {error}"))
}

pub fn status(remote: &Remote, json: bool) -> ExitCode {
    let client = match client(remote, WAIT) {
        Ok(client) => client,
        Err(code) => return code,
    };
    match fetch(&client) {
        Ok(status) if json => {
            println!("{status}");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            print!("{}", text(&status));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("portcullis: {why}");
            ExitCode::FAILURE
        }
    }
}

pub fn reload(remote: &Remote, json: bool) -> ExitCode {
    let client = match client(remote, RELOAD_WAIT) {
        Ok(client) => client,
        Err(code) => return code,
    };
    let reply = match client.post("/reload") {
        Ok(reply) => reply,
        Err(failure) => return no_answer(&failure),
    };
    let told: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if json {
        println!("{told}");
        return if reply.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let generation = told["generation"].as_u64().unwrap_or(0);
    if reply.status == 200 {
        println!("reloaded: generation {generation} serves");
        return ExitCode::SUCCESS;
    }
    match told["problems"].as_str() {
        Some(problems) => {
            eprintln!("{problems}\nnothing was changed: generation {generation} keeps serving");
        }
        None => eprintln!("portcullis: {}", refused(&reply)),
    }
    ExitCode::FAILURE
}

pub fn drain(flags: &DrainFlags) -> ExitCode {
    let client = match client(&flags.remote, WAIT) {
        Ok(client) => client,
        Err(code) => return code,
    };
    let reply = match client.post("/drain") {
        Ok(reply) if reply.status == 202 => reply,
        Ok(reply) => {
            eprintln!("portcullis: {}", refused(&reply));
            return ExitCode::FAILURE;
        }
        Err(failure) => return no_answer(&failure),
    };
    let told: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    match flags.json {
        true => println!("{told}"),
        false => println!("draining: {} connections open", told["connections"]),
    }
    // Its end closes the socket.
    while flags.wait && client.get("/health").is_ok() {
        std::thread::sleep(Duration::from_millis(200));
    }
    ExitCode::SUCCESS
}

/// `certificates renew`
pub fn renew(site: &str, remote: &Remote) -> ExitCode {
    // What no site is called would not be a target, either.
    let is_name = site.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let client = match client(remote, WAIT) {
        Ok(client) => client,
        Err(code) => return code,
    };
    let target = if is_name { format!("/renew?site={site}") } else { "/renew?site=".to_owned() };
    match client.post(&target) {
        Ok(reply) if reply.status == 202 => {
            println!("{site}: a certificate is ordered; the log says what comes of it");
            ExitCode::SUCCESS
        }
        Ok(reply) if reply.status == 404 => {
            eprintln!("portcullis: no site \"{site}\" with source = \"acme\" is served");
            ExitCode::FAILURE
        }
        Ok(reply) => {
            eprintln!("portcullis: {}", refused(&reply));
            ExitCode::FAILURE
        }
        Err(failure) => no_answer(&failure),
    }
}

pub fn refused(reply: &Reply) -> String {
    format!("the process answered {}: {}", reply.status, String::from_utf8_lossy(&reply.body).trim())
}

/// What `status` prints.
fn text(status: &Value) -> String {
    let mut out = String::new();
    let number = |value: &Value| numbers::grouped(value.as_u64().unwrap_or(0));
    let totals = &status["totals"];
    let up = status["time"].as_f64().unwrap_or(0.0) - status["started"].as_f64().unwrap_or(0.0);
    let listeners: Vec<String> = numbers::list(&status["listeners"])
        .map(|listener| {
            format!("{}://{}", numbers::plain(&listener["scheme"]), numbers::plain(&listener["address"]))
        })
        .collect();
    let generation = &status["generation"];
    let full = Durations::of(&status["handshakes"]["full"]);
    let resumed = Durations::of(&status["handshakes"]["resumed"]);
    let process = &status["process"];
    let lines = [
        (
            "process",
            format!(
                "{} for {} (version {}, pid {})",
                numbers::plain(&status["phase"]),
                numbers::span(up),
                numbers::plain(&status["version"]),
                status["pid"]
            ),
        ),
        ("serves", format!("generation {} of {}", generation["number"], numbers::plain(&generation["file"]))),
        ("listens", listeners.join(", ")),
        (
            "requests",
            format!(
                "{}, {} failed",
                number(&totals["requests"]),
                numbers::grouped(numbers::sum(&status["failures"]))
            ),
        ),
        (
            "connections",
            format!(
                "{} open, {} accepted",
                number(&totals["connections_open"]),
                number(&totals["connections_accepted"])
            ),
        ),
        (
            "handshakes",
            format!(
                "{}, {} resumed, full ones {} (median), {} failed",
                numbers::grouped(full.count + resumed.count),
                numbers::percent(resumed.count, full.count + resumed.count),
                numbers::time(full.quantile(&status["bounds_us"], 0.5)),
                number(&totals["handshakes_failed"])
            ),
        ),
        ("sessions", sessions(&status["session_cache"])),
        ("certificates", asked_names(&status["certificate_cache"])),
        (
            "memory",
            format!(
                "{}, {} of {} descriptors",
                numbers::size(process["resident_bytes"].as_u64().unwrap_or(0)),
                number(&process["descriptors"]),
                number(&process["descriptors_max"])
            ),
        ),
    ];
    for (name, line) in lines {
        let _ = writeln!(out, "{name:<13}{line}");
    }
    if let Some(failure) = status["reloads"]["last_failure"].as_str() {
        let _ = writeln!(out, "\nThe last reload changed nothing:\n{}", numbers::printable(failure, true));
    }
    out.push('\n');
    out.push_str(&sites(status));
    let certificates = certificates(status);
    if !certificates.is_empty() {
        out.push('\n');
        out.push_str(&certificates);
    }
    out
}

fn sessions(cache: &Value) -> String {
    let count = |key: &str| cache[key].as_u64().unwrap_or(0);
    match cache["mode"].as_str() {
        Some("cache") => format!(
            "{} of {}, {} found, {} evicted",
            numbers::grouped(count("size")),
            numbers::grouped(count("size_max")),
            numbers::percent(count("hits"), count("hits") + count("misses")),
            numbers::grouped(count("evictions"))
        ),
        _ => numbers::plain(&cache["mode"]),
    }
}

/// Changes of files, and names that sources are asked for where there are any.
fn asked_names(cache: &Value) -> String {
    let number = |key: &str| numbers::grouped(cache[key].as_u64().unwrap_or(0));
    let mut text = format!(
        "{} changes taken up, {} refused",
        number("changes_taken_up"),
        numbers::grouped(numbers::sum(&cache["changes_refused"]))
    );
    if cache["asked"].as_u64().unwrap_or(0) > 0 {
        let _ = write!(
            text,
            "; {} of {} names known, {} questions, {} failed",
            number("size"),
            number("size_max"),
            number("asked"),
            numbers::grouped(numbers::sum(&cache["failed"]))
        );
    }
    text
}

fn sites(status: &Value) -> String {
    let mut table = numbers::Table::new(&[
        "SITE",
        ">REQUESTS",
        ">2XX",
        ">3XX",
        ">4XX",
        ">5XX",
        ">MEDIAN",
        ">P99",
        ">SENT",
    ]);
    for site in numbers::list(&status["sites"]) {
        let durations = Durations::of(&site["durations"]);
        let class = |class: &str| numbers::grouped(site["requests"][class].as_u64().unwrap_or(0));
        let at = |share| numbers::time(durations.quantile(&status["bounds_us"], share));
        table.row(vec![
            numbers::plain(&site["name"]),
            numbers::grouped(durations.count),
            class("2xx"),
            class("3xx"),
            class("4xx"),
            class("5xx"),
            at(0.5),
            at(0.99),
            numbers::size(site["bytes_out"].as_u64().unwrap_or(0)),
        ]);
    }
    table.text()
}

fn certificates(status: &Value) -> String {
    let mut table = numbers::Table::new(&["CERTIFICATE OF", "NAMES", "KEY", "SOURCE", ">DAYS LEFT"]);
    let now = status["time"].as_f64().unwrap_or(0.0);
    for certificate in numbers::list(&status["certificates"]) {
        let names: Vec<String> = match &certificate["name"] {
            Value::Null => numbers::list(&certificate["names"]).map(numbers::plain).collect(),
            asked => vec![numbers::plain(asked)],
        };
        let shown = match names.len() {
            0..=3 => names.join(", "),
            more => format!("{}, and {} more", names[..2].join(", "), more - 2),
        };
        let left = (certificate["not_after"].as_f64().unwrap_or(0.0) - now) / 86_400.0;
        table.row(vec![
            numbers::plain(&certificate["site"]),
            shown,
            numbers::plain(&certificate["key"]),
            numbers::plain(&certificate["source"]),
            if left < 0.0 { "ended".to_owned() } else { format!("{left:.0}") },
        ]);
    }
    if table.is_empty() { String::new() } else { table.text() }
}
