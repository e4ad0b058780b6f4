//! The rules of one site, compiled: a trie over path elements in flat arrays.
//!
//! A node has at most one child for any segment (variables and a `*` that is not last), one for
//! languages, one for each distinct pattern and one for each literal. Literal children of all nodes live in one hash
//! table, found by node and segment. Each node knows the lowest rule below it, so a
//! branch that cannot beat the rule already found is not entered: the first rule in order wins.
//!
//! A node has one depth, so a request visits each node at most once and looks at a segment at
//! most once for each node of its depth: hostile paths cannot make it worse than
//! asking every rule, and literal prefixes make it independent of their number.

use std::collections::HashMap;
use std::sync::Arc;

use super::language::Languages;
use super::path::{Reading, Segment};
use super::pattern::{Pattern, PatternProblem, Patterns};
use super::rule::{Element, Rule};
use super::rules::Rules;
use super::{LITERAL_BYTES_MAX, RULE_ELEMENTS_MAX};

/// No rule, no node.
const NONE: u32 = u32::MAX;

/// In the number of a child: it is no node, and the rest is the number of the rule that ends there. Most rules end where
/// nothing follows, and need no node for it.
const LEAF: u32 = 1 << 31;

/// Bytes of automata that the patterns of one site may take; more of them run slower.
const PATTERN_ROOM_BYTES: usize = 8 * 1024 * 1024;

#[derive(Clone, Copy)]
struct Node {
    /// The lowest rule that ends in this node or below it.
    lowest: u32,
    /// The rule whose path ends here.
    end: u32,
    /// The rule whose final `*` stands here and may take nothing.
    rest: u32,
    /// The rule whose final `*` stands here and takes a segment at least.
    rest_some: u32,
    /// The child for any segment.
    any: u32,
    /// The child for languages.
    language: u32,
    /// Children for patterns, from here on in `Table::branches`, lowest rule first.
    branches: u32,
    branch_count: u16,
    /// Whether there are literal children, in `Table::literals`.
    has_literals: bool,
}

impl Node {
    const NEW: Node = Node {
        lowest: NONE,
        end: NONE,
        rest: NONE,
        rest_some: NONE,
        any: NONE,
        language: NONE,
        branches: 0,
        branch_count: 0,
        has_literals: false,
    };

    /// Whether a rule ends here and nothing else is here or below.
    fn is_leaf(&self) -> bool {
        let others = [self.rest, self.rest_some, self.any, self.language];
        self.end != NONE && others == [NONE; 4] && self.branch_count == 0 && !self.has_literals
    }
}

/// A child reached by a segment in which a pattern is found.
#[derive(Clone, Copy)]
struct Branch {
    pattern: u32,
    child: u32,
}

/// A child reached by one literal: a slot of the hash table.
#[derive(Clone, Copy)]
struct Literal {
    /// See [`key`]; NONE: the slot is empty.
    key: u32,
    child: u32,
    /// The first of its [`ends`].
    first: u64,
    /// The last of them: then this is all there is to compare. Of a text longer than they are, where in `Table::text` it is.
    last_or_start: u64,
}

/// The node a literal hangs under, and how long it is: at most [`LITERAL_BYTES_MAX`].
#[inline]
fn key(node: u32, length: usize) -> u32 {
    node << 8 | length as u32
}

/// With more of them there would be no room for the length beside their numbers.
const NODES_MAX: usize = (1 << 24) - 1;

/// See the module.
pub(super) struct Table {
    nodes: Box<[Node]>,
    branches: Box<[Branch]>,
    /// Each distinct pattern once, with its text.
    patterns: Box<[(Arc<str>, Pattern)]>,
    /// Open addressing, linear probing, half of them empty.
    literals: Box<[Literal]>,
    text: Box<[u8]>,
    /// Longest literal: a longer segment is none of them.
    literal_bytes_max: usize,
    pub(super) languages: Languages,
}

/// What keeps a rule out of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    TooManyElements,
    LiteralTooLong { element: usize },
    Pattern { element: usize, problem: PatternProblem },
    TooManyRules,
}

impl Table {
    /// Compiles what can be compiled; the rules that cannot are listed by index. `patterns`: those compiled before.
    pub(super) fn compile(
        rules: &Rules,
        languages: Languages,
        patterns: &mut Patterns,
    ) -> (Table, Vec<(usize, Unfit)>) {
        let mut builder = Builder { nodes: vec![Built::default()], ..Builder::default() };
        let mut unfit = Vec::new();
        let mut room = PATTERN_ROOM_BYTES;
        for (index, rule) in rules.iter().enumerate() {
            if let Err(why) = builder.add(index, &rule, &mut room, patterns) {
                unfit.push((index, why));
            }
        }
        (builder.finish(languages), unfit)
    }

