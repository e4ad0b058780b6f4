//! Portcullis beside its peers: one interleaved run, one worker on a core, equal work for all.
//!
//! Reading order: `workload` (what is measured), `servers` (whom), `load` and `upstream` (with what),
//! `measure` (how), `run` (one measurement), `table` (what it says). README.md tells how to use it.

mod affinity;
mod arguments;
mod body;
mod certificates;
mod client_tls;
mod connection;
mod histogram;
mod http2;
mod load;
mod machine;
mod many_sites;
mod measure;
mod probe;
mod response;
mod run;
mod servers;
mod table;
mod upstream;
mod workload;

use std::fs;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::arguments::Arguments;
use crate::certificates::Certificates;
use crate::response::header;
use crate::run::{Bench, Sample};
use crate::servers::{Kind, RunDirectory, Running, Server, Surroundings};
use crate::table::Row;
use crate::upstream::Upstream;
use crate::workload::{Certificate, Pace, WORKLOADS, Workload};

/// The name every request asks for.
pub const HOST: &str = "bench.test";

const DESCRIPTORS: u64 = 65_536;

fn main() -> ExitCode {
    let arguments = match arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    if arguments.help {
        print!("{}", arguments::USAGE);
        return ExitCode::SUCCESS;
    }
    if let Some(sites) = arguments.sites {
        return match many_sites::run(&arguments.server_binary, sites, arguments.schedule.rounds) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let servers = match servers_of(&arguments) {
        Ok(servers) => servers,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let workloads: Vec<Workload> = WORKLOADS
        .iter()
        .filter(|one| {
            arguments.workloads.is_empty() || arguments.workloads.iter().any(|name| name == one.name)
        })
        .cloned()
        .collect();
    if arguments.list {
        for workload in &workloads {
            println!("{:<20} {}", workload.name, workload.title);
        }
        for server in &servers {
            println!("{:<20} {} ({})", server.name, server.version(), server.program.display());
        }
        return ExitCode::SUCCESS;
    }
    match compare(&arguments, &servers, &workloads) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Errors) => ExitCode::FAILURE,
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

enum Outcome {
    Clean,
    Errors,
    Interrupted,
}

/// Whom to measure; the first is what the others are compared with: nginx where there is one.
fn servers_of(arguments: &Arguments) -> Result<Vec<Server>, String> {
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let ours = Server {
        name: Kind::Portcullis.name().to_owned(),
        kind: Kind::Portcullis,
        program: arguments.server_binary.clone(),
        workers: 1,
    };
    let mut servers = Vec::new();
    let mut others = Vec::new();
    let wanted = |name: &str| arguments.workers.is_none() && wanted(name);
    if let Some(workers) = arguments.workers {
        servers.push(Server { name: "one worker".to_owned(), ..ours.clone() });
        servers.push(Server { name: format!("{workers} workers"), workers, ..ours.clone() });
    }
    // Another build under a peer's own name takes its place.
    let given = |name: &str| arguments.more.iter().any(|server| server.name == name);
    for kind in Kind::PEERS.into_iter().filter(|kind| wanted(kind.name()) && !given(kind.name())) {
        match Server::installed(kind) {
            Some(server) if kind == Kind::Nginx => servers.push(server),
            Some(server) => others.push(server),
            None if !kind.is_optional() || !arguments.only.is_empty() => {
                println!("{0} is not installed and is skipped (apt-get install {0})", kind.name());
            }
            None => {}
        }
    }
    if wanted(&ours.name) {
        servers.push(ours);
    }
    servers.extend(arguments.more.iter().filter(|server| wanted(&server.name)).cloned());
    servers.extend(others);
    for name in &arguments.only {
        if !servers.iter().any(|server| server.name == *name) {
            return Err(format!("there is no server {name} to measure"));
        }
    }
    for server in servers.iter_mut().filter(|server| server.program.components().count() > 1) {
        // Servers start in directories of their own.
        server.program = fs::canonicalize(&server.program)
            .map_err(|error| format!("{}: {}: {error}", server.name, server.program.display()))?;
    }
    Ok(servers)
}

fn compare(arguments: &Arguments, servers: &[Server], workloads: &[Workload]) -> io::Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let mut schedule = arguments.schedule.clone();
    let descriptors = raise_descriptors();
    // A server may need two for each connection, and a few for itself.
    let idle_connections_max = usize::try_from(descriptors.saturating_sub(512) / 2).unwrap_or(0);
    let measures_memory = workloads.iter().any(|one| one.pace == Pace::OnceThenIdle);
    if measures_memory && schedule.idle_connections > idle_connections_max {
        println!(
            "note: {descriptors} descriptors are allowed (ulimit -Hn), so memory is measured with {idle_connections_max} connections"
        );
        schedule.idle_connections = idle_connections_max;
    }
    let cores = affinity::cores();
    let (server_cores, load_cores) = match arguments.workers {
        Some(_) => (cores.clone(), cores),
        None => {
            let server = arguments.server_core.unwrap_or(cores[0]);
            let load = arguments.load_core.unwrap_or(*cores.get(1).unwrap_or(&cores[0]));
            (vec![server], vec![load])
        }
    };
    if server_cores == load_cores {
        println!(
            "note: server and load share core {}; CPU time holds, requests/s and latency say little",
            affinity::named(&server_cores)
        );
    }
    let directory = RunDirectory::make(&std::env::temp_dir())?;
    let certificates = Certificates::make(&directory.0)?;
    let upstream = Upstream::start(&load_cores)?;
    affinity::pin(&load_cores);
    let around = Surroundings {
        directory: directory.0.clone(),
        upstream: upstream.address,
        server_cores,
        load_cores,
        descriptors,
    };

    let head = head(arguments, servers, &schedule, &around);
    println!("{head}");

    let start_all = |certificate| -> io::Result<Vec<Option<Running>>> {
        let needed = workloads.iter().any(|one| one.certificate == certificate);
        let mut all = Vec::new();
        for server in servers {
            if !needed {
                all.push(None);
                continue;
            }
            all.push(match Running::start(server, certificates.pair(certificate), &around) {
                Err(error) if server.kind.is_optional() => {
                    println!("{} is left out: {error}", server.name);
                    None
                }
                started => Some(started?),
            });
        }
        Ok(all)
    };
    let p256 = start_all(Certificate::P256)?;
    let rsa2048 = start_all(Certificate::Rsa2048)?;
    for (server, running) in servers.iter().zip(&p256) {
        if let Some(running) = running {
            check_fields(server, running, &certificates)?;
        }
    }

    let bench = Bench { schedule: &schedule, around: &around, counts: &upstream.counts, stop: &stop };
    let names: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
    let mut rows = Vec::new();
    for workload in workloads {
        let mut row = Row { workload: workload.clone(), samples: vec![Vec::new(); servers.len()] };
        for round in 0..schedule.rounds {
            for turn in 0..servers.len() {
                // Another one begins each round, so that none always runs after the same neighbour.
                let index = (turn + round) % servers.len();
                let server = &servers[index];
                if let Some(reason) = server.refuses(workload) {
                    if round == 0 {
                        println!("{}: {} is left out: {reason}", workload.name, server.name);
                    }
                    continue;
                }
                let pair = certificates.pair(workload.certificate);
                let running = match workload.certificate {
                    Certificate::P256 => &p256[index],
                    Certificate::Rsa2048 => &rsa2048[index],
                };
                let sample = match running {
                    None => continue,
                    Some(_) if workload.pace == Pace::OnceThenIdle => bench.idle(workload, server, pair),
                    Some(running) => {
                        bench.requests(workload, running, pair).map(|sample| with_log(sample, running))
                    }
                };
                if stop.load(Ordering::Relaxed) {
                    println!("stopped");
                    return Ok(Outcome::Interrupted);
                }
                row.samples[index].push(sample.unwrap_or_else(|error| Sample {
                    errors: 1,
                    notes: vec![error.to_string()],
                    ..Sample::default()
                }));
            }
        }
        if row.samples.iter().any(|samples| !samples.is_empty()) {
            print!("{}", table::text(&row, &names));
            rows.push(row);
        }
    }
    println!("\nload average at the end {}", machine::load_average());

    if let Some(file) = &arguments.markdown {
        let lines: String = head.lines().map(|line| format!("{line}  \n")).collect();
        fs::write(file, lines + &table::markdown(&rows, &names))?;
    }
    if let Some(file) = &arguments.record {
        fs::write(file, table::record(&rows, &names))?;
    }
    let errors: u64 =
        rows.iter().flat_map(|row| row.samples.iter().flatten()).map(|sample| sample.errors).sum();
    if errors > 0 {
        println!("{errors} errors: these figures are not to be used");
        return Ok(Outcome::Errors);
    }
    println!("no errors");
    Ok(Outcome::Clean)
}

/// Who, where and how, for the head of a report.
fn head(
    arguments: &Arguments,
    servers: &[Server],
    schedule: &workload::Schedule,
    around: &Surroundings,
) -> String {
    let mut lines = Vec::new();
    lines.extend(arguments.label.clone());
    lines.push(machine::description());
    let versions: Vec<String> = (servers.iter())
        .map(|server| {
            let library = server.tls_library().map(|library| format!(", {library}")).unwrap_or_default();
            format!("{} ({}{library})", server.name, server.version())
        })
        .collect();
    lines.push(versions.join("; "));
    lines.push(format!(
        "medians (smallest–largest); rounds: {}, each of {} s after {} s of warm-up, servers taking turns; \
         server on core {}, load and upstream on core {}; TLS 1.3, AES-128-GCM, X25519; \
         {} idle connections; load average at the start {}",
        schedule.rounds,
        schedule.window.as_secs_f64(),
        schedule.warm_up.as_secs_f64(),
        affinity::named(&around.server_cores),
        affinity::named(&around.load_cores),
        schedule.idle_connections,
        machine::load_average(),
    ));
    lines.join("\n")
}

/// Says which of the fields the others add a server leaves out: less work than the others do.
fn check_fields(server: &Server, running: &Running, certificates: &Certificates) -> io::Result<()> {
    let answer = probe::get_https(running.https, &certificates.p256, "/head")?;
    let missing: Vec<&str> =
        server.added_fields().iter().copied().filter(|name| header(&answer.body, name).is_none()).collect();
    if !missing.is_empty() {
        println!("note: {} does not send {} to the upstream", server.name, missing.join(", "));
    }
    Ok(())
}

fn with_log(mut sample: Sample, running: &Running) -> Sample {
    if sample.errors > 0 {
        let words = running.last_words();
        if !words.is_empty() {
            sample.notes.push(format!("the server wrote:\n{words}"));
        }
    }
    sample
}

/// As many descriptors as servers and clients may need, or as many as there are.
fn raise_descriptors() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(u64::MAX).max(DESCRIPTORS);
    // Beyond the hard limit only for root.
    let raised = Rlimit { current: Some(DESCRIPTORS), maximum: Some(hard) };
    if setrlimit(Resource::Nofile, raised).is_err() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(DESCRIPTORS).min(DESCRIPTORS)
}
