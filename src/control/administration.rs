//! The admin listener as the process sees it: started and restarted, kept up to date, answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::{StartFailure, workers};
use crate::admin::{Admin, Upgraded, View};
use crate::config::{AdminListener, Config, Generation};
use crate::http::Scheme;
use crate::sandbox::Task;

/// Waits for the end of a reload.
pub(super) type ReloadDone = Sender<Result<u64, String>>;
/// Waits for the end of an upgrade.
pub(super) type UpgradeDone = Sender<Result<Upgraded, String>>;

/// How long the end of the process waits for answers to be written.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

pub(super) struct Administration {
    view: Arc<View>,
    // None: off, or it could not be had and was not asked for.
    admin: Option<Admin>,
    /// Asked for a reload that has not begun.
    asking: Vec<ReloadDone>,
    /// Theirs is being built.
    building: Vec<ReloadDone>,
    /// Theirs is being taken up by the workers.
    installing: Vec<ReloadDone>,
    /// Asked for the upgrade that is under way.
    upgrading: Option<UpgradeDone>,
}

impl Administration {
    /// `takes_over`: another process listens on the same addresses, and is about to end.
    ///
    /// # Errors
    /// When what is written in the configuration cannot be had.
    pub(super) fn start(
        config: &Config,
        view: View,
        takes_over: bool,
    ) -> Result<Administration, StartFailure> {
        let settings = &config.admin;
        let view = Arc::new(view);
        let admin = start(settings, &view, takes_over, workers::confining(config, Task::Admin))?;
        Ok(Administration {
            view,
            admin,
            asking: Vec::new(),
            building: Vec::new(),
            installing: Vec::new(),
            upgrading: None,
        })
    }

    pub(super) fn reload_asked(&mut self, done: ReloadDone) {
        self.asking.push(done);
    }

    pub(super) fn reload_begins(&mut self) {
        self.building.append(&mut self.asking);
    }

    /// A generation is about to serve. A listener that is set up in another way now is opened anew.
    pub(super) fn install(&mut self, generation: &Arc<Generation>, listeners: Vec<(Scheme, SocketAddr)>) {
        self.installing.append(&mut self.building);
        self.view.installed(generation.clone(), listeners);
        let settings = &generation.config.admin;
        if self.admin.as_ref().is_some_and(|admin| admin.is_same(settings)) {
            return;
        }
        // Its addresses must be free for the new one.
        self.admin = None;
        let confine = workers::confining(&generation.config, Task::Admin);
        match start(settings, &self.view, false, confine) {
            Ok(admin) => self.admin = admin,
            Err(failure) => tracing::error!("{failure}\nadministration is off until the next reload"),
        }
    }

    /// All workers serve with the generation of this number.
    pub(super) fn installed(&mut self, number: u64) {
        for done in self.installing.drain(..) {
            // Whoever asked may have gone; the same below.
            let _ = done.send(Ok(number));
        }
    }

    pub(super) fn not_reloaded(&mut self, why: &str) {
        self.view.not_reloaded(why.to_owned());
        for done in self.building.drain(..) {
            let _ = done.send(Err(why.to_owned()));
        }
    }

    pub(super) fn upgrade_asked(&mut self, done: UpgradeDone) {
        self.upgrading = Some(done);
    }

    pub(super) fn not_upgraded(&mut self, why: &str) {
        if let Some(done) = self.upgrading.take() {
            let _ = done.send(Err(why.to_owned()));
        }
    }

    /// Another process has taken over: whoever asks is answered by that one.
    pub(super) fn handed_over(&mut self, process: u32, version: &str) {
        if let Some(done) = self.upgrading.take() {
            let _ = done.send(Ok(Upgraded { process, version: version.to_owned() }));
        }
        self.admin = None;
        self.reload_begins();
        self.not_reloaded("another process has taken over");
    }

    pub(super) fn outdated(&self, count: usize) {
        self.view.outdated(count);
    }

    pub(super) fn draining(&self) {
        self.view.draining();
    }

    /// Waits for answers that are on their way: the process is about to end.
    pub(super) fn end(self) {
        let Administration { view, admin, asking, building, installing, upgrading } = self;
        // What is waited for will not come any more; those who wait hear that.
        drop((admin, asking, building, installing, upgrading));
        let since = Instant::now();
        while view.is_answering() && since.elapsed() < LAST_ANSWERS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn start(
    settings: &AdminListener,
    view: &Arc<View>,
    takes_over: bool,
    confine: impl FnOnce() + Send + 'static,
) -> Result<Option<Admin>, StartFailure> {
    if settings.socket.is_none() && settings.listen.is_empty() {
        return Ok(None);
    }
    match Admin::start(settings, view.clone(), takes_over, confine) {
        Ok(admin) => {
            for address in admin.addresses() {
                tracing::info!("administration on http://{address}");
            }
            Ok(Some(admin))
        }
        Err(failure) if failure.is_written() => Err(StartFailure::Admin(failure)),
        Err(failure) => {
            tracing::warn!("{failure}");
            Ok(None)
        }
    }
}
