//! Regular expressions of rules: compiled or refused, and found or not whatever form the pattern and the text have.
//!
//! The first line is the pattern, the others are texts to find it in.

use std::path::Path;
use std::sync::Arc;

use portcullis::dispatch::{
    Alias, Element, PATTERN_BYTES_MAX, Place, Ports, Rule, RuleProblemKind, SiteId, SiteRules, Sites,
    Unmatched,
};

/// A longer text makes the machine for what has no automaton give up sooner than the automaton does.
const COMPARED_BYTES_MAX: usize = 16;

/// A pattern and texts; see the module.
pub fn check(bytes: &[u8]) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let Some(pattern) = lines.next().and_then(|line| std::str::from_utf8(line).ok()) else {
        return;
    };
    let Some(alone) = compile(pattern) else {
        return;
    };
    // Look-ahead for nothing always succeeds, and no automaton can do it: the same pattern on the other machine.
    let other = compile(&format!("(?:{pattern})(?=)"));
    for text in lines.take(16) {
        let found = is_in(&alone, &escaped(text));
        let plain =
            text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_~!$&'()*,;=:@+.".contains(byte));
        if plain && text != b".." {
            assert_eq!(is_in(&alone, text), found, "{pattern:?} in {}", text.escape_ascii());
        }
        if let Some(other) = &other
            && text.len() <= COMPARED_BYTES_MAX
            && is_in(other, &escaped(text)) != found
        {
            // Past its bound on steps the machine finds nothing.
            assert!(found && is_hard(pattern, text), "{pattern:?} in {}: {found} alone", text.escape_ascii());
        }
    }
}

/// Whether a pattern can cost so many steps that the machine gives up: roughly, each loop or choice multiplies them
/// by the length of the text.
fn is_hard(pattern: &str, text: &[u8]) -> bool {
    let weight = |byte| match byte {
        b'*' | b'+' | b'?' | b'|' => 1,
        b'{' => 4,
        _ => 0,
    };
    let loops: u32 = pattern.bytes().map(weight).sum();
    let ways = (text.len() as u64 + 2).saturating_pow(loops);
    ways.saturating_mul(pattern.len() as u64) > 20_000
}

fn compile(pattern: &str) -> Option<Sites> {
    let place = Place { file: Arc::from(Path::new("fuzz")), line: 1, column: 1 };
    let path = vec![Element::Pattern { name: "p".to_owned(), pattern: pattern.to_owned() }];
    let site = SiteRules {
        name: "site".to_owned(),
        hosts: vec!["*".to_owned()],
        aliases: Vec::new(),
        alias: Alias::Redirect,
        ssl: false,
        is_secure: false,
        is_ssl: false,
        is_permanent: false,
        languages: Vec::new(),
        unmatched: Unmatched::Forward,
        rules: [Rule { name: "rule".to_owned(), path, ssl: None, place }].into(),
        tls_policy: 0,
    };
    match Sites::compile(vec![site], Ports::default()) {
        Ok(sites) => {
            assert!(pattern.len() <= PATTERN_BYTES_MAX);
            Some(sites)
        }
        Err(problems) => {
            let [problem] = &problems[..] else {
                panic!("one pattern has one problem: {problems:?}");
            };
            let RuleProblemKind::Pattern { element: 0, problem, .. } = &problem.kind else {
                panic!("{problem:?}");
            };
            assert!(
                problem.start <= problem.end && problem.end <= pattern.len(),
                "{problem:?} of {pattern:?}"
            );
            assert!(!problem.kind.message().is_empty());
            None
        }
    }
}

/// `segment` is encoded; the slash behind it lets it be empty.
fn is_in(sites: &Sites, segment: &[u8]) -> bool {
    sites.matches(SiteId(0), &[b"/", segment, b"/"].concat()).is_some()
}

/// Every byte as `%XX`.
fn escaped(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect()
}
