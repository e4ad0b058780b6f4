//! The reader: texts, problems, and the files that `include` and `dispatch_files` name.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::config::Files;
use crate::config::defaults;
use crate::config::keys;
use crate::config::message::What;
use crate::config::near::nearest;
use crate::config::problem::{At, Excerpt, Level, Problem};
use crate::config::written::{self, Broken, Spot, Table, Text};
use crate::dispatch::{Place, Rule, zotonic};

/// Reads one configuration; gone when it is read.
pub(super) struct Reader<'f> {
    files: &'f mut dyn Files,
    texts: Vec<Text>,
    /// Rules of dispatch files that were read, by the path without `.` and `..`.
    imported: HashMap<PathBuf, Rc<[Rule]>>,
    /// Where each included file was named first.
    included: HashMap<PathBuf, Option<Place>>,
    found: Vec<Found>,
}

/// A problem before it is decided whether it is one of its own.
struct Found {
    at: Option<Spot>,
    problem: Problem,
}

impl<'f> Reader<'f> {
    pub(super) fn new(files: &'f mut dyn Files) -> Self {
        Self {
            files,
            texts: Vec::new(),
            imported: HashMap::new(),
            included: HashMap::new(),
            found: Vec::new(),
        }
    }

    pub(super) fn text(&self, source: usize) -> &Text {
        &self.texts[source]
    }

    pub(super) fn place(&self, at: Spot) -> Place {
        self.text(at.source).place(at.start)
    }

    /// Every file that was read, in that order.
    pub(super) fn files_read(&self) -> Vec<PathBuf> {
        self.texts.iter().filter(|text| !text.is_flag).map(|text| text.name.to_path_buf()).collect()
    }

    /// A value of the command line as a source of its own.
    pub(super) fn flag(&mut self, flag: &str, value: &str) -> Spot {
        self.texts.push(Text::new(Path::new(flag).into(), value.to_owned(), true));
        Spot { source: self.texts.len() - 1, start: 0, end: value.len() }
    }

    pub(super) fn error(&mut self, at: Spot, what: What) {
        self.found(Level::Error, at, what);
    }

    pub(super) fn warning(&mut self, at: Spot, what: What) {
        self.found(Level::Warning, at, what);
    }

    /// A problem with a file as a whole.
    pub(super) fn file_error(&mut self, file: &Path, what: What) {
        self.found.push(Found { at: None, problem: Problem::new(Level::Error, what, At::File(file.into())) });
    }

    fn found(&mut self, level: Level, at: Spot, what: What) {
        // Counted apart, so that warnings never push out the errors.
        let alike = self.found.iter().filter(|found| found.problem.level() == level).count();
        if alike >= defaults::PROBLEMS_MAX {
            return;
        }
        let text = self.text(at.source);
        let shown = if text.is_flag {
            At::Flag(text.name.clone())
        } else {
            let (line, marked) = text.line_text(at.start, at.end);
            {
                let place = text.place(at.start);
                At::Line { excerpt: Excerpt::new(line, place.column, marked), place }
            }
        };
        // In a file that could not be parsed in full, what is missing may stand in the lost part, and what
        // stands in a broken line may be no more than a piece of what was meant.
        let broken = !text.broken_lines.is_empty();
        let own = matches!(what, What::Syntax { .. } | What::KeyTwice { .. });
        let lost = matches!(what, What::MissingKey { .. } | What::Empty { .. }) || at.end == 0;
        if broken && !own && (lost || text.broken_lines.contains(&text.line(at.start))) {
            return;
        }
        self.found.push(Found { at: Some(at), problem: Problem::new(level, what, shown) });
    }

