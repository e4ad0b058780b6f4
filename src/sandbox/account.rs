//! The user a process started by root becomes, for good and with all its threads.
//!
//! The C library has every thread of the process do it: the calls of the kernel are for one thread. Capabilities have no
//! such help. Those of other threads go by themselves when root does; the calling thread keeps what is to be kept, and
//! threads it starts from then on have what it has.

use std::ffi::CString;
use std::fmt;
use std::io;

use nix::unistd::{self, Gid, Group, Uid, User};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, set_capabilities, set_keep_capabilities,
};

/// Opens ports below 1024.
const PORTS: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    name: CString,
    user: Uid,
    group: Gid,
    groups: Vec<Gid>,
}

/// Why there is no such account.
#[derive(Debug)]
pub enum NoAccount {
    User,
    Group,
    /// The system's lists cannot be read.
    Unknown(io::Error),
}

impl Account {
    /// With the group of this name, or the user's own; the user's other groups are its other groups in either case.
    ///
    /// # Errors
    /// What the system does not have.
    pub fn find(user: &str, group: Option<&str>) -> Result<Account, NoAccount> {
        let unknown = |error: nix::Error| NoAccount::Unknown(error.into());
        let found = known(User::from_name(user))?.ok_or(NoAccount::User)?;
        let group = match group {
            None => found.gid,
            Some(group) => known(Group::from_name(group))?.ok_or(NoAccount::Group)?.gid,
        };
        // A name with NUL in it was not found.
        let name = CString::new(user).map_err(|_| NoAccount::User)?;
        let groups = unistd::getgrouplist(&name, group).map_err(unknown)?;
        Ok(Account { name, user: found.uid, group, groups })
    }

    pub fn user(&self) -> u32 {
        self.user.as_raw()
    }

    pub fn group(&self) -> u32 {
        self.group.as_raw()
    }

    /// Whether the process runs as this one already.
    pub fn is_ours(&self) -> bool {
        unistd::geteuid() == self.user && unistd::getegid() == self.group
    }

    /// Has the whole process become this account. `ports`: this thread, and those it starts from here on, may open
    /// ports below 1024 all the same.
    ///
    /// # Errors
    /// Those of the system; then it is not what it should be, and must not go on.
    pub fn become_it(&self, ports: bool) -> io::Result<()> {
        set_keep_capabilities(ports)?;
        unistd::setgroups(&self.groups)?;
        unistd::setresgid(self.group, self.group, self.group)?;
        unistd::setresuid(self.user, self.user, self.user)?;
        let kept = if ports { PORTS } else { CapabilitySet::empty() };
        set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })?;
        set_keep_capabilities(false)?;
        let root = Uid::from_raw(0);
        if self.user != root && unistd::setresuid(root, root, root).is_ok() {
            return Err(io::Error::other("it can become root again"));
        }
        Ok(())
    }
}

/// Services of names differ in how they say that they have none.
fn known<T>(found: nix::Result<Option<T>>) -> Result<Option<T>, NoAccount> {
    match found {
        Err(nix::Error::ENOENT | nix::Error::ESRCH) => Ok(None),
        other => other.map_err(|error| NoAccount::Unknown(error.into())),
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { name, user, group, .. } = self;
        write!(f, "{} (uid {user}, gid {group})", name.to_string_lossy())
    }
}

pub fn is_root() -> bool {
    unistd::geteuid().is_root()
}

/// What the service manager has given to this process is not for the programs it starts. To be called before there
/// are threads.
///
/// # Errors
/// That of the system call; Linux has had it since 4.3.
pub fn keep_rights_from_programs() -> io::Result<()> {
    Ok(clear_ambient_capability_set()?)
}

/// A program that this thread starts may open ports below 1024, if the thread may.
///
/// # Errors
/// Those of the system.
pub fn pass_ports_on() -> io::Result<()> {
    let mut own = capabilities(None)?;
    // Root passes on all it has.
    if is_root() || !own.permitted.contains(PORTS) {
        return Ok(());
    }
    own.inheritable |= PORTS;
    set_capabilities(None, own)?;
    Ok(configure_capability_in_ambient_set(PORTS, true)?)
}

/// The calling thread may do nothing that its user may not. Root's threads stay as they are: they reach sockets of site
/// servers by being root's.
///
/// # Errors
/// Those of the system.
pub(super) fn drop_capabilities() -> io::Result<()> {
    if is_root() || capabilities(None)?.permitted.is_empty() {
        return Ok(());
    }
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_the_system_are_found() {
        let nobody = Account::find("nobody", None).expect("every system has it");
        assert_ne!(nobody.user(), 0);
        assert!(nobody.groups.contains(&nobody.group));
        let root = Account::find("nobody", Some("root")).expect("every system has it");
        assert_eq!((root.user(), root.group()), (nobody.user(), 0));
        assert!(matches!(Account::find("no-such-user-here", None), Err(NoAccount::User)));
        assert!(matches!(Account::find("", None), Err(NoAccount::User)));
        assert!(matches!(Account::find("nobody", Some("no-such-group-here")), Err(NoAccount::Group)));
    }
}
