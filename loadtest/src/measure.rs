//! What a server uses: CPU time and memory of all its processes, as the kernel counts them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

/// The counters of a set of processes at one moment.
pub struct Reading {
    /// By thread: nanoseconds on a core, and ready to run without one.
    threads: HashMap<u32, (u64, u64)>,
    /// User and system time, threads that have ended included, in clock ticks.
    ticks: u64,
}

/// CPU time between two readings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// On a core, user and system together.
    pub used: Duration,
    /// Ready to run while something else had the core: noise of the machine.
    pub waited: Duration,
}

/// What `/proc/PID/stat` counts in: USER_HZ, the same on every architecture Rust and io_uring share.
const TICK: Duration = Duration::from_millis(10);

impl Reading {
    /// Reads the counters, those of io_uring's own threads included.
    ///
    /// # Errors
    /// The kernel keeps no `schedstat`, or a process is gone.
    pub fn take(processes: &[u32]) -> io::Result<Reading> {
        let mut reading = Reading { threads: HashMap::new(), ticks: 0 };
        for process in processes {
            let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
            let ticks = after_name(&stat).skip(11).take(2);
            reading.ticks += ticks.map(|ticks| ticks.parse::<u64>().unwrap_or(0)).sum::<u64>();
            for thread in fs::read_dir(format!("/proc/{process}/task"))? {
                let thread = thread?;
                let Some(number) = thread.file_name().to_str().and_then(|n| n.parse().ok()) else {
                    continue;
                };
                // A thread may end while the list is read.
                let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
                    continue;
                };
                let mut numbers = text.split_whitespace().map(|n| n.parse().unwrap_or(0));
                let used = numbers.next().unwrap_or(0);
                reading.threads.insert(number, (used, numbers.next().unwrap_or(0)));
            }
        }
        if reading.threads.is_empty() {
            return Err(io::Error::other("/proc/PID/task/*/schedstat tells nothing"));
        }
        Ok(reading)
    }

    /// CPU time of this process's children that were waited for, in clock ticks.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn of_ended_children() -> io::Result<u64> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        Ok(after_name(&stat).skip(13).take(2).map(|ticks| ticks.parse::<u64>().unwrap_or(0)).sum())
    }

    /// What was used since an earlier reading.
    ///
    /// The sum over threads is exact to the nanosecond and misses those that ended in between; ticks are
    /// coarse and miss nothing. Where they differ by more than coarseness explains, the ticks are right.
    pub fn since(&self, earlier: &Reading) -> Cpu {
        let mut exact = Cpu::default();
        for (thread, (used, waited)) in &self.threads {
            let (used_before, waited_before) = earlier.threads.get(thread).unwrap_or(&(0, 0));
            exact.used += Duration::from_nanos(used.saturating_sub(*used_before));
            exact.waited += Duration::from_nanos(waited.saturating_sub(*waited_before));
        }
        let ticks = u32::try_from(self.ticks.saturating_sub(earlier.ticks)).unwrap_or(u32::MAX);
        let coarse = TICK * ticks;
        if coarse > exact.used.mul_f64(1.05) + 4 * TICK {
            exact.used = coarse;
        }
        exact
    }
}

/// The fields of `/proc/PID/stat` from the state on; the name before it may hold anything.
fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace()
}

/// Memory in KiB: the proportional share of resident pages, so that pages of a master and its worker count once.
///
/// # Errors
/// A process is gone, or may not be looked at.
pub fn resident_kib(processes: &[u32]) -> io::Result<u64> {
    let mut sum = 0;
    for process in processes {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        sum += number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// A process with all its descendants, the process itself first.
pub fn family(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = after_name(&stat).nth(1).and_then(|field| field.parse::<u32>().ok()) {
            parents.push((process, parent));
        }
    }
    let mut family = vec![root];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn(time: Duration) {
        let begin = std::time::Instant::now();
        while begin.elapsed() < time {
            std::hint::black_box(family(1));
        }
    }

    #[test]
    fn sees_the_work_of_this_process() {
        let own = [std::process::id()];
        let before = Reading::take(&own).expect("counters");
        burn(Duration::from_millis(100));
        let used = Reading::take(&own).expect("counters").since(&before).used;
        assert!(used > Duration::from_millis(5), "{used:?}");
        assert!(resident_kib(&own).expect("smaps_rollup") > 100);
    }

    #[test]
    fn work_of_ended_threads_counts() {
        let reading =
            |used_nanoseconds, ticks| Reading { threads: HashMap::from([(1, (used_nanoseconds, 0))]), ticks };
        let used = |reading: Reading, earlier| reading.since(&earlier).used;
        // As much in ticks as in nanoseconds, but for rounding: the nanoseconds count.
        let exact = used(reading(1_000_000_000, 103), reading(0, 0));
        assert_eq!(exact, Duration::from_secs(1));
        let coarse = used(reading(1_000_000_000, 200), reading(0, 0));
        assert_eq!(coarse, Duration::from_secs(2));
        // The only thread of the first reading has ended, with all it had used.
        let mut earlier = reading(0, 500);
        earlier.threads = HashMap::from([(2, (5_000_000_000, 0))]);
        let rest = used(reading(1_000_000_000, 600), earlier);
        assert_eq!(rest, Duration::from_secs(1));
    }
}
