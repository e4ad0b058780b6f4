//! Source `command`: a program that is run for each question.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use zeroize::Zeroizing;

use super::answer::ANSWER_BYTES_MAX;
use super::ask_failure::AskFailure;

/// Runs `words` with `question` on its standard input and returns what it writes on its standard output.
///
/// It runs in a process group of its own, which is killed when `timeout` is over, whatever it started with
/// it. What it writes on standard error goes where ours goes.
///
/// # Errors
/// `Unreachable`, `TimedOut`, `Exit`, `TooLarge`.
pub(super) fn ask(
    words: &[String],
    question: &[u8],
    timeout: Duration,
) -> Result<Zeroizing<Vec<u8>>, AskFailure> {
    let until = Instant::now() + timeout;
    let (program, arguments) =
        words.split_first().ok_or_else(|| AskFailure::Unreachable(ErrorKind::NotFound.into()))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(AskFailure::Unreachable)?;
    let result = talk(&mut child, question, until);
    if result.is_err() {
        // Its children, too. Gone already: nothing to kill.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    let status = child.wait().map_err(AskFailure::Unreachable)?;
    let answer = result?;
    if status.success() { Ok(answer) } else { Err(AskFailure::Exit(status.code())) }
}

fn talk(child: &mut Child, question: &[u8], until: Instant) -> Result<Zeroizing<Vec<u8>>, AskFailure> {
    // A question is shorter than any pipe: this does not wait. A program that does not want it may be gone.
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(question);
    }
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).map_err(unreachable)?;
    let mut output = child.stdout.take().ok_or(AskFailure::Defect)?;
    // Room for all of it beforehand: a buffer that grows leaves copies of the key behind.
    let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX + 1));
    let mut piece = Zeroizing::new([0; 16 * 1024]);
    loop {
        let (readable, has_ended) = wait(&output, &ended, until)?;
        if !readable && has_ended {
            // Somebody it started holds the pipe open.
            return Ok(answer);
        }
        if !readable {
            continue;
        }
        match output.read(&mut *piece) {
            Ok(0) => break,
            Ok(read) if answer.len() + read > ANSWER_BYTES_MAX => return Err(AskFailure::TooLarge),
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(AskFailure::Unreachable(error)),
        }
    }
    // All was said; it still has to end.
    drop(output);
    let mut fds = [PollFd::new(&ended, PollFlags::IN)];
    while poll_until(&mut fds, until)? == 0 {}
    Ok(answer)
}

/// Whether there is something to read, and whether the program has ended.
fn wait(output: &impl AsFd, ended: &OwnedFd, until: Instant) -> Result<(bool, bool), AskFailure> {
    let mut fds = [PollFd::new(output, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
    poll_until(&mut fds, until)?;
    Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty()))
}

fn poll_until(fds: &mut [PollFd<'_>], until: Instant) -> Result<usize, AskFailure> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(AskFailure::TimedOut);
    }
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    match poll(fds, Some(&left)) {
        Ok(0) => Err(AskFailure::TimedOut),
        Ok(count) => Ok(count),
        Err(rustix::io::Errno::INTR) => Ok(0),
        Err(error) => Err(unreachable(error)),
    }
}

fn unreachable(error: rustix::io::Errno) -> AskFailure {
    AskFailure::Unreachable(error.into())
}
