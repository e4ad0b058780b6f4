//! Runs patterns no automaton can: a backtracking machine with a bound on steps, memory and text.
//!
//! Past any bound there is no match. Nothing is allocated: the stack of choices is an array.

use super::PatternProblemKind;
use super::bytes::{Bytes, is_word, lower};
use super::program::write;
use super::syntax::{Look, Syntax};

/// Longest segment looked at, in bytes after decoding; in a longer one there is no match.
pub(super) const SUBJECT_BYTES_MAX: usize = 1024;
/// Steps over all starting positions.
const STEPS_MAX: u32 = 50_000;
/// Choices and undone writes kept at once, 8 bytes each.
const STACK_MAX: usize = 4096;
/// Two for each group and one for each loop that may match nothing.
const SLOTS_MAX: usize = 128;

/// An instruction of a program.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Set(Bytes),
    Look(Look),
    /// First `.0`, when that fails `.1`.
    Split(u16, u16),
    Jump(u16),
    /// Puts the position into a slot.
    Save(u8),
    /// Fails when the position is the one in the slot: a round of a loop matched nothing.
    Moved(u8),
    Reference {
        group: u8,
        either_case: bool,
    },
    /// Runs what follows up to its `Accept`, then goes on at `next`. `back`: bytes to step back first.
    Around {
        next: u16,
        back: Option<u16>,
        negative: bool,
    },
    /// Runs what follows up to its `Accept`, forgets its choices, goes on at `next` behind it.
    Atomic {
        next: u16,
    },
    Accept,
}

/// A program for one pattern.
pub(in crate::dispatch) struct Program {
    steps: Vec<Step>,
    slots: usize,
}

impl Program {
    pub(super) fn compile(syntax: &Syntax) -> Result<Program, PatternProblemKind> {
        let (steps, slots) = write(syntax)?;
        if slots > SLOTS_MAX {
            return Err(PatternProblemKind::TooBig);
        }
        Ok(Program { steps, slots })
    }

    /// Whether the pattern is found in the bytes.
    pub(super) fn is_in(&self, subject: &[u8]) -> bool {
        if subject.len() > SUBJECT_BYTES_MAX {
            return false;
        }
        let mut machine = Machine {
            steps: &self.steps,
            subject,
            slots: [NONE; SLOTS_MAX],
            stack: [Entry::Resume { step: 0, at: 0 }; STACK_MAX],
            height: 0,
            steps_left: STEPS_MAX,
        };
        for start in 0..=subject.len() {
            machine.slots[..self.slots].fill(NONE);
            machine.height = 0;
            match machine.run(0, start, 0) {
                Outcome::Accepted(_) => return true,
                Outcome::Failed => {}
                Outcome::Exhausted => return false,
            }
        }
        false
    }
}

/// A slot nothing was put into.
const NONE: u16 = u16::MAX;

#[derive(Clone, Copy)]
enum Entry {
    Resume { step: u16, at: u16 },
    Restore { slot: u8, value: u16 },
}

enum Outcome {
    Accepted(usize),
    Failed,
    Exhausted,
}

struct Machine<'a> {
    steps: &'a [Step],
    subject: &'a [u8],
    slots: [u16; SLOTS_MAX],
    stack: [Entry; STACK_MAX],
    height: usize,
    steps_left: u32,
}

