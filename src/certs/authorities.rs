//! Who may vouch for site servers: the system's authorities, or those of a file.
//!
//! The system's, since an operator adds the authority of his own house there, and its package keeps them current.
//! Set aside: a list compiled in, which grows old with the program.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::tls::{SharedClientConfig, TlsProblem, authorities, client_config};

/// Why nobody could vouch.
#[derive(Debug)]
pub enum AuthorityProblem {
    Unreadable {
        path: PathBuf,
        error: io::Error,
    },
    NoAuthority {
        path: PathBuf,
    },
    /// The system has none.
    NoSystemAuthorities,
}

impl fmt::Display for AuthorityProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthorityProblem::Unreadable { path, error } => {
                write!(f, "cannot read {}: {error}", path.display())
            }
            AuthorityProblem::NoAuthority { path } => {
                write!(f, "{} holds no certificate of an authority", path.display())
            }
            AuthorityProblem::NoSystemAuthorities => {
                f.write_str("this system has no certificate authorities")
            }
        }
    }
}

impl AuthorityProblem {
    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            AuthorityProblem::Unreadable { .. } => "check the path and who may read it",
            AuthorityProblem::NoAuthority { .. } => {
                "give a PEM file with the certificate that signed the site server's"
            }
            AuthorityProblem::NoSystemAuthorities => {
                "install the package ca-certificates, or write `ca` with a PEM file of your own"
            }
        }
    }
}

/// How connections to site servers are made whose certificates the authorities of `ca` vouch for; `None`: the system's.
///
/// # Errors
/// There is no authority.
pub fn client(ca: Option<&Path>, alpn: &[&[u8]]) -> Result<SharedClientConfig, AuthorityProblem> {
    let Some(path) = ca else {
        // What cannot be read is logged by nobody: stores hold broken entries everywhere.
        let found = rustls_native_certs::load_native_certs().certs;
        return client_config(found, alpn).map_err(|_| AuthorityProblem::NoSystemAuthorities);
    };
    let pem =
        std::fs::read(path).map_err(|error| AuthorityProblem::Unreadable { path: path.to_owned(), error })?;
    let built: Result<_, TlsProblem> = authorities(&pem).and_then(|all| client_config(all, alpn));
    built.map_err(|_| AuthorityProblem::NoAuthority { path: path.to_owned() })
}
