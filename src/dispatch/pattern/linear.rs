//! Runs regular patterns in time linear in the segment: a DFA, or its NFA where the DFA is too big.

use std::sync::Arc;

use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::{look, start};
use regex_automata::{Anchored, MatchKind, dfa::Automaton as _, dfa::StartKind, dfa::dense};
use regex_syntax::hir::{self, Hir};

use super::PatternProblemKind;
use super::syntax::{Greed, Look, Tree};

/// Largest DFA of one pattern, in bytes, and what building it may take besides.
pub(super) const DFA_BYTES_MAX: usize = 256 * 1024;
const DETERMINIZE_BYTES_MAX: usize = 512 * 1024;
const NFA_BYTES_MAX: usize = 256 * 1024;
/// Most states of an NFA that runs as it is: each byte may cost this many steps.
const NFA_STATES_MAX: usize = 512;

/// A regular pattern made ready.
#[derive(Clone)]
pub(in crate::dispatch) struct Automaton(Form);

#[derive(Clone)]
enum Form {
    Dfa { dfa: Arc<dense::DFA<Vec<u32>>>, start: StateID },
    Nfa(Arc<NFA>),
}

impl Automaton {
    pub(super) fn compile(tree: &Tree, room: &mut usize) -> Result<Automaton, PatternProblemKind> {
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(NFA_BYTES_MAX)),
            )
            .build_from_hir(&translate(tree))
            .map_err(|_| PatternProblemKind::TooBig)?;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .match_kind(MatchKind::LeftmostFirst)
                    .start_kind(StartKind::Unanchored)
                    .dfa_size_limit(Some(DFA_BYTES_MAX.min(*room)))
                    .determinize_size_limit(Some(DETERMINIZE_BYTES_MAX)),
            )
            .build_from_nfa(&nfa);
        if let Ok(dfa) = dfa
            && let Ok(start) = dfa.start_state(&start::Config::new().anchored(Anchored::No))
        {
            *room = room.saturating_sub(dfa.memory_usage());
            return Ok(Automaton(Form::Dfa { dfa: Arc::new(dfa), start }));
        }
        // The attempt cost time, so it counts too: a site full of such patterns loads in bounded time.
        *room = room.saturating_sub(DFA_BYTES_MAX);
        if nfa.states().len() > NFA_STATES_MAX {
            return Err(PatternProblemKind::TooBig);
        }
        Ok(Automaton(Form::Nfa(Arc::new(nfa))))
    }

    #[cfg(test)]
    pub(super) fn is_same(&self, other: &Automaton) -> bool {
        match (&self.0, &other.0) {
            (Form::Dfa { dfa, .. }, Form::Dfa { dfa: other, .. }) => Arc::ptr_eq(dfa, other),
            (Form::Nfa(nfa), Form::Nfa(other)) => Arc::ptr_eq(nfa, other),
            _ => false,
        }
    }

    /// Whether the pattern is found in the bytes. Allocates nothing.
    #[inline]
    pub(super) fn is_in(&self, bytes: impl Iterator<Item = u8>) -> bool {
        match &self.0 {
            Form::Dfa { dfa, start } => {
                let mut state = *start;
                // A match shows one byte late.
                for byte in bytes {
                    state = dfa.next_state(state, byte);
                    if dfa.is_special_state(state) {
                        if dfa.is_match_state(state) {
                            return true;
                        }
                        if dfa.is_dead_state(state) || dfa.is_quit_state(state) {
                            return false;
                        }
                    }
                }
                dfa.is_match_state(dfa.next_eoi_state(state))
            }
            Form::Nfa(nfa) => nfa_is_in(nfa, bytes),
        }
    }
}

