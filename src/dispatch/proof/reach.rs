//! Which rules a path can reach: a proof that none can, or a path that does.
//!
//! A rule takes a product of sets of segments, one set for each element, and with a final `*` products of
//! every length from some length on. Whether the rules before it take all of that is decided length by length,
//! with one chosen segment for each position:
//!
//! - where the rule takes any segment, one that no rule writes out: whatever takes it takes every segment;
//! - where it takes one text, that text; whether an earlier regular expression takes it is asked of the
//!   expression;
//! - where it takes a language, each of them, without those that are taken by more rules than another;
//! - where it searches for a regular expression, "some segment in which this is found", which only a rule
//!   that takes any segment or searches for the same expression surely takes.
//!
//! Beyond the longest rule nothing changes any more. So without regular expressions the answer is
//! exact; with them "shadowed" is still certain, and a path found is tried before it is believed. In the
//! worst case (a rule of many languages, each of them written out before it) the search is exponential,
//! as the question is; a bound on steps ends it.

use std::collections::{BTreeSet, HashMap};

use super::super::RuleId;
use super::super::path::Room;
use super::super::rule::{Element, Rule};
use super::super::site::Site;
use super::shape::{element, has_rest, shortest, target};

/// Comparisons of elements for one site: a second of work or less.
const STEPS_MAX: u64 = 100_000_000;

/// Rules named as taking a rule's paths together; a cover of more is not looked at closely.
const COVER_MAX: usize = 64;

/// Whether a rule can be the one that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This target leads to it.
    Live { target: Vec<u8> },
    /// None does: every path it matches is matched by one of these rules, which come before it. Each of
    /// them is needed; in order, never empty.
    Shadowed { by: Vec<RuleId> },
    /// Not decided: regular expressions, or too many steps.
    Unknown,
}

/// Decides for every rule of the site, in order.
pub fn reach(site: &Site) -> Vec<Reach> {
    reach_within(site, STEPS_MAX)
}

pub(super) fn reach_within(site: &Site, steps: u64) -> Vec<Reach> {
    let rules: Vec<Rule> = site.rules().iter().collect();
    let mut prover = Prover::new(site, &rules, steps);
    (0..rules.len()).map(|rule| prover.rule(rule)).collect()
}

struct Prover<'a> {
    site: &'a Site,
    rules: &'a [Rule],
    // Rules by the text they start with, and those that start with none; each in order.
    starts: HashMap<&'a [u8], Vec<usize>>,
    open_starts: Vec<usize>,
    // Taken by no element that says which segments it takes, regular expressions left out.
    fresh: Vec<u8>,
    languages: Vec<Vec<u8>>,
    // Whether the pattern is found in the text.
    found: HashMap<(&'a str, Vec<u8>), bool>,
    steps_left: u64,
}

/// A segment, or what is known of one.
#[derive(Clone, Debug)]
enum Choice<'a> {
    Text(Vec<u8>),
    Fresh,
    /// One in which this regular expression is found.
    Found(&'a str),
}

/// The bound on steps was reached.
struct TooLong;

/// Whether rules take every path of a rule, of one length.
enum Covered {
    /// These do.
    By(BTreeSet<usize>),
    /// Not a path of these segments.
    Not(Vec<Option<Vec<u8>>>),
}

