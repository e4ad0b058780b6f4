//! A path that was read is written so that it is read the same.

use portcullis::dispatch::Element;
use portcullis::dispatch::written_path::{PathError, Written, parse_path, parse_segments, write};

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match parse_path(text) {
        Ok(elements) => survives(&elements),
        Err(error) => points_into(text, &error),
    }
    let segments: Vec<&str> = text.split('\n').collect();
    match parse_segments(&segments) {
        Ok(elements) => survives(&elements),
        Err(error) => points_into(segments.get(error.segment).expect("a segment that is there"), &error),
    }
}

fn survives(elements: &[Element]) {
    let again = match write(elements) {
        Some(Written::Path(path)) => parse_path(&path),
        Some(Written::Segments(segments)) => parse_segments(&segments),
        None => panic!("read, and there are no words for it: {elements:?}"),
    };
    assert_eq!(again.as_deref(), Ok(elements));
}

fn points_into(text: &str, error: &PathError) {
    assert!(!error.to_string().is_empty());
    assert!(text.get(error.offset..error.offset + error.length).is_some(), "{error:?}");
}
