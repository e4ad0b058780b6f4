//! The process: makes all threads and channels, waits for signals and for the workers.
//!
//! ```text
//! starting --all workers up--> serving --SIGTERM--> draining --all ended--> exit
//!                              │     ▲              draining --SIGTERM--> exit at once
//!                            SIGHUP  │ a new generation, or a line that says why not
//!                              └─────┘
//!                              └─SIGUSR2: a new process serves─▶ draining
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::acme::AcmeKeeper;
use super::administration::Administration;
use super::generation::{self, SiteWarning};
use super::listen::{self, Bound, Listening, Sockets};
use super::pid_file::{self, PidFile};
use super::reload::{self, Built, ReloadFailure, Reread};
use super::resolver::Resolver;
use super::run_as::{self, RunAsFailure};
use super::sealing::KeyKeeper;
use super::signals::{self, Asked};
use super::upgrade::{self, Estate, Predecessor, Program, Successor, UpgradeFailure};
use super::workers::{self, Workers, log_ring};
use super::{StartFailure, memory, systemd, tls};
use crate::admin::{Ask, View};
use crate::certs::Keeper;
use crate::config::{self, Config, Generation};
use crate::http::Scheme;
use crate::sandbox::{self, Task};
use crate::spool::Writer;
use crate::worker::{Queue, Report, Ring};

/// Told the addresses that are listened on, and the generation that serves.
pub type Ready<'a> = Box<dyn FnOnce(&[(Scheme, SocketAddr)], &Arc<Generation>) + 'a>;

pub type Reloaded<'a> = Box<dyn Fn(&Arc<Generation>) + 'a>;

/// What the process needs of whoever starts it.
pub struct Start<'a> {
    pub config: Config,
    /// Where to begin on the ladder of ring set-ups.
    pub ring: Ring,
    /// The process that serves until this one does.
    pub predecessor: Option<Predecessor>,
    /// What an upgrade starts; `None`: there are none.
    pub program: Option<Program>,
    pub reread: Reread,
    /// Called once, when every worker accepts.
    pub ready: Ready<'a>,
    /// Called after each reload with what serves from then on.
    pub reloaded: Reloaded<'a>,
}

/// How the process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every connection finished.
    Clean,
    /// So many connections were still open at `drain_timeout`, or when a second signal came.
    Cut(usize),
}

/// Serves until a signal says to stop.
///
/// # Errors
/// What kept it from serving; later only a worker that failed, which ends the process.
pub fn run(mut start: Start<'_>) -> Result<Ended, StartFailure> {
    let mut predecessor = start.predecessor.take();
    let begun = begin(start, &mut predecessor);
    if let (Err(failure), Some(predecessor)) = (&begun, &predecessor) {
        predecessor.failed(&failure.to_string());
    }
    let (mut process, inbox) = begun?;
    let ended = process.serve(&inbox);
    drop(inbox);
    process.workers.log_totals();
    process.administration.end();
    process.lines.end();
    ended
}

