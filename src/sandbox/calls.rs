//! System calls that a thread never makes, by what it is for.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, Error, SeccompAction, SeccompFilter, TargetArch};

/// What no thread does that is confined.
const NEVER: &[i64] = &[
    // Programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // New listeners: control makes them.
    libc::SYS_bind,
    libc::SYS_listen,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_kill,
    // Who it is.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_unshare,
    libc::SYS_setns,
    // The machine.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Files that are no files, and nodes of devices.
    libc::SYS_memfd_create,
    libc::SYS_mknodat,
    libc::SYS_open_by_handle_at,
    // A ring has rules of its own: a worker has one by then, and the others need none.
    libc::SYS_io_uring_setup,
];

/// Threads, and processes to run programs in.
const THREADS: &[i64] = &[libc::SYS_clone, libc::SYS_clone3];

const FILES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mkdirat,
    libc::SYS_fchmodat,
    libc::SYS_fchmod,
    libc::SYS_fchownat,
    libc::SYS_fchown,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_setxattr,
    libc::SYS_chdir,
];

/// Older forms that newer machines do not have.
#[cfg(target_arch = "x86_64")]
mod older {
    pub(super) const NEVER: &[i64] = &[libc::SYS_mknod];
    pub(super) const THREADS: &[i64] = &[libc::SYS_fork, libc::SYS_vfork];
    pub(super) const FILES: &[i64] = &[
        libc::SYS_open,
        libc::SYS_creat,
        libc::SYS_unlink,
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_link,
        libc::SYS_symlink,
        libc::SYS_mkdir,
        libc::SYS_rmdir,
        libc::SYS_chmod,
        libc::SYS_chown,
        libc::SYS_lchown,
    ];
}
#[cfg(not(target_arch = "x86_64"))]
mod older {
    pub(super) const NEVER: &[i64] = &[];
    pub(super) const THREADS: &[i64] = &[];
    pub(super) const FILES: &[i64] = &[];
}

/// Refused with EPERM: a defect shows in the log, and ends no process. `files`, `threads`: whether the thread may have
/// to do with them.
///
/// # Errors
/// On a machine for which there are no filters.
pub(super) fn filter(files: bool, threads: bool) -> Result<BpfProgram, Error> {
    let groups =
        [(true, NEVER, older::NEVER), (!threads, THREADS, older::THREADS), (!files, FILES, older::FILES)];
    let forbidden = groups.iter().filter(|(is_forbidden, ..)| *is_forbidden);
    let rules: BTreeMap<i64, Vec<_>> = forbidden
        .flat_map(|(_, calls, older)| calls.iter().chain(*older))
        .map(|call| (*call, Vec::new()))
        .collect();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(Error::Backend)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, machine).map_err(Error::Backend)?;
    BpfProgram::try_from(filter).map_err(Error::Backend)
}
