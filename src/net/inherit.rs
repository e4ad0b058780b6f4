//! Descriptors on their way from one process to the next: none by accident, and those that were meant.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the program that `command` starts get its standard streams and no other descriptor.
///
/// The ring accepts connections without the flag that closes them on exec, and setting it would cost each of them a
/// system call. Inherited, a connection would stay open until that program ends.
pub fn keep_descriptors(command: &mut Command) {
    // SAFETY: between fork and exec only one system call is made, and it touches no memory.
    unsafe {
        command.pre_exec(|| {
            let flag = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
            match libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, flag) {
                0 => Ok(()),
                // Before Linux 5.11. Better no program than one that holds connections.
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// Takes descriptors that this process was started with, as the environment said (`sd_listen_fds(3)`).
///
/// Each must be named once in the life of the process: it is closed when the result is dropped.
pub fn inherited(descriptors: impl Iterator<Item = RawFd>) -> Vec<OwnedFd> {
    descriptors
        .filter(|descriptor| *descriptor > 2)
        // SAFETY: the service manager opened them for this process, and nobody else in it knows their numbers.
        .map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    /// What makes it safe that accepted sockets are not closed on exec.
    #[test]
    fn a_program_that_is_started_gets_no_descriptor_that_is_open_across_exec() {
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        // The duplicate is without the flag.
        let open = rustix::io::dup(&socket).expect("a descriptor");
        let script = format!("test -e /proc/self/fd/{}", open.as_raw_fd());
        let has_it = |keep: bool| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &script]);
            if keep {
                keep_descriptors(&mut command);
            }
            command.status().expect("a shell").success()
        };
        assert_eq!((has_it(false), has_it(true)), (true, false));
    }
}