/// Everything up to the moment when all workers accept, and a process before this one does not any more.
fn begin<'a>(
    start: Start<'a>,
    predecessor: &mut Option<Predecessor>,
) -> Result<(Process<'a>, Receiver<Event>), StartFailure> {
    raise_descriptor_limit();
    if start.config.sandbox.no_new_privileges
        && let Err(error) = sandbox::forbid_new_privileges()
    {
        tracing::warn!(%error, "programs that are started may gain rights");
    }
    if let Err(error) = sandbox::keep_rights_from_programs() {
        tracing::warn!(%error, "programs that are started have the capabilities of this process");
    }
    let Start { config, ring, reread, ready, reloaded, program, predecessor: _ } = start;
    let is_not = |failure: RunAsFailure| StartFailure::RunAs(failure);
    let leaving_root = run_as::leaving(&config).map_err(is_not)?;
    let mut inherited = match predecessor {
        Some(predecessor) => predecessor.take_listeners(),
        None => systemd::listeners(),
    };
    let cores = cores_allowed();
    let count = match config.workers {
        config::Workers::PerCore => cores.len(),
        config::Workers::Count(count) => usize::from(count.get()),
    };
    let Listening { all: bound, new, .. } =
        listen::bind(&config, count, &[], &mut inherited).map_err(StartFailure::Bind)?;
    match predecessor {
        Some(_) => drop(inherited),
        None => systemd::warn_of_unused(inherited),
    }
    let held = clones(&new).map_err(StartFailure::System)?;
    let addresses: Vec<_> = bound.iter().map(|bound| (bound.scheme, bound.address)).collect();
    let mut warnings = Vec::new();
    let keeper = tls::keeper(&config)?;
    let (generation, kept_sites) = generation::build(config, &addresses, None, &keeper, &mut warnings)?;
    let generation = Arc::new(generation);
    // Nothing has been started yet.
    if let Some(leaving) = leaving_root {
        leaving.leave(&generation.config, &addresses).map_err(is_not)?;
    }
    tls::watch(&keeper, &generation, kept_sites).map_err(StartFailure::System)?;
    log_warnings(&warnings);
    let mut key_keeper = KeyKeeper::default();
    key_keeper.keep(&generation).map_err(StartFailure::System)?;
    if let Some(predecessor) = predecessor {
        let sessions = predecessor.verified(&generation.sessions).map_err(StartFailure::System)?;
        tracing::info!(sessions, "taking over from the process that serves");
    }

    let (events, inbox) = channel();
    let renewed = keeper.clone();
    let mut acme = AcmeKeeper::new(move |site: &str| renewed.refresh_site(site));
    keeper.set_orders(acme.demand(&generation.config));
    // The receiver lives as long as the process serves.
    let signalled = events.clone();
    signals::watch(move |asked| drop(signalled.send(Event::Signal(asked)))).map_err(StartFailure::System)?;
    let reports = events.clone();
    let report = move |report| drop(reports.send(Event::Worker(report)));
    let confine = workers::confining(&generation.config, Task::Lines);
    let (lines, inlets) = Writer::start(count, confine).map_err(StartFailure::System)?;
    bound_lines(&lines, &generation);
    // Beside another process that accepts from the same queue, connections would be left in it: see `upgrade`.
    let (at_once, later) = match predecessor {
        Some(_) => (Vec::new(), new),
        None => (new, Vec::new()),
    };
    let workers = Workers::start(&cores, ring, &generation, at_once, inlets, report)?;
    wait_until_started(&inbox, count)?;
    let asks = Mutex::new(events.clone());
    let ask = move |ask| {
        let asks = asks.lock().unwrap_or_else(PoisonError::into_inner);
        asks.send(Event::Asked(ask)).is_ok()
    };
    let counters = workers.counters();
    let view = View::new(
        generation.clone(),
        addresses.clone(),
        counters,
        keeper.clone(),
        lines.lost(),
        acme.seen(),
        ask,
    );
    let administration = Administration::start(&generation.config, view, predecessor.is_some())?;
    let mut number = None;
    pid_file::keep(generation.config.pid_file.as_ref(), &mut number)?;
    if let Some(predecessor) = predecessor.take() {
        predecessor.serving();
        workers.install(&generation, later, &[]);
    }
    ready(&addresses, &generation);
    systemd::ready(&serves(&generation));
    systemd::watch(workers.pulses(), workers::confining(&generation.config, Task::Lines));
    // When it can answer: a CA asks at once.
    acme.install(&generation).map_err(StartFailure::System)?;

    let mut process = Process {
        events,
        reread,
        reloaded,
        workers,
        lines,
        bound,
        held,
        program,
        generation,
        outdated: Vec::new(),
        key_keeper,
        administration,
        pid_file: number,
        keeper,
        acme,
        reloading: Reloading::No,
        installing: None,
        upgrading: None,
        successor: None,
        reload_asked: false,
        resolver: Resolver::default(),
    };
    process.resolver.watch(&process.generation).map_err(StartFailure::System)?;
    memory::give_back_soon();
    Ok((process, inbox))
}

fn serves(generation: &Generation) -> String {
    let (number, sites) = (generation.number, generation.config.sites.len());
    format!("generation {number} serves {sites} site{}", if sites == 1 { "" } else { "s" })
}

