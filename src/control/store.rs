//! The fleet's store as the configuration has it, and the files that it needs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::certs::acme::StoreSettings;
use crate::certs::authorities::{self, AuthorityProblem};
use crate::certs::{self, CertificateProblem};
use crate::config::{Config, Store};
use crate::dispatch::Place;
use crate::tls::TicketKeys;

/// Passwords are short.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// Why the store could not be used, whether it is there or not.
#[derive(Debug)]
pub enum StoreProblem {
    Secret(CertificateProblem),
    ShortSecret(PathBuf),
    Password { path: PathBuf, error: io::Error },
    Authorities(AuthorityProblem),
}

impl fmt::Display for StoreProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(problem) => write!(f, "fleet_secret_file: {problem}\n  do: {}", problem.remedy()),
            Self::ShortSecret(path) => write!(
                f,
                "fleet_secret_file: {} has less than {} bytes\n  do: head -c 48 /dev/urandom > {}, and the same file \
                 on every machine",
                path.display(),
                TicketKeys::SECRET_BYTES_MIN,
                path.display()
            ),
            Self::Password { path, error } => write!(
                f,
                "password_file: {}: {error}\n  do: write the store's password to it, for the eyes of its owner only",
                path.display()
            ),
            Self::Authorities(problem) => write!(f, "{problem}\n  do: {}", problem.remedy()),
        }
    }
}

/// `None`: there is no store. `place` of a problem: where `store` is written.
///
/// # Errors
/// A file that cannot be used.
pub(super) fn settings(config: &Config) -> Result<Option<StoreSettings>, (Place, StoreProblem)> {
    let Some(store) = &config.store else { return Ok(None) };
    let secret = config.session_cache.fleet_secret_file.as_deref().expect("the configuration wants a secret");
    read(store, secret).map(Some).map_err(|problem| (store.place.clone(), problem))
}

fn read(store: &Store, secret_file: &Path) -> Result<StoreSettings, StoreProblem> {
    let secret = certs::read_secret(secret_file).map_err(StoreProblem::Secret)?;
    if secret.len() < TicketKeys::SECRET_BYTES_MIN {
        return Err(StoreProblem::ShortSecret(secret_file.to_owned()));
    }
    if store.url.is_tls {
        authorities::client(store.ca.as_deref(), &[]).map_err(StoreProblem::Authorities)?;
    }
    let password = match &store.password_file {
        Some(path) => {
            let read = password(path);
            Some(read.map_err(|error| StoreProblem::Password { path: path.clone(), error })?)
        }
        None => store.url.password.as_ref().map(|password| password.0.clone()),
    };
    Ok(StoreSettings {
        host: store.url.host.clone(),
        port: store.url.port,
        user: store.url.user.clone(),
        password,
        database: store.url.database.into(),
        is_tls: store.url.is_tls,
        ca: store.ca.clone(),
        secret,
    })
}

fn password(path: &Path) -> io::Result<Zeroizing<String>> {
    use std::io::Read;
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)?.take(PASSWORD_BYTES_MAX).read_to_string(&mut text)?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty"));
    }
    Ok(Zeroizing::new(password.to_owned()))
}
