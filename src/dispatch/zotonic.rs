//! Rules out of Zotonic dispatch files.
//!
//! A file holds lists of `{Name, Path, Controller, Options}`, nested lists too. Of the options only
//! `ssl` is read. A path is a list of elements, or one text such as `"/page/:id/*"`, which newer
//! releases of Zotonic take too.
//!
//! | element | means |
//! |---|---|
//! | `"page"`, `<<"page">>` | exactly this text, as UTF-8; of a binary exactly its bytes |
//! | `id` | a variable |
//! | `'*'` | at the end the rest, elsewhere one segment |
//! | `z_language` | one of the site's languages |
//! | `{id, "^[0-9]+$"}` | one segment in which the regular expression is found |
//! | `{id, "^[a-z]+$", [caseless]}` | the same with options of `re` |
//!
//! What only a running Zotonic can tell (`{id, {m_rsc, is_visible}}`, the path of a page by its name)
//! is reported with its place: leaving such a rule out would let its paths fall to a rule behind it.

mod problem;
mod toml;

use std::path::Path;
use std::sync::Arc;

use super::erlang::{self, Term, Value};
use super::rule::{Element, Place, Rule, Ssl};
pub use problem::{DispatchProblem, WrongDispatch};
pub use toml::to_toml;

/// Reads the rules of one file, in order. `file` is where problems and rules say they are.
///
/// # Errors
/// Everything wrong in the file; where its text is no row of Erlang terms, the first thing only.
pub fn rules(text: &[u8], file: Arc<Path>) -> Result<Vec<Rule>, Vec<DispatchProblem>> {
    let mut reader = Reader { file, rules: Vec::new(), problems: Vec::new() };
    match erlang::read(text) {
        Ok(terms) => terms.iter().for_each(|term| reader.collect(term)),
        Err(error) => {
            let place = Place { file: Arc::clone(&reader.file), line: error.line, column: error.column };
            reader.problems.push(DispatchProblem { place, wrong: WrongDispatch::Term(error.wrong) });
        }
    }
    if reader.problems.is_empty() { Ok(reader.rules) } else { Err(reader.problems) }
}

struct Reader {
    file: Arc<Path>,
    rules: Vec<Rule>,
    problems: Vec<DispatchProblem>,
}

/// What is wrong, and the term to point at.
type Wrong<'a> = (&'a Term, WrongDispatch);

impl Reader {
    /// Rules in lists in lists are one list. As deep as terms nest.
    fn collect(&mut self, term: &Term) {
        match &term.value {
            Value::List { items, tail } => {
                items.iter().for_each(|item| self.collect(item));
                if let Some(tail) = tail {
                    self.problem((tail, WrongDispatch::ImproperList));
                }
            }
            // The empty list, written as a string.
            Value::String(text) if text.is_empty() => {}
            Value::Tuple(parts) => match parts.as_slice() {
                [name, path, _controller, options] => self.rule(term, name, path, options),
                _ => self.problem((term, WrongDispatch::RuleSize)),
            },
            _ => self.problem((term, WrongDispatch::NotARule)),
        }
    }

    fn rule(&mut self, term: &Term, name: &Term, path: &Term, options: &Term) {
        let name = match &name.value {
            Value::Atom(name) => Ok(name.clone()),
            _ => Err((name, WrongDispatch::Name)),
        };
        let (elements, wrong_elements) = read_path(path);
        let ssl = read_ssl(options);
        let mut fit = wrong_elements.is_empty();
        wrong_elements.into_iter().for_each(|wrong| self.problem(wrong));
        for wrong in [name.as_ref().err(), ssl.as_ref().err()].into_iter().flatten() {
            fit = false;
            self.problem(*wrong);
        }
        if let (true, Ok(name), Ok(ssl)) = (fit, name, ssl) {
            self.rules.push(Rule { name, path: elements, ssl, place: self.place(term) });
        }
    }

    fn place(&self, term: &Term) -> Place {
        Place { file: Arc::clone(&self.file), line: term.line, column: term.column }
    }

    fn problem(&mut self, (term, wrong): Wrong<'_>) {
        self.problems.push(DispatchProblem { place: self.place(term), wrong });
    }
}

