//! A second matcher, written for clarity, and random tables and paths on which both must agree.

use proptest::prelude::*;

use super::*;

type Meaning = fn(&[u8]) -> bool;

/// Patterns with their meaning in plain code.
const PATTERNS: &[(&str, Meaning)] = &[
    ("[0-9]", |text| text.iter().any(u8::is_ascii_digit)),
    ("^[0-9]+$", |text| !text.is_empty() && text.iter().all(u8::is_ascii_digit)),
    ("^x*$", |text| text.iter().all(|&byte| byte == b'x')),
    (".", |text| text.iter().any(|&byte| byte != b'\n')),
    ("^(?!a)", |text| !text.starts_with(b"a")),
    ("^(.)\\1$", |text| text.len() == 2 && text[0] == text[1] && text[0] != b'\n'),
];

fn decode(segment: &[u8]) -> Vec<u8> {
    if !segment.contains(&b'%') {
        return segment.to_vec();
    }
    let mut out = Vec::new();
    let mut at = 0;
    while at < segment.len() {
        let digits = segment.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match (segment[at], digits) {
            (b'%', Some(digits)) => {
                let digits = std::str::from_utf8(digits).expect("hexadecimal");
                out.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    out
}

/// Section 5 word for word.
fn read(target: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    let path = target[..end].strip_prefix(b"/").expect("origin form");
    let mut segments: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    while let Some(at) = segments.windows(2).position(|pair| pair[1] == b"..") {
        segments.drain(at..at + 2);
    }
    let mut segments: Vec<Vec<u8>> = segments.into_iter().map(decode).collect();
    let is_dir = segments.last().is_none_or(Vec::is_empty);
    if is_dir {
        segments.pop();
    }
    (segments, is_dir)
}

fn matches(rule: &Rule, segments: &[Vec<u8>], languages: &[String]) -> bool {
    let some = rule.path.iter().any(|element| matches!(element, Element::Pattern { .. } | Element::Language));
    let (elements, rest) = match rule.path.split_last() {
        Some((Element::Rest, elements)) => (elements, true),
        _ => (&rule.path[..], false),
    };
    let fits = if rest {
        segments.len() >= elements.len() + usize::from(some)
    } else {
        segments.len() == elements.len()
    };
    fits && elements.iter().zip(segments).all(|(element, segment)| match element {
        Element::Literal(text) => text == segment,
        Element::Variable(_) | Element::Rest => true,
        Element::Language if languages.is_empty() => [&b"en"[..], b"nl"].contains(&&segment[..]),
        Element::Language => languages.iter().any(|language| language.as_bytes() == segment),
        Element::Pattern { pattern, .. } => {
            let (_, meaning) =
                PATTERNS.iter().find(|(text, _)| text == pattern).expect("a pattern of the list");
            meaning(segment)
        }
    })
}

fn first_match(site: &SiteRules, target: &[u8]) -> Option<usize> {
    let (mut segments, is_dir) = read(target);
    if (segments.len() > 1 || is_dir)
        && segments
            .first()
            .is_some_and(|first| site.languages.iter().any(|language| language.as_bytes() == first))
    {
        segments.remove(0);
    }
    site.rules.iter().position(|rule| matches(&rule, &segments, &site.languages))
}

fn element() -> impl Strategy<Value = Element> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "en", "a b", "", "..", "é", "a/b"]).prop_map(literal),
        3 => Just(variable("v")),
        2 => Just(Element::Rest),
        1 => Just(Element::Language),
        3 => prop::sample::select(PATTERNS).prop_map(|(text, _)| pattern("p", text)),
    ]
}

fn table() -> impl Strategy<Value = SiteRules> {
    let path = prop::collection::vec(element(), 0..6);
    let languages = prop::sample::select(vec![vec![], vec!["en".to_owned(), "nl".to_owned()]]);
    (prop::collection::vec(path, 0..40), languages).prop_map(|(paths, languages)| {
        let rules = paths
            .into_iter()
            .enumerate()
            .map(|(index, path)| rule(&format!("r{index}"), path, None))
            .collect();
        SiteRules { languages, rules, ..site("a", &["example.com"]) }
    })
}

