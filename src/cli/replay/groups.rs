//! What was decided, counted by verdict, with one example of each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::verdict::Verdict;

/// More groups than anybody reads; what comes after them is only counted.
const GROUPS_MAX: usize = 10_000;

/// Under the old configuration, when there is one, and under the new one.
pub type Verdicts = (Option<Verdict>, Verdict);

/// See the module.
#[derive(Default)]
pub struct Groups {
    groups: HashMap<Verdicts, Group>,
    /// Requests that would have begun more groups than are kept.
    pub others: u64,
}

pub struct Group {
    pub count: u64,
    pub example: Example,
}

/// The first request of a group.
pub struct Example {
    pub line: u64,
    pub method: String,
    pub scheme: &'static str,
    pub host: String,
    pub target: String,
    /// As `explain --batch` prints the decision.
    pub old: Option<serde_json::Value>,
    pub new: serde_json::Value,
}

impl Groups {
    /// Counts one more request. `example` is asked for the first one of a group.
    pub fn add(&mut self, verdicts: Verdicts, example: impl FnOnce() -> Example) {
        let full = self.groups.len() >= GROUPS_MAX;
        match self.groups.entry(verdicts) {
            Entry::Occupied(mut group) => group.get_mut().count += 1,
            Entry::Vacant(_) if full => self.others += 1,
            Entry::Vacant(group) => {
                group.insert(Group { count: 1, example: example() });
            }
        }
    }

    /// The most frequent first, then in the order they were met.
    pub fn sorted(&self) -> Vec<(&Verdicts, &Group)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, group)| (std::cmp::Reverse(group.count), group.example.line));
        groups
    }
}