enum Event {
    Signal(Asked),
    /// By way of the admin listener.
    Asked(Ask),
    Worker(Report),
    /// A reload has come to its end.
    Built(Box<Result<Built, ReloadFailure>>),
    /// An upgrade: a new process serves beside this one, or will not.
    Succeeded(Result<Successor, UpgradeFailure>),
}

/// Whether a generation is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reloading {
    No,
    Yes,
    /// Asked for again meanwhile: files may have changed after they were read.
    YesAndAgain,
}

/// How often generations nobody serves with any more are looked for, while there are some. They are freed here:
/// ten thousand sites are work that no worker should do between two requests.
const OUTDATED_LOOK: Duration = Duration::from_millis(500);

/// The process while it serves.
struct Process<'a> {
    events: Sender<Event>,
    reread: Reread,
    reloaded: Reloaded<'a>,
    workers: Workers,
    /// Writes the access log.
    lines: Writer,
    /// What is listened on.
    bound: Vec<Bound>,
    /// The same sockets that the workers have, for a process that takes over. While they are here, none is closed.
    held: Vec<Sockets>,
    program: Option<Program>,
    /// What new connections get.
    generation: Arc<Generation>,
    /// Earlier ones that may still be in use.
    outdated: Vec<Arc<Generation>>,
    key_keeper: KeyKeeper,
    administration: Administration,
    /// Goes with the process.
    pid_file: Option<PidFile>,
    /// Of certificates.
    keeper: Arc<Keeper>,
    acme: AcmeKeeper,
    reloading: Reloading,
    /// When the generation was given to the workers, until all have said that they serve with it.
    installing: Option<Instant>,
    resolver: Resolver,
    /// Number of the process that is about to take over; 0 until it has one.
    upgrading: Option<Arc<AtomicU32>>,
    /// Accepts when the workers have taken back their accepts.
    successor: Option<Successor>,
    /// For a reload meanwhile: the new process may have read its files before they changed.
    reload_asked: bool,
}

/// How long connections without a request may wait for one after an upgrade: that one's answer then says that it is
/// the last. Closed at once, they would meet requests that are on their way.
const LAST_REQUEST: Duration = Duration::from_secs(5);
/// How long what waits in the queues is accepted before they close. That takes milliseconds, unless the workers have as
/// many connections as they may.
const LAST_ACCEPTS: Duration = Duration::from_secs(5);

/// Who serves after this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    Nobody,
    /// It takes up the queues.
    Successor,
}

