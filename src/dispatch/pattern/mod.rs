//! Regular expressions of rules: the syntax of Erlang's `re` (PCRE without options), on bytes.
//!
//! A pattern is parsed here once ([`syntax`]), so that every construct means what it means in the
//! original: classes and case are ISO 8859-1, `.` stops at a line feed. One thing is different on purpose:
//! `$` and `\Z` match at the very end only, not before a final line feed, so that `%0A` does not
//! take a segment past a rule. What has an automaton runs on one ([`linear`]), byte by byte out of the decoder;
//! look-around, back-references, atomic groups and possessive repetition run on a backtracking
//! machine with a step limit ([`backtrack`]). Neither allocates while matching.
//!
//! Set aside: handing the text to `regex-automata` as it is, whose syntax differs from PCRE in
//! classes (`[a&&b]`), escapes and Unicode; and `fancy-regex`, which allocates for each match.

mod backtrack;
mod bytes;
mod class;
mod escape;
mod linear;
mod program;
mod syntax;

use std::collections::HashMap;
use std::sync::Arc;

use super::path::Segment;

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 4096;

/// What is wrong with a pattern, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternProblem {
    /// Byte offsets in the pattern, first and past the last.
    pub start: usize,
    pub end: usize,
    pub kind: PatternProblemKind,
}

/// See [`PatternProblem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternProblemKind {
    /// A `(` without its `)`, or the other way round.
    Parenthesis,
    /// A `[` without its `]`.
    Bracket,
    /// A range whose end is before its begin, or is no single byte.
    Range,
    /// `[:name:]` with a name POSIX does not know.
    ClassName,
    /// A repetition of nothing, such as `*a`.
    NothingToRepeat,
    /// `{n,m}` with m below n, or above 1,000.
    RepeatBounds,
    /// A backslash at the end, or before a letter without meaning, or malformed digits after it.
    Escape,
    /// A group or option this syntax does not have after `(?`.
    Group,
    /// A back-reference to a group that is not there.
    Reference,
    /// Look-behind over text of no fixed length.
    LookBehind,
    /// Valid in the original and not supported here: recursion, conditions, verbs, Unicode
    /// properties, branch reset, `\X`.
    Unsupported,
    /// Parentheses deeper than 50.
    Depth,
    /// Longer than [`PATTERN_BYTES_MAX`], or needs more memory than a rule may take.
    TooBig,
}

impl PatternProblemKind {
    /// What happened, for a message.
    pub fn message(self) -> &'static str {
        match self {
            PatternProblemKind::Parenthesis => "a parenthesis without its partner",
            PatternProblemKind::Bracket => "a \"[\" without its \"]\"",
            PatternProblemKind::Range => "a range that is out of order or has no single byte at an end",
            PatternProblemKind::ClassName => "an unknown class name",
            PatternProblemKind::NothingToRepeat => "nothing to repeat",
            PatternProblemKind::RepeatBounds => "bounds of a repetition out of order or above 1000",
            PatternProblemKind::Escape => "an unknown or unfinished escape",
            PatternProblemKind::Group => "an unknown kind of group or option",
            PatternProblemKind::Reference => "a reference to a group that does not exist",
            PatternProblemKind::LookBehind => "look-behind over text of no fixed length",
            PatternProblemKind::Unsupported => "a construct that is not supported here",
            PatternProblemKind::Depth => "groups nested too deeply",
            PatternProblemKind::TooBig => "the pattern is too big",
        }
    }
}

/// A compiled pattern: answers whether a segment holds a match anywhere. A clone is the same one.
#[derive(Clone)]
pub(super) enum Pattern {
    Automaton(linear::Automaton),
    Program(Arc<backtrack::Program>),
}

impl Pattern {
    /// `room`: bytes of automata that may still be built; what this one takes, or would have, is subtracted;
    /// without room left the smaller and slower form is taken.
    pub(super) fn compile(pattern: &str, room: &mut usize) -> Result<Pattern, PatternProblem> {
        let whole = |kind| PatternProblem { start: 0, end: pattern.len(), kind };
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(whole(PatternProblemKind::TooBig));
        }
        let syntax = syntax::parse(pattern.as_bytes())?;
        if syntax.is_regular {
            linear::Automaton::compile(&syntax.tree, room).map(Pattern::Automaton)
        } else {
            backtrack::Program::compile(&syntax).map(|program| Pattern::Program(Arc::new(program)))
        }
        .map_err(whole)
    }

    /// Whether the pattern is found in the decoded segment.
    pub(super) fn is_in(&self, segment: Segment<'_>) -> bool {
        match self {
            Pattern::Automaton(automaton) if segment.escaped => automaton.is_in(segment.decoded()),
            Pattern::Automaton(automaton) => automaton.is_in(segment.raw.iter().copied()),
            Pattern::Program(program) => {
                let mut buffer = [0; backtrack::SUBJECT_BYTES_MAX];
                segment.decode_into(&mut buffer).is_some_and(|subject| program.is_in(subject))
            }
        }
    }
}

/// The patterns of the sites compiled so far: thousands of sites say the same few, and share them.
#[derive(Default)]
pub(super) struct Patterns(HashMap<Arc<str>, (Pattern, usize)>);

impl Patterns {
    /// As [`Pattern::compile`], with its text.
    pub(super) fn compile(
        &mut self,
        pattern: &str,
        room: &mut usize,
    ) -> Result<(Arc<str>, Pattern), PatternProblem> {
        // With less room than one pattern may take, what comes of it depends on the room.
        if *room < linear::DFA_BYTES_MAX {
            return Ok((pattern.into(), Pattern::compile(pattern, room)?));
        }
        if let Some((text, (known, taken))) = self.0.get_key_value(pattern) {
            *room = room.saturating_sub(*taken);
            return Ok((Arc::clone(text), known.clone()));
        }
        let before = *room;
        let compiled = Pattern::compile(pattern, room)?;
        let text: Arc<str> = pattern.into();
        self.0.insert(Arc::clone(&text), (compiled.clone(), before - *room));
        Ok((text, compiled))
    }
}

#[cfg(test)]
mod tests;