impl<'a> Prover<'a> {
    fn new(site: &'a Site, rules: &'a [Rule], steps_left: u64) -> Self {
        let mut starts: HashMap<&[u8], Vec<usize>> = HashMap::new();
        let mut open_starts = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            match rule.path.first() {
                Some(Element::Literal(text)) => starts.entry(text).or_default().push(index),
                _ => open_starts.push(index),
            }
        }
        let languages = site.table.languages.all();
        let literals: BTreeSet<&[u8]> = rules
            .iter()
            .flat_map(|rule| &rule.path)
            .filter_map(|element| match element {
                Element::Literal(text) => Some(text.as_slice()),
                _ => None,
            })
            .chain(languages.iter().map(Vec::as_slice))
            .collect();
        // There are more numbers than literals.
        let fresh = (0..=literals.len())
            .map(|number| if number == 0 { b"x".to_vec() } else { format!("x{number}").into_bytes() })
            .find(|text| !literals.contains(text.as_slice()))
            .unwrap_or_default();
        Prover { site, rules, starts, open_starts, fresh, languages, found: HashMap::new(), steps_left }
    }

    /// The rules before this one that may take a path of it, in order.
    fn before(&self, index: usize, rule: &Rule) -> Vec<usize> {
        let mut before = self.open_starts.clone();
        let mut add = |text: &[u8]| before.extend(self.starts.get(text).into_iter().flatten());
        match rule.path.first() {
            Some(Element::Literal(text)) => add(text),
            Some(Element::Language) => self.languages.iter().for_each(|code| add(code)),
            // Segments chosen there are none that is written out.
            Some(Element::Variable(_) | Element::Rest | Element::Pattern { .. }) | None => {}
        }
        before.retain(|&other| other < index);
        before.sort_unstable();
        before.dedup();
        before
    }

    fn rule(&mut self, index: usize) -> Reach {
        match self.decide(index) {
            Ok(reach) => reach,
            Err(TooLong) => Reach::Unknown,
        }
    }

    fn decide(&mut self, index: usize) -> Result<Reach, TooLong> {
        let Some(rule) = self.rules.get(index) else {
            return Ok(Reach::Unknown);
        };
        let before = self.before(index, rule);
        let mut by = BTreeSet::new();
        let mut open = false;
        for length in self.lengths(rule, &before) {
            match self.covered(rule, &before, length)? {
                Covered::By(rules) => by.extend(rules),
                Covered::Not(segments) => {
                    if let Some(target) = self.witness(index, rule, &segments) {
                        return Ok(Reach::Live { target });
                    }
                    open = true;
                }
            }
        }
        if open || by.is_empty() {
            return Ok(Reach::Unknown);
        }
        let by = self.fewest(rule, by.into_iter().collect())?;
        // Rules are fewer than u32::MAX, or the site would not have compiled.
        Ok(Reach::Shadowed { by: by.into_iter().map(|rule| RuleId(rule as u32)).collect() })
    }

    /// The lengths of paths to look at.
    fn lengths(&self, rule: &Rule, before: &[usize]) -> std::ops::RangeInclusive<usize> {
        let shortest = shortest(rule);
        if !has_rest(rule) {
            return shortest..=shortest;
        }
        let longest =
            before.iter().filter_map(|&other| self.rules.get(other)).map(|other| other.path.len()).max();
        shortest..=shortest.max(longest.unwrap_or(0) + 1)
    }

    /// Whether `others` take every path of this length that `rule` takes.
    fn covered(&mut self, rule: &'a Rule, others: &[usize], length: usize) -> Result<Covered, TooLong> {
        let mut choices: Vec<Option<Choice<'a>>> = Vec::with_capacity(length);
        for position in 0..length {
            choices.push(match element(rule, position) {
                Some(Element::Literal(text)) => Some(Choice::Text(text.clone())),
                Some(Element::Pattern { pattern, .. }) => Some(Choice::Found(pattern)),
                Some(Element::Language) => None,
                Some(Element::Variable(_) | Element::Rest) | None => Some(Choice::Fresh),
            });
        }
        let mut taking = Vec::new();
        for &other in others {
            if self.takes_all(other, &choices)? {
                taking.push(other);
            }
        }
        let mut by = BTreeSet::new();
        let all_covered = self.try_languages(&mut choices, &taking, &mut by)?;
        if all_covered {
            return Ok(Covered::By(by));
        }
        let text = |choice: Option<Choice<'a>>| match choice {
            Some(Choice::Text(text)) => Some(text),
            Some(Choice::Fresh | Choice::Found(_)) | None => None,
        };
        Ok(Covered::Not(choices.into_iter().map(text).collect()))
    }

    /// Whether the rule takes paths of this length whose segments are these, those not chosen left out.
    fn takes_all(&mut self, other: usize, choices: &[Option<Choice<'a>>]) -> Result<bool, TooLong> {
        let Some(other) = self.rules.get(other) else {
            return Ok(false);
        };
        let fits = if has_rest(other) {
            choices.len() >= shortest(other)
        } else {
            choices.len() == other.path.len()
        };
        self.step()?;
        if !fits {
            return Ok(false);
        }
        for (position, choice) in choices.iter().enumerate() {
            self.step()?;
            let (Some(element), Some(choice)) = (element(other, position), choice) else {
                continue;
            };
            if !self.takes(element, choice) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether for each choice of languages one of `taking` is left, and which. If not, `choices` holds the
    /// choice for which none is.
    fn try_languages(
        &mut self,
        choices: &mut Vec<Option<Choice<'a>>>,
        taking: &[usize],
        by: &mut BTreeSet<usize>,
    ) -> Result<bool, TooLong> {
        let Some(position) = choices.iter().position(Option::is_none) else {
            by.extend(taking);
            return Ok(!taking.is_empty());
        };
        let mut left: Vec<(Vec<u8>, Vec<usize>)> = Vec::new();
        for code in self.languages.clone() {
            let choice = Choice::Text(code);
            let mut still = Vec::new();
            for &other in taking {
                self.step()?;
                let element = self.rules.get(other).and_then(|other| element(other, position));
                if element.is_none_or(|element| self.takes(element, &choice)) {
                    still.push(other);
                }
            }
            // Of two languages, the one that is taken by more rules cannot be the one that gets past them.
            if left.iter().any(|(_, fewer)| is_subset(fewer, &still)) {
                continue;
            }
            left.retain(|(_, more)| !is_subset(&still, more));
            if let Choice::Text(code) = choice {
                left.push((code, still));
            }
        }
        if left.is_empty() {
            // A site without languages has those of ISO 639-1, so this is not reached.
            return Ok(false);
        }
        for (code, still) in left {
            if let Some(choice) = choices.get_mut(position) {
                *choice = Some(Choice::Text(code));
            }
            if !self.try_languages(choices, &still, by)? {
                return Ok(false);
            }
        }
        if let Some(choice) = choices.get_mut(position) {
            *choice = None;
        }
        Ok(true)
    }

    /// Whether the element surely takes the segment.
    fn takes(&mut self, element: &'a Element, choice: &Choice<'a>) -> bool {
        match (element, choice) {
            (Element::Variable(_) | Element::Rest, _) => true,
            (Element::Literal(text), Choice::Text(chosen)) => text == chosen,
            (Element::Language, Choice::Text(chosen)) => self.languages.contains(chosen),
            (Element::Pattern { pattern, .. }, Choice::Text(chosen)) => self.is_found(pattern, chosen),
            (Element::Pattern { pattern, .. }, Choice::Found(same)) => pattern == same,
            (Element::Literal(_) | Element::Language, Choice::Fresh | Choice::Found(_))
            | (Element::Pattern { .. }, Choice::Fresh) => false,
        }
    }

    fn step(&mut self) -> Result<(), TooLong> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(TooLong)?;
        Ok(())
    }

    /// Asks the engine that serves requests, with a rule of the pattern alone.
    fn is_found(&mut self, pattern: &'a str, text: &[u8]) -> bool {
        if let Some(&found) = self.found.get(&(pattern, text.to_vec())) {
            return found;
        }
        let element = Element::Pattern { name: String::new(), pattern: pattern.to_owned() };
        let place = match self.rules.first() {
            Some(rule) => rule.place.clone(),
            None => return false,
        };
        let alone = Rule { name: String::new(), path: vec![element], ssl: None, place };
        let target = target(self.site, &[text.to_vec()]);
        let mut room = Room::new();
        let reading = self.site.read(&target, &mut room);
        let found = reading.is_ok_and(|reading| self.site.table.try_rule(&alone, &reading).is_ok());
        self.found.insert((pattern, text.to_vec()), found);
        found
    }

    /// A target that leads to the rule. `segments`: what must be chosen so; the rest is tried out.
    fn witness(&mut self, index: usize, rule: &'a Rule, segments: &[Option<Vec<u8>>]) -> Option<Vec<u8>> {
        let samples: Vec<Vec<u8>> = SAMPLES.iter().map(|sample| sample.to_vec()).collect();
        let mut tries = 1;
        let mut options: Vec<Vec<Vec<u8>>> = Vec::with_capacity(segments.len());
        for (position, segment) in segments.iter().enumerate() {
            let options_here = match (segment, element(rule, position)) {
                (Some(text), _) => vec![text.clone()],
                (None, Some(Element::Pattern { pattern, .. })) => {
                    samples.iter().filter(|text| self.is_found(pattern, text)).cloned().collect()
                }
                (None, _) => std::iter::once(self.fresh.clone()).chain(samples.iter().cloned()).collect(),
            };
            tries = tries.max(options_here.len());
            options.push(options_here);
        }
        for number in 0..tries {
            // Not every combination: as many as the longest list, each list going round.
            let path: Option<Vec<Vec<u8>>> = options
                .iter()
                .map(|options| options.get(number.checked_rem(options.len())?).cloned())
                .collect();
            let target = target(self.site, &path?);
            let mut room = Room::new();
            let reading = self.site.read(&target, &mut room).ok()?;
            if self.site.table.first_match(&reading) == Some(index) {
                return Some(target);
            }
        }
        None
    }

    /// Leaves out of a cover what it can do without, one rule alone first of all.
    fn fewest(&mut self, rule: &'a Rule, mut by: Vec<usize>) -> Result<Vec<usize>, TooLong> {
        for &other in &by {
            if self.covers(rule, &[other])? {
                return Ok(vec![other]);
            }
        }
        if by.len() > COVER_MAX {
            return Ok(by);
        }
        // From the last: of two that do the same, the earlier is the one that matches.
        for at in (0..by.len()).rev() {
            let mut fewer = by.clone();
            fewer.remove(at);
            if self.covers(rule, &fewer)? {
                by = fewer;
            }
        }
        Ok(by)
    }

    fn covers(&mut self, rule: &'a Rule, others: &[usize]) -> Result<bool, TooLong> {
        for length in self.lengths(rule, others) {
            if let Covered::Not(_) = self.covered(rule, others, length)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Segments to try where a regular expression decides.
const SAMPLES: [&[u8]; 14] = [
    b"1",
    b"42",
    b"2024",
    b"123456",
    b"a",
    b"abc",
    b"A",
    b"a-b",
    b"a_b",
    b"a.b",
    b"a1",
    b"",
    b"en",
    b"2024-01-31",
];

/// Both in order.
fn is_subset(some: &[usize], all: &[usize]) -> bool {
    let mut rest = all.iter();
    some.iter().all(|wanted| rest.any(|found| found == wanted))
}
