//! The program under test: started on free ports, watched, ended.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::PATIENCE;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

/// A configuration to be, and how to start with it.
pub struct Setup {
    sites: String,
    workers: usize,
    drain_timeout: String,
    listen: String,
    tables: String,
    flags: Vec<String>,
    command: Vec<String>,
    program: String,
    state: Option<PathBuf>,
    top: String,
    directory: TempDir,
}

impl Setup {
    pub fn new(sites: &str) -> Setup {
        Setup {
            sites: sites.to_owned(),
            workers: 1,
            drain_timeout: "5s".to_owned(),
            listen: "http = [\"127.0.0.1:0\"], https = [\"127.0.0.1:0\"]".to_owned(),
            tables: String::new(),
            flags: Vec::new(),
            command: Vec::new(),
            program: PROGRAM.to_owned(),
            state: None,
            top: String::new(),
            directory: TempDir::with_prefix("portcullis-it-").expect("a temporary directory"),
        }
    }

    /// The sites from the next time on that the file is written, which is now.
    pub fn set_sites(&mut self, sites: &str) {
        self.sites = sites.to_owned();
        self.write();
    }

    /// The keys of `[listen]` from the next time on that the file is written.
    pub fn set_listen(&mut self, keys: &str) {
        self.listen = keys.to_owned();
    }

    /// Writes the file with another number of them.
    pub fn set_workers(&mut self, workers: usize) {
        self.workers = workers;
        self.write();
    }

    pub fn workers(mut self, workers: usize) -> Setup {
        self.workers = workers;
        self
    }

    pub fn drain_timeout(mut self, duration: &str) -> Setup {
        self.drain_timeout = duration.to_owned();
        self
    }

    /// The keys of `[listen]`, as in an inline table.
    pub fn listen(mut self, keys: &str) -> Setup {
        self.listen = keys.to_owned();
        self
    }

    /// A table of the configuration, such as `timeouts`, with its keys as in an inline table.
    pub fn table(mut self, name: &str, keys: &str) -> Setup {
        self.tables.push_str(&format!("{name} = {{ {keys} }}\n"));
        self
    }

    /// The keys of a table from the next time on that the file is written.
    pub fn set_table(&mut self, name: &str, keys: &str) {
        let begins = format!("{name} = {{ ");
        let kept = self.tables.lines().filter(|line| !line.starts_with(&begins));
        let mut tables: String = kept.map(|line| format!("{line}\n")).collect();
        tables.push_str(&format!("{begins}{keys} }}\n"));
        self.tables = tables;
    }

    pub fn timeouts(self, keys: &str) -> Setup {
        self.table("timeouts", keys)
    }

    pub fn limits(self, keys: &str) -> Setup {
        self.table("limits", keys)
    }

    pub fn session_cache(self, keys: &str) -> Setup {
        self.table("session_cache", keys)
    }

