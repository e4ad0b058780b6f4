//! Why the process cannot serve, told so that the operator knows what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::listen::BindFailure;
use super::sealing::KeyFileFailure;
#[cfg(feature = "acme")]
use super::store::StoreProblem;
use crate::admin::AdminFailure;
use crate::certs::CertificateProblem;
use crate::certs::authorities::AuthorityProblem;
use crate::dispatch::Place;
use crate::tls::TlsProblem;

/// Nothing was served, or a worker failed later.
#[derive(Debug)]
pub enum StartFailure {
    /// All addresses that could not be had.
    Bind(Vec<BindFailure>),
    /// Each with the site it is about, and where that asks for its certificate.
    Certificates(Vec<(Place, String, CertificateProblem)>),
    /// Each with the site it is about.
    Tls(Vec<(String, TlsProblem)>),
    /// The fleet's secret.
    Secret(CertificateProblem),
    /// What the fleet's store needs besides itself.
    #[cfg(feature = "acme")]
    Store(Place, StoreProblem),
    Resolve(Vec<ResolveFailure>),
    /// Site servers over https that nobody could vouch for.
    Authorities(Vec<AuthorityFailure>),
    /// The file of the access log cannot be written.
    AccessLog {
        place: Place,
        path: PathBuf,
        error: io::Error,
    },
    /// The keys of session cookies.
    Sealing(KeyFileFailure),
    /// What `[admin]` asks for cannot be had.
    Admin(AdminFailure),
    Worker {
        worker: usize,
        error: io::Error,
    },
    /// A thread, a pipe or a signal handler could not be set up.
    System(io::Error),
    /// A signal said stop before all workers had started.
    Interrupted,
}

/// A site server's name that has no address.
#[derive(Debug)]
pub struct ResolveFailure {
    pub place: Place,
    pub upstream: String,
    pub error: io::Error,
}

/// A site server over https whose authorities cannot be had.
#[derive(Debug)]
pub struct AuthorityFailure {
    pub place: Place,
    pub upstream: String,
    pub problem: AuthorityProblem,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartFailure::Bind(failures) => lines(f, failures, |f, failure| {
                let BindFailure { place, address, error } = failure;
                write!(f, "{}: cannot listen on {address}: {error}", at(place))?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        write!(f, "\n  do: stop what listens there (`ss -ltnp`), or choose another port")
                    }
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "\n  do: start as root or with CAP_NET_BIND_SERVICE, or choose a port above 1023"
                    ),
                    io::ErrorKind::AddrNotAvailable => {
                        write!(f, "\n  do: choose an address this machine has (`ip addr`)")
                    }
                    _ => Ok(()),
                }
            }),
            StartFailure::Certificates(problems) => lines(f, problems, |f, (place, site, problem)| {
                write!(f, "{}: site \"{site}\": {problem}\n  do: {}", at(place), problem.remedy())
            }),
            StartFailure::Tls(problems) => {
                lines(f, problems, |f, (site, problem)| write!(f, "site \"{site}\": {problem}"))
            }
            StartFailure::Secret(problem) => {
                write!(f, "fleet_secret_file: {problem}\n  do: {}", problem.remedy())
            }
            #[cfg(feature = "acme")]
            StartFailure::Store(place, problem) => write!(f, "{}: {problem}", at(place)),
            StartFailure::Resolve(failures) => lines(f, failures, |f, failure| {
                let ResolveFailure { place, upstream, error } = failure;
                write!(
                    f,
                    "{}: no address for upstream \"{upstream}\": {error}\n  do: check the name, or write an address",
                    at(place)
                )
            }),
            StartFailure::AccessLog { place, path, error } => write!(
                f,
                "{}: cannot write the access log {}: {error}\n  do: {}",
                at(place),
                path.display(),
                match error.kind() {
                    io::ErrorKind::NotFound => "make its directory, or name another one",
                    io::ErrorKind::PermissionDenied => "let the user that Portcullis runs as write there",
                    _ => "name a file on a disk that can be written to",
                }
            ),
            StartFailure::Sealing(failure) => write!(f, "{failure}\n  do: {}", failure.remedy()),
            StartFailure::Admin(failure) => failure.fmt(f),
            StartFailure::Authorities(failures) => lines(f, failures, |f, failure| {
                let AuthorityFailure { place, upstream, problem } = failure;
                let remedy = problem.remedy();
                write!(f, "{}: upstream \"{upstream}\": {problem}\n  do: {remedy}", at(place))
            }),
            StartFailure::Worker { worker, error } => write!(f, "worker {worker} failed: {error}"),
            StartFailure::System(error) => write!(f, "cannot start: {error}"),
            StartFailure::Interrupted => write!(f, "stopped before it had started"),
        }
    }
}

impl std::error::Error for StartFailure {}

fn lines<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut write: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            writeln!(f)?;
        }
        write(f, item)?;
    }
    Ok(())
}

fn at(place: &Place) -> String {
    if place.line == 0 {
        // A flag.
        return place.file.display().to_string();
    }
    format!("{}:{}:{}", place.file.display(), place.line, place.column)
}
