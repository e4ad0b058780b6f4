//! Which paths a rule is about: their lengths, their segments, and targets that are read as them.

use super::super::rule::{Element, Rule};
use super::super::site::Site;

pub(super) fn has_rest(rule: &Rule) -> bool {
    rule.path.last() == Some(&Element::Rest)
}

/// The least number of segments the rule takes: all that it has, but for a final `*` that may take none.
pub(super) fn shortest(rule: &Rule) -> usize {
    let takes_some = |element: &Element| matches!(element, Element::Pattern { .. } | Element::Language);
    let may_be_empty = has_rest(rule) && !rule.path.iter().any(takes_some);
    rule.path.len() - usize::from(may_be_empty)
}

/// What the rule has for the segment at this position: its final `*` for all that follow.
pub(super) fn element(rule: &Rule, position: usize) -> Option<&Element> {
    rule.path.get(position).or_else(|| rule.path.last().filter(|last| **last == Element::Rest))
}

/// A target that is read as these segments.
pub(super) fn target(site: &Site, segments: &[Vec<u8>]) -> Vec<u8> {
    let mut target = Vec::new();
    let ends_empty = segments.last().is_some_and(Vec::is_empty);
    // What looks like a language prefix is cut; a language before it is cut in its place.
    if let [first, rest @ ..] = segments
        && (!rest.is_empty() || ends_empty)
        && site.written.languages.iter().any(|code| code.as_bytes() == first)
    {
        add_segment(&mut target, first);
    }
    segments.iter().for_each(|segment| add_segment(&mut target, segment));
    if segments.is_empty() || ends_empty {
        // A last empty segment is dropped.
        target.push(b'/');
    }
    target
}

fn add_segment(target: &mut Vec<u8>, segment: &[u8]) {
    target.push(b'/');
    for &byte in segment {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
        if plain || byte == b'.' && segment != b".." {
            target.push(byte);
        } else {
            target.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}