    /// The first rule, in order, that matches. Allocates nothing.
    #[inline]
    pub(super) fn first_match(&self, reading: &Reading<'_>) -> Option<usize> {
        let mut best = NONE;
        self.visit(0, 0, reading, &mut best);
        (best != NONE).then_some(best as usize)
    }

    /// Lowers `best` to the lowest rule at or below the node, or to the leaf's. Recurses as deep as rules are long.
    fn visit(&self, child: u32, depth: usize, reading: &Reading<'_>, best: &mut u32) {
        if child & LEAF != 0 {
            if reading.segment(depth).is_none() {
                *best = (*best).min(child & !LEAF);
            }
            return;
        }
        // Node numbers come from `Builder`, which made the nodes.
        let node_number = child;
        let node = &self.nodes[child as usize];
        if node.lowest >= *best {
            return;
        }
        let Some(segment) = reading.segment(depth) else {
            *best = (*best).min(node.end).min(node.rest);
            return;
        };
        *best = (*best).min(node.rest).min(node.rest_some);
        if node.has_literals
            && let Some(child) = self.literal(node_number, segment)
        {
            self.visit(child, depth + 1, reading, best);
        }
        if node.any != NONE && self.lowest(node.any) < *best {
            self.visit(node.any, depth + 1, reading, best);
        }
        if node.language != NONE && self.lowest(node.language) < *best && self.languages.is_language(segment)
        {
            self.visit(node.language, depth + 1, reading, best);
        }
        let from = node.branches as usize;
        for branch in &self.branches[from..from + usize::from(node.branch_count)] {
            if self.lowest(branch.child) >= *best {
                break;
            }
            if self.patterns[branch.pattern as usize].1.is_in(segment) {
                self.visit(branch.child, depth + 1, reading, best);
            }
        }
    }

    /// The lowest rule at the child or below it.
    #[inline]
    fn lowest(&self, child: u32) -> u32 {
        if child & LEAF != 0 { child & !LEAF } else { self.nodes[child as usize].lowest }
    }

    /// The child of the node for the literal that the segment is.
    #[inline]
    fn literal(&self, node: u32, segment: Segment<'_>) -> Option<u32> {
        if !segment.escaped {
            return self.literal_child(node, segment.raw);
        }
        // Decoding stops where no literal is that long, however long the segment.
        let mut buffer = [0; LITERAL_BYTES_MAX];
        let decoded = segment.decode_into(&mut buffer[..self.literal_bytes_max])?;
        self.literal_child(node, decoded)
    }

    #[inline]
    fn literal_child(&self, node: u32, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > self.literal_bytes_max {
            return None;
        }
        let ends = ends(bytes);
        let key = key(node, bytes.len());
        let mut slot = slot(key, ends, self.literals.len());
        // Half of the slots are empty, so an empty one comes.
        loop {
            let literal = &self.literals[slot];
            if literal.key == NONE {
                return None;
            }
            if literal.key == key && literal.first == ends.0 && self.is_rest(literal, ends.1, bytes) {
                return Some(literal.child);
            }
            slot = next(slot, self.literals.len());
        }
    }

    /// Whether the bytes, of the literal's length and with its first ones, are its text.
    #[inline]
    fn is_rest(&self, literal: &Literal, last: u64, bytes: &[u8]) -> bool {
        if bytes.len() <= ENDS_BYTES {
            return literal.last_or_start == last;
        }
        let start = literal.last_or_start as usize;
        self.text[start..start + bytes.len()] == *bytes
    }

    /// Why the rule does not match, asking it alone: the meaning the trie is held to in tests, and
    /// what `explain` shows.
    pub(super) fn try_rule(&self, rule: &Rule, reading: &Reading<'_>) -> Result<(), Mismatch> {
        let takes_some = takes_some(rule);
        for (element, wanted) in rule.path.iter().enumerate() {
            let last = element + 1 == rule.path.len();
            let segment = reading.segment(element);
            match (wanted, segment) {
                (Element::Rest, None) if last && !takes_some => return Ok(()),
                (Element::Rest, Some(_)) if last => return Ok(()),
                (_, None) => return Err(Mismatch::TooShort { element }),
                (Element::Rest | Element::Variable(_), Some(_)) => {}
                (Element::Literal(text), Some(segment)) => {
                    if !segment.equals(text) {
                        return Err(Mismatch::Literal { element });
                    }
                }
                (Element::Language, Some(segment)) => {
                    if !self.languages.is_language(segment) {
                        return Err(Mismatch::Language { element });
                    }
                }
                (Element::Pattern { pattern, .. }, Some(segment)) => {
                    let compiled = self.patterns.iter().find(|(text, _)| **text == **pattern);
                    if !compiled.is_some_and(|(_, compiled)| compiled.is_in(segment)) {
                        return Err(Mismatch::Pattern { element });
                    }
                }
            }
        }
        if reading.count() > rule.path.len() {
            return Err(Mismatch::TooLong { segments: reading.count() });
        }
        Ok(())
    }
}

