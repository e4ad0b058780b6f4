//! `portcullis explain`: what a request gets, and why. Asks the same decision as the server, with somebody looking.

mod account;
mod batch;
pub(super) mod certificate;
pub(super) mod decider;
mod json;
pub(super) mod lines;
pub(super) mod object;
mod servers;
mod text;
pub(super) mod url;
mod words;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::flags::{Arguments, ExplainFlags};
use super::{fail, read};
use crate::config::Overrides;
use crate::http::Scheme;
use account::Request;
use decider::Decider;
use url::{Header, Url};

/// Explains one request, or decides those on standard input.
pub fn main(flags: &ExplainFlags) -> ExitCode {
    if let (Some(Url { scheme: Scheme::Http, .. }), Some(_)) = (&flags.url, &flags.sni) {
        let said = "--sni is the name in a TLS handshake, and an http URL has none";
        Arguments::command().error(ErrorKind::ArgumentConflict, said).exit();
    }
    let decider = match decider(&flags.config) {
        Ok(decider) => decider,
        Err(code) => return code,
    };
    let written = match &flags.url {
        None => batch::batch(&decider, &flags.method, io::stdin().lock(), io::stdout().lock())
            .map(|errors| if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Some(url) => one(&decider, &request(flags, url), flags.json),
    };
    exit_code(written)
}

/// Reads a configuration and makes it ready to decide; says what is wrong with it.
pub(super) fn decider(path: &Path) -> Result<Decider, ExitCode> {
    let config = read(path, &Overrides::default()).map_err(|problems| fail(&problems))?;
    Decider::new(config).map_err(|failure| {
        eprintln!("portcullis: {failure}");
        ExitCode::FAILURE
    })
}

/// A reader that went away (`| head`) has all it wanted; other failures are told.
pub(super) fn exit_code(written: io::Result<ExitCode>) -> ExitCode {
    match written {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::FAILURE
        }
    }
}

fn request(flags: &ExplainFlags, url: &Url) -> Request {
    let (hosts, forwarded): (Vec<Header>, Vec<Header>) =
        flags.header.iter().cloned().partition(Header::is_host);
    let wrong = match (&hosts[..], &flags.peer) {
        ([_, _, ..], _) => Some("a request with two Host fields is refused with 400"),
        (_, None) if !forwarded.is_empty() => {
            Some("what is forwarded counts from trusted peers alone: say who it is with --peer ADDRESS")
        }
        _ => None,
    };
    if let Some(said) = wrong {
        Arguments::command().error(ErrorKind::ArgumentConflict, said).exit();
    }
    Request {
        url: url.clone(),
        method: flags.method.clone(),
        host: hosts.into_iter().next().map(|host| host.value),
        sni: flags.sni.clone(),
        peer: flags.peer,
        forwarded,
    }
}

fn one(decider: &Decider, request: &Request, as_json: bool) -> io::Result<ExitCode> {
    let handshake = account::shake(decider, request);
    let account = account::account(decider, request, handshake.as_ref());
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{:#}", json::json(&account, decider))?;
    } else {
        write!(out, "{account}")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
pub(super) mod tests;
