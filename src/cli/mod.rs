//! The command line: reads it, calls the rooms, prints what they say.
//!
//! Exit status: 0 all went well; 1 the configuration has errors or the work failed; 2 the command line
//! could not be understood; 3 `replay` found changes; 4 `certificates` found one that ends soon.

mod certificates;
mod check;
mod explain;
mod files;
mod flags;
pub(crate) mod logging;
mod numbers;
mod remote;
mod replay;
mod top;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};

use crate::config::{self, Config, Generation, Overrides, Problems};
use crate::control;
use crate::demo;
use crate::dispatch::zotonic;

use files::OnDisk;
use flags::{Arguments, Command, Import, RunFlags};

/// Runs the command the arguments name.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Run(flags) => run(&flags),
        Command::Check { config, json } => check::main(&config, json),
        Command::Explain(flags) => explain::main(&flags),
        Command::Certificates(flags) => certificates::main(&flags),
        Command::Replay(flags) => replay::main(&flags),
        Command::Import { from: Import::Zotonic { directories } } => import_zotonic(&directories),
        Command::Status { remote, json } => remote::status(&remote, json),
        Command::Top(flags) => top::main(&flags),
        Command::Reload { remote, json } => remote::reload(&remote, json),
        Command::Drain(flags) => remote::drain(&flags),
        Command::Upgrade(flags) => remote::upgrade(&flags),
        Command::Demo(flags) => demo::main(&flags.http, &flags.https),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "portcullis", &mut io::stdout());
            ExitCode::SUCCESS
        }
        Command::Man { directory } => man(directory.as_deref()),
    }
}

fn run(flags: &RunFlags) -> ExitCode {
    let predecessor = match control::Predecessor::meet() {
        Ok(predecessor) => predecessor,
        Err(error) => {
            eprintln!("portcullis: the process that serves cannot be taken over from: {error}");
            return ExitCode::FAILURE;
        }
    };
    let config = match read(&flags.config, &flags.overrides()) {
        Ok(config) => config,
        Err(problems) => {
            return match &predecessor {
                // It writes them into its log.
                Some(predecessor) => {
                    predecessor.failed(&problems.to_string());
                    ExitCode::FAILURE
                }
                None => fail(&problems),
            };
        }
    };
    logging::start(config.log);
    serve(config, flags, predecessor)
}

fn serve(config: Config, flags: &RunFlags, predecessor: Option<control::Predecessor>) -> ExitCode {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let (path, overrides) = (flags.config.clone(), flags.overrides());
    let ended = control::run(control::Start {
        config,
        ring: flags.ring,
        predecessor,
        program: control::Program::running().ok(),
        reread: Arc::new(move || read(&path, &overrides)),
        ready: Box::new(|addresses, generation| {
            for (scheme, address) in addresses {
                tracing::info!("listening on {}://{address}", scheme.as_str());
            }
            tracing::info!("ready");
            log_proofs(generation.clone());
        }),
        reloaded: Box::new(|generation| {
            logging::set_level(generation.config.log);
            log_proofs(generation.clone());
        }),
    });
    match ended {
        Ok(control::Ended::Clean) => ExitCode::SUCCESS,
        Ok(control::Ended::Cut(open)) => {
            tracing::warn!(connections = open, "left before these connections had ended");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("portcullis: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What `check` proves of a generation that serves, said once beside it: proofs about thousands of rules take
/// their time.
fn log_proofs(generation: Arc<Generation>) {
    let prove = move || {
        for problem in check::proved(&generation.config, &generation.sites, &mut OnDisk) {
            tracing::warn!("{problem}");
        }
    };
    // Without the thread nothing is missing but words.
    if let Err(error) = std::thread::Builder::new().name("proofs".to_owned()).spawn(prove) {
        tracing::warn!(%error, "what `portcullis check` proves is not said here");
    }
}

/// What `replay` finds in a line: host, empty when it says none, method and target; for fuzzing.
#[doc(hidden)]
pub fn replayed(line: &[u8]) -> Option<[Vec<u8>; 3]> {
    replay::read_line(line)
}

/// Reads the configuration from disk.
///
/// # Errors
/// All problems of all files.
fn read(path: &Path, overrides: &Overrides) -> Result<Config, Problems> {
    config::read(path, &mut OnDisk, overrides)
}

fn fail(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::FAILURE
}

/// Prints the rules of dispatch files, in the order their names sort.
fn import_zotonic(directories: &[PathBuf]) -> ExitCode {
    let mut rules = Vec::new();
    let mut failed = false;
    for path in dispatch_files(directories) {
        let read = path.and_then(|path| {
            std::fs::read(&path).map(|text| (path.clone(), text)).map_err(|error| (path, error))
        });
        match read {
            Err((path, error)) => {
                eprintln!("portcullis: {}: {error}", path.display());
                failed = true;
            }
            Ok((path, text)) => match zotonic::rules(&text, path.as_path().into()) {
                Ok(more) => rules.extend(more),
                Err(problems) => {
                    problems.iter().for_each(|problem| eprintln!("{problem}"));
                    failed = true;
                }
            },
        }
    }
    if failed {
        return ExitCode::FAILURE;
    }
    print!("{}", zotonic::to_toml(&rules));
    ExitCode::SUCCESS
}

/// The files themselves, and those in the directories, each directory sorted by name.
fn dispatch_files(paths: &[PathBuf]) -> Vec<Result<PathBuf, (PathBuf, io::Error)>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(Ok(path.clone()));
            continue;
        }
        match std::fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Err(error) => files.push(Err((path.clone(), error))),
            Ok(entries) => {
                let mut inside: Vec<PathBuf> =
                    entries.iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
                inside.sort();
                files.extend(inside.into_iter().map(Ok));
            }
        }
    }
    files
}

fn man(directory: Option<&Path>) -> ExitCode {
    let written = match directory {
        Some(directory) => clap_mangen::generate_to(Arguments::command(), directory),
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Arguments::command()).render(&mut page);
            rendered.and_then(|()| io::stdout().write_all(&page))
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::FAILURE
        }
    }
}
