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
