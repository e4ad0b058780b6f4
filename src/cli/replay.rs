//! `portcullis replay`: what the requests of an access log would get, and what of it changes.
//!
//! Exit status: 0 nothing changes, 1 it could not be told, 3 something changes (2 is the command line's).

mod groups;
mod log;
mod report;
mod verdict;

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;

use super::explain::decider::Decider;
use super::explain::lines::{Line, Lines};
use super::explain::object::ObjectWriter;
use super::explain::{decider, exit_code};
use super::flags::ReplayFlags;
use crate::dispatch::Decision;
use crate::http::Scheme;
use groups::Example;
use log::{Logged, Unreadable};
use report::{Outcome, Sides, UNREADABLE_SHOWN_MAX};
use verdict::{Counterparts, Verdict};

/// Octets kept of a line without a request, for showing.
const UNREADABLE_BYTES_MAX: usize = 200;

/// Decides a log under one configuration or two.
pub fn main(flags: &ReplayFlags) -> ExitCode {
    match sides(flags) {
        Ok(sides) => exit_code(run(&sides, flags)),
        Err(code) => code,
    }
}

/// Host, method and target of a line.
pub(super) fn read_line(line: &[u8]) -> Option<[Vec<u8>; 3]> {
    let Logged { host, method, target, .. } = Logged::read(line).ok()?;
    Some([host.unwrap_or_default(), method, target])
}

fn sides(flags: &ReplayFlags) -> Result<Sides, ExitCode> {
    let new = decider(&flags.config)?;
    let old = match &flags.against {
        None => None,
        Some(path) => {
            let old = decider(path)?;
            let counterparts = Counterparts::new(&old, &new);
            Some((old, counterparts))
        }
    };
    Ok(Sides { new, old })
}

fn run(sides: &Sides, flags: &ReplayFlags) -> io::Result<ExitCode> {
    let log: Box<dyn Read> = if flags.log == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&flags.log);
        let named =
            |error| io::Error::new(io::Error::kind(&error), format!("{}: {error}", flags.log.display()));
        Box::new(file.map_err(named)?)
    };
    let told = Told { scheme: flags.scheme, host: flags.host.as_deref() };
    let outcome = match replay(sides, told, log)? {
        Ok(outcome) => outcome,
        Err(untold) => {
            eprintln!("portcullis: {}: {untold}", flags.log.display());
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    if flags.json {
        writeln!(out, "{:#}", outcome.to_json())?;
    } else {
        outcome.write_text(sides, &mut out)?;
    }
    out.flush()?;
    Ok(match outcome {
        // A log of nothing but such lines is no log we know.
        Outcome { requests: 0, unreadable: 1.., .. } => {
            eprintln!(
                "portcullis: {}: no line of it holds a request in a format that is read",
                flags.log.display()
            );
            ExitCode::FAILURE
        }
        Outcome { changed: 0, .. } => ExitCode::SUCCESS,
        _ => ExitCode::from(3),
    })
}

/// What the command line says of requests whose line does not.
#[derive(Clone, Copy, Default)]
struct Told<'a> {
    scheme: Option<Scheme>,
    host: Option<&'a str>,
}

/// Why a log cannot be decided without more flags.
type Untold = String;

fn replay(sides: &Sides, told: Told<'_>, log: impl Read) -> io::Result<Result<Outcome, Untold>> {
    let mut lines = Lines::new(log);
    let mut outcome = Outcome::default();
    let mut writer = ObjectWriter::default();
    while let Some(line) = lines.next()? {
        let (read, text) = match line {
            Line::Whole(text) => (Logged::read(text), text.get(..UNREADABLE_BYTES_MAX).unwrap_or(text)),
            Line::TooLong => (Err(Unreadable::TooLong), &b""[..]),
        };
        let logged = match read {
            Ok(logged) => logged,
            Err(why) => {
                let text = String::from_utf8_lossy(text).into_owned();
                outcome.unreadable += 1;
                if outcome.unreadable_shown.len() < UNREADABLE_SHOWN_MAX {
                    outcome.unreadable_shown.push((lines.number(), why.to_string(), text));
                }
                continue;
            }
        };
        let line = lines.number();
        let Some(host) = logged.host.as_deref().or(told.host.map(str::as_bytes)) else {
            return Ok(Err(format!("line {line} does not say the host: give it with --host")));
        };
        let port_scheme = || logged.port.and_then(|port| scheme_of(port, sides));
        let Some(scheme) = logged.scheme.or_else(port_scheme).or(told.scheme) else {
            return Ok(Err(format!(
                "line {line} does not say the scheme: give it with --scheme http or --scheme https"
            )));
        };
        outcome.requests += 1;
        let decide = |decider| Decider::decide(decider, scheme, host, &logged.method, &logged.target);
        let new = decide(&sides.new);
        let old = sides.old.as_ref().map(|(decider, counterparts)| (decider, counterparts, decide(decider)));
        if let Some((_, counterparts, old)) = &old {
            if !counterparts.differ(old, &new) {
                continue;
            }
            outcome.changed += 1;
        }
        let verdicts = (old.as_ref().map(|(.., old)| Verdict::of(old)), Verdict::of(&new));
        outcome.groups.add(verdicts, || {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let mut object = |decider: &Decider, decision: &Decision<'_>| {
                let mut bytes = Vec::new();
                writer.write(&decider.sites, decision, &logged.target, &mut bytes);
                serde_json::from_slice(&bytes).unwrap_or_default()
            };
            Example {
                line,
                method: text(&logged.method),
                scheme: scheme.as_str(),
                host: text(host),
                target: text(&logged.target),
                old: old.as_ref().map(|(decider, _, old)| object(decider, old)),
                new: object(&sides.new, &new),
            }
        });
    }
    Ok(Ok(outcome))
}

/// The scheme that a port of a virtual host belongs to: as visitors or the listeners of one of the configurations
/// have it, else the scheme whose own port it is.
fn scheme_of(port: u16, sides: &Sides) -> Option<Scheme> {
    let of = |decider: &Decider| {
        let listen = &decider.config.listen;
        let ports = decider.sites.ports();
        let has = |outside: Option<u16>, addresses: &[crate::config::ListenAddress]| {
            outside == Some(port) || addresses.iter().any(|listener| listener.address.port() == port)
        };
        if has(ports.https, &listen.https) {
            Some(Scheme::Https)
        } else {
            has(ports.http, &listen.http).then_some(Scheme::Http)
        }
    };
    let own = || [Scheme::Http, Scheme::Https].into_iter().find(|scheme| scheme.default_port() == port);
    of(&sides.new).or_else(|| sides.old.as_ref().and_then(|(old, _)| of(old))).or_else(own)
}

#[cfg(test)]
mod tests;
