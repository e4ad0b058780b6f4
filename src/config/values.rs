//! Typed values out of a table: each is the default when it is missing or wrong, so that reading goes on and
//! finds the other problems too.

use std::time::Duration;

use crate::config::amount;
use crate::config::choice::Choice;
use crate::config::config::WrittenAt;
use crate::config::defaults::{self, Bounded};
use crate::config::keys::Keys;
use crate::config::message::{Expected, What};
use crate::config::near::nearest;
use crate::config::reader::Reader;
use crate::config::written::{Node, Spot, Table, Value};

/// A table with the keys it may hold.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    pub table: &'t Table,
    keys: &'static Keys,
}

impl<'t> Section<'t> {
    /// The value of a key, `None` when it is not written.
    pub(super) fn get(&self, key: &'static str) -> Option<&'t Node> {
        debug_assert!(self.keys.keys.iter().any(|known| known.name == key), "{key} is not in keys.rs");
        self.table.get(key)
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// Where the value stands; where the table does when it is not written.
    pub(super) fn at(&self, key: &'static str) -> Spot {
        self.get(key).map_or(self.table.at, |node| node.at)
    }

    /// Where the key stands; where the table does when it is not written.
    pub(super) fn key_at(&self, key: &'static str) -> Spot {
        let entry = self.table.entries.iter().find(|entry| entry.key == key);
        entry.map_or(self.table.at, |entry| entry.key_at)
    }
}

impl Reader<'_> {
    /// Reports the keys that `keys` does not have.
    pub(super) fn section<'t>(&mut self, table: &'t Table, keys: &'static Keys) -> Section<'t> {
        for entry in &table.entries {
            if !keys.keys.iter().any(|known| known.name == entry.key) {
                self.unknown(entry.key_at, &entry.key, keys);
            }
        }
        Section { table, keys }
    }

    /// Where the keys of a table are written.
    pub(super) fn written_at(&self, section: Section<'_>) -> WrittenAt {
        let known = section.keys.keys.iter().map(|key| key.name).filter(|name| section.has(name));
        let mut keys: Vec<_> = known.map(|name| (name, self.place(section.key_at(name)))).collect();
        keys.shrink_to_fit();
        WrittenAt { keys }
    }

    /// The table under a key; an empty one when it is not written or no table.
    pub(super) fn table(&mut self, parent: Section<'_>, key: &'static str, example: &'static str) -> Table {
        let empty = Table { entries: Vec::new(), at: parent.table.at };
        match parent.get(key).map(|node| (&node.value, node.at)) {
            None => empty,
            Some((Value::Table(table), _)) => table.clone(),
            Some((value, at)) => {
                self.wrong_type(at, key, Expected::Table(example), value);
                empty
            }
        }
    }

    pub(super) fn wrong_type(&mut self, at: Spot, key: &'static str, expected: Expected, found: &Value) {
        self.error(at, What::WrongType { key, expected, found: found.kind() });
    }

    pub(super) fn missing(&mut self, section: Section<'_>, key: &'static str) {
        let table = section.keys.table;
        self.error(section.table.at, What::MissingKey { key, table });
    }

    pub(super) fn duration(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        bounds: &Bounded<Duration>,
    ) -> Duration {
        let Some(node) = section.get(key) else {
            return bounds.default;
        };
        let Value::Text(text) = &node.value else {
            self.wrong_type(node.at, key, Expected::Duration, &node.value);
            return bounds.default;
        };
        match amount::duration(text) {
            Ok(value) if value >= bounds.least && value <= bounds.most => value,
            Ok(_) => {
                let (least, most) = (amount::show_duration(bounds.least), amount::show_duration(bounds.most));
                self.error(node.at, What::OutOfRange { key, text: text.clone(), least, most });
                bounds.default
            }
            Err(why) => {
                self.error(node.at, What::BadDuration { text: text.clone(), why });
                bounds.default
            }
        }
    }

    /// A duration that clients are told in seconds.
    pub(super) fn seconds(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        bounds: &Bounded<Duration>,
    ) -> Duration {
        let value = self.duration(section, key, bounds);
        if value.subsec_nanos() != 0 {
            self.error(section.at(key), What::WholeSeconds { text: amount::show_duration(value) });
        }
        value
    }

    pub(super) fn size(&mut self, section: Section<'_>, key: &'static str, bounds: &Bounded<u64>) -> u64 {
        self.size_or(section, key, bounds, bounds.default, false)
    }

    /// A size, or "unlimited", which is `u64::MAX`.
    pub(super) fn size_or_unlimited(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        bounds: &Bounded<u64>,
        default: u64,
    ) -> u64 {
        self.size_or(section, key, bounds, default, true)
    }

    fn size_or(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        bounds: &Bounded<u64>,
        default: u64,
        unlimited: bool,
    ) -> u64 {
        let Some(node) = section.get(key) else {
            return default;
        };
        let Value::Text(text) = &node.value else {
            let expected = if unlimited { Expected::SizeOrUnlimited } else { Expected::Size };
            self.wrong_type(node.at, key, expected, &node.value);
            return default;
        };
        if unlimited && text == "unlimited" {
            return u64::MAX;
        }
        match amount::size(text) {
            Ok(value) if value >= bounds.least && value <= bounds.most => value,
            Ok(_) => {
                let (least, most) = (amount::show_size(bounds.least), amount::show_size(bounds.most));
                self.error(node.at, What::OutOfRange { key, text: text.clone(), least, most });
                default
            }
            Err(why) => {
                self.error(node.at, What::BadSize { text: text.clone(), why });
                default
            }
        }
    }

    pub(super) fn count(&mut self, section: Section<'_>, key: &'static str, bounds: &Bounded<u64>) -> u64 {
        let Some(node) = section.get(key) else {
            return bounds.default;
        };
        self.count_of(node, key, bounds, Expected::Count(bounds.default)).unwrap_or(bounds.default)
    }

    /// A count whose absence means that there is no such limit.
    pub(super) fn count_if_written(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        bounds: &Bounded<u64>,
    ) -> Option<u64> {
        self.count_of(section.get(key)?, key, bounds, Expected::Count(bounds.default))
    }

    /// A whole number within its bounds; `None` after an error.
    pub(super) fn count_of(
        &mut self,
        node: &Node,
        key: &'static str,
        bounds: &Bounded<u64>,
        expected: Expected,
    ) -> Option<u64> {
        if let (Value::Text(text), true) = (&node.value, self.text(node.at.source).is_flag) {
            self.error(node.at, What::NotANumber { text: text.clone() });
            return None;
        }
        let Value::Integer(value) = &node.value else {
            self.wrong_type(node.at, key, expected, &node.value);
            return None;
        };
        let value = value.and_then(|value| u64::try_from(value).ok());
        let within = value.filter(|value| (bounds.least..=bounds.most).contains(value));
        if within.is_none() {
            let text =
                self.text(node.at.source).text.get(node.at.start..node.at.end).unwrap_or("").to_owned();
            let (least, most) = (bounds.least.to_string(), bounds.most.to_string());
            self.error(node.at, What::OutOfRange { key, text, least, most });
        }
        within
    }

    /// A count that fits the memory of this machine's word size by its bound.
    pub(super) fn usize(&mut self, section: Section<'_>, key: &'static str, bounds: &Bounded<u64>) -> usize {
        usize::try_from(self.count(section, key, bounds)).unwrap_or(usize::MAX)
    }

    pub(super) fn boolean(&mut self, section: Section<'_>, key: &'static str, default: bool) -> bool {
        let Some(node) = section.get(key) else {
            return default;
        };
        match &node.value {
            Value::Boolean(value) => *value,
            other => {
                self.wrong_type(node.at, key, Expected::Flag, other);
                default
            }
        }
    }

    pub(super) fn choice<C: Choice>(&mut self, section: Section<'_>, key: &'static str, default: C) -> C {
        let Some((text, at)) = self.word(section, key) else {
            return default;
        };
        if let Some((_, choice)) = C::WORDS.iter().find(|(word, _)| *word == text) {
            return *choice;
        }
        let words: Vec<&'static str> = C::WORDS.iter().map(|(word, _)| *word).collect();
        self.unknown_word(at, key, text, words);
        default
    }

    pub(super) fn unknown_word(
        &mut self,
        at: Spot,
        key: &'static str,
        text: String,
        words: Vec<&'static str>,
    ) {
        let near = nearest(&text, words.iter().copied()).map(|(word, _)| word);
        self.error(at, What::UnknownWord { key, text, words, near });
    }

    /// A text; `None` when it is not written or no text.
    pub(super) fn word(&mut self, section: Section<'_>, key: &'static str) -> Option<(String, Spot)> {
        let node = section.get(key)?;
        match &node.value {
            Value::Text(text) => Some((text.clone(), node.at)),
            other => {
                self.wrong_type(node.at, key, Expected::Text, other);
                None
            }
        }
    }

    /// A text that must not be empty.
    pub(super) fn filled(&mut self, section: Section<'_>, key: &'static str) -> Option<(String, Spot)> {
        let (text, at) = self.word(section, key)?;
        if text.is_empty() {
            self.error(at, What::Empty { key });
            return None;
        }
        Some((text, at))
    }

    /// The texts of an array; empty when it is not written. No more than `ENTRIES_MAX`.
    pub(super) fn texts(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        example: &'static str,
    ) -> Vec<(String, Spot)> {
        debug_assert!(section.keys.keys.iter().any(|known| known.name == key));
        self.texts_of(section.table, key, example)
    }

    pub(super) fn texts_of(
        &mut self,
        table: &Table,
        key: &'static str,
        example: &'static str,
    ) -> Vec<(String, Spot)> {
        let Some(node) = table.get(key) else {
            return Vec::new();
        };
        let Value::Array(items) = &node.value else {
            self.wrong_type(node.at, key, Expected::Texts(example), &node.value);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items {
            if texts.len() >= defaults::ENTRIES_MAX {
                self.error(
                    item.at,
                    What::TooMany { what: "entries in one array", most: defaults::ENTRIES_MAX },
                );
                break;
            }
            match &item.value {
                Value::Text(text) => texts.push((text.clone(), item.at)),
                other => self.wrong_type(item.at, key, Expected::Texts(example), other),
            }
        }
        texts
    }

    /// Texts that pass `good`, each once.
    pub(super) fn distinct(
        &mut self,
        section: Section<'_>,
        key: &'static str,
        example: &'static str,
        good: impl Fn(&str) -> bool,
        bad: impl Fn(String) -> What,
    ) -> Vec<String> {
        let mut kept: Vec<(String, Spot)> = Vec::new();
        for (text, at) in self.texts(section, key, example) {
            if !good(&text) {
                self.error(at, bad(text));
            } else if let Some((_, first)) = kept.iter().find(|(before, _)| *before == text) {
                let first = self.place(*first);
                self.error(at, What::ListedTwice { key, text, first });
            } else {
                kept.push((text, at));
            }
        }
        kept.into_iter().map(|(text, _)| text).collect()
    }
}
