//! Files of `tests/data/zotonic` and what becomes of them, and tables of smaller cases.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::dispatch::written_path;

fn file(name: &str) -> (Vec<u8>, Arc<Path>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/zotonic").join(name);
    (std::fs::read(path).expect("a sample file"), Path::new(name).into())
}

fn here() -> Arc<Path> {
    Path::new("dispatch").into()
}

/// Compares with a file. `UPDATE_GOLDEN=1` writes it anew, to be read before it is committed.
fn golden(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/zotonic").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).expect("a writable file");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "differs from {name}");
}

/// Reads the lines `to_toml` writes, as far as a test needs it.
fn from_toml(text: &str) -> Vec<(String, Vec<Element>, Option<Ssl>)> {
    let table = ::toml::de::DeTable::parse(text).expect("TOML").into_inner();
    let rules = table.get("dispatch").expect("dispatch").get_ref().as_array().expect("an array").clone();
    let read = |rule: &::toml::Spanned<::toml::de::DeValue<'_>>| {
        let rule = rule.get_ref().as_table().expect("a table");
        let name = rule.get("name").expect("a name").get_ref().as_str().expect("text").to_owned();
        let path = rule.get("path").expect("a path").get_ref();
        let path = match (path.as_str(), path.as_array()) {
            (Some(path), _) => written_path::parse_path(path),
            (_, Some(segments)) => {
                let segments: Vec<_> =
                    segments.iter().map(|segment| segment.get_ref().as_str().expect("text")).collect();
                written_path::parse_segments(&segments)
            }
            _ => panic!("neither text nor array"),
        };
        let ssl = rule.get("ssl").map(|ssl| match (ssl.get_ref().as_bool(), ssl.get_ref().as_str()) {
            (Some(true), _) => Ssl::Https,
            (Some(false), _) => Ssl::Http,
            (_, Some("any")) => Ssl::Any,
            _ => panic!("no ssl"),
        });
        (name, path.expect("a path"), ssl)
    };
    rules.iter().map(read).collect()
}

