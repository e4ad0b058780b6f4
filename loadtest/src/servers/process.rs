//! One server process of a run: started on its core, watched until it answers, always stopped.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::{Server, Setting};
use crate::affinity;
use crate::certificates::Pair;
use crate::measure;
use crate::probe;

const START_TIME_MAX: Duration = Duration::from_secs(10);
const STOP_TIME_MAX: Duration = Duration::from_secs(3);

/// What all servers of a run share.
pub struct Surroundings {
    pub directory: PathBuf,
    pub upstream: SocketAddr,
    pub server_cores: Vec<usize>,
    pub load_cores: Vec<usize>,
    pub descriptors: u64,
}

/// A server that answers; stopped when dropped.
pub struct Running {
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// The process and its descendants.
    pub processes: Vec<u32>,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it and waits until it answers on HTTPS.
    ///
    /// # Errors
    /// It cannot be started, ends, or does not answer in time: with the end of what it wrote.
    pub fn start(server: &Server, pair: &Pair, around: &Surroundings) -> io::Result<Running> {
        let http = free_address()?;
        let https = free_address()?;
        let directory = around.directory.join(format!("{}-{}", server.name, https.port()));
        fs::create_dir_all(&directory)?;
        let setting = Setting {
            directory: &directory,
            http,
            https,
            upstream: around.upstream,
            pair,
            workers: server.workers,
            descriptors: around.descriptors,
            post_quantum: server.is_post_quantum(),
        };
        let mut command = server.prepare(&setting)?;
        let log = directory.join("output.log");
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).current_dir(&directory);
        end_with_us(&mut command);
        // A child runs where the thread that starts it runs.
        affinity::pin(&around.server_cores);
        let child = command.spawn();
        affinity::pin(&around.load_cores);
        let mut running = Running { http, https, processes: Vec::new(), child: child?, log };
        running.wait_until_it_answers(server, pair)?;
        running.processes = measure::family(running.child.id());
        Ok(running)
    }

    fn wait_until_it_answers(&mut self, server: &Server, pair: &Pair) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let failure = match probe::get_https(self.https, pair, "/head") {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => format!("it answers {}", answer.status),
                Err(error) => error.to_string(),
            };
            let ended = self.child.try_wait()?.map(|status| status.to_string());
            if ended.is_some() || began.elapsed() > START_TIME_MAX {
                return Err(io::Error::other(format!(
                    "{} does not serve: {}\n{}",
                    server.name,
                    ended.unwrap_or(failure),
                    self.last_words()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The end of what the server wrote.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.len().saturating_sub(15);
        lines[start..].iter().map(|line| format!("  | {line}\n")).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The child is not yet waited for, so its number is still its own.
        let family = measure::family(self.child.id());
        signal(self.child.id(), Signal::TERM);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > STOP_TIME_MAX {
                for process in &family {
                    signal(*process, Signal::KILL);
                }
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn signal(process: u32, signal: Signal) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(process, signal);
    }
}

/// However this program ends, the kernel ends the server.
fn end_with_us(command: &mut Command) {
    let tell_kernel = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; this is one bare
    // `prctl` and touches no memory, lock or allocator.
    unsafe {
        command.pre_exec(tell_kernel);
    }
}

/// A port below the ones the kernel gives to clients, so that no connection of the run takes it first.
pub fn free_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(18_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if port >= 32_000 {
            return Err(io::Error::other("no free port between 18000 and 32000"));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}

/// The directory of a run; removed when dropped.
pub struct RunDirectory(pub PathBuf);

impl RunDirectory {
    pub fn make(parent: &Path) -> io::Result<RunDirectory> {
        let path = parent.join(format!("portcullis-loadtest-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(RunDirectory(path))
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