fn read_path(path: &Term) -> (Vec<Element>, Vec<Wrong<'_>>) {
    let mut elements = Vec::new();
    let mut wrong = Vec::new();
    let mut text = |text: Result<Vec<u8>, Wrong<'_>>| match text {
        Ok(text) => elements.extend(split_text(&text)),
        Err(_) => wrong.push((path, WrongDispatch::Text)),
    };
    match &path.value {
        Value::String(_) => text(characters(path)),
        Value::Binary(bytes) => text(Ok(bytes.clone())),
        Value::List { items, .. } if matches!(items.first(), Some(Term { value: Value::Integer(_), .. })) => {
            text(characters(path));
        }
        Value::List { items, tail } => {
            for item in items {
                match read_element(item) {
                    Ok(element) => elements.push(element),
                    Err(error) => wrong.push(error),
                }
            }
            if let Some(tail) = tail {
                wrong.push((tail, WrongDispatch::ImproperList));
            }
        }
        Value::Atom(_) => wrong.push((path, WrongDispatch::PageName)),
        _ => wrong.push((path, WrongDispatch::Path)),
    }
    (elements, wrong)
}

/// `"/page/:id/*"`; empty segments mean nothing in it.
fn split_text(path: &[u8]) -> impl Iterator<Item = Element> {
    path.split(|&byte| byte == b'/').filter(|segment| !segment.is_empty()).map(|segment| match segment {
        b"*" => Element::Rest,
        [b':', name @ ..] => match std::str::from_utf8(name) {
            Ok(name) => named(name),
            Err(_) => Element::Literal(segment.to_vec()),
        },
        _ => Element::Literal(segment.to_vec()),
    })
}

/// What an atom means in a path.
fn named(atom: &str) -> Element {
    match atom {
        "*" => Element::Rest,
        "z_language" => Element::Language,
        name => Element::Variable(name.to_owned()),
    }
}

fn read_element(term: &Term) -> Result<Element, Wrong<'_>> {
    match &term.value {
        Value::Atom(name) => Ok(named(name)),
        Value::Binary(bytes) => Ok(Element::Literal(bytes.clone())),
        Value::String(_) | Value::List { .. } => characters(term).map(Element::Literal),
        Value::Tuple(parts) => {
            let (name, pattern, options) = match parts.as_slice() {
                [name, pattern] => (name, pattern, None),
                [name, pattern, options] => (name, pattern, Some(options)),
                _ => return Err((term, WrongDispatch::Element)),
            };
            let Value::Atom(variable) = &name.value else {
                return Err((name, WrongDispatch::VariableName));
            };
            let pattern = match &pattern.value {
                Value::Tuple(_) | Value::Function => {
                    return Err((pattern, WrongDispatch::Function));
                }
                _ => read_pattern(pattern)?,
            };
            let pattern = match options {
                Some(options) => with_options(pattern, options)?,
                None => pattern,
            };
            Ok(Element::Pattern { name: variable.clone(), pattern })
        }
        Value::Integer(_) | Value::LargeInteger | Value::Float(_) => {
            Err((term, WrongDispatch::NumberElement))
        }
        _ => Err((term, WrongDispatch::Element)),
    }
}

/// Characters, strings and binaries in UTF-8, in lists at will: what `unicode:characters_to_binary/1` takes.
fn characters(term: &Term) -> Result<Vec<u8>, Wrong<'_>> {
    fn add<'a>(term: &'a Term, text: &mut Vec<u8>) -> Result<(), Wrong<'a>> {
        let wrong = Err((term, WrongDispatch::Text));
        match &term.value {
            Value::String(string) => text.extend_from_slice(string.as_bytes()),
            Value::Binary(bytes) if std::str::from_utf8(bytes).is_ok() => text.extend_from_slice(bytes),
            Value::Integer(code) => match u32::try_from(*code).ok().and_then(char::from_u32) {
                Some(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => return wrong,
            },
            Value::List { items, tail } => {
                items.iter().try_for_each(|item| add(item, text))?;
                match tail.as_deref() {
                    Some(tail @ Term { value: Value::Binary(_), .. }) => add(tail, text)?,
                    Some(tail) => return Err((tail, WrongDispatch::Text)),
                    None => {}
                }
            }
            _ => return wrong,
        }
        Ok(())
    }
    let mut text = Vec::new();
    add(term, &mut text)?;
    Ok(text)
}