impl Process<'_> {
    fn serve(&mut self, inbox: &Receiver<Event>) -> Result<Ended, StartFailure> {
        let mut draining = false;
        let mut running = self.workers.count();
        let mut cut = 0;
        let mut quiet = 0;
        while running > 0 {
            match self.next(inbox)? {
                Event::Signal(Asked::Stop) if draining => {
                    tracing::warn!("second signal: leaving at once");
                    return Ok(Ended::Cut(self.workers.connections_open()));
                }
                Event::Signal(Asked::Stop) => {
                    draining = true;
                    self.stop();
                }
                Event::Asked(Ask::Reload(done)) => {
                    self.administration.reload_asked(done);
                    match draining {
                        true => {
                            self.administration.reload_begins();
                            self.not_reloaded(&ReloadFailure::Draining);
                        }
                        false if self.upgrading.is_some() => self.reload_asked = true,
                        false => self.reload(),
                    }
                }
                Event::Asked(Ask::Drain(done)) => {
                    // Before the workers close those that are idle.
                    let open = self.workers.connections_open();
                    if !std::mem::replace(&mut draining, true) {
                        self.stop();
                    }
                    // Whoever asked may have gone.
                    let _ = done.send(open);
                }
                Event::Asked(Ask::Upgrade { done, .. }) if draining => {
                    let _ = done.send(Err(UpgradeFailure::Draining.to_string()));
                }
                Event::Asked(Ask::Upgrade { done, .. }) if self.upgrading.is_some() => {
                    let _ = done.send(Err(UpgradeFailure::UnderWay.to_string()));
                }
                Event::Asked(Ask::Upgrade { program, done }) => {
                    self.administration.upgrade_asked(done);
                    self.upgrade(program.map(Program::at));
                }
                Event::Asked(Ask::Renew(site, done)) => {
                    let _ = done.send(self.acme.renew(&site));
                }
                Event::Signal(Asked::Upgrade) if draining => self.not_upgraded(&UpgradeFailure::Draining),
                Event::Signal(Asked::Upgrade) if self.upgrading.is_some() => {
                    tracing::info!("{}", UpgradeFailure::UnderWay);
                }
                Event::Signal(Asked::Upgrade) => self.upgrade(None),
                Event::Succeeded(Ok(successor)) if draining => tell(successor.process, Signal::TERM),
                Event::Succeeded(Ok(successor)) => {
                    draining = true;
                    self.hand_over(successor);
                }
                Event::Succeeded(Err(failure)) if draining => tracing::info!("no upgrade: {failure}"),
                Event::Succeeded(Err(failure)) => self.not_upgraded(&failure),
                Event::Signal(Asked::Reload) if draining => self.not_reloaded(&ReloadFailure::Draining),
                Event::Signal(Asked::Reload) if self.upgrading.is_some() => self.reload_asked = true,
                Event::Signal(Asked::Reload) => self.reload(),
                Event::Signal(Asked::Reopen) => self.reopen(),
                // Memory goes back when the generation before is freed; of one that is not installed, at once.
                Event::Built(built) => match *built {
                    Ok(built) if !draining => self.install(built),
                    not_installed => {
                        let failure = not_installed.err().unwrap_or(ReloadFailure::Draining);
                        self.not_reloaded(&failure);
                        memory::give_back_soon();
                    }
                },
                Event::Worker(Report::Installed { worker, generation }) => self.installed(worker, generation),
                Event::Worker(Report::Ended { cut: open, .. }) => {
                    running -= 1;
                    cut += open;
                }
                Event::Worker(Report::Failed { worker, error }) => {
                    return Err(StartFailure::Worker { worker, error });
                }
                Event::Worker(Report::Quiet { .. }) => {
                    quiet += 1;
                    if quiet == self.workers.count()
                        && let Some(successor) = self.successor.take()
                    {
                        successor.gone();
                    }
                }
                Event::Worker(Report::Started { .. }) => {}
            }
        }
        Ok(if cut == 0 { Ended::Clean } else { Ended::Cut(cut) })
    }

    /// The next event; meanwhile frees what nobody uses any more.
    fn next(&mut self, inbox: &Receiver<Event>) -> Result<Event, StartFailure> {
        loop {
            let outdated = self.outdated.len();
            self.outdated.retain(|generation| Arc::strong_count(generation) > 1);
            if self.outdated.len() < outdated {
                memory::give_back_soon();
            }
            self.administration.outdated(self.outdated.len());
            if self.outdated.is_empty() {
                return next(inbox);
            }
            match inbox.recv_timeout(OUTDATED_LOOK) {
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return next(inbox),
            }
        }
    }

    /// Has the access log opened anew.
    fn reopen(&self) {
        if let Some(log) = &self.generation.access_log {
            self.lines.reopen(log);
        }
    }

    /// Drains without anybody who goes on.
    fn stop(&mut self) {
        self.give_up_upgrade();
        systemd::stopping("draining");
        self.drain(Follows::Nobody);
    }

    fn drain(&mut self, follows: Follows) {
        self.administration.draining();
        self.acme.end();
        // Queues that nobody will accept from must close with the workers' sockets.
        self.held.clear();
        let timeout = self.generation.config.drain_timeout;
        let open = self.workers.connections_open();
        tracing::info!(connections = open, ?timeout, "draining: accepting no more");
        let now = Instant::now();
        let (idle, queue) = match follows {
            Follows::Successor => (now + LAST_REQUEST.min(timeout / 2), Queue::Left),
            Follows::Nobody => (now, Queue::Answered { until: now + LAST_ACCEPTS.min(timeout / 2) }),
        };
        self.workers.drain(idle, now + timeout, queue);
    }

    /// Starts the program anew: the one named, or the one that runs.
    fn upgrade(&mut self, named: Option<Program>) {
        let Some(running) = self.program.clone() else {
            return self.not_upgraded(&UpgradeFailure::Unavailable);
        };
        let program = named.unwrap_or(running);
        let held = match clones(&self.held) {
            Ok(held) => held,
            Err(error) => return self.not_upgraded(&UpgradeFailure::Wire(error)),
        };
        tracing::info!("upgrading: {program} is started");
        let estate = Estate {
            listeners: held.into_iter().map(Sockets::bequeath).collect(),
            sessions: self.generation.sessions.clone(),
        };
        let (events, started) = (self.events.clone(), Arc::new(AtomicU32::new(0)));
        let done = move |succeeded| drop(events.send(Event::Succeeded(succeeded)));
        match upgrade::start(program, estate, started.clone(), done) {
            Ok(()) => self.upgrading = Some(started),
            Err(error) => self.not_upgraded(&UpgradeFailure::Wire(error)),
        }
    }

    /// The new process serves beside this one.
    fn hand_over(&mut self, successor: Successor) {
        let process = successor.process;
        tracing::info!(process, "upgraded: the new process serves");
        systemd::hand_to(process, "the new process serves, the old one drains");
        self.administration.handed_over(process, &successor.version);
        self.drain(Follows::Successor);
        self.successor = Some(successor);
        if self.reload_asked {
            tell(process, Signal::HUP);
        }
    }

    fn not_upgraded(&mut self, failure: &UpgradeFailure) {
        tracing::error!("{failure}\nnot upgraded: this process keeps serving");
        self.administration.not_upgraded(&failure.to_string());
        self.upgrading = None;
        if std::mem::take(&mut self.reload_asked) {
            self.reload();
        }
    }

    /// Told to stop, this process must not leave another one behind.
    fn give_up_upgrade(&mut self) {
        if let Some(started) = &self.upgrading {
            tell(started.load(Ordering::Relaxed), Signal::TERM);
            self.administration.not_upgraded(&UpgradeFailure::Draining.to_string());
        }
    }

    fn reload(&mut self) {
        if self.reloading != Reloading::No {
            self.reloading = Reloading::YesAndAgain;
            return;
        }
        tracing::info!("reloading");
        systemd::reloading();
        self.administration.reload_begins();
        let events = self.events.clone();
        let done = move |built| drop(events.send(Event::Built(Box::new(built))));
        let (serving, bound) = (self.generation.clone(), self.bound.clone());
        let keeper = self.keeper.clone();
        match reload::start(self.reread.clone(), serving, bound, self.workers.count(), keeper, done) {
            Ok(()) => self.reloading = Reloading::Yes,
            Err(error) => self.not_reloaded(&ReloadFailure::Start(StartFailure::System(error))),
        }
    }

    /// Swaps the generations.
    fn install(&mut self, built: Built) {
        let Built { generation, kept_sites, listening, warnings } = built;
        log_warnings(&warnings);
        for warning in &generation.config.warnings {
            tracing::warn!("{warning}");
        }
        if generation.config.workers != self.generation.config.workers {
            let workers = self.workers.count();
            tracing::warn!("`workers` changes at the next start only: {workers} workers go on serving");
        }
        run_as::warn_of_change(&self.generation.config, &generation.config);
        if let Err(failure) = pid_file::keep(generation.config.pid_file.as_ref(), &mut self.pid_file) {
            tracing::error!("{failure}");
        }
        for Bound { scheme, address, .. } in listening.new.iter().map(|sockets| &sockets.bound) {
            tracing::info!("listening on {}://{address}", scheme.as_str());
        }
        for Bound { scheme, address, .. } in &listening.gone {
            tracing::info!("listening no more on {}://{address}", scheme.as_str());
        }
        tls::adopt(&generation, &self.keeper);
        if let Err(error) = tls::watch(&self.keeper, &generation, kept_sites) {
            tracing::error!(%error, "changed certificates are not taken up before the next reload");
        }
        self.held.retain(|sockets| !listening.gone.contains(&sockets.bound));
        match clones(&listening.new) {
            Ok(new) => self.held.extend(new),
            Err(error) => tracing::warn!(%error, "an upgrade will have to open new addresses itself"),
        }
        bound_lines(&self.lines, &generation);
        if let Err(error) = self.key_keeper.keep(&generation) {
            tracing::error!(%error, "the keys of session cookies will not be rotated before the next reload");
        }
        if let Err(error) = self.acme.install(&generation) {
            tracing::error!(%error, "no certificates will be ordered before the next reload");
        }
        self.workers.install(&generation, listening.new, &listening.gone);
        self.bound = listening.all;
        let listeners = self.bound.iter().map(|bound| (bound.scheme, bound.address)).collect();
        self.administration.install(&generation, listeners);
        if let Err(error) = self.resolver.watch(&generation) {
            tracing::warn!(%error, "names of site servers are not looked up again");
        }
        (self.reloaded)(&generation);
        self.outdated.push(std::mem::replace(&mut self.generation, generation));
        self.installing = Some(Instant::now());
        self.reload_ended();
    }

    fn installed(&mut self, worker: usize, generation: u64) {
        if self.workers.installed(worker, generation)
            && generation == self.generation.number
            && let Some(since) = self.installing.take()
        {
            self.administration.installed(generation);
            let swap = since.elapsed();
            tracing::info!(?swap, "reloaded: generation {generation} serves");
        }
    }

    fn not_reloaded(&mut self, failure: &ReloadFailure) {
        self.administration.not_reloaded(&failure.to_string());
        let number = self.generation.number;
        tracing::error!("{failure}\nnothing was changed: generation {number} keeps serving");
        self.reload_ended();
    }

    fn reload_ended(&mut self) {
        systemd::ready(&serves(&self.generation));
        let again = self.reloading == Reloading::YesAndAgain;
        self.reloading = Reloading::No;
        if again {
            self.reload();
        }
    }
}

