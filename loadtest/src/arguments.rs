//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::servers::{Kind, Server};
use crate::workload::{Schedule, WORKLOADS};

pub const USAGE: &str = "\
Measures Portcullis beside nginx, HAProxy and whatever else is installed.

  --smoke                 every workload once, in seconds: shows that it works
  --rounds N              rounds, the servers taking turns in each (5)
  --seconds S             length of a measurement (3)
  --workload NAME[,NAME]  only these
  --only NAME[,NAME]      only these servers
  --server-binary PATH    the Portcullis to measure (target/release/portcullis)
  --ours NAME=PATH        another build of Portcullis, in a column of its own
  --nginx NAME=PATH       another build of nginx; so for --haproxy, --h2o, --hitch
  --idle-connections N    open connections when memory is measured (10000)
  --sites N               instead of all this: N sites with a certificate and ten rules each; check, start, reload
  --workers N             instead of the peers: N workers of Portcullis beside one, all on every core, and the load too
  --server-core N         core of the server (the first there is)
  --load-core N           core of the load and the upstream (the second)
  --markdown FILE         write the tables for the README
  --record FILE           write every sample, tab-separated
  --label TEXT            what was measured, for the head of the report
  --list                  name the workloads and the servers found
";

#[derive(Debug)]
pub struct Arguments {
    pub schedule: Schedule,
    pub list: bool,
    pub help: bool,
    pub sites: Option<usize>,
    pub workers: Option<usize>,
    pub workloads: Vec<String>,
    pub only: Vec<String>,
    pub server_binary: PathBuf,
    pub more: Vec<Server>,
    pub server_core: Option<usize>,
    pub load_core: Option<usize>,
    pub markdown: Option<PathBuf>,
    pub record: Option<PathBuf>,
    pub label: Option<String>,
}

/// Reads the words after the program's name.
///
/// # Errors
/// What is wrong, for the terminal.
pub fn read(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let words: Vec<String> = words.collect();
    let smoke = words.iter().any(|word| word == "--smoke");
    let mut read = Arguments {
        schedule: if smoke { Schedule::smoke() } else { Schedule::full() },
        list: false,
        help: false,
        sites: None,
        workers: None,
        workloads: Vec::new(),
        only: Vec::new(),
        server_binary: PathBuf::from("target/release/portcullis"),
        more: Vec::new(),
        server_core: None,
        load_core: None,
        markdown: None,
        record: None,
        label: None,
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--smoke" => {}
            "--list" => read.list = true,
            "--help" | "-h" => read.help = true,
            "--rounds" => read.schedule.rounds = number(&word, &value()?)?,
            "--seconds" => {
                let seconds =
                    value()?.parse::<f64>().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
                read.schedule.window = Duration::from_secs_f64(
                    seconds.ok_or_else(|| format!("{word} needs seconds, 0.01 to 3600"))?,
                );
            }
            "--workload" => read.workloads.extend(names(&value()?)),
            "--only" => read.only.extend(names(&value()?)),
            "--server-binary" => read.server_binary = PathBuf::from(value()?),
            "--ours" => read.more.push(named(Kind::Portcullis, &word, &value()?)?),
            "--nginx" => read.more.push(named(Kind::Nginx, &word, &value()?)?),
            "--haproxy" => read.more.push(named(Kind::Haproxy, &word, &value()?)?),
            "--h2o" => read.more.push(named(Kind::H2o, &word, &value()?)?),
            "--hitch" => read.more.push(named(Kind::Hitch, &word, &value()?)?),
            "--idle-connections" => read.schedule.idle_connections = number(&word, &value()?)?,
            "--sites" => read.sites = Some(number(&word, &value()?)?),
            "--workers" => read.workers = Some(number(&word, &value()?)?),
            "--server-core" => read.server_core = Some(core(&word, &value()?)?),
            "--load-core" => read.load_core = Some(core(&word, &value()?)?),
            "--markdown" => read.markdown = Some(PathBuf::from(value()?)),
            "--record" => read.record = Some(PathBuf::from(value()?)),
            "--label" => read.label = Some(value()?),
            _ => return Err(format!("unknown argument {word}; --help shows all")),
        }
    }
    for name in &read.workloads {
        if !WORKLOADS.iter().any(|workload| workload.name == name) {
            return Err(format!("no workload is called {name}; --list shows all"));
        }
    }
    let chosen = !read.only.is_empty() || !read.more.is_empty();
    if read.workers.is_some() && (chosen || read.server_core.is_some() || read.load_core.is_some()) {
        return Err(
            "--workers measures one build with itself, on every core: no other server, no core".to_owned()
        );
    }
    Ok(read)
}

fn names(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(str::to_owned)
}

fn number(word: &str, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| format!("{word} needs a number from 1 to 1000000, not {text}"))
}

fn core(word: &str, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|core| *core < rustix::thread::CpuSet::MAX_CPU);
    number.ok_or_else(|| format!("{word} needs the number of a core, not {text}"))
}

fn named(kind: Kind, word: &str, text: &str) -> Result<Server, String> {
    let (name, program) =
        text.split_once('=').ok_or_else(|| format!("{word} needs NAME=PATH, not {text}"))?;
    if name.is_empty() || name.contains('/') {
        return Err(format!("{word} needs a NAME for a column, not {name:?}"));
    }
    Ok(Server { name: name.to_owned(), kind, program: PathBuf::from(program), workers: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Arguments, String> {
        read(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn smoke_gives_way_to_explicit_numbers_in_any_order() {
        for words in [["--smoke", "--rounds", "2"], ["--rounds", "2", "--smoke"]] {
            let arguments = of(&words).expect("right words");
            assert_eq!(arguments.schedule.rounds, 2);
            assert_eq!(arguments.schedule.idle_connections, 200);
        }
    }

    #[test]
    fn several_builds_side_by_side() {
        let arguments = of(&["--ours", "old=/tmp/a", "--ours", "new=/tmp/b"]).expect("right words");
        let names: Vec<&str> = arguments.more.iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, ["old", "new"]);
    }

    #[test]
    fn says_what_is_wrong() {
        for (words, part) in [
            (&["--rounds"][..], "needs a value"),
            (&["--rounds", "0"], "from 1"),
            (&["--workload", "nonsense"], "no workload"),
            (&["--ours", "path"], "NAME=PATH"),
            (&["--loud"], "unknown"),
            (&["--workers", "2", "--only", "nginx"], "one build"),
            (&["--load-core", "1", "--workers", "2"], "one build"),
        ] {
            let error = of(words).expect_err("wrong words");
            assert!(error.contains(part), "{error}");
        }
    }
}