#[test]
fn a_dispatch_file_becomes_configuration_that_means_the_same() {
    let (text, name) = file("dispatch");
    let rules = rules(&text, name).expect("rules");
    let toml = to_toml(&rules);
    golden("dispatch.toml", &toml);
    let same: Vec<_> = rules.into_iter().map(|rule| (rule.name, rule.path, rule.ssl)).collect();
    assert_eq!(from_toml(&toml), same);
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place() {
    let (text, name) = file("wrong");
    let problems = rules(&text, name).expect_err("problems");
    let lines: Vec<_> = problems.iter().map(|problem| format!("{problem}\n")).collect();
    golden("wrong.txt", &lines.concat());
}

#[test]
fn a_file_that_does_not_parse_is_an_error_with_its_place() {
    let problems = rules(b"[\n {home, [], c []}\n].", here()).expect_err("a problem");
    let place = Place { file: here(), line: 2, column: 15 };
    let wrong = WrongDispatch::Term(erlang::WrongTerm::NoComma);
    assert_eq!(problems, [DispatchProblem { place, wrong }]);
}

#[test]
fn rules_know_where_they_are() {
    let rules = rules(b"% c\n[{a, [], c, []},\n  {b, [], c, []}].", here()).expect("rules");
    let places: Vec<_> = rules.iter().map(|rule| (rule.place.line, rule.place.column)).collect();
    assert_eq!(places, [(2, 2), (3, 3)]);
    assert_eq!(super::rules(b"", here()), Ok(vec![]));
    assert_eq!(super::rules(b"[]. [[], \"\"].", here()), Ok(vec![]));
    assert_eq!(super::rules(b"{a, [], c, []}.", here()).map(|rules| rules.len()), Ok(1));
}

#[test]
fn the_first_ssl_counts() {
    use Ssl::{Any, Http, Https};
    let cases = [
        ("[]", Some(None)),
        ("\"\"", Some(None)),
        ("[seo, {sslx, true}, {\"ssl\", true}]", Some(None)),
        ("[ssl]", Some(Some(Https))),
        ("[a, {ssl, true}, {ssl, false}]", Some(Some(Https))),
        ("[{ssl, false}, ssl]", Some(Some(Http))),
        ("[{ssl, any}]", Some(Some(Any))),
        ("[{ssl, keep}]", Some(Some(Any))),
        ("[{ssl, any}, {ssl, 1}]", Some(Some(Any))),
        ("[{ssl, 1}]", None),
        ("[{ssl}]", None),
        ("[{ssl, undefined}]", None),
        ("[a|ssl]", None),
        ("ssl", None),
    ];
    for (options, expected) in cases {
        let found = rules(format!("{{a, [], c, {options}}}.").as_bytes(), here());
        assert_eq!(found.ok().map(|rules| rules[0].ssl), expected, "{options}");
    }
}

#[test]
fn elements_are_read_as_zotonic_reads_them() {
    let pattern = |pattern: &str| Element::Pattern { name: "v".to_owned(), pattern: pattern.to_owned() };
    let literal = |bytes: &[u8]| Element::Literal(bytes.to_vec());
    let variable = |name: &str| Element::Variable(name.to_owned());
    let cases: &[(&str, Vec<Element>)] = &[
        ("[]", vec![]),
        ("\"\"", vec![]),
        ("<<>>", vec![]),
        ("[\"\"]", vec![literal(b"")]),
        ("[[]]", vec![literal(b"")]),
        (
            "[\"\u{e9}\", <<\"\u{e9}\">>, <<\"\u{e9}\"/utf8>>]",
            vec![literal(b"\xc3\xa9"), literal(b"\xe9"), literal(b"\xc3\xa9")],
        ),
        ("[[\"a\", <<\"b\">>, $c, [233|<<\"d\">>]]]", vec![literal(b"abc\xc3\xa9d")]),
        (
            "[id, 'Id', z_language, '*', true]",
            vec![variable("id"), variable("Id"), Element::Language, Element::Rest, variable("true")],
        ),
        ("[\"*\", \"z_language\"]", vec![literal(b"*"), literal(b"z_language")]),
        ("\"/a//:id/*/\"", vec![literal(b"a"), variable("id"), Element::Rest]),
        ("[$a, $/, $b]", vec![literal(b"a"), literal(b"b")]),
        ("<<\"a/:z_language\">>", vec![literal(b"a"), Element::Language]),
        (
            "[{v, \"^a$\"}, {v, <<\"b\">>}, {v, [\"c\", <<\"d\">>, $e]}]",
            vec![pattern("^a$"), pattern("b"), pattern("cde")],
        ),
        (
            "[{v, \"\u{e9}\"}, {v, \"[\\\\\u{e9}]\\\\\\\\\u{e9}\"}]",
            vec![pattern("\\xE9"), pattern("[\\xE9]\\\\\\xE9")],
        ),
        ("[{v, <<\"\u{e9}\"/utf8>>}]", vec![pattern("\u{e9}")]),
        ("[{v, \"a\", []}, {v, \"a\", [caseless, dotall, caseless]}]", vec![pattern("a"), pattern("(?is)a")]),
        ("[{v, \"a|b\", [anchored]}]", vec![pattern("\\A(?:a|b)")]),
        ("[{z_language, \"a\"}]", vec![Element::Pattern { name: "z_language".into(), pattern: "a".into() }]),
    ];
    for (path, expected) in cases {
        let found = rules(format!("{{a, {path}, c, []}}.").as_bytes(), here());
        assert_eq!(found.map(|rules| rules[0].path.clone()).as_ref(), Ok(expected), "{path}");
    }
}

#[test]
fn a_rule_without_words_is_a_comment() {
    let rules =
        rules(b"[{'a\n]', [{'x:y', \"a\"}], c, []}, {b, ['*'], c, [ssl]}].", Path::new("odd\nname").into());
    let expected = "dispatch = [\n  # odd?name\n  # line 1: rule \"a\\n]\" is left out, its paths fall to the rules below: \
        no words here for Pattern { name: \"x:y\", pattern: \"a\" }; rename it\n  { name = \"b\", path = \"/*\", ssl = true },\n]\n";
    assert_eq!(to_toml(&rules.expect("rules")), expected);
}

proptest! {
    #[test]
    fn rules_survive_the_way_through_the_configuration(
        name in any::<String>(),
        literals in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5), 0..4),
        pattern in "[^}]{1,8}",
    ) {
        let mut path: Vec<_> = literals.into_iter().map(Element::Literal).collect();
        path.push(Element::Pattern { name: "p".to_owned(), pattern });
        let place = Place { file: here(), line: 1, column: 1 };
        let rule = Rule { name, path, ssl: Some(Ssl::Any), place };
        // Names are for people: an empty one is none.
        let name = if rule.name.is_empty() { "unnamed".to_owned() } else { rule.name.clone() };
        let expected = vec![(name, rule.path.clone(), rule.ssl)];
        prop_assert_eq!(from_toml(&to_toml(&[rule])), expected);
    }

    #[test]
    fn never_panics(text in r#"(\[|\]|\{|\}|,|a|'\*'|"[a*/:]{0,3}"|<<"a">>|ssl|true|\{ssl,|\.\n|[0-9])*"#) {
        let _ = rules(text.as_bytes(), here());
    }
}