/// Why a rule does not match a path; elements count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The path has no segment for this element.
    TooShort { element: usize },
    /// The path has this many segments, more than the rule has elements.
    TooLong { segments: usize },
    /// The segment is another one.
    Literal { element: usize },
    /// The segment is none of the languages.
    Language { element: usize },
    /// The pattern is not found in the segment.
    Pattern { element: usize },
}

/// A final `*` of this rule takes a segment at least.
fn takes_some(rule: &Rule) -> bool {
    rule.path.iter().any(|element| matches!(element, Element::Pattern { .. } | Element::Language))
}

/// So many bytes are known by their [`ends`] and their number.
const ENDS_BYTES: usize = 16;

/// The first and the last bytes as numbers, eight of each, fewer of a short text; they may overlap.
#[inline]
fn ends(bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)));
    }
    match bytes {
        [] => (0, 0),
        [one] => (u64::from(*one), 0),
        [first, .., last] => (u64::from(*first) | u64::from(bytes[1]) << 8, u64::from(*last)),
    }
}

/// The table is made once and what is looked for does not change it, so this need not withstand anybody: texts
/// with the same ends and length, which nobody writes by hundreds, share a slot. `slots`: how many there are, fewer than
/// [`LEAF`].
#[inline]
fn slot(key: u32, ends: (u64, u64), slots: usize) -> usize {
    // The node keeps one literal under many of them from sharing a slot. Odd constants out of the digits of pi.
    let first = ends.0 ^ 0x243f_6a88_85a3_08d3 ^ u64::from(key) << 32;
    let last = ends.1 ^ 0x1319_8a2e_0370_7345;
    let product = u128::from(first) * u128::from(last);
    let hash = (product >> 64) as u64 ^ product as u64;
    // Its upper half as a fraction of all slots.
    (((hash >> 32) * slots as u64) >> 32) as usize
}

#[inline]
fn next(slot: usize, slots: usize) -> usize {
    if slot + 1 == slots { 0 } else { slot + 1 }
}

/// A node while the trie grows.
#[derive(Default)]
struct Built {
    node: Option<Node>,
    literals: Vec<(Vec<u8>, u32)>,
    branches: Vec<Branch>,
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Built>,
    patterns: Vec<(Arc<str>, Pattern)>,
    pattern_numbers: HashMap<Arc<str>, u32>,
    literal_numbers: HashMap<(u32, Vec<u8>), u32>,
}

impl Builder {
    fn add(
        &mut self,
        index: usize,
        rule: &Rule,
        room: &mut usize,
        patterns: &mut Patterns,
    ) -> Result<(), Unfit> {
        let number = u32::try_from(index).ok().filter(|&number| number < LEAF).ok_or(Unfit::TooManyRules)?;
        if rule.path.len() > RULE_ELEMENTS_MAX {
            return Err(Unfit::TooManyElements);
        }
        if self.nodes.len() + rule.path.len() > NODES_MAX {
            return Err(Unfit::TooManyRules);
        }
        // Everything that can fail comes before the first node is made.
        for (element, wanted) in rule.path.iter().enumerate() {
            match wanted {
                Element::Literal(text) if text.len() > LITERAL_BYTES_MAX => {
                    return Err(Unfit::LiteralTooLong { element });
                }
                Element::Pattern { pattern, .. } if !self.pattern_numbers.contains_key(pattern.as_str()) => {
                    // A node has a branch for each at most, and counts them in sixteen bits.
                    if self.patterns.len() == usize::from(u16::MAX) {
                        return Err(Unfit::TooManyRules);
                    }
                    let (text, compiled) = patterns
                        .compile(pattern, room)
                        .map_err(|problem| Unfit::Pattern { element, problem })?;
                    self.pattern_numbers.insert(Arc::clone(&text), self.patterns.len() as u32);
                    self.patterns.push((text, compiled));
                }
                _ => {}
            }
        }
        let mut at = 0;
        self.lower(at, number);
        for (element, wanted) in rule.path.iter().enumerate() {
            if *wanted == Element::Rest && element + 1 == rule.path.len() {
                let node = self.node(at);
                let place = if takes_some(rule) { &mut node.rest_some } else { &mut node.rest };
                *place = (*place).min(number);
                return Ok(());
            }
            at = self.child(at, wanted);
            self.lower(at, number);
        }
        let node = self.node(at);
        node.end = node.end.min(number);
        Ok(())
    }

