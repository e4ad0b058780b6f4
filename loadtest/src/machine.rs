//! Where a run took place.

use std::fs;
use std::process::Command;

/// Lines for the head of a report: processor, memory, kernel, day.
pub fn description() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model =
        value("model name").or_else(|| value("CPU part")).unwrap_or_else(|| "unknown processor".to_owned());
    // Not `available_parallelism`: this thread is pinned.
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let virtual_machine = if cpus.contains("hypervisor") { ", virtual machine" } else { "" };
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<f64>().ok())
        .unwrap_or(0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let day = Command::new("date").arg("+%F").output().map(|output| output.stdout).unwrap_or_default();
    format!(
        "{model}, {cores} cores{virtual_machine}, {:.0} GiB; Linux {}; {}",
        memory_kib / 1024.0 / 1024.0,
        kernel.trim(),
        String::from_utf8_lossy(&day).trim(),
    )
}

/// Tasks ready to run over the last minute: what else the machine was doing.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}
