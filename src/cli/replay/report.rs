//! The outcome of a replay, for people and for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::groups::{Example, Groups};
use super::verdict::Counterparts;
use crate::cli::explain::decider::Decider;

/// Lines without a request that are shown.
pub const UNREADABLE_SHOWN_MAX: usize = 5;

/// What came of a log.
#[derive(Default)]
pub struct Outcome {
    pub requests: u64,
    /// Always 0 with one configuration.
    pub changed: u64,
    /// Of what changes, or of everything with one configuration.
    pub groups: Groups,
    pub unreadable: u64,
    /// The first of them: number of the line, why, and how it begins.
    pub unreadable_shown: Vec<(u64, String, String)>,
}

/// The configurations of a replay.
pub struct Sides {
    pub new: Decider,
    pub old: Option<(Decider, Counterparts)>,
}

impl Outcome {
    /// # Errors
    /// As writing fails.
    pub fn write_text(&self, sides: &Sides, mut out: impl Write) -> io::Result<()> {
        let (requests, groups) = (self.requests, self.groups.sorted());
        match &sides.old {
            None => writeln!(out, "{} decided", counted(requests, "request"))?,
            Some(_) if self.changed == 0 => {
                writeln!(out, "{} decided, nothing changes", counted(requests, "request"))?;
            }
            Some(_) => {
                let changed = self.changed;
                let groups = counted(groups.len() as u64, "way");
                writeln!(
                    out,
                    "{} decided, {changed} get something else, in {groups}",
                    counted(requests, "request")
                )?;
            }
        }
        for ((old, new), group) in groups {
            let moved = match (&sides.old, old) {
                (Some((decider, counterparts)), Some(old)) => {
                    let moved = counterparts.moved(old);
                    writeln!(out, "\n{:>9}  {}", group.count, old.describe(decider, moved))?;
                    writeln!(out, "       →   {}", new.describe(&sides.new, moved))?;
                    moved
                }
                _ => false,
            };
            if sides.old.is_none() {
                writeln!(out, "\n{:>9}  {}", group.count, new.describe(&sides.new, moved))?;
            }
            let Example { line, method, scheme, host, target, .. } = &group.example;
            writeln!(
                out,
                "           line {line}: {} {scheme}://{}{}",
                shown(method),
                shown(host),
                shown(target)
            )?;
        }
        if self.groups.others > 0 {
            writeln!(out, "\n{:>9}  in still more ways", self.groups.others)?;
        }
        if self.unreadable > 0 {
            writeln!(out, "\n{} without a request", counted(self.unreadable, "line"))?;
            for (line, why, text) in &self.unreadable_shown {
                writeln!(out, "           line {line}: {why}: {}", shown(text))?;
            }
        }
        Ok(())
    }

    pub fn to_json(&self) -> Value {
        let group = |group: &super::groups::Group| {
            let Example { line, method, scheme, host, target, old, new } = &group.example;
            json!({
                "count": group.count,
                "old": old,
                "new": new,
                "example": { "line": line, "method": method, "scheme": scheme, "host": host, "target": target },
            })
        };
        let unreadable = self.unreadable_shown.iter();
        let unreadable =
            unreadable.map(|(line, why, text)| json!({ "line": line, "why": why, "text": text }));
        json!({
            "requests": self.requests,
            "changed": self.changed,
            "groups": self.groups.sorted().into_iter().map(|(_, one)| group(one)).collect::<Vec<_>>(),
            "others": self.groups.others,
            "unreadable": { "count": self.unreadable, "first": unreadable.collect::<Vec<_>>() },
        })
    }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// What a log holds may be meant for a terminal: nothing of it is obeyed, and not all of it shown.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 160;
    let mut shown: String = text
        .chars()
        .take(SHOWN_MAX)
        .map(|c| if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}