    fn node(&mut self, at: u32) -> &mut Node {
        self.nodes[at as usize].node.get_or_insert(Node::NEW)
    }

    fn lower(&mut self, at: u32, number: u32) {
        let node = self.node(at);
        node.lowest = node.lowest.min(number);
    }

    fn child(&mut self, at: u32, wanted: &Element) -> u32 {
        let new = self.nodes.len() as u32;
        let child = match wanted {
            Element::Literal(text) => {
                let child = *self.literal_numbers.entry((at, text.clone())).or_insert(new);
                if child == new {
                    self.nodes[at as usize].literals.push((text.clone(), new));
                }
                child
            }
            Element::Variable(_) | Element::Rest => {
                let any = &mut self.node(at).any;
                if *any == NONE {
                    *any = new;
                }
                *any
            }
            Element::Language => {
                let language = &mut self.node(at).language;
                if *language == NONE {
                    *language = new;
                }
                *language
            }
            Element::Pattern { pattern, .. } => {
                let pattern = self.pattern_numbers[pattern.as_str()];
                let branches = &mut self.nodes[at as usize].branches;
                match branches.iter().find(|branch| branch.pattern == pattern) {
                    Some(branch) => branch.child,
                    None => {
                        // Rules come in order, so the branches of a node are lowest first.
                        branches.push(Branch { pattern, child: new });
                        new
                    }
                }
            }
        };
        if child == new {
            self.nodes.push(Built::default());
        }
        child
    }

    fn finish(self, languages: Languages) -> Table {
        let mut nodes = Vec::new();
        let mut branches: Vec<Branch> = Vec::new();
        let mut literals = Vec::new();
        // Of each node built its number as a child: in order, without the leaves.
        let mut children: Vec<u32> = Vec::with_capacity(self.nodes.len());
        for (number, built) in self.nodes.into_iter().enumerate() {
            let mut node = built.node.unwrap_or(Node::NEW);
            node.branches = branches.len() as u32;
            // One for each pattern at most.
            node.branch_count = built.branches.len() as u16;
            node.has_literals = !built.literals.is_empty();
            if number > 0 && node.is_leaf() {
                children.push(LEAF | node.end);
                continue;
            }
            let new = nodes.len() as u32;
            children.push(new);
            nodes.push(node);
            branches.extend(built.branches);
            literals.extend(built.literals.into_iter().map(|(text, child)| (new, text, child)));
        }
        let child = |built: u32| if built == NONE { NONE } else { children[built as usize] };
        for node in &mut nodes {
            (node.any, node.language) = (child(node.any), child(node.language));
        }
        branches.iter_mut().for_each(|branch| branch.child = child(branch.child));
        let empty = Literal { key: NONE, child: NONE, first: 0, last_or_start: 0 };
        let slots = 2 * literals.len() + 1;
        let mut table = vec![empty; slots];
        let mut text = Vec::new();
        let literal_bytes_max = literals.iter().map(|(_, bytes, _)| bytes.len()).max().unwrap_or(0);
        for (node, bytes, built) in literals {
            let ends = ends(&bytes);
            let key = key(node, bytes.len());
            let mut at = slot(key, ends, slots);
            while table[at].key != NONE {
                at = next(at, slots);
            }
            let is_long = bytes.len() > ENDS_BYTES;
            let last_or_start = if is_long { text.len() as u64 } else { ends.1 };
            table[at] = Literal { key, child: child(built), first: ends.0, last_or_start };
            if is_long {
                text.extend(bytes);
            }
        }
        Table {
            nodes: nodes.into(),
            branches: branches.into(),
            patterns: self.patterns.into(),
            literals: table.into(),
            text: text.into(),
            literal_bytes_max,
            languages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_length_tell_short_texts_apart() {
        let mut texts = vec![Vec::new()];
        for length in 1..=ENDS_BYTES {
            for at in 0..length {
                for byte in [0, 1, b'a', 0xff] {
                    let mut text = vec![b'x'; length];
                    text[at] = byte;
                    texts.push(text);
                }
            }
        }
        let mut known: Vec<_> = texts.iter().map(|text| (ends(text), text.len())).collect();
        known.sort_unstable();
        known.dedup();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(known.len(), texts.len());
    }
}
