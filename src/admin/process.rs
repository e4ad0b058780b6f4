//! What the system says of this process.

use std::fs;

pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) descriptors: u64,
    pub(super) descriptors_max: u64,
}

impl Process {
    /// What cannot be read is 0.
    pub(super) fn read() -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name may hold anything; the fields begin behind its last bracket, the third of them first.
        let after = stat.rsplit(')').next().unwrap_or_default();
        let field = |number: usize| {
            let text = after.split_whitespace().nth(number - 3);
            text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Process {
            cpu_seconds: (field(14) + field(15)) as f64 / ticks,
            resident_bytes: field(24) * rustix::param::page_size() as u64,
            virtual_bytes: field(23),
            // One of them reads the directory.
            descriptors: descriptors.saturating_sub(1),
            descriptors_max: limit.current.unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_a_process_that_runs() {
        let process = Process::read();
        assert!(process.resident_bytes > 1 << 20 && process.virtual_bytes > process.resident_bytes);
        assert!(process.descriptors >= 3 && process.descriptors <= process.descriptors_max);
    }
}
