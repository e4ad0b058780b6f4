//! Runs patterns no automaton can: a backtracking machine with a bound on steps, memory and text.
//!
//! Past any bound there is no match. Nothing is allocated: the stack of choices is an array.

use super::PatternProblemKind;
use super::syntax::{self, Bytes, Greed, Look, Syntax, Tree};

/// Longest segment looked at, in bytes after decoding; in a longer one there is no match.
pub(super) const SUBJECT_BYTES_MAX: usize = 1024;
/// Steps over all starting positions.
const STEPS_MAX: u32 = 50_000;
/// Choices and undone writes kept at once, 8 bytes each.
const STACK_MAX: usize = 4096;
/// Instructions of a program; repetitions are written out.
const PROGRAM_MAX: usize = 4000;
/// Two for each group and one for each loop that may match nothing.
const SLOTS_MAX: usize = 128;

#[derive(Clone, Debug)]
enum Step {
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
        let mut compiler = Compiler {
            steps: Vec::new(),
            slots: (syntax.groups as usize + 1) * 2,
        };
        compiler.tree(&syntax.tree)?;
        compiler.push(Step::Accept)?;
        if compiler.slots > SLOTS_MAX {
            return Err(PatternProblemKind::TooBig);
        }
        Ok(Program {
            steps: compiler.steps,
            slots: compiler.slots,
        })
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
                    let found = self
                        .subject
                        .get(at)
                        .is_some_and(|&byte| bytes.contains(byte));
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
                    if !self.push(Entry::Resume {
                        step: second,
                        at: at as u16,
                    }) {
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
                Step::Reference { group, either_case } => {
                    match self.reference(*group, *either_case, at) {
                        Some(length) => {
                            at += length;
                            true
                        }
                        None => false,
                    }
                }
                Step::Around {
                    next,
                    back,
                    negative,
                } => {
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
            text.iter()
                .zip(here)
                .all(|(&one, &other)| syntax::lower(one) == syntax::lower(other))
        } else {
            text == here
        };
        same.then_some(text.len())
    }

