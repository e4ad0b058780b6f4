//! The program that sets and removes TXT records for dns-01.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::settings::DnsCommand;
use crate::net;

/// Of what it writes on standard error, so much is told.
const SAID_MAX: u64 = 2_000;
const LOOK: Duration = Duration::from_millis(20);

/// Runs it with `act` (`present` or `cleanup`), the name of the record and its value, and waits for its end.
///
/// # Errors
/// That it could not be started, was stopped for taking too long, or did not end with 0, and what it said.
pub(super) fn run(command: &DnsCommand, act: &str, name: &str, value: &str) -> Result<(), String> {
    let Some((program, arguments)) = command.run.split_first() else {
        return Err("there is no command".to_owned());
    };
    let mut started = Command::new(program);
    started.args(arguments).args([act, name, value]);
    started.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    net::keep_descriptors(&mut started);
    let mut child = started.spawn().map_err(|error| format!("{program}: {error}"))?;
    let said = child.stderr.take().map(|from| std::thread::spawn(move || head_of(from)));
    let ended = wait(&mut child, command.timeout);
    match ended {
        Some(status) if status.success() => Ok(()),
        // Whoever holds its standard error now may hold it for long: what it said is not waited for.
        None => Err(format!("{program} {act}: stopped after {:?}", command.timeout)),
        Some(status) => {
            let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
            Err(format!("{program} {act}: {status}: {}", said.trim()))
        }
    }
}

/// Polls: std has no wait with a bound. `None`: it took too long, and was stopped.
fn wait(child: &mut Child, timeout: Duration) -> Option<std::process::ExitStatus> {
    let since = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if since.elapsed() > timeout {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

fn head_of(mut from: impl Read) -> String {
    let mut head = Vec::new();
    let _ = from.by_ref().take(SAID_MAX).read_to_end(&mut head);
    // The rest is read, so that the program does not wait for a reader.
    let _ = std::io::copy(&mut from, &mut std::io::sink());
    String::from_utf8_lossy(&head).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration) -> DnsCommand {
        DnsCommand { run: ["/bin/sh", "-c", script, "sh"].map(str::to_owned).to_vec(), timeout }
    }

    #[test]
    fn it_gets_act_name_and_value_and_its_words_are_told() {
        let patience = Duration::from_secs(20);
        let right = shell("test \"$1 $2 $3\" = 'present _acme-challenge.a.example v'", patience);
        assert_eq!(run(&right, "present", "_acme-challenge.a.example", "v"), Ok(()));
        let failed = run(&shell("echo no such zone >&2; exit 3", patience), "present", "a", "b");
        let failed = failed.expect_err("it ended with 3");
        assert!(failed.contains("3: no such zone"), "{failed}");
        let late = run(&shell("exec sleep 60", Duration::from_millis(50)), "cleanup", "a", "b");
        assert!(late.expect_err("it is late").contains("stopped after 50ms"));
        let absent = DnsCommand { run: vec!["/nowhere/at-all".to_owned()], timeout: patience };
        assert!(run(&absent, "present", "a", "b").expect_err("it is not there").contains("/nowhere/at-all"));
    }
}
