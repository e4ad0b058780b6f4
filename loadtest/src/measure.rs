//! What a server uses: CPU time and memory of all its processes, as the kernel counts them.

use std::fs;
use std::io;
use std::time::Duration;

/// CPU time of a set of processes.
#[derive(Clone, Copy, Default)]
pub struct Cpu {
    /// On a core, user and system together.
    pub used: Duration,
    /// Ready to run while something else had the core: noise of the machine.
    pub waited: Duration,
}

impl Cpu {
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            used: self.used.saturating_sub(earlier.used),
            waited: self.waited.saturating_sub(earlier.waited),
        }
    }
}

/// CPU time so far, in nanoseconds of `schedstat`, over every thread that lives now
/// (threads of io_uring included; those that have ended are not, so none may end inside a window).
///
/// # Errors
/// The kernel keeps no `schedstat`, or a process is gone.
pub fn cpu(processes: &[u32]) -> io::Result<Cpu> {
    let mut sum = Cpu::default();
    for process in processes {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let text = match fs::read_to_string(thread?.path().join("schedstat")) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut numbers = text
                .split_whitespace()
                .map(|number| number.parse().unwrap_or(0));
            sum.used += Duration::from_nanos(numbers.next().unwrap_or(0));
            sum.waited += Duration::from_nanos(numbers.next().unwrap_or(0));
        }
    }
    Ok(sum)
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
        sum += number
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(sum)
}

/// A process with all its descendants, the process itself first.
pub fn family(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in parentheses may hold anything; the parent is the second field after it.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        if let Some(parent) = after_name
            .split_whitespace()
            .nth(1)
            .and_then(|field| field.parse::<u32>().ok())
        {
            parents.push((process, parent));
        }
    }
    let mut family = vec![root];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(process, _)| *process),
        );
        next += 1;
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_the_work_of_this_process() {
        let own = [std::process::id()];
        let before = cpu(&own).expect("schedstat");
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(50) {
            std::hint::black_box(family(own[0]));
        }
        let used = cpu(&own).expect("schedstat").since(before).used;
        assert!(used > Duration::from_millis(5), "{used:?}");
        assert!(resident_kib(&own).expect("smaps_rollup") > 100);
    }
}