    /// Everything found, flags first, then file by file, line by line.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        let texts = &self.texts;
        self.found.sort_by_key(|found| {
            found.at.map(|at| (!texts.get(at.source).is_some_and(|text| text.is_flag), at.source, at.start))
        });
        self.found.into_iter().map(|found| found.problem).collect()
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|found| found.problem.level() == Level::Error)
    }

    /// Reads a configuration file. `named`: where its name stands; `None` for the first one.
    fn load(&mut self, path: &Path, named: Option<Spot>) -> Option<usize> {
        let bytes = self.bytes(path, named)?;
        let (text, bad) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(good))
            }
        };
        let source = self.add(path, text);
        if let Some(at) = bad {
            self.error(Spot { source, start: at, end: at }, What::NotUtf8 {});
            return None;
        }
        Some(source)
    }

    fn add(&mut self, path: &Path, text: String) -> usize {
        self.texts.push(Text::new(path.into(), text, false));
        self.texts.len() - 1
    }

    fn bytes(&mut self, path: &Path, named: Option<Spot>) -> Option<Vec<u8>> {
        let what = if self.texts.len() >= defaults::FILES_MAX {
            What::TooMany { what: "files", most: defaults::FILES_MAX }
        } else {
            match self.files.read(path) {
                Ok(bytes) if bytes.len() <= defaults::FILE_BYTES_MAX => return Some(bytes),
                Ok(_) => What::FileTooLarge { path: path.to_owned() },
                Err(cause) => unreadable(path, &cause),
            }
        };
        match named {
            Some(at) => self.error(at, what),
            None => self.file_error(path, what),
        }
        None
    }

    /// The rules of a Zotonic dispatch file, read once however many sites name it.
    pub(super) fn imported(&mut self, path: &Path, named: Spot) -> Rc<[Rule]> {
        let plain = plain(path);
        if let Some(rules) = self.imported.get(&plain) {
            return rules.clone();
        }
        let rules: Rc<[Rule]> = match self.bytes(path, Some(named)) {
            None => Rc::new([]),
            Some(bytes) => {
                let rules = zotonic::rules(&bytes, path.into());
                // Erlang files may be ISO 8859-1, of which each byte is a character.
                let text = String::from_utf8(bytes)
                    .unwrap_or_else(|error| error.as_bytes().iter().map(|byte| char::from(*byte)).collect());
                let source = self.add(path, text);
                match rules {
                    Ok(rules) => rules.into(),
                    Err(problems) => {
                        for problem in problems {
                            let at = self.text(source).offset(&problem.place);
                            self.error(
                                Spot { source, start: at, end: at },
                                What::DispatchFile { why: problem.wrong },
                            );
                        }
                        Rc::new([])
                    }
                }
            }
        };
        self.imported.insert(plain, rules.clone());
        rules
    }

    /// Where a place that another room gives is in what was read.
    pub(super) fn spot(&self, place: &Place) -> Option<Spot> {
        let source = self.texts.iter().position(|text| text.name == place.file)?;
        let start = self.text(source).offset(place);
        Some(Spot { source, start, end: start })
    }

    /// Parses a file that was loaded and reports what is no TOML.
    pub(super) fn parse(&mut self, source: usize) -> Table {
        let (table, broken) = written::parse(source, self.text(source));
        for (at, what) in broken {
            let what = match what {
                Broken::Syntax { message, expected } => {
                    let line = self.text(source).line(at.start);
                    self.texts[source].broken_lines.push(line);
                    What::Syntax { message, expected }
                }
                Broken::KeyTwice { key, first } => What::KeyTwice { key, first },
            };
            self.error(at, what);
        }
        table
    }

    /// The first file: its table.
    pub(super) fn root(&mut self, path: &Path) -> Option<Table> {
        self.included.insert(plain(path), None);
        let source = self.load(path, None)?;
        Some(self.parse(source))
    }

    /// The tables of all files that `include` of `table` names, and those that these include.
    pub(super) fn include(&mut self, table: &Table, depth: usize, tables: &mut Vec<Table>) {
        let patterns = self.texts_of(table, "include", "\"sites/*.toml\"");
        for (pattern, at) in patterns {
            if depth >= defaults::INCLUDE_DEPTH_MAX {
                self.error(at, What::IncludeTooDeep {});
                return;
            }
            for path in self.expand("include", &pattern, at) {
                if let Some(first) = self.included.get(&plain(&path)) {
                    let first = first.clone();
                    self.error(at, What::IncludedTwice { path, first });
                    continue;
                }
                let place = self.place(at);
                self.included.insert(plain(&path), Some(place));
                let Some(source) = self.load(&path, Some(at)) else {
                    continue;
                };
                let included = self.parse(source);
                self.only_sites(&included);
                tables.push(included.clone());
                self.include(&included, depth + 1, tables);
            }
        }
    }

    fn only_sites(&mut self, table: &Table) {
        for entry in &table.entries {
            let key = entry.key.as_str();
            if matches!(key, "site" | "include") {
            } else if keys::TOP.keys.iter().any(|known| known.name == key) {
                self.error(entry.key_at, What::IncludeNotSites { key: key.to_owned() });
            } else {
                self.unknown(entry.key_at, key, &keys::TOP);
            }
        }
    }

    /// The files an entry of `include` or `dispatch_files` names, relative to the file it stands in.
    pub(super) fn expand(&mut self, key: &'static str, pattern: &str, at: Spot) -> Vec<PathBuf> {
        if pattern.is_empty() {
            self.error(at, What::Empty { key });
            return Vec::new();
        }
        if !pattern.contains(['*', '?', '[']) {
            return vec![self.beside(at, pattern)];
        }
        if glob::Pattern::new(pattern).is_err() {
            self.error(at, What::BadGlob { pattern: pattern.to_owned() });
            return Vec::new();
        }
        // The directory is a name, not a pattern.
        let directory =
            self.text(at.source).name.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let full = if pattern.starts_with('/') || directory.is_empty() {
            pattern.to_owned()
        } else {
            format!("{}/{pattern}", glob::Pattern::escape(&directory))
        };
        match self.files.glob(&full) {
            Ok(paths) if paths.is_empty() => {
                let path = Path::new(&directory).join(pattern).display().to_string();
                self.warning(at, What::MatchesNothing { key, pattern: pattern.to_owned(), path });
                paths
            }
            Ok(paths) => paths,
            Err(cause) => {
                self.error(at, unreadable(Path::new(&full), &cause));
                Vec::new()
            }
        }
    }

    /// A path as written at `at`, relative to the directory of that file.
    pub(super) fn beside(&self, at: Spot, path: &str) -> PathBuf {
        self.text(at.source).name.parent().unwrap_or(Path::new("")).join(path)
    }

    /// A key that `keys` does not have: says what was probably meant.
    pub(super) fn unknown(&mut self, at: Spot, key: &str, keys: &'static keys::Keys) {
        if keys.unavailable.contains(&key) {
            self.error(at, What::Unavailable { key: key.to_owned() });
            return;
        }
        let known: Vec<&'static str> = keys.keys.iter().map(|key| key.name).collect();
        let near = nearest(key, known.iter().copied());
        let has = |table: &&&keys::Keys| table.keys.iter().any(|known| known.name == key);
        let elsewhere = keys::TABLES.iter().find(has).map(|table| table.table);
        // A right word in the wrong table beats a word that is merely alike.
        let near = near.filter(|_| elsewhere.is_none()).map(|(word, _)| word);
        self.error(at, What::UnknownKey { key: key.to_owned(), table: keys.table, near, elsewhere, known });
    }
}

fn unreadable(path: &Path, cause: &io::Error) -> What {
    // A directory opens on Linux; reading it is what fails.
    let cause = if cause.raw_os_error() == Some(21) { ErrorKind::IsADirectory } else { cause.kind() };
    What::FileUnreadable { path: path.to_owned(), cause }
}

/// Without `.` and `name/..`, so that two ways to write a path compare equal. Links are not followed: the
/// core asks the system nothing.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_written_in_two_ways_are_one() {
        for (path, expected) in [
            ("a/./b", "a/b"),
            ("a/../b", "b"),
            ("../b", "../b"),
            ("../../b", "../../b"),
            ("/a/../b", "/b"),
            ("./b", "b"),
        ] {
            assert_eq!(plain(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
