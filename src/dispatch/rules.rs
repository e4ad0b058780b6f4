//! The rules of a site in the room they need: sites come by the thousand, and nearly all of a rule is read by
//! `explain` and `check` alone.
//!
//! Names, texts and expressions stand one after the other in one block. A rule is made of it when it is asked for;
//! what a decision needs of one, its `ssl` and its name, is read where it stands.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::rule::{Element, Place, Rule, Ssl};

/// Rules in their order. A clone is the same list.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rules(Arc<Packed>);

#[derive(Default, PartialEq, Eq)]
struct Packed {
    rules: Box<[PackedRule]>,
    parts: Box<[Part]>,
    text: Box<[u8]>,
    files: Box<[Arc<Path>]>,
}

/// Its parts begin where those of the rule before it end, and their text where its name ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PackedRule {
    ssl: Option<Ssl>,
    file: u16,
    line: u32,
    column: u32,
    /// In `Packed::text`.
    name_start: u32,
    name_end: u32,
    /// In `Packed::parts`.
    parts_end: u32,
}

/// An element, or the name of the expression that follows; its text begins where the one before it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part {
    kind: Kind,
    /// In `Packed::text`.
    end: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Literal,
    Variable,
    /// The name of a pattern; the expression is the next part.
    PatternName,
    PatternText,
    Language,
    Rest,
}

impl Rules {
    pub fn len(&self) -> usize {
        self.0.rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.rules.is_empty()
    }

    /// The rule of this number. Allocates.
    pub fn get(&self, index: usize) -> Option<Rule> {
        let rule = *self.0.rules.get(index)?;
        let parts_start = index.checked_sub(1).map_or(0, |before| self.0.rules[before].parts_end);
        let parts = &self.0.parts[parts_start as usize..rule.parts_end as usize];
        let mut at = rule.name_end;
        let mut parts = parts.iter().map(|part| (part.kind, &self.0.text[from_to(&mut at, part.end)]));
        let mut path = Vec::with_capacity(parts.len());
        while let Some((kind, text)) = parts.next() {
            path.push(match kind {
                Kind::Literal => Element::Literal(text.to_vec()),
                Kind::Variable => Element::Variable(string(text)),
                Kind::PatternName => {
                    let pattern = parts.next().map(|(_, pattern)| string(pattern)).unwrap_or_default();
                    Element::Pattern { name: string(text), pattern }
                }
                // Taken with its name.
                Kind::PatternText => continue,
                Kind::Language => Element::Language,
                Kind::Rest => Element::Rest,
            });
        }
        let file = Arc::clone(&self.0.files[usize::from(rule.file)]);
        let place = Place { file, line: rule.line, column: rule.column };
        Some(Rule { name: self.name(index)?.to_owned(), path, ssl: rule.ssl, place })
    }

    /// The name of the rule of this number. Allocates nothing.
    pub fn name(&self, index: usize) -> Option<&str> {
        let rule = self.0.rules.get(index)?;
        std::str::from_utf8(&self.0.text[rule.name_start as usize..rule.name_end as usize]).ok()
    }

    /// What the rule of this number says of the scheme; without `ssl`, `Some(None)`. Allocates nothing.
    #[inline]
    pub fn ssl(&self, index: usize) -> Option<Option<Ssl>> {
        self.0.rules.get(index).map(|rule| rule.ssl)
    }

    /// All of them, each made anew. Allocates.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Rule> + '_ {
        (0..self.len()).map(|index| self.get(index).expect("it is one of them"))
    }

    /// Their names. Allocates nothing.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|index| self.name(index).unwrap_or_default())
    }
}

/// From where the text before ends to `end`.
fn from_to(at: &mut u32, end: u32) -> std::ops::Range<usize> {
    let start = std::mem::replace(at, end);
    start as usize..end as usize
}