impl Machine<'_> {
    /// Runs until `Accept`. What is on the stack below `floor` belongs to the caller. Recursion is as
    /// deep as groups are nested in the pattern.
    fn run(&mut self, mut step: usize, mut at: usize, floor: usize) -> Outcome {
        loop {
            self.steps_left = match self.steps_left.checked_sub(1) {
                Some(left) => left,
                None => return Outcome::Exhausted,
            };
            let holds = match &self.steps[step] {
                Step::Set(bytes) => {
                    let found = self.subject.get(at).is_some_and(|&byte| bytes.contains(byte));
                    at += usize::from(found);
                    found
                }
                Step::Look(look) => self.looks(*look, at),
                Step::Jump(to) => {
                    step = usize::from(*to);
                    continue;
                }
                Step::Split(first, second) => {
                    let (first, second) = (*first, *second);
                    if !self.push(Entry::Resume { step: second, at: at as u16 }) {
                        return Outcome::Exhausted;
                    }
                    step = usize::from(first);
                    continue;
                }
                Step::Save(slot) => {
                    let slot = *slot;
                    let value = std::mem::replace(&mut self.slots[usize::from(slot)], at as u16);
                    if !self.push(Entry::Restore { slot, value }) {
                        return Outcome::Exhausted;
                    }
                    true
                }
                Step::Moved(slot) => usize::from(self.slots[usize::from(*slot)]) != at,
                Step::Reference { group, either_case } => match self.reference(*group, *either_case, at) {
                    Some(length) => {
                        at += length;
                        true
                    }
                    None => false,
                },
                Step::Around { next, back, negative } => {
                    let (next, back, negative) = (usize::from(*next), back.unwrap_or(0), *negative);
                    let bottom = self.height;
                    let outcome = match at.checked_sub(usize::from(back)) {
                        Some(from) => self.run(step + 1, from, bottom),
                        None => Outcome::Failed,
                    };
                    let found = match outcome {
                        Outcome::Exhausted => return Outcome::Exhausted,
                        Outcome::Failed => false,
                        Outcome::Accepted(_) if negative => {
                            self.unwind(bottom);
                            true
                        }
                        Outcome::Accepted(_) => {
                            self.forget_choices(bottom);
                            true
                        }
                    };
                    if found != negative {
                        step = next;
                        continue;
                    }
                    false
                }
                Step::Atomic { next } => {
                    let next = usize::from(*next);
                    let bottom = self.height;
                    match self.run(step + 1, at, bottom) {
                        Outcome::Exhausted => return Outcome::Exhausted,
                        Outcome::Failed => false,
                        Outcome::Accepted(end) => {
                            self.forget_choices(bottom);
                            at = end;
                            step = next;
                            continue;
                        }
                    }
                }
                Step::Accept => return Outcome::Accepted(at),
            };
            if holds {
                step += 1;
                continue;
            }
            match self.choice(floor) {
                Some((resumed, from)) => (step, at) = (resumed, from),
                None => return Outcome::Failed,
            }
        }
    }

    fn push(&mut self, entry: Entry) -> bool {
        match self.stack.get_mut(self.height) {
            Some(place) => {
                *place = entry;
                self.height += 1;
                true
            }
            None => false,
        }
    }

    /// The latest choice not taken, slots as they were then.
    fn choice(&mut self, floor: usize) -> Option<(usize, usize)> {
        while self.height > floor {
            self.height -= 1;
            match self.stack[self.height] {
                Entry::Resume { step, at } => return Some((usize::from(step), usize::from(at))),
                Entry::Restore { slot, value } => self.slots[usize::from(slot)] = value,
            }
        }
        None
    }

    /// Undoes everything above `bottom`.
    fn unwind(&mut self, bottom: usize) {
        while self.choice(bottom).is_some() {}
    }

    /// Drops the choices above `bottom`, keeps what undoes writes.
    fn forget_choices(&mut self, bottom: usize) {
        let mut kept = bottom;
        for index in bottom..self.height {
            if let entry @ Entry::Restore { .. } = self.stack[index] {
                self.stack[kept] = entry;
                kept += 1;
            }
        }
        self.height = kept;
    }

    /// How long the text of the group is, if it follows here. A group that took no part matches nothing.
    fn reference(&self, group: u8, either_case: bool, at: usize) -> Option<usize> {
        let slot = usize::from(group) * 2;
        let (start, end) = (self.slots[slot], self.slots[slot + 1]);
        if start == NONE || end == NONE {
            return None;
        }
        let text = self.subject.get(usize::from(start)..usize::from(end))?;
        let here = self.subject.get(at..at + text.len())?;
        let same = if either_case {
            text.iter().zip(here).all(|(&one, &other)| lower(one) == lower(other))
        } else {
            text == here
        };
        same.then_some(text.len())
    }

    fn looks(&self, look: Look, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|index| self.subject.get(index)).copied();
        let after = self.subject.get(at).copied();
        let boundary = || before.is_some_and(is_word) != after.is_some_and(is_word);
        match look {
            Look::Start => before.is_none(),
            Look::End => after.is_none(),
            Look::LineStart => before.is_none_or(|byte| byte == b'\n'),
            Look::LineEnd => after.is_none_or(|byte| byte == b'\n'),
            Look::WordBoundary => boundary(),
            Look::NoWordBoundary => !boundary(),
        }
    }
}
