//! `user`, `group` and `pid_file`: who the process is once it needs root no more, and where it says its number.

use std::path::PathBuf;

use crate::config::message::What;
use crate::config::reader::Reader;
use crate::config::values::Section;
use crate::dispatch::Place;

/// Names, as written: whether the system has them is for others to find out.
#[derive(Clone, Debug)]
pub struct RunAs {
    pub user: String,
    /// Where it is written.
    pub user_place: Place,
    /// `None`: the user's own.
    pub group: Option<(String, Place)>,
}

/// Where the number of the process is written.
#[derive(Clone, Debug)]
pub struct PidFilePath {
    pub path: PathBuf,
    pub place: Place,
}

impl RunAs {
    /// Whether both say the same, wherever it is written.
    #[must_use]
    pub fn is_same(&self, other: &RunAs) -> bool {
        let group = |of: &RunAs| of.group.as_ref().map(|(name, _)| name.clone());
        self.user == other.user && group(self) == group(other)
    }
}

impl Reader<'_> {
    pub(super) fn pid_file(&mut self, top: Section<'_>) -> Option<PidFilePath> {
        let (path, at) = self.filled(top, "pid_file")?;
        Some(PidFilePath { path: self.beside(at, &path), place: self.place(at) })
    }

    pub(super) fn run_as(&mut self, top: Section<'_>) -> Option<RunAs> {
        let user = self.filled(top, "user");
        let group = self.filled(top, "group");
        if group.is_some() && !top.has("user") {
            self.error(top.key_at("group"), What::GroupWithoutUser {});
        }
        let group = group.map(|(name, at)| (name, self.place(at)));
        user.map(|(user, at)| RunAs { user, user_place: self.place(at), group })
    }
}
