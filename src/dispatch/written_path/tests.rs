//! What is read, what is refused, and that what is written is read back.

use proptest::prelude::*;

use super::*;

fn literal(bytes: impl AsRef<[u8]>) -> Element {
    Element::Literal(bytes.as_ref().to_vec())
}

fn variable(name: &str) -> Element {
    Element::Variable(name.to_owned())
}

fn pattern(name: &str, pattern: &str) -> Element {
    Element::Pattern { name: name.to_owned(), pattern: pattern.to_owned() }
}

#[test]
fn reads_the_string_form() {
    let cases: &[(&str, Vec<Element>)] = &[
        ("/", vec![]),
        ("//", vec![literal("")]),
        ("/logon", vec![literal("logon")]),
        ("/logon/", vec![literal("logon")]),
        ("/a//b", vec![literal("a"), literal(""), literal("b")]),
        ("/lib/*", vec![literal("lib"), Element::Rest]),
        ("/*/a", vec![Element::Rest, literal("a")]),
        ("/page/{id}/{slug}", vec![literal("page"), variable("id"), variable("slug")]),
        ("/video/{id:^[0-9]+$}", vec![literal("video"), pattern("id", "^[0-9]+$")]),
        ("/{id:^[0-9]{3}$}/x", vec![pattern("id", "^[0-9]{3}$"), literal("x")]),
        ("/{id:a/b:c}", vec![pattern("id", "a/b:c")]),
        (r"/{id:^\}$}/x", vec![pattern("id", r"^\}$"), literal("x")]),
        (r"/{id:^\{\\$}/x", vec![pattern("id", r"^\{\\$"), literal("x")]),
        ("/{z_language}/x", vec![Element::Language, literal("x")]),
        ("/caf\u{e9}", vec![literal("caf\u{e9}")]),
        ("/caf%C3%a9", vec![literal("caf\u{e9}")]),
        ("/%ff%2F%7Bid%7D%25%2A+", vec![literal(b"\xff/{id}%*+")]),
        ("/..", vec![literal("..")]),
    ];
    for (written, elements) in cases {
        assert_eq!(parse_path(written).as_ref(), Ok(elements), "{written}");
    }
}

#[test]
fn reads_the_array_form() {
    let cases: &[(&[&str], Vec<Element>)] = &[
        (&[], vec![]),
        (&["page", "{id}", "*"], vec![literal("page"), variable("id"), Element::Rest]),
        (&["a", ""], vec![literal("a"), literal("")]),
        (&["{id:^[^}]+$}", "x"], vec![pattern("id", "^[^}]+$"), literal("x")]),
        (&["{id:[{/]}"], vec![pattern("id", "[{/]")]),
    ];
    for (written, elements) in cases {
        assert_eq!(parse_segments(written).as_ref(), Ok(elements), "{written:?}");
    }
}

#[test]
fn says_what_is_wrong_and_where() {
    let cases = [
        ("", 0, 0, 0, WrongPath::NoLeadingSlash),
        ("logon", 0, 0, 0, WrongPath::NoLeadingSlash),
        ("/a/b%2", 1, 4, 1, WrongPath::Percent),
        ("/100%", 0, 4, 1, WrongPath::Percent),
        ("/a?b", 0, 2, 1, WrongPath::Query),
        ("/a#b", 0, 2, 1, WrongPath::Query),
        ("/a/{id", 1, 3, 1, WrongPath::Unclosed),
        ("/a/{id/b", 1, 3, 1, WrongPath::Unclosed),
        ("/a/id}", 1, 5, 1, WrongPath::Unopened),
        ("/page-{id}/x", 0, 1, 9, WrongPath::PartlyVariable),
        ("/{id}.html", 0, 1, 9, WrongPath::PartlyVariable),
        ("/{a}{b}", 0, 1, 6, WrongPath::PartlyVariable),
        ("/x{", 0, 2, 1, WrongPath::Unclosed),
        ("/lib/*.css", 1, 5, 1, WrongPath::PartlyStar),
        ("/{}", 0, 1, 2, WrongPath::NoName),
        ("/{:a}", 0, 1, 4, WrongPath::NoName),
        ("/{*}", 0, 2, 1, WrongPath::Name),
        ("/{a{b}", 0, 3, 1, WrongPath::Name),
        ("/a/{id:}", 1, 6, 1, WrongPath::NoPattern),
        ("/{id:[^}]+}", 0, 1, 10, WrongPath::Unpaired),
        ("/{id:[^{]+}", 0, 1, 10, WrongPath::Unpaired),
    ];
    for (written, segment, offset, length, wrong) in cases {
        let expected = PathError { segment, offset, length, wrong };
        assert_eq!(parse_path(written), Err(expected), "{written}");
    }
    let error = parse_segments(&["a", "b/c"]).expect_err("a slash in a segment");
    assert_eq!((error.segment, error.offset, error.wrong), (1, 1, WrongPath::SlashInSegment));
    let long = "/a".repeat(SEGMENTS_MAX + 1);
    assert_eq!(parse_path(&long).map_err(|error| error.wrong), Err(WrongPath::TooLong));
    assert!(parse_path(&long[2..]).is_ok());
}

