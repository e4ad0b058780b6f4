//! A reload: the configuration read anew, and a whole generation built beside the one that serves.
//!
//! It runs on a thread of its own, so that the process goes on answering signals and workers meanwhile. Until
//! it is done nothing is changed; what fails leaves nothing behind.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::StartFailure;
use super::generation::{self, SiteWarning};
use super::listen::{self, Bound, Listening};
use crate::certs::{Keeper, KeptSite};
use crate::config::{Config, Generation, Problems};

/// Reads the configuration anew, from where it was read at the start.
pub type Reread = Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// What is ready to serve.
pub(super) struct Built {
    pub(super) generation: Arc<Generation>,
    pub(super) kept_sites: Vec<Arc<KeptSite>>,
    pub(super) listening: Listening,
    pub(super) warnings: Vec<SiteWarning>,
}

/// Why there is no new generation.
pub enum ReloadFailure {
    /// The configuration is not one.
    Config(Problems),
    /// It is, but it cannot be served.
    Start(StartFailure),
    /// The process is about to end.
    Draining,
}

impl fmt::Display for ReloadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadFailure::Config(problems) => problems.fmt(f),
            ReloadFailure::Start(failure) => failure.fmt(f),
            ReloadFailure::Draining => f.write_str("the process is draining: it takes up nothing new"),
        }
    }
}

/// Builds beside `serving`, and calls `done` with what came of it.
///
/// # Errors
/// When no thread can be started.
pub(super) fn start(
    reread: Reread,
    serving: Arc<Generation>,
    bound: Vec<Bound>,
    workers: usize,
    keeper: Arc<Keeper>,
    done: impl FnOnce(Result<Built, ReloadFailure>) + Send + 'static,
) -> io::Result<()> {
    let build = move || done(build(&reread, &serving, &bound, workers, &keeper));
    std::thread::Builder::new().name("reload".to_owned()).spawn(build)?;
    Ok(())
}

fn build(
    reread: &Reread,
    serving: &Generation,
    bound: &[Bound],
    workers: usize,
    keeper: &Keeper,
) -> Result<Built, ReloadFailure> {
    let config = reread().map_err(ReloadFailure::Config)?;
    let listening = listen::bind(&config, workers, bound, &mut Vec::new()).map_err(StartFailure::Bind);
    let listening = listening.map_err(ReloadFailure::Start)?;
    let addresses: Vec<_> = listening.all.iter().map(|bound| (bound.scheme, bound.address)).collect();
    let mut warnings = Vec::new();
    let built = generation::build(config, &addresses, Some(serving), keeper, &mut warnings);
    let (generation, kept_sites) = built.map_err(ReloadFailure::Start)?;
    Ok(Built { generation: Arc::new(generation), kept_sites, listening, warnings })
}