/// The expression as text. `re:compile/2` takes numbers in a list as bytes and so do we: 233 is the byte
/// `\xE9`, not the two bytes of `é`; from 256 on it takes none.
fn read_pattern(term: &Term) -> Result<String, Wrong<'_>> {
    fn add<'a>(term: &'a Term, pattern: &mut Vec<u8>) -> Result<(), Wrong<'a>> {
        match &term.value {
            Value::String(string) => {
                for c in string.chars() {
                    pattern.push(
                        u8::try_from(u32::from(c)).map_err(|_| (term, WrongDispatch::PatternCharacter))?,
                    );
                }
            }
            Value::Binary(bytes) => pattern.extend_from_slice(bytes),
            Value::Integer(code) => {
                pattern.push(u8::try_from(*code).map_err(|_| (term, WrongDispatch::PatternCharacter))?);
            }
            Value::List { items, tail } => {
                items.iter().try_for_each(|item| add(item, pattern))?;
                if let Some(tail) = tail {
                    return Err((tail, WrongDispatch::Pattern));
                }
            }
            _ => return Err((term, WrongDispatch::Pattern)),
        }
        Ok(())
    }
    let mut pattern = Vec::new();
    add(term, &mut pattern)?;
    match String::from_utf8(pattern) {
        Ok(pattern) => Ok(pattern),
        Err(bytes) => Ok(escaped(bytes.as_bytes())),
    }
}

/// Bytes that are not ASCII as `\xE9`. A backslash before one, which makes it itself, goes.
fn escaped(pattern: &[u8]) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut after_backslash = false;
    for &byte in pattern {
        if !byte.is_ascii() {
            if after_backslash {
                text.pop();
            }
            text.push_str(&format!("\\x{byte:02X}"));
        } else {
            text.push(char::from(byte));
        }
        after_backslash = byte == b'\\' && !after_backslash;
    }
    text
}

/// Options of `re` as the expression itself can say them.
fn with_options<'a>(pattern: String, options: &'a Term) -> Result<String, Wrong<'a>> {
    let items = match &options.value {
        Value::List { items, tail: None } => items.as_slice(),
        Value::String(text) if text.is_empty() => &[],
        _ => return Err((options, WrongDispatch::PatternOptions)),
    };
    let mut letters = String::new();
    let mut anchored = false;
    for item in items {
        let letter = match &item.value {
            Value::Atom(option) => match option.as_str() {
                "caseless" => 'i',
                "dotall" => 's',
                "extended" => 'x',
                // How much is matched and what is captured make no difference to whether it is found.
                "ungreedy" | "no_auto_capture" | "global" => continue,
                "anchored" => {
                    anchored = true;
                    continue;
                }
                _ => return Err((item, WrongDispatch::PatternOption)),
            },
            Value::Tuple(parts) => match parts.first().map(|part| &part.value) {
                Some(Value::Atom(option)) if option == "capture" => continue,
                _ => return Err((item, WrongDispatch::PatternOption)),
            },
            _ => return Err((item, WrongDispatch::PatternOption)),
        };
        if !letters.contains(letter) {
            letters.push(letter);
        }
    }
    let flags = if letters.is_empty() { String::new() } else { format!("(?{letters})") };
    if !anchored {
        return Ok(format!("{flags}{pattern}"));
    }
    // A comment, which `extended` allows, would otherwise take the parenthesis with it.
    let end = if letters.contains('x') { "\n" } else { "" };
    Ok(format!("{flags}\\A(?:{pattern}{end})"))
}

/// The first `ssl` of the options, as `proplists:get_value(ssl, Options)` finds it.
fn read_ssl(options: &Term) -> Result<Option<Ssl>, Wrong<'_>> {
    let items = match &options.value {
        Value::List { items, tail: None } => items,
        Value::String(_) => return Ok(None),
        _ => return Err((options, WrongDispatch::Options)),
    };
    let is_ssl = |term: &Term| matches!(&term.value, Value::Atom(name) if name == "ssl");
    for item in items {
        let value = match &item.value {
            _ if is_ssl(item) => return Ok(Some(Ssl::Https)),
            Value::Tuple(parts) if parts.first().is_some_and(is_ssl) => match parts.as_slice() {
                [_, value] => value,
                _ => return Err((item, WrongDispatch::Ssl)),
            },
            _ => continue,
        };
        return match &value.value {
            Value::Atom(word) => match word.as_str() {
                "true" => Ok(Some(Ssl::Https)),
                "false" => Ok(Some(Ssl::Http)),
                "any" | "keep" => Ok(Some(Ssl::Any)),
                _ => Err((value, WrongDispatch::Ssl)),
            },
            _ => Err((value, WrongDispatch::Ssl)),
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