proptest! {
    #[test]
    fn never_panics_and_points_into_the_text(text in r"(/|[a{}:*%\\\u{e9}0-9\[\]])*") {
        if let Err(error) = parse_path(&text) {
            assert!(text.get(error.offset..error.offset + error.length).is_some(), "{error:?}");
        }
        if let Err(error) = parse_segment(&text) {
            assert!(text.get(error.offset..error.offset + error.length).is_some(), "{error:?}");
        }
    }
}

#[test]
fn writes_the_form_that_reads_best() {
    let path = |text: &str| Some(Written::Path(text.to_owned()));
    let segments =
        |texts: &[&str]| Some(Written::Segments(texts.iter().map(|text| (*text).to_owned()).collect()));
    let cases = [
        (vec![], path("/")),
        (vec![literal("lib"), Element::Rest], path("/lib/*")),
        (vec![literal("a"), pattern("id", "^[0-9]{3}/x$")], path("/a/{id:^[0-9]{3}/x$}")),
        (vec![literal(b"\xff/{}%*?#+ \n\xc3\xa9")], path("/%FF%2F%7B%7D%25%2A%3F%23+ %0A\u{e9}")),
        (vec![Element::Language, variable("id")], path("/{z_language}/{id}")),
        (vec![pattern("z_language", "en")], path("/{z_language:en}")),
        (vec![literal(""), literal("a")], path("//a")),
        (vec![literal("a"), literal("")], segments(&["a", ""])),
        (vec![pattern("id", "[^}]"), literal("a/b")], segments(&["{id:[^}]}", "a%2Fb"])),
        (vec![variable("z_language")], None),
        (vec![variable("a:b")], None),
        (vec![variable("")], None),
        (vec![pattern("id", "")], None),
        (vec![pattern("*", "a")], None),
    ];
    for (elements, written) in cases {
        assert_eq!(write(&elements), written, "{elements:?}");
    }
}

fn any_element() -> impl Strategy<Value = Element> {
    prop_oneof![
        proptest::collection::vec(proptest::num::u8::ANY, 0..4).prop_map(Element::Literal),
        "[a{}:%*/?.]{0,3}".prop_map(|text| Element::Literal(text.into_bytes())),
        "[a{}:%]{0,3}|z_language".prop_map(Element::Variable),
        (r"[a:\u{e9}]{0,2}", r"[a{}/\\\[\]:]{0,5}")
            .prop_map(|(name, pattern)| Element::Pattern { name, pattern }),
        Just(Element::Language),
        Just(Element::Rest),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(elements in proptest::collection::vec(any_element(), 0..4)) {
        match write(&elements) {
            Some(Written::Path(path)) => assert_eq!(parse_path(&path), Ok(elements)),
            Some(Written::Segments(segments)) => assert_eq!(parse_segments(&segments), Ok(elements)),
            None => assert!(elements.iter().any(|element| !matches!(element, Element::Literal(_) | Element::Language | Element::Rest))),
        }
    }
}
