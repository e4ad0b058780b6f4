//! Writes a pattern as a program for the backtracking machine.

use super::PatternProblemKind;
use super::backtrack::Step;
use super::syntax::{Greed, Syntax, Tree};

/// Instructions of a program; repetitions are written out.
const STEPS_WRITTEN_MAX: usize = 4000;

/// The instructions, which begin at the first and end at an `Accept`, and how many slots they need.
pub(super) fn write(syntax: &Syntax) -> Result<(Vec<Step>, usize), PatternProblemKind> {
    // Two slots for each group, those of the whole match too, and more for loops.
    let mut compiler = Compiler { steps: Vec::new(), slots: (syntax.groups as usize + 1) * 2 };
    compiler.tree(&syntax.tree)?;
    compiler.push(Step::Accept)?;
    Ok((compiler.steps, compiler.slots))
}

struct Compiler {
    steps: Vec<Step>,
    slots: usize,
}

type Compiled = Result<(), PatternProblemKind>;

impl Compiler {
    fn here(&self) -> u16 {
        // `push` keeps the program shorter than STEPS_WRITTEN_MAX.
        self.steps.len() as u16
    }

    fn push(&mut self, step: Step) -> Result<usize, PatternProblemKind> {
        if self.steps.len() >= STEPS_WRITTEN_MAX {
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
            Tree::Repeat { tree, min, max, greed: Greed::Possessive } => {
                let inside = Tree::Repeat { tree: tree.clone(), min: *min, max: *max, greed: Greed::Greedy };
                self.atomic(&inside)?;
            }
            Tree::Repeat { tree, min, max, greed } => self.repeat(tree, *min, *max, *greed)?,
            Tree::Atomic(tree) => self.atomic(tree)?,
            Tree::Reference(group, either_case) => {
                let group = u8::try_from(*group).map_err(|_| PatternProblemKind::TooBig)?;
                self.push(Step::Reference { group, either_case: *either_case })?;
            }
            Tree::Around { tree, ahead: true, negative } => self.around(tree, None, *negative)?,
            Tree::Around { tree, ahead: false, negative } => self.behind(tree, *negative)?,
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
        let at = self.push(Step::Around { next: 0, back, negative })?;
        self.tree(tree)?;
        self.push(Step::Accept)?;
        self.steps[at] = Step::Around { next: self.here(), back, negative };
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
            let split = if last { None } else { Some(self.push(Step::Split(0, 0))?) };
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
        Tree::Sequence(items) => {
            items.iter().try_fold(0_u32, |sum, item| sum.checked_add(fixed_length(item)?))
        }
        Tree::Either(branches) => {
            let mut lengths = branches.iter().map(fixed_length);
            let first = lengths.next()??;
            lengths.all(|length| length == Some(first)).then_some(first)
        }
        Tree::Repeat { tree, min, max, .. } if *max == Some(*min) => fixed_length(tree)?.checked_mul(*min),
        Tree::Repeat { .. } | Tree::Reference(..) => None,
    }
}
