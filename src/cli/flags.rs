//! The commands and flags: what `--help`, the man page and the completions are made of.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::explain::url::{self, Header, Url};
use crate::config::{self, Overrides};
use crate::http::Scheme;
use crate::worker::Ring;

/// A TLS front end for site servers: certificates by SNI, a bounded session cache, and dispatch rules that
/// decide whether a page is served over HTTPS, over HTTP or over either.
#[derive(Parser)]
#[command(name = "portcullis", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve
    Run(RunFlags),
    /// Read and verify a configuration; print all its problems at once. Exit 0: good, 1: not
    Check {
        /// The configuration file
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Print the problems as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what a request gets, and why: site, rule, scheme, redirect, certificate, upstream
    Explain(ExplainFlags),
    /// Decide the requests of an access log anew, and list what changes. Exit 0: nothing, 3: something
    Replay(ReplayFlags),
    /// List the certificates the running process serves, or those of files: names, source, key, days left
    Certificates(CertificatesFlags),
    /// Print rules of another program as TOML
    Import {
        #[command(subcommand)]
        from: Import,
    },
    /// Show how the running process does: sites, sessions, certificates
    Status {
        #[command(flatten)]
        remote: Remote,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show it live in the terminal
    Top(TopFlags),
    /// Have the running process take up its configuration anew. Exit 0: it did, 1: nothing was changed
    Reload {
        #[command(flatten)]
        remote: Remote,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the running process accept no more, finish what runs, and end
    Drain(DrainFlags),
    /// Serve a small built-in site with a self-signed certificate, and print curl lines to try
    Demo(DemoFlags),
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: Shell,
    },
    /// Print the man page
    Man {
        /// Write a page for each command into this directory instead
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

#[derive(Args)]
pub struct RunFlags {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Threads that serve: "auto" (one for each core) or a number
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,
    /// TLS sessions remembered, over all workers
    #[arg(long, value_name = "SESSIONS")]
    pub session_cache_size: Option<String>,
    /// How long a session may resume, from its full handshake on, such as "300s"
    #[arg(long, value_name = "DURATION")]
    pub session_lifetime: Option<String>,
    /// How sessions are remembered: cache, tickets or off
    #[arg(long, value_name = "MODE")]
    pub session_mode: Option<String>,
    /// Names of which the answers of certificate sources are remembered
    #[arg(long, value_name = "NAMES")]
    pub certificate_cache_size: Option<String>,
    /// How long such an answer is good, such as "60s"
    #[arg(long, value_name = "DURATION")]
    pub certificate_cache_lifetime: Option<String>,
    /// Address for HTTP, in place of those in the file; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub http: Vec<String>,
    /// Address for HTTPS, in place of those in the file; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub https: Vec<String>,
    /// What is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Where to begin on the ladder of ring set-ups: defer_taskrun, coop_taskrun, plain or epoll
    #[arg(long, value_name = "RING", default_value = "defer_taskrun", value_parser = ring)]
    pub ring: Ring,
}

impl RunFlags {
    pub fn overrides(&self) -> Overrides {
        Overrides {
            workers: self.workers.clone(),
            session_cache_size: self.session_cache_size.clone(),
            session_lifetime: self.session_lifetime.clone(),
            session_mode: self.session_mode.clone(),
            certificate_cache_size: self.certificate_cache_size.clone(),
            certificate_cache_lifetime: self.certificate_cache_lifetime.clone(),
            http: self.http.clone(),
            https: self.https.clone(),
            log: self.log.clone(),
        }
    }
}

#[derive(Args)]
pub struct ExplainFlags {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Such as https://example.com/logon
    #[arg(required_unless_present = "batch", value_parser = Url::parse)]
    pub url: Option<Url>,
    /// The request's method
    #[arg(long, default_value = "GET", value_parser = url::method)]
    pub method: String,
    /// The name in the TLS handshake, when it is not the URL's host; empty for none
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
    /// "Host: NAME", when it is not the URL's host; with --peer also Forwarded, X-Forwarded-Proto and
    /// X-Forwarded-Host. No other field decides anything
    #[arg(long, value_name = "FIELD", value_parser = Header::parse)]
    pub header: Vec<Header>,
    /// The address the connection comes from: whether it is in `trusted_proxies` of the listener
    #[arg(long, value_name = "ADDRESS")]
    pub peer: Option<IpAddr>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Read lines of scheme, host and target, separated by tabs, and print a JSON object for each
    #[arg(long, conflicts_with_all = ["url", "sni", "header", "peer", "json"])]
    pub batch: bool,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CertificatesFlags {
    #[command(subcommand)]
    pub act: Option<CertificatesAct>,
    #[command(flatten)]
    pub remote: Remote,
    /// Do not ask the process: say what the files of the configuration say, as when none runs with it
    #[arg(long, requires = "config")]
    pub files: bool,
    /// Exit 4 when a certificate that is served ends within this time, such as "14d"
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub within: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum CertificatesAct {
    /// Have the running process order a certificate now, whatever it waits for
    Renew {
        /// The site's name in the configuration
        #[arg(value_name = "SITE")]
        site: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
pub struct ReplayFlags {
    /// The configuration that would serve
    #[arg(short, long, value_name = "NEW")]
    pub config: PathBuf,
    /// The one it is held against; without it, what the first one decides is counted
    #[arg(long, value_name = "OLD")]
    pub against: Option<PathBuf>,
    /// An access log: combined, with or without the virtual host in front, or JSON lines; "-" is standard input
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// The scheme of requests whose line does not say it
    #[arg(long, value_name = "SCHEME", value_parser = scheme)]
    pub scheme: Option<Scheme>,
    /// The host of requests whose line does not say it
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which process is meant.
#[derive(Args)]
pub struct Remote {
    /// Its configuration file, which says where the admin socket is
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Its admin socket; without either: /var/lib/portcullis/admin.sock
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub socket: Option<PathBuf>,
}

#[derive(Args)]
pub struct TopFlags {
    #[command(flatten)]
    pub remote: Remote,
    /// How often it looks, such as "500ms"
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
}

#[derive(Args)]
pub struct DrainFlags {
    #[command(flatten)]
    pub remote: Remote,
    /// Return when the process has ended
    #[arg(long)]
    pub wait: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    match crate::config::read_duration(text) {
        Some(interval) if interval >= Duration::from_millis(100) => Ok(interval),
        _ => Err("a duration of at least 100ms, such as \"1s\"".to_owned()),
    }
}

#[derive(Subcommand)]
pub enum Import {
    /// The rules of Zotonic's dispatch files
    Zotonic {
        /// Directories of dispatch files, or the files
        #[arg(required = true, value_name = "DIR")]
        directories: Vec<PathBuf>,
    },
}

#[derive(Args)]
pub struct DemoFlags {
    /// Address for HTTP
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub http: String,
    /// Address for HTTPS
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDRESS")]
    pub https: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text).ok_or_else(|| "a whole number with a unit, such as 14d or 36h".to_owned())
}

fn scheme(word: &str) -> Result<Scheme, String> {
    Scheme::parse(word.as_bytes()).ok_or_else(|| "one of http, https".to_owned())
}

fn ring(word: &str) -> Result<Ring, String> {
    Ring::parse(word).ok_or_else(|| {
        let known: Vec<&str> = Ring::LADDER.iter().map(|ring| ring.word()).collect();
        format!("one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