/// Paths of likely segments, and paths of anything a target may hold.
fn target() -> impl Strategy<Value = String> {
    let likely = vec![
        "a", "b", "en", "nl", "a%20b", "a+b%20", "a+b", "", "", ".", "..", "..", "%2e%2e", "%C3%A9", "é",
        "a%2Fb", "%zz", "%", "12", "7", "x", "xx", "%61", "12%0A", "xx%0a", "%0a", "zz",
    ];
    prop_oneof![
        3 => prop::collection::vec(prop::sample::select(likely), 0..8).prop_map(|segments| format!("/{}", segments.join("/"))),
        2 => "/[/x.%2E+?#0]{0,24}",
        1 => prop::collection::vec(prop::sample::select(vec!["x", "..", ""]), 50..140).prop_map(|segments| format!("/{}", segments.join("/"))),
    ]
}

proptest! {
    #[test]
    fn the_table_answers_as_the_model(site in table(), targets in prop::collection::vec(target(), 1..20)) {
        let sites = Sites::compile(vec![site.clone()], PORTS).expect("compiles");
        for target in targets {
            let expected = first_match(&site, target.as_bytes()).map(|index| RuleId(index as u32));
            prop_assert_eq!(sites.matches(SiteId(0), target.as_bytes()), expected, "{}", target);
            prop_assert_eq!(is_dir(target.as_bytes()), read(target.as_bytes()).1, "{}", target);
            let mut normalized = Vec::new();
            prop_assert!(write_normalized(target.as_bytes(), &mut normalized));
            prop_assert_eq!(read(&normalized), read(target.as_bytes()), "{} as {:?}", target, normalized);
            let question = Question {
                scheme: Scheme::Https, handshake: None, authority: b"example.com", method: b"GET", target: target.as_bytes(),
            };
            prop_assert_eq!(sites.explain(&question).decision, sites.decide(&question));
            prop_assert_eq!(sites.decide(&question).rule, expected);
        }
    }

    #[test]
    fn no_question_panics(authority in any::<Vec<u8>>(), target in any::<Vec<u8>>(), slash in any::<bool>()) {
        let sites = Sites::compile(vec![site("a", &["*"])], PORTS).expect("compiles");
        let target = if slash { [b"/", &target[..]].concat() } else { target };
        let question = Question {
            scheme: Scheme::Http, handshake: None, authority: &authority, method: b"GET", target: &target,
        };
        if let Action::Redirect(redirect) = sites.decide(&question).action {
            let mut location = Vec::new();
            redirect.write_location(&mut location);
            prop_assert!(location.iter().all(|&byte| byte > b' ' && byte != 0x7f));
        }
    }

    #[test]
    fn no_pattern_panics(text in "[a-c(){}\\[\\]\\\\|*+?^$.:<=!>,0-9iPk'-]{0,30}", subject in "[a-c0-9]{0,12}") {
        let mut room = 1 << 16;
        if let Ok(pattern) = super::super::pattern::Pattern::compile(&text, &mut room) {
            pattern.is_in(super::super::path::Segment { raw: subject.as_bytes(), escaped: false });
        }
    }
}

#[test]
fn a_hostile_path_costs_at_most_what_asking_every_rule_would() {
    // Every node has a literal, a variable and a pattern child: a matcher that tries again from
    // each would need 3^20 steps for this path. The rules are the deepest of a full table.
    let elements = [literal("a"), variable("v"), pattern("p", "^(?=a)a$")];
    let mut written = site("a", &["example.com"]);
    let rules = (0..3_u32.pow(7)).map(|number| {
        let mut path: Vec<Element> =
            (0..7).map(|digit| elements[(number / 3_u32.pow(digit) % 3) as usize].clone()).collect();
        path.extend([Element::Rest, literal("never")]);
        rule("r", path, None)
    });
    written.rules = rules.collect();
    let sites = Sites::compile(vec![written], PORTS).expect("compiles");
    for target in [
        "/a".repeat(20),
        "/%61".repeat(8),
        format!("{}/{}", "/a".repeat(8), "%61".repeat(10_000)),
        "/a".repeat(16_000),
    ] {
        assert_eq!(sites.matches(SiteId(0), target.as_bytes()), None);
    }
    assert_eq!(sites.matches(SiteId(0), b"/a/a/a/a/a/a/a/x/never"), Some(RuleId(0)));
    assert_eq!(sites.matches(SiteId(0), b"/b/b/b/b/b/b/b/x/never"), Some(RuleId(1093)));
}