fn clones(sockets: &[Sockets]) -> io::Result<Vec<Sockets>> {
    sockets.iter().map(Sockets::try_clone).collect()
}

/// Sends a signal to a process that this one started.
fn tell(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(process) = process {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(process, signal);
    }
}

fn bound_lines(lines: &Writer, generation: &Generation) {
    if let Some(log) = &generation.config.access_log {
        lines.set_bound(log.buffer_bytes_max);
    }
}

fn wait_until_started(inbox: &Receiver<Event>, count: usize) -> Result<(), StartFailure> {
    let mut started = 0;
    while started < count {
        match next(inbox)? {
            Event::Signal(Asked::Stop) => return Err(StartFailure::Interrupted),
            Event::Worker(Report::Started { worker, ring, failed }) => {
                started += 1;
                log_ring(worker, ring, &failed);
            }
            Event::Worker(Report::Failed { worker, error }) => {
                return Err(StartFailure::Worker { worker, error });
            }
            Event::Signal(Asked::Reload) => {
                tracing::info!("SIGHUP during the start: the configuration was read just now");
            }
            // Opened just now.
            Event::Signal(Asked::Reopen) => {}
            Event::Signal(Asked::Upgrade) => {
                tracing::info!("SIGUSR2 during the start: this is the program as it is now");
            }
            Event::Worker(Report::Ended { .. } | Report::Installed { .. } | Report::Quiet { .. })
            | Event::Built(_)
            | Event::Succeeded(_)
            | Event::Asked(_) => {}
        }
    }
    Ok(())
}

fn next(inbox: &Receiver<Event>) -> Result<Event, StartFailure> {
    // Every worker and the signal thread hold a sender for as long as they run.
    inbox.recv().map_err(|_| StartFailure::System(io::Error::other("all threads are gone")))
}

fn log_warnings(warnings: &[SiteWarning]) {
    for SiteWarning { site, warning, .. } in warnings {
        tracing::warn!(site, "{warning}");
    }
}

fn cores_allowed() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    let cores: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

/// Each connection takes one or two descriptors; the soft limit of 1,024 is for select(2).
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open files stays where it was");
    }
}