/// What was put in as text.
fn string(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl From<Vec<Rule>> for Rules {
    fn from(rules: Vec<Rule>) -> Rules {
        rules.into_iter().collect()
    }
}

impl<const COUNT: usize> From<[Rule; COUNT]> for Rules {
    fn from(rules: [Rule; COUNT]) -> Rules {
        rules.into_iter().collect()
    }
}

impl FromIterator<Rule> for Rules {
    /// # Panics
    /// When the texts of a site's rules take 4 GiB or more, or come from more than 65,536 files: the configuration has
    /// lower bounds.
    fn from_iter<Iter: IntoIterator<Item = Rule>>(rules: Iter) -> Rules {
        let mut packing = Packing::default();
        rules.into_iter().for_each(|rule| packing.add(rule));
        let Packing { rules, parts, text, files } = packing;
        Rules(Arc::new(Packed {
            rules: rules.into(),
            parts: parts.into(),
            text: text.into(),
            files: files.into(),
        }))
    }
}

#[derive(Default)]
struct Packing {
    rules: Vec<PackedRule>,
    parts: Vec<Part>,
    text: Vec<u8>,
    files: Vec<Arc<Path>>,
}

impl Packing {
    fn add(&mut self, rule: Rule) {
        let name_start = self.text.len() as u32;
        let name_end = self.add_text(rule.name.as_bytes());
        for element in &rule.path {
            match element {
                Element::Literal(text) => self.add_part(Kind::Literal, text),
                Element::Variable(name) => self.add_part(Kind::Variable, name.as_bytes()),
                Element::Pattern { name, pattern } => {
                    self.add_part(Kind::PatternName, name.as_bytes());
                    self.add_part(Kind::PatternText, pattern.as_bytes());
                }
                Element::Language => self.add_part(Kind::Language, b""),
                Element::Rest => self.add_part(Kind::Rest, b""),
            }
        }
        let Place { file, line, column } = rule.place;
        let file = self.file(file);
        // Each part has a byte of text or is an element, of which there are fewer than bytes in a file.
        let parts_end = u32::try_from(self.parts.len()).expect("a site's rules have fewer elements");
        self.rules.push(PackedRule { ssl: rule.ssl, file, line, column, name_start, name_end, parts_end });
    }

    fn add_part(&mut self, kind: Kind, text: &[u8]) {
        let end = self.add_text(text);
        self.parts.push(Part { kind, end });
    }

    /// Where it ends.
    fn add_text(&mut self, text: &[u8]) -> u32 {
        self.text.extend_from_slice(text);
        u32::try_from(self.text.len()).expect("the texts of a site's rules are less than 4 GiB")
    }

    fn file(&mut self, file: Arc<Path>) -> u16 {
        // Rules of one file follow each other.
        let number = self.files.iter().rposition(|known| *known == file).unwrap_or_else(|| {
            self.files.push(file);
            self.files.len() - 1
        });
        u16::try_from(number).expect("a site's rules come from fewer files")
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str, line: u32) -> Place {
        Place { file: Arc::from(Path::new(file)), line, column: line * 7 }
    }

    fn rules() -> Vec<Rule> {
        vec![
            Rule { name: "home".into(), path: Vec::new(), ssl: None, place: place("a", 1) },
            Rule {
                name: "every kind".into(),
                path: vec![
                    Element::Literal(b"p\xff".to_vec()),
                    Element::Variable("id".into()),
                    Element::Pattern { name: "number".into(), pattern: "^[0-9]+$".into() },
                    Element::Pattern { name: String::new(), pattern: String::new() },
                    Element::Language,
                    Element::Rest,
                ],
                ssl: Some(Ssl::Https),
                place: place("b", 70_000),
            },
            Rule {
                name: String::new(),
                path: vec![Element::Literal(Vec::new())],
                ssl: Some(Ssl::Any),
                place: place("a", 3),
            },
        ]
    }

    #[test]
    fn rules_come_out_as_they_went_in() {
        let written = rules();
        let packed = Rules::from(written.clone());
        assert_eq!(packed.len(), written.len());
        assert_eq!(packed.iter().collect::<Vec<_>>(), written);
        for (index, rule) in written.iter().enumerate() {
            assert_eq!(packed.get(index).as_ref(), Some(rule));
            assert_eq!(packed.name(index), Some(rule.name.as_str()));
            assert_eq!(packed.ssl(index), Some(rule.ssl));
        }
        assert_eq!((packed.get(3), packed.name(3), packed.ssl(3)), (None, None, None));
        assert_eq!(packed.names().collect::<Vec<_>>(), ["home", "every kind", ""]);
    }

    #[test]
    fn lists_are_equal_when_their_rules_are() {
        assert_eq!(Rules::from(rules()), Rules::from(rules()));
        let mut other = rules();
        other[1].place.line += 1;
        assert_ne!(Rules::from(rules()), Rules::from(other));
        assert!(Rules::default().is_empty());
        assert_eq!(Rules::default(), Rules::from([]));
    }
}
