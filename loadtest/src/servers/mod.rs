//! The servers of a run: found, configured in a directory of their own, started on their core, stopped again.

mod h2o;
mod haproxy;
mod hitch;
mod nginx;
mod portcullis;
mod process;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use process::{RunDirectory, Running, Surroundings, free_address};

use crate::certificates::Pair;
use crate::workload::{Arrival, Workload};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Portcullis,
    Nginx,
    Haproxy,
    H2o,
    Hitch,
}

impl Kind {
    pub const PEERS: [Kind; 4] = [Kind::Nginx, Kind::Haproxy, Kind::H2o, Kind::Hitch];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Portcullis => "portcullis",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::H2o => "h2o",
            Kind::Hitch => "hitch",
        }
    }

    /// Measured where it is there and works; nobody is told to install it.
    pub fn is_optional(self) -> bool {
        matches!(self, Kind::H2o | Kind::Hitch)
    }
}

/// One column of the table: a program and what to call it.
#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub kind: Kind,
    pub program: PathBuf,
    /// Of Portcullis; a peer has one.
    pub workers: usize,
}

/// What every configuration is made from.
pub struct Setting<'a> {
    /// The server's own directory; configuration and state go here.
    pub directory: &'a Path,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub upstream: SocketAddr,
    pub pair: &'a Pair,
    pub workers: usize,
    /// Descriptors a process may open.
    pub descriptors: u64,
    /// May offer X25519MLKEM768.
    pub post_quantum: bool,
}

impl Server {
    /// A peer where distributions put it.
    pub fn installed(kind: Kind) -> Option<Server> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let usual = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
        let program = std::env::split_paths(&path)
            .chain(usual)
            .map(|directory| directory.join(kind.name()))
            .find(|program| program.is_file())?;
        Some(Server { name: kind.name().to_owned(), kind, program, workers: 1 })
    }

    /// Why this server has no part in a workload.
    pub fn refuses(&self, workload: &Workload) -> Option<&'static str> {
        match (self.kind, workload.arrival) {
            // Seen with 2.2.5: every third handshake was full.
            (Kind::H2o, Arrival::ResumedHandshake) => {
                Some("it hands out too few tickets to resume each time")
            }
            (Kind::Hitch, Arrival::Http) => Some("speaks no HTTP"),
            (Kind::Hitch, Arrival::Http2 { .. }) => Some("its backend here speaks no HTTP/2"),
            (kind, Arrival::FullHandshakePostQuantum)
                if kind != Kind::Portcullis && !self.is_post_quantum() =>
            {
                Some("its TLS library has no X25519MLKEM768")
            }
            _ => None,
        }
    }

    /// What it says about itself, in a line.
    pub fn version(&self) -> String {
        let flag = match self.kind {
            Kind::Portcullis | Kind::Hitch => "--version",
            Kind::Nginx | Kind::Haproxy | Kind::H2o => "-v",
        };
        let text = self.output(flag);
        let line = text.lines().next().unwrap_or("unknown version");
        let line = line.strip_prefix("nginx version: ").unwrap_or(line);
        // "… 2022/08/16 - https://…", "… [copyright]"
        line.split(" - http").next().unwrap_or(line).trim().to_owned()
    }

    /// The TLS library it names, where it names one.
    pub fn tls_library(&self) -> Option<String> {
        let text = match self.kind {
            Kind::Nginx => self.output("-V"),
            Kind::Haproxy => self.output("-vv"),
            _ => return None,
        };
        let library = text.lines().find_map(|line| {
            line.strip_prefix("built with ")
                .filter(|rest| rest.contains("SSL") || rest.contains("LC"))
                .or_else(|| line.strip_prefix("Running on OpenSSL version : "))
        })?;
        // "OpenSSL 3.0.11 19 Sep 2023 (running with …)": name and version are enough.
        Some(library.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    fn is_post_quantum(&self) -> bool {
        let Some(library) = self.tls_library() else {
            return false;
        };
        let Some(version) = library.strip_prefix("OpenSSL ") else {
            return library.contains("LC");
        };
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        (numbers.next(), numbers.next()) >= (Some(3), Some(5))
    }

    fn output(&self, flag: &str) -> String {
        match Command::new(&self.program).arg(flag).output() {
            Ok(output) => {
                String::from_utf8_lossy(&output.stdout).into_owned()
                    + &String::from_utf8_lossy(&output.stderr)
            }
            Err(error) => error.to_string(),
        }
    }

    /// Writes the configuration; the command that serves it in the foreground.
    ///
    /// # Errors
    /// A file cannot be written.
    fn prepare(&self, setting: &Setting<'_>) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Portcullis => portcullis::prepare(setting, &mut command)?,
            Kind::Nginx => nginx::prepare(setting, &mut command)?,
            Kind::Haproxy => haproxy::prepare(setting, &mut command)?,
            Kind::H2o => h2o::prepare(setting, &mut command)?,
            Kind::Hitch => hitch::prepare(setting, &mut command)?,
        }
        Ok(command)
    }

    /// Fields a proxy of this kind adds to a request, to be found in what the upstream receives.
    pub fn added_fields(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Hitch => &[],
            // What it adds by itself; the rest has no variables to make it from.
            Kind::H2o => &["x-forwarded-for", "x-forwarded-proto", "via"],
            _ => &[
                "x-forwarded-for",
                "x-forwarded-proto",
                "x-forwarded-host",
                "x-forwarded-port",
                "forwarded",
                "x-request-id",
                "via",
            ],
        }
    }
}