    fn looks(&self, look: Look, at: usize) -> bool {
        let before = at
            .checked_sub(1)
            .and_then(|index| self.subject.get(index))
            .copied();
        let after = self.subject.get(at).copied();
        let boundary = || before.is_some_and(syntax::is_word) != after.is_some_and(syntax::is_word);
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

struct Compiler {
    steps: Vec<Step>,
    slots: usize,
}

type Compiled = Result<(), PatternProblemKind>;

impl Compiler {
    fn here(&self) -> u16 {
        // `push` keeps the program shorter than PROGRAM_MAX.
        self.steps.len() as u16
    }

    fn push(&mut self, step: Step) -> Result<usize, PatternProblemKind> {
        if self.steps.len() >= PROGRAM_MAX {
            return Err(PatternProblemKind::TooBig);
        }
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    fn slot(&mut self) -> Result<u8, PatternProblemKind> {
        self.slots += 1;
        u8::try_from(self.slots - 1).map_err(|_| PatternProblemKind::TooBig)
    }

    fn tree(&mut self, tree: &Tree) -> Compiled {
        match tree {
            Tree::Empty => {}
            Tree::Set(bytes) => {
                self.push(Step::Set(*bytes))?;
            }
            Tree::Look(look) => {
                self.push(Step::Look(*look))?;
            }
            Tree::Group(number, tree) => {
                let slot = u8::try_from(number * 2).map_err(|_| PatternProblemKind::TooBig)?;
                let end = slot.checked_add(1).ok_or(PatternProblemKind::TooBig)?;
                self.push(Step::Save(slot))?;
                self.tree(tree)?;
                self.push(Step::Save(end))?;
            }
            Tree::Sequence(items) => items.iter().try_for_each(|item| self.tree(item))?,
            Tree::Either(branches) => self.either(branches)?,
            Tree::Repeat {
                tree,
                min,
                max,
                greed: Greed::Possessive,
            } => {
                let inside = Tree::Repeat {
                    tree: tree.clone(),
                    min: *min,
                    max: *max,
                    greed: Greed::Greedy,
                };
                self.atomic(&inside)?;
            }
            Tree::Repeat {
                tree,
                min,
                max,
                greed,
            } => self.repeat(tree, *min, *max, *greed)?,
            Tree::Atomic(tree) => self.atomic(tree)?,
            Tree::Reference(group, either_case) => {
                let group = u8::try_from(*group).map_err(|_| PatternProblemKind::TooBig)?;
                self.push(Step::Reference {
                    group,
                    either_case: *either_case,
                })?;
            }
            Tree::Around {
                tree,
                ahead: true,
                negative,
            } => self.around(tree, None, *negative)?,
            Tree::Around {
                tree,
                ahead: false,
                negative,
            } => self.behind(tree, *negative)?,
        }
        Ok(())
    }

    fn either(&mut self, branches: &[Tree]) -> Compiled {
        let mut jumps = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            if index + 1 == branches.len() {
                self.tree(branch)?;
                break;
            }
            let split = self.push(Step::Split(0, 0))?;
            self.tree(branch)?;
            jumps.push(self.push(Step::Jump(0))?);
            self.steps[split] = Step::Split(split as u16 + 1, self.here());
        }
        let end = self.here();
        for jump in jumps {
            self.steps[jump] = Step::Jump(end);
        }
        Ok(())
    }

    fn repeat(&mut self, tree: &Tree, min: u32, max: Option<u32>, greed: Greed) -> Compiled {
        for _ in 0..min {
            self.tree(tree)?;
        }
        let split = |inside: u16, past: u16| match greed {
            Greed::Lazy => Step::Split(past, inside),
            Greed::Greedy | Greed::Possessive => Step::Split(inside, past),
        };
        match max {
            None => {
                let top = self.push(Step::Split(0, 0))?;
                if may_be_empty(tree) {
                    let slot = self.slot()?;
                    self.push(Step::Save(slot))?;
                    self.tree(tree)?;
                    self.push(Step::Moved(slot))?;
                } else {
                    self.tree(tree)?;
                }
                self.push(Step::Jump(top as u16))?;
                self.steps[top] = split(top as u16 + 1, self.here());
            }
            Some(max) => {
                let mut splits = Vec::new();
                for _ in min..max {
                    splits.push(self.push(Step::Split(0, 0))?);
                    self.tree(tree)?;
                }
                let end = self.here();
                for at in splits {
                    self.steps[at] = split(at as u16 + 1, end);
                }
            }
        }
        Ok(())
    }

    fn atomic(&mut self, tree: &Tree) -> Compiled {
        let at = self.push(Step::Atomic { next: 0 })?;
        self.tree(tree)?;
        self.push(Step::Accept)?;
        self.steps[at] = Step::Atomic { next: self.here() };
        Ok(())
    }

    fn around(&mut self, tree: &Tree, back: Option<u16>, negative: bool) -> Compiled {
        let at = self.push(Step::Around {
            next: 0,
            back,
            negative,
        })?;
        self.tree(tree)?;
        self.push(Step::Accept)?;
        self.steps[at] = Step::Around {
            next: self.here(),
            back,
            negative,
        };
        Ok(())
    }

    /// Look-behind: each branch has a length of its own, as in the original.
    fn behind(&mut self, tree: &Tree, negative: bool) -> Compiled {
        let whole = std::slice::from_ref(tree);
        let branches = match tree {
            Tree::Either(branches) => branches.as_slice(),
            _ => whole,
        };
        let mut lengths = Vec::new();
        for branch in branches {
            let length = fixed_length(branch).and_then(|length| u16::try_from(length).ok());
            lengths.push(length.ok_or(PatternProblemKind::LookBehind)?);
        }
        if negative {
            // None of the branches: one after the other.
            for (branch, length) in branches.iter().zip(lengths) {
                self.around(branch, Some(length), true)?;
            }
            return Ok(());
        }
        let mut jumps = Vec::new();
        for (index, (branch, length)) in branches.iter().zip(lengths).enumerate() {
            let last = index + 1 == branches.len();
            let split = if last {
                None
            } else {
                Some(self.push(Step::Split(0, 0))?)
            };
            self.around(branch, Some(length), false)?;
            if let Some(split) = split {
                jumps.push(self.push(Step::Jump(0))?);
                self.steps[split] = Step::Split(split as u16 + 1, self.here());
            }
        }
        let end = self.here();
        for jump in jumps {
            self.steps[jump] = Step::Jump(end);
        }
        Ok(())
    }
}

fn may_be_empty(tree: &Tree) -> bool {
    match tree {
        Tree::Empty | Tree::Look(_) | Tree::Around { .. } | Tree::Reference(..) => true,
        Tree::Set(_) => false,
        Tree::Group(_, tree) | Tree::Atomic(tree) => may_be_empty(tree),
        Tree::Sequence(items) => items.iter().all(may_be_empty),
        Tree::Either(branches) => branches.iter().any(may_be_empty),
        Tree::Repeat { tree, min, .. } => *min == 0 || may_be_empty(tree),
    }
}

fn fixed_length(tree: &Tree) -> Option<u32> {
    match tree {
        Tree::Empty | Tree::Look(_) | Tree::Around { .. } => Some(0),
        Tree::Set(_) => Some(1),
        Tree::Group(_, tree) | Tree::Atomic(tree) => fixed_length(tree),
        Tree::Sequence(items) => items
            .iter()
            .try_fold(0_u32, |sum, item| sum.checked_add(fixed_length(item)?)),
        Tree::Either(branches) => {
            let mut lengths = branches.iter().map(fixed_length);
            let first = lengths.next()??;
            lengths.all(|length| length == Some(first)).then_some(first)
        }
        Tree::Repeat { tree, min, max, .. } if *max == Some(*min) => {
            fixed_length(tree)?.checked_mul(*min)
        }
        Tree::Repeat { .. } | Tree::Reference(..) => None,
    }
}
