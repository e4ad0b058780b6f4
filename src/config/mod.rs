//! Room: config. One TOML file and what it includes become a `Config`, or all their problems at once.
//!
//! ```text
//! text ── written ──▶ tables with places ── reader ──▶ Config + warnings
//!                      ▲ flags replace values            or Problems
//! ```
//!
//! `written` keeps what was typed with its place and decides nothing. The reader (`top`, `listen`, `site`, `rules`,
//! with the typed `values`) takes each value or its default from `defaults` and goes on after an error, so that
//! one run shows everything. `message` holds every problem as data, `words` its text, `problem` the layout.
//! `keys` is the one list of keys: what is accepted, suggested, documented, and what is not there yet.
//!
//! It opens no files: they come through [`Files`]. It never resolves names, and does not look at
//! certificates; whoever owns those checks them.
//!
//! Set aside: deriving the reader with serde. It stops at the first error, knows no places in the end values,
//! and cannot say what a value was replaced by.

mod acme;
mod address;
mod amount;
mod choice;
#[expect(clippy::module_inception, reason = "the room and its main type share the name")]
mod config;
mod defaults;
mod endpoint;
mod files;
mod generation;
mod keys;
mod listen;
mod message;
mod near;
mod overrides;
mod problem;
mod reader;
mod rules;
mod run_as;
mod site;
mod site_tls;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod top;
mod upstreams;
mod values;
mod watch;
mod words;
mod written;

use std::path::Path;

pub use amount::{read_duration, show_duration, show_size};
pub use choice::Choice;
pub use config::*;
pub use defaults::{CLIENT_AUTH_HEADER, CLIENT_AUTH_IDENTITY, IDENTITY_FIELDS_MAX};
pub use endpoint::{Endpoint, EndpointKey, EndpointState, EndpointTls, Health, UpstreamId};
pub use files::{Files, FilesInMemory};
pub use generation::{Generation, Kept, ServedSite};
pub use keys::{Setting, settings};
pub use overrides::Overrides;
pub use problem::{Level, Problem, Problems, Remark};
pub use run_as::{PidFilePath, RunAs};
pub use site_tls::*;
pub use store::{Password, Store, StoreUrl};

use message::What;
use reader::Reader;

/// Where the admin socket is when no configuration is at hand.
#[must_use]
pub fn default_admin_socket() -> std::path::PathBuf {
    Path::new(defaults::STATE_DIRECTORY).join(defaults::ADMIN_SOCKET)
}

/// Reads the configuration at `root`, what it includes and the dispatch files it names.
///
/// `overrides`: what the command line says instead; it goes through the same checks.
///
/// # Errors
/// Everything that is wrong, warnings among it, when at least one problem is an error. Warnings alone are in
/// `Config::warnings`.
pub fn read(root: &Path, files: &mut dyn Files, overrides: &Overrides) -> Result<Config, Problems> {
    let mut reader = Reader::new(files);
    let config = config(&mut reader, root, overrides);
    let files = reader.files_read();
    let found = reader.into_problems();
    match (config, Problems::new(found.clone())) {
        (Some(config), None) => Ok(Config { files, warnings: found, ..config }),
        (_, Some(problems)) => Err(problems),
        // `root` reports why it has no table, so there is an error; should that ever fail, nothing is served.
        (None, None) => Err(Problems::of_file(root)),
    }
}

/// `None` when the first file cannot be read; its problem is in the reader.
fn config(reader: &mut Reader<'_>, root: &Path, overrides: &Overrides) -> Option<Config> {
    let mut table = reader.root(root)?;
    overrides.apply(reader, &mut table);
    let top = reader.section(&table, &keys::TOP);
    let workers = reader.workers(top);
    let state_directory = reader.state_directory(top);
    let run_as = reader.run_as(top);
    let pid_file = reader.pid_file(top);
    let drain_timeout = reader.duration(top, "drain_timeout", &defaults::DRAIN_TIMEOUT);
    let log = reader.log(top);
    let listen = reader.listen(top);
    let session_cache = reader.session_cache(top);
    let certificate_cache = reader.certificate_cache(top);
    let limits = reader.limits(top);
    let timeouts = reader.timeouts(top);
    let upstream_pool = reader.upstream_pool(top);
    let sandbox = reader.sandbox(top);
    let access_log = reader.access_log(top);
    let admin = reader.admin(top, &state_directory);
    let store = reader.store(top, &session_cache);
    let store_at = top.key_at("store");

    let mut included = Vec::new();
    reader.include(&table, 0, &mut included);
    let mut claims = site::Claims::default();
    let mut sites = Vec::new();
    for file in std::iter::once(&mut table).chain(&mut included) {
        reader.sites(file, limits.request_body_bytes_max, &mut claims, &mut sites);
    }
    // There may be thousands of sites, so what they keep has no room left over.
    sites.shrink_to_fit();
    reader.rules_compile(&sites);
    if sites.is_empty() {
        reader.no_sites(root);
    }
    if store.is_some() && !sites.iter().any(Site::is_ordered) {
        reader.store_unused(store_at);
    }
    if listen.outside_https_port == OutsidePort::Nowhere
        && let Some(site) = sites.iter().find(|site| site.ssl)
    {
        reader.no_https_listener(&table, &site.name);
    }
    Some(Config {
        file: root.into(),
        files: Vec::new(),
        workers,
        state_directory,
        run_as,
        pid_file,
        drain_timeout,
        log,
        listen,
        session_cache,
        certificate_cache,
        limits,
        timeouts,
        upstream_pool,
        sandbox,
        access_log,
        admin,
        store,
        sites,
        warnings: Vec::new(),
    })
}

impl Reader<'_> {
    fn no_sites(&mut self, root: &Path) {
        // With other errors it may be their consequence.
        if !self.has_errors() {
            self.file_error(root, What::MissingKey { key: "site", table: "the configuration" });
        }
    }

    fn no_https_listener(&mut self, table: &written::Table, site: &str) {
        let listen = table.get("listen").and_then(|node| match &node.value {
            written::Value::Table(listen) => listen.get("https"),
            _ => None,
        });
        if let Some(https) = listen
            && matches!(&https.value, written::Value::Array(items) if items.is_empty())
        {
            self.warning(https.at, What::NoHttpsListener { site: site.to_owned() });
        }
    }
}

/// A duration as configurations have it: `"14d"`, `"1h30m"`.
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    amount::duration(text).ok()
}
