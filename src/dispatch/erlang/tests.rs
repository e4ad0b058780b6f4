//! Tables of what is read and what is refused. The expectations were taken from `file:consult/1`.

use super::*;

/// As `io:format("~w")` prints it: strings are lists of numbers.
fn print(term: &Term) -> String {
    let all = |terms: &[Term]| terms.iter().map(print).collect::<Vec<_>>().join(",");
    let numbers = |numbers: Vec<u32>| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    match &term.value {
        Value::Atom(name) if name.chars().all(char::is_alphanumeric) => name.clone(),
        Value::Atom(name) => format!("'{name}'"),
        Value::Integer(number) => number.to_string(),
        Value::LargeInteger => "large".to_owned(),
        Value::Float(number) => format!("{number:?}"),
        Value::String(text) => format!("[{}]", numbers(text.chars().map(u32::from).collect())),
        Value::Binary(bytes) => format!("<<{}>>", numbers(bytes.iter().copied().map(u32::from).collect())),
        Value::Bitstring => "bits".to_owned(),
        Value::List { items, tail: None } => format!("[{}]", all(items)),
        Value::List { items, tail: Some(tail) } => format!("[{}|{}]", all(items), print(tail)),
        Value::Tuple(items) => format!("{{{}}}", all(items)),
        Value::Map(pairs) => {
            let pair = |(key, value): &(Term, Term)| format!("{}=>{}", print(key), print(value));
            format!("#{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(","))
        }
        Value::Function => "fun".to_owned(),
    }
}

fn printed(text: &[u8]) -> String {
    match read(text) {
        Ok(terms) => terms.iter().map(print).collect::<Vec<_>>().join(" "),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn reads_what_consult_reads() {
    let cases = [
        ("", ""),
        ("% only a comment", ""),
        ("a. b. % end", "a b"),
        ("a.%c\nb.", "a b"),
        ("\u{feff}a.", "a"),
        ("{}.\n[].", "{} []"),
        ("{home, [], controller, []}.", "{home,[],controller,[]}"),
        ("'*'. 'z_language'.", "'*' 'z_language'"),
        (r"'it\'s'. 'a b'.", "'it's' 'a b'"),
        ("a@B_9. \u{e9}.", "'a@B_9' \u{e9}"),
        ("maybe.", "maybe"),
        ("$a. $\\n. $\\s. $ . $\\x{41}. $\\$. $%.", "97 10 32 32 65 36 37"),
        ("1_000. 16#ff. 16#f_f. 36#zz. -5. - 5. +1. -$a.", "1000 255 255 1295 -5 -5 1 -97"),
        ("9223372036854775808. 16#ffffffffffffffffffffffff.", "large large"),
        ("1.5. 1_0.2_5. 1.0e3. 1.5E-3. -0.5.", "1.5 10.25 1000.0 0.0015 -0.5"),
        (r#""\b\d\e\f\n\r\s\t\v\8\"\\"."#, "[8,127,27,12,10,13,32,9,11,56,34,92]"),
        (r#""\101\7\1234\777\xe9\x{20ac}\^a\^?"."#, "[65,7,83,52,511,233,8364,1,127]"),
        ("\"a\\\nb\". \"a\nb\".", "[97,10,98] [97,10,98]"),
        (
            r#""a" "b" % c
           "c". "a""b"."#,
            "[97,98,99] [97,98]",
        ),
        ("\"% no comment\". '%'.", "[37,32,110,111,32,99,111,109,109,101,110,116] '%'"),
        ("[a|b]. [a|[b]]. [a|[b|c]]. [$a|\"bc\"]. [a,b|[]].", "[a|b] [a,b] [a,b|c] [97,98,99] [a,b]"),
        ("(1). ({(a)}).", "1 {a}"),
        ("#{}. #{a => 1, \"b\" => #{}}. #{a=>1}.", "#{} #{a=>1,[98]=>#{}} #{a=>1}"),
        ("fun a:b/1. fun 'A' : b / 2.", "fun fun"),
        ("[{ssl, true}, ssl, {acl, [{a, {b, <<\"c\">>}}]}].", "[{ssl,true},ssl,{acl,[{a,{b,<<99>>}}]}]"),
    ];
    for (text, expected) in cases {
        assert_eq!(printed(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn makes_binaries() {
    let cases = [
        ("<<>>. <<\"\">>.", "<<>> <<>>"),
        ("<<\"a\" \"b\">>. <<\"a\",\"b\">>. << \"a\" , $b , 99 >>.", "<<97,98>> <<97,98>> <<97,98,99>>"),
        ("<<\"\u{e9}\">>. <<\"\u{e9}\"/utf8>>. <<\"\u{20ac}\">>.", "<<233>> <<195,169>> <<172>>"),
        (
            "<<233/utf8>>. <<\"x\"/utf16>>. <<\"x\"/utf16-little>>. <<\"x\"/utf32>>.",
            "<<195,169>> <<0,120>> <<120,0>> <<0,0,0,120>>",
        ),
        (
            "<<1:16>>. <<1:16/little>>. <<\"ab\":16/little>>. <<-1:16>>. <<256>>.",
            "<<0,1>> <<1,0>> <<97,0,98,0>> <<255,255>> <<0>>",
        ),
        ("<<258:12, 3:4>>. <<1:12/little, 0:4>>. <<1:1, 1:1, 0:6>>.", "<<16,35>> <<1,0>> <<192>>"),
        ("<<5:3>>. <<258:12>>.", "bits bits"),
        (
            "<<-1:72>>. <<1:72>>. <<1:72/little>>.",
            "<<255,255,255,255,255,255,255,255,255>> <<0,0,0,0,0,0,0,0,1>> <<1,0,0,0,0,0,0,0,0>>",
        ),
        ("<<3:(2)/unit:8>>. <<1.5/float>>. <<1:32/float>>.", "<<0,3>> <<63,248,0,0,0,0,0,0>> <<63,128,0,0>>"),
        (
            "<<(<<\"ab\">>)/binary, 1>>. << <<1>>/binary >>. <<(<<\"ab\">>):1/binary>>.",
            "<<97,98,1>> <<1>> <<97>>",
        ),
        ("<<1:4, (<<\"a\">>)/binary, 2:4>>. <<(<<255>>):4/bits, 0:4>>.", "<<22,18>> <<240>>"),
    ];
    for (text, expected) in cases {
        assert_eq!(printed(text.as_bytes()), expected, "{text}");
    }
    let wrong = [
        "<<a>>.",
        "<<1.5>>.",
        "<<\"a\"/binary>>.",
        "<<1:3/binary>>.",
        "<<1/utf8-integer>>.",
        "<<1/unit:8>>.",
        "<<2.5:32>>.",
        "<<(<<1>>):2/binary>>.",
        "<<1:1000>>.",
        "<<1:a>>.",
        "<<1/blue>>.",
        "<<55296/utf8>>.",
        "<<{}>>.",
        "<<<<1>>>>.",
    ];
    for text in wrong {
        let error = read(text.as_bytes()).expect_err(text);
        assert!(matches!(error.wrong, WrongTerm::Segment | WrongTerm::Character), "{text}: {error:?}");
    }
}

#[test]
fn reads_triple_quoted_strings_and_sigils() {
    let cases = [
        ("\"\"\"\n  a\n    b\\n\n\n  \"\"\".", "[97,10,32,32,98,92,110,10]"),
        ("\"\"\"\n\"\"\".", "[]"),
        ("\"\"\"\"\n\"\"\"\n\"\"\"\".", "[34,34,34]"),
        ("\"\"\"a\"\"\".", "[97]"),
        ("~\"\u{e9}\\n\". ~b(a). ~B[\\n]. ~s{a}. ~S<\\>.", "<<195,169,10>> <<97>> <<92,110>> [97] [92]"),
        ("~/a/. ~|a|. ~'a'. ~`a`. ~#a#.", "<<97>> <<97>> <<97>> <<97>> <<97>>"),
        ("~\"\"\"\n \\n\n \"\"\".", "<<92,110>>"),
        ("~b\"\"\"\n \\n\n \"\"\".", "<<10>>"),
    ];
    for (text, expected) in cases {
        assert_eq!(printed(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn says_what_is_wrong_and_where() {
    use WrongTerm as W;
    let cases = [
        ("a", 1, 2, W::NoDot),
        ("a\nb.", 2, 1, W::NoDot),
        ("{a}.b", 1, 4, W::DotWithoutBlank),
        ("{}.[].", 1, 3, W::DotWithoutBlank),
        (".", 1, 1, W::Unexpected('.')),
        ("a, b.", 1, 2, W::Unexpected(',')),
        ("{a b}.", 1, 4, W::NoComma),
        ("[{a}\n {b}].", 2, 2, W::NoComma),
        ("[a,].", 1, 4, W::TrailingComma),
        ("{a,}.", 1, 4, W::TrailingComma),
        ("{a].", 1, 3, W::Unexpected(']')),
        ("\n [a, {b}", 2, 2, W::Unclosed(Opened::List)),
        ("[{a, b.\n c.", 1, 2, W::Unclosed(Opened::Tuple)),
        ("[a|", 1, 4, W::NoTerm),
        ("[a|b,c].", 1, 5, W::Unexpected(',')),
        ("[|a].", 1, 2, W::Unexpected('|')),
        ("#{a => 1", 1, 1, W::Unclosed(Opened::Map)),
        ("#{a := 1}.", 1, 5, W::NoArrow),
        ("<<1", 1, 1, W::Unclosed(Opened::Binary)),
        ("(a", 1, 1, W::Unclosed(Opened::Parenthesis)),
        ("[\"a\n", 1, 2, W::Unclosed(Opened::String)),
        ("'a", 1, 1, W::Unclosed(Opened::Atom)),
        ("\"\"\"\n a", 1, 1, W::Unclosed(Opened::String)),
        ("\"\"\"\n a\n  \"\"\".", 2, 1, W::Indentation),
        ("{a, Id}.", 1, 5, W::Variable),
        ("{a, _}.", 1, 5, W::Variable),
        ("{a, ?MODULE}.", 1, 5, W::Macro),
        ("{a, #rec{b = 1}}.", 1, 5, W::Record),
        ("{a, end}.", 1, 5, W::Reserved),
        ("not true.", 1, 1, W::Reserved),
        ("fun b/1.", 1, 5, W::Function),
        ("fun() -> 1 end.", 1, 4, W::Function),
        ("- -1.", 1, 3, W::Unexpected('-')),
        ("a:b.", 1, 2, W::Unexpected(':')),
        ("\"a\" ++ \"b\".", 1, 5, W::Unexpected('+')),
        ("1__0.", 1, 1, W::Number),
        ("1_.", 1, 1, W::Number),
        ("12ab.", 1, 1, W::Number),
        ("1.e5.", 1, 2, W::DotWithoutBlank),
        ("1.0e.", 1, 1, W::Number),
        ("1#0.", 1, 1, W::Base),
        ("2#2.", 1, 1, W::Base),
        ("99#0.", 1, 1, W::Base),
        ("1.0e400.", 1, 1, W::Float),
        (r#""\x4"."#, 1, 3, W::Escape),
        (r#""\x{}"."#, 1, 3, W::Escape),
        (r#""\x{110000}"."#, 1, 3, W::Character),
        (r#""\x{d800}"."#, 1, 3, W::Character),
        ("~q\"a\".", 1, 1, W::Sigil),
        ("~\"a\"b.", 1, 1, W::Sigil),
        ("$", 1, 1, W::NoTerm),
        ("\"\u{e9}\u{20ac}\" ?", 1, 6, W::Unexpected('?')),
        ("%% coding: utf-8\n'\u{e9}' x", 2, 5, W::NoDot),
    ];
    for (text, line, column, wrong) in cases {
        assert_eq!(read(text.as_bytes()), Err(TermError { line, column, wrong }), "{text}");
    }
    let long = "a".repeat(256);
    assert_eq!(read(format!("{long}.").as_bytes()).map_err(|error| error.wrong), Err(W::AtomTooLong));
    assert!(read(format!("{}.", &long[1..]).as_bytes()).is_ok());
}

#[test]
fn terms_know_where_they_start() {
    let terms = read(b"% c\n[ {a,\n  \"b\"} ].").expect("a term");
    let Value::List { items, .. } = &terms[0].value else { panic!("a list") };
    let Value::Tuple(inner) = &items[0].value else { panic!("a tuple") };
    let places = [&terms[0], &items[0], &inner[0], &inner[1]].map(|term| (term.line, term.column));
    assert_eq!(places, [(2, 1), (2, 3), (2, 4), (3, 3)]);
}

#[test]
fn text_is_utf8_or_latin1_as_it_says_or_is() {
    let cases: &[(&[u8], &str)] = &[
        ("\"\u{e9}\".".as_bytes(), "[233]"),
        (b"\"\xe9\".", "[233]"),
        ("%% coding: latin-1\n\"\u{e9}\".".as_bytes(), "[195,169]"),
        ("%\n% -*- Coding: x; coding = Latin-1 -*-\n\"\u{e9}\".".as_bytes(), "[195,169]"),
        ("%\n%% coding=latin-1\n\"\u{e9}\".".as_bytes(), "[195,169]"),
        ("%\n%\n%% coding: latin-1\n\"\u{e9}\".".as_bytes(), "[233]"),
    ];
    for (text, expected) in cases {
        assert_eq!(printed(text), *expected, "{:?}", String::from_utf8_lossy(text));
    }
    let error = TermError { line: 2, column: 2, wrong: WrongTerm::NotUtf8 };
    assert_eq!(read(b"%% coding: utf-8\n\"\xe9\"."), Err(error));
}

#[test]
fn nests_so_deep_and_no_deeper() {
    for (open, close) in
        [("{", "}"), ("[", "]"), ("[a|", "]"), ("(", ")"), ("#{a=>", "}"), ("<<(", ")/binary>>")]
    {
        let nested = |depth: usize| format!("{}<<>>{}.", open.repeat(depth), close.repeat(depth));
        let step = if open.starts_with("<<") { 2 } else { 1 };
        assert!(read(nested(NESTING_MAX / step).as_bytes()).is_ok(), "{open}");
        let deeper = read(nested(NESTING_MAX / step + 1).as_bytes());
        assert_eq!(deeper.map_err(|error| error.wrong), Err(WrongTerm::Nesting), "{open}");
        let endless = open.repeat(1_000_000);
        assert!(read(endless.as_bytes()).is_err());
    }
}

/// Each of these took the square of its length in some reader; here a second would be far too much.
#[test]
fn long_texts_take_time_in_proportion() {
    let many = 50_000;
    let texts = [
        "\"".repeat(many * 2) + ".",
        format!("[{}].", "\"a\",".repeat(many) + "b"),
        format!("[{}].", "\"a\" \"\"\"\" ,".repeat(many) + "b"),
        format!("\"{}\".", "\\x{41}".repeat(many)),
        format!("<<{}>>.", "\"a\":256,".repeat(many) + "1"),
        format!("\"\"\"\n{}  \"\"\".", "  \"\" a\n".repeat(many)),
        format!("{}.", "\"\"\" ".repeat(many)),
        format!("{}.", "1".repeat(many)),
        format!("% {}\n a.", "coding".repeat(many)),
    ];
    for text in texts {
        let start = std::time::Instant::now();
        let _ = read(text.as_bytes());
        let took = start.elapsed();
        assert!(took.as_secs() < 10, "{took:?} for {}", &text[..20]);
    }
}

proptest::proptest! {
    #[test]
    fn never_panics_on_bytes(text in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = read(&text);
    }

    #[test]
    fn never_panics_on_what_looks_like_terms(
        text in r#"([{}\[\]|,."'$~<>:/#=()\\ \n%a0_\-xbs]|fun |<<|>>|=>|"""\n|unit:|utf8|16#|1\.0e|\\x\{)*"#
    ) {
        if let Err(error) = read(text.as_bytes()) {
            assert!(error.line >= 1 && error.column >= 1 && error.line <= text.lines().count() as u32 + 1);
            assert!(!error.wrong.to_string().is_empty());
        }
    }
}