/// Follows every path through the NFA at once.
fn nfa_is_in(nfa: &NFA, bytes: impl Iterator<Item = u8>) -> bool {
    let mut now = States::new();
    let mut then = States::new();
    let mut bytes = bytes.peekable();
    let mut before = None;
    let start = nfa.start_unanchored();
    loop {
        let after = bytes.peek().copied();
        if before.is_none() {
            now.add(start);
        }
        // What was reached by the byte before this position waits in `now` without its closure.
        let mut index = 0;
        while let Some(&state) = now.list[..now.length].get(index) {
            index += 1;
            match nfa.state(state) {
                thompson::State::Match { .. } => return true,
                thompson::State::Look { look, next } => {
                    if holds(*look, before, after) {
                        now.add(*next);
                    }
                }
                thompson::State::Union { alternates } => alternates.iter().for_each(|&next| now.add(next)),
                thompson::State::BinaryUnion { alt1, alt2 } => {
                    now.add(*alt1);
                    now.add(*alt2);
                }
                thompson::State::Capture { next, .. } => now.add(*next),
                thompson::State::ByteRange { trans } => {
                    if let Some(byte) = after
                        && trans.matches_byte(byte)
                    {
                        then.add(trans.next);
                    }
                }
                thompson::State::Sparse(sparse) => {
                    if let Some(next) = after.and_then(|byte| sparse.matches_byte(byte)) {
                        then.add(next);
                    }
                }
                thompson::State::Dense(dense) => {
                    if let Some(next) = after.and_then(|byte| dense.matches_byte(byte)) {
                        then.add(next);
                    }
                }
                thompson::State::Fail => {}
            }
        }
        if bytes.next().is_none() || then.length == 0 {
            return false;
        }
        before = after;
        std::mem::swap(&mut now, &mut then);
        then.clear();
    }
}

fn holds(assertion: look::Look, before: Option<u8>, after: Option<u8>) -> bool {
    let word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match assertion {
        look::Look::Start => before.is_none(),
        look::Look::End => after.is_none(),
        look::Look::StartLF => before.is_none_or(|byte| byte == b'\n'),
        look::Look::EndLF => after.is_none_or(|byte| byte == b'\n'),
        look::Look::WordAscii => word(before) != word(after),
        look::Look::WordAsciiNegate => word(before) == word(after),
        // `translate` writes no other.
        _ => false,
    }
}

/// A set of states in the order they came, each once.
struct States {
    list: [StateID; NFA_STATES_MAX],
    length: usize,
    members: [u64; NFA_STATES_MAX / 64],
}

impl States {
    fn new() -> States {
        States { list: [StateID::ZERO; NFA_STATES_MAX], length: 0, members: [0; NFA_STATES_MAX / 64] }
    }

    fn add(&mut self, state: StateID) {
        let number = state.as_usize();
        if let Some(word) = self.members.get_mut(number / 64)
            && *word >> (number % 64) & 1 == 0
        {
            *word |= 1 << (number % 64);
            // Each state is added once and is below NFA_STATES_MAX, so there is room.
            self.list[self.length] = state;
            self.length += 1;
        }
    }

    fn clear(&mut self) {
        self.length = 0;
        self.members = [0; NFA_STATES_MAX / 64];
    }
}

/// The tree in the words of `regex-syntax`; only regular trees come here.
fn translate(tree: &Tree) -> Hir {
    match tree {
        Tree::Empty | Tree::Around { .. } | Tree::Reference(..) => Hir::empty(),
        Tree::Set(bytes) => {
            let ranges = (0..=255)
                .filter(|&byte| bytes.contains(byte))
                .map(|byte| hir::ClassBytesRange::new(byte, byte));
            Hir::class(hir::Class::Bytes(hir::ClassBytes::new(ranges)))
        }
        Tree::Look(look) => Hir::look(match look {
            Look::Start => hir::Look::Start,
            Look::End => hir::Look::End,
            Look::LineStart => hir::Look::StartLF,
            Look::LineEnd => hir::Look::EndLF,
            Look::WordBoundary => hir::Look::WordAscii,
            Look::NoWordBoundary => hir::Look::WordAsciiNegate,
        }),
        Tree::Group(_, tree) | Tree::Atomic(tree) => translate(tree),
        Tree::Sequence(items) => Hir::concat(items.iter().map(translate).collect()),
        Tree::Either(branches) => Hir::alternation(branches.iter().map(translate).collect()),
        Tree::Repeat { tree, min, max, greed } => Hir::repetition(hir::Repetition {
            min: *min,
            max: *max,
            greedy: *greed == Greed::Greedy,
            sub: Box::new(translate(tree)),
        }),
    }
}