    pub fn flags(mut self, flags: &[&str]) -> Setup {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// A program and its arguments in front of the program under test and its arguments.
    pub fn under(mut self, command: &[&str]) -> Setup {
        self.command = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// A copy of the program under test.
    pub fn program(mut self, path: &str) -> Setup {
        self.program = path.to_owned();
        self
    }

    /// A line of the file's top.
    pub fn top(mut self, line: &str) -> Setup {
        self.top.push_str(&format!("{line}\n"));
        self
    }

    /// In place of a directory of its own, which goes when it has ended.
    pub fn state_directory(mut self, path: &Path) -> Setup {
        self.state = Some(path.to_owned());
        self
    }

    /// Where the configuration will stand; files written here can be named by it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes another file beside the configuration.
    pub fn file(self, name: &str, content: &str) -> Setup {
        let path = self.directory().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the directory")).expect("writable");
        std::fs::write(path, content).expect("writable");
        self
    }

    fn write(&self) -> PathBuf {
        let text = format!(
            "state_directory = {:?}\nworkers = {}\ndrain_timeout = {:?}\nlog = \"debug\"\nlisten = {{ {} }}\n{}{}{}",
            self.state.clone().unwrap_or_else(|| self.directory().join("state")),
            self.workers,
            self.drain_timeout,
            self.listen,
            self.top,
            self.tables,
            self.sites
        );
        let path = self.directory().join("portcullis.toml");
        std::fs::write(&path, text).expect("a writable directory");
        path
    }

    fn command(&self) -> Command {
        let mut words = self.command.clone();
        words.push(self.program.clone());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("run").arg("-c").arg(self.write()).args(&self.flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub fn start(self) -> Server {
        let mut command = self.command();
        self.start_as(&mut command)
    }

    /// Starts with the command that `change` has changed.
    #[track_caller]
    pub fn start_with(self, change: impl FnOnce(&mut Command)) -> Server {
        let mut command = self.command();
        change(&mut command);
        self.start_as(&mut command)
    }

    #[track_caller]
    fn start_as(self, command: &mut Command) -> Server {
        let mut child = command.spawn().expect("the program starts");
        let errors = child.stderr.take().expect("it is piped");
        let log = Log::reading(errors);
        let mut server = Server {
            child,
            log,
            http: Vec::new(),
            https: Vec::new(),
            ended: None,
            is_killed: false,
            generation: 1,
            setup: self,
        };
        server.wait_for_line("ready");
        for line in server.lines() {
            if let Some((_, url)) = line.split_once("listening on ") {
                let (scheme, address) = url.split_once("://").expect("a URL");
                let address: SocketAddr = address.trim().parse().expect("an address");
                match scheme {
                    "http" => server.http.push(address),
                    _ => server.https.push(address),
                }
            }
        }
        server
    }

    /// Runs a program that is expected to end by itself.
    #[track_caller]
    pub fn run_to_end(self) -> Output {
        self.run_to_end_in_place()
    }

    /// The same, and its files stay for more.
    #[track_caller]
    pub fn run_to_end_in_place(&self) -> Output {
        run_to_end(&mut self.command())
    }

    /// Starts a program that should end by itself at once; `None`: it serves.
    #[track_caller]
    pub fn run_or_serve(self) -> Option<Output> {
        let mut child = self.command().spawn().expect("the program starts");
        let log = Log::reading(child.stderr.take().expect("it is piped"));
        let serves = log.wait_for("INFO ready").is_some();
        if serves {
            kill_process(Pid::from_child(&child), Signal::TERM).expect("a child of ours");
        }
        let status = wait(&mut child).expect("it ends");
        if serves {
            return None;
        }
        log.wait_for_end();
        let stderr = log.lines.lock().expect("no panic").0.join("\n").into_bytes();
        Some(Output { status, stdout: Vec::new(), stderr })
    }
}

/// Runs a command to its end, within [`PATIENCE`].
#[track_caller]
pub fn run_to_end(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut out = child.stdout.take().expect("piped");
    let mut errors = child.stderr.take().expect("piped");
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let reading_errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        errors.read_to_end(&mut bytes).map(|_| bytes)
    });
    let status = wait(&mut child);
    let status = status.unwrap_or_else(|| {
        let _ = child.kill();
        panic!("it did not end by itself");
    });
    Output {
        status,
        stdout: reading.join().expect("no panic").expect("readable"),
        stderr: reading_errors.join().expect("no panic").expect("readable"),
    }
}

/// Polls: std has no wait with a bound.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        if since.elapsed() > PATIENCE {
            return None;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The program, serving. Dropped, it is asked to end, and must, cleanly.
pub struct Server {
    child: Child,
    log: Arc<Log>,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    ended: Option<ExitStatus>,
    is_killed: bool,
    // The newest generation that was seen to serve.
    generation: u64,
    // Its directory goes when this is dropped.
    setup: Setup,
}

impl Server {
    /// The sites alone are given; everything else as [`Setup::new`] has it.
    #[track_caller]
    pub fn start(sites: &str) -> Server {
        Setup::new(sites).start()
    }

    #[track_caller]
    pub fn http(&self) -> SocketAddr {
        *self.http.first().expect("an http listener")
    }

    #[track_caller]
    pub fn https(&self) -> SocketAddr {
        *self.https.first().expect("an https listener")
    }

    /// All of them, in the order written.
    pub fn http_all(&self) -> &[SocketAddr] {
        &self.http
    }

    /// The file it reads.
    pub fn configuration(&self) -> PathBuf {
        self.setup.directory().join("portcullis.toml")
    }

    /// The configuration, to be changed and taken up by a reload.
    pub fn setup(&mut self) -> &mut Setup {
        &mut self.setup
    }

    /// Writes the configuration with these sites, has it taken up, and waits until it serves.
    #[track_caller]
    pub fn reload(&mut self, sites: &str) {
        self.setup.sites = sites.to_owned();
        self.setup.write();
        self.signal(Signal::HUP);
        self.generation += 1;
        let wanted = format!("reloaded: generation {} serves", self.generation);
        self.wait_for_line(&wanted);
    }

    /// Writes the configuration with these sites, asks for it to be taken up, and waits until it is refused.
    #[track_caller]
    pub fn reload_in_vain(&mut self, sites: &str) {
        self.setup.sites = sites.to_owned();
        self.setup.write();
        let refused = |server: &Server| {
            let text = server.log_text();
            text.matches("nothing was changed: generation").count()
        };
        let before = refused(self);
        self.signal(Signal::HUP);
        super::wait_until("the reload is refused", || refused(self) > before);
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote on standard error.
    pub fn lines(&self) -> Vec<String> {
        self.log.lines.lock().expect("no panic").0.clone()
    }

    pub fn log_text(&self) -> String {
        self.lines().join("\n")
    }

    /// Waits until a line holds this text, and returns it.
    #[track_caller]
    pub fn wait_for_line(&mut self, wanted: &str) -> String {
        let log = self.log.clone();
        match log.wait_for(wanted) {
            Some(line) => line,
            None => {
                let text = self.log_text();
                // Its end is the message; nothing else is asserted on drop.
                let _ = self.child.kill();
                self.ended = self.child.wait().ok();
                panic!("no line with {wanted:?}:\n{text}");
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        kill_process(process, signal).expect("a child of ours");
    }

    /// Waits for its end, when another process goes on writing to its log.
    #[track_caller]
    pub fn wait_for_end_of_process(&mut self) -> ExitStatus {
        let status = wait(&mut self.child);
        self.ended = status;
        status.unwrap_or_else(|| panic!("it does not end:\n{}", self.log_text()))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        if let Some(ended) = self.ended {
            return ended;
        }
        let Some(status) = wait(&mut self.child) else {
            let text = self.log_text();
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
            panic!("it does not end:\n{text}");
        };
        self.log.wait_for_end();
        self.ended = Some(status);
        status
    }

    /// Kills it: no word is asked of it, and none expected.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
        self.is_killed = true;
    }

    /// Asks it to end and waits.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        if self.ended.is_none() {
            self.signal(Signal::TERM);
        }
        self.wait_for_end()
    }

    /// A counter from the totals it logs at its end.
    #[track_caller]
    pub fn total(&self, name: &str) -> u64 {
        assert!(self.ended.is_some(), "totals are known at the end");
        let lines = self.lines();
        let totals =
            lines.iter().find(|line| line.contains("ended: ")).expect("the last line has the totals");
        let word = format!("{name}=");
        let value = totals.split(' ').find_map(|part| part.strip_prefix(&word));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Resident memory now, and its peak, in KiB.
    pub fn memory_kib(&self) -> (u64, u64) {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let of = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).expect("Linux says so");
            line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
        };
        (of("VmRSS:"), of("VmHWM:"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the program's log\n{}\n---", self.log_text());
            if self.ended.is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            return;
        }
        if self.is_killed {
            return;
        }
        let status = self.stop();
        let text = self.log_text();
        let defect = ["panicked", "a defect ended", "connections_panicked"];
        let defect = defect.iter().find(|word| text.contains(**word));
        assert!(defect.is_none(), "a defect ended a connection:\n{text}");
        assert!(status.success(), "{status}:\n{text}");
    }
}

/// Lines as they come, and whether more will come.
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Log {
    fn reading(from: impl Read + Send + 'static) -> Arc<Log> {
        let log = Arc::new(Log { lines: Mutex::new((Vec::new(), false)), changed: Condvar::new() });
        let writer = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.lines.lock().expect("no panic").0.push(line);
                writer.changed.notify_all();
            }
            writer.lines.lock().expect("no panic").1 = true;
            writer.changed.notify_all();
        });
        log
    }

    fn wait_for(&self, wanted: &str) -> Option<String> {
        let since = Instant::now();
        let mut lines = self.lines.lock().expect("no panic");
        loop {
            if let Some(line) = lines.0.iter().find(|line| line.contains(wanted)) {
                return Some(line.clone());
            }
            let left = PATIENCE.checked_sub(since.elapsed())?;
            if lines.1 {
                return None;
            }
            lines = self.changed.wait_timeout(lines, left).expect("no panic").0;
        }
    }

    fn wait_for_end(&self) {
        let lines = self.lines.lock().expect("no panic");
        drop(self.changed.wait_timeout_while(lines, PATIENCE, |lines| !lines.1));
    }
}
