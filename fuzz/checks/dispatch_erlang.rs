//! Any bytes are Erlang terms or an error with its place; lines of what was read are lines of the text.

use portcullis::dispatch::erlang::{self, Term, Value};

pub fn check(bytes: &[u8]) {
    match erlang::read(bytes) {
        Ok(terms) => terms.iter().for_each(|term| placed(term, bytes, 0)),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            inside(error.line, error.column, bytes);
        }
    }
}

fn placed(term: &Term, bytes: &[u8], depth: usize) {
    assert!(depth <= erlang::NESTING_MAX, "nested deeper than it says");
    inside(term.line, term.column, bytes);
    match &term.value {
        Value::List { items, tail } => {
            items.iter().for_each(|item| placed(item, bytes, depth + 1));
            tail.iter().for_each(|tail| placed(tail, bytes, depth + 1));
        }
        Value::Tuple(items) => items.iter().for_each(|item| placed(item, bytes, depth + 1)),
        Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            placed(key, bytes, depth + 1);
            placed(value, bytes, depth + 1);
        }),
        _ => {}
    }
}

fn inside(line: u32, column: u32, bytes: &[u8]) {
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
    assert!((1..=lines).contains(&(line as usize)), "line {line} of {lines}");
    assert!((1..=bytes.len() + 1).contains(&(column as usize)), "column {column}");
}
