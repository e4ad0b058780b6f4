use super::super::path::Segment;
use super::*;

#[track_caller]
fn check(pattern: &str, found: &[&str], not_found: &[&str]) {
    let mut room = 1 << 20;
    let compiled =
        Pattern::compile(pattern, &mut room).unwrap_or_else(|problem| panic!("{pattern}: {problem:?}"));
    // Without room for automata: the slower form answers the same.
    let slow = Pattern::compile(pattern, &mut 0).unwrap_or_else(|problem| panic!("{pattern}: {problem:?}"));
    for (texts, expected) in [(found, true), (not_found, false)] {
        for text in texts {
            // As `%XX` throughout, so that decoding takes part.
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            for pattern_form in [&compiled, &slow] {
                let plain = pattern_form.is_in(Segment { raw: text.as_bytes(), escaped: false });
                let decoded = pattern_form.is_in(Segment { raw: escaped.as_bytes(), escaped: true });
                assert_eq!((plain, decoded), (expected, expected), "{pattern} in {text:?}");
            }
        }
    }
}

#[track_caller]
fn refuses(pattern: &str, kind: PatternProblemKind, start: usize) {
    let problem = Pattern::compile(pattern, &mut 0).err().unwrap_or_else(|| panic!("{pattern} compiles"));
    assert_eq!((problem.kind, problem.start), (kind, start), "{pattern}");
    assert!(problem.start <= problem.end && problem.end <= pattern.len(), "{pattern}: {problem:?}");
}

#[test]
fn searches_unanchored() {
    check("[0-9]", &["7", "x1", "1\n"], &["", "abc"]);
    check("^[0-9]+$", &["7", "123"], &["", "x1", "12\n", "1x"]);
    check("^(foo|bar)$", &["foo", "bar"], &["foobar", "xfoo", "", "foo\n"]);
    check("^x*$", &["", "x", "xxx"], &["xy", "\n"]);
    check("", &["", "a"], &[]);
    check("a|", &["", "b"], &[]);
}

#[test]
fn dot_stops_at_a_line_feed_and_dollar_is_the_very_end() {
    check(".", &["a", "\r", "\u{e9}"], &["", "\n"]);
    check("(?s)^.$", &["\n", "a"], &["ab"]);
    check("a$", &["a", "ba"], &["a\n", "ab"]);
    check("a\\Z", &["a"], &["a\n"]);
    check("(?m)^a$", &["a", "b\na\nc"], &["ba"]);
    check("\\Aa\\z", &["a"], &["ab"]);
}

#[test]
fn knows_the_escapes() {
    check("^\\d\\D\\w\\W\\s\\S$", &["1a_- x"], &["aa_- x"]);
    check("^\\x41\\x{42}\\103\\o{104}$", &["ABCD"], &["abcd"]);
    check("^\\t\\n\\r\\f\\e\\a\\0$", &["\t\n\r\x0c\x1b\x07\0"], &[]);
    check("^\\cA\\ca$", &["\x01\x01"], &[]);
    check("^\\.\\*\\/\\-$", &[".*/-"], &["aab-"]);
    check("^\\Qa.b*\\E+$", &["a.b*", "a.b**"], &["axb", "a.b"]);
    check("\\bfoo\\b", &["foo", "a foo b", "foo-bar"], &["afoo", "foob"]);
    check("a\\Bb", &["ab"], &["a b"]);
    check("^\\h\\v$", &["\t\n"], &["\n\t"]);
    check("^\\N$", &["a"], &["\n"]);
    check("a\\Kb", &["ab"], &["b"]);
}

#[test]
fn knows_classes() {
    check("^[]a]$", &["]", "a"], &["b"]);
    check("^[^]a]$", &["b"], &["]", "a"]);
    check("^[a\\-z]$", &["-", "a", "z"], &["b"]);
    check("^[-a]$|^[b-]$", &["-", "a", "b"], &["c"]);
    check("^[\\d-z]$", &["1", "-", "z"], &["y"]);
    check("^[a-c&&b]$", &["a", "b", "c", "&"], &["d"]);
    check("^[[:alpha:][:^digit:]]$", &["a", "-"], &["1"]);
    check("^[[:punct:]]$", &["!", "_"], &["a", " "]);
    check("^[[a]$", &["[", "a"], &["b"]);
    check("^[\\b]$", &["\x08"], &["b"]);
    check("^[\\x30-\\x39]$", &["5"], &["a"]);
    check("(?i)^[a-c]x$", &["BX", "bx"], &["dx"]);
    check("(?i)^[^a]$", &["b"], &["A", "a"]);
}

#[test]
fn knows_groups_and_options() {
    check("(?i)foo", &["FOO", "Foo"], &["fo"]);
    check("^(?i:a)b$", &["Ab", "ab"], &["aB"]);
    check("^(a(?i)b|c)d$", &["aBd", "Cd", "cd"], &["Abd", "cD"]);
    check("^(?-i)a(?#comment)b$", &["ab"], &["a"]);
    check("(?x) ^ a b # more\n c $", &["abc"], &["a b c"]);
    check("^(?:ab){2}$", &["abab"], &["ab"]);
    check("^(?P<n>a)(?<m>b)(?'o'c)$", &["abc"], &[]);
    check("^a{2,3}$", &["aa", "aaa"], &["a", "aaaa"]);
    check("^a{2,}$", &["aa", "aaaaa"], &["a"]);
    check("^a{,2}$", &["a{,2}"], &["a"]);
    check("^a{$", &["a{"], &[]);
    check("^a??b*?c+?$", &["ac", "abbc", "c"], &["ab"]);
    check("(?U)^a+$", &["aaa"], &[""]);
}

#[test]
fn looks_around() {
    check("^(?!admin)", &["user", ""], &["admin", "admins"]);
    check("^(?!.*\\.\\.).+$", &["a.b"], &["a..b", ""]);
    check("foo(?=bar)", &["foobar"], &["foobaz", "foo"]);
    check("(?<=a)b", &["ab"], &["b", "cb"]);
    check("(?<!a)b", &["b", "cb"], &["ab"]);
    check("(?<=ab|c)d", &["abd", "cd"], &["bd", "d"]);
    check("(?<!ab|c)d", &["bd", "d"], &["abd", "cd"]);
    check("^(?=.*[0-9])(?=.*[a-z])[0-9a-z]{4,}$", &["a1b2", "111a"], &["1111", "aaaa", "a1"]);
    check("(?=(a+))\\1b", &["aab", "xab"], &["aa"]);
    check("^(?!(a)b)a", &["ac"], &["ab"]);
}

#[test]
fn knows_references_and_atomic_groups() {
    check("^(a|b)\\1$", &["aa", "bb"], &["ab"]);
    check("^(?<x>a+)-\\k<x>$", &["aa-aa"], &["aa-a"]);
    check("^(?P<x>.)(?P=x)\\g{x}\\g1\\g{-1}$", &["aaaaa"], &["aaaab"]);
    check("(?i)^(a)\\1$", &["aA"], &["ab"]);
    check("^(?:(a)|b)\\1$", &["aa"], &["b", "bb"]);
    check("^(?>a+)b$", &["aab"], &["aa"]);
    check("^(?>a|ab)c$", &["ac"], &["abc"]);
    check("^a++a$", &[], &["aa", "aaa"]);
    check("^a*+b$", &["b", "aab"], &["a"]);
    check("^(?:a?)*(?!c)$", &["", "aaa"], &["b"]);
    check("^(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)\\10$", &["abcdefghijj"], &["abcdefghija"]);
    check("^(a)\\101$", &["aA"], &[]);
    check("^\\R$", &["\r\n", "\n", "\x0b"], &["a", "\n\n"]);
}

#[test]
fn says_what_is_wrong_and_where() {
    use PatternProblemKind as Kind;
    refuses("a(b", Kind::Parenthesis, 1);
    refuses("ab)", Kind::Parenthesis, 2);
    refuses("x[a-", Kind::Bracket, 1);
    refuses("[]", Kind::Bracket, 0);
    refuses("[z-a]", Kind::Range, 1);
    refuses("[[:nope:]]", Kind::ClassName, 1);
    refuses("*a", Kind::NothingToRepeat, 0);
    refuses("a**", Kind::NothingToRepeat, 2);
    refuses("a|{2}", Kind::NothingToRepeat, 2);
    refuses("a{3,2}", Kind::RepeatBounds, 1);
    refuses("a{2000}", Kind::RepeatBounds, 1);
    refuses("a\\", Kind::Escape, 1);
    refuses("\\y", Kind::Escape, 0);
    refuses("\\x{100}", Kind::Escape, 0);
    refuses("(?z)", Kind::Group, 0);
    refuses("(?", Kind::Group, 0);
    refuses("(a)\\2", Kind::Reference, 3);
    refuses("\\k<no>", Kind::Reference, 0);
    refuses("(?<=a+)b", Kind::LookBehind, 0);
    for pattern in [
        "(?R)",
        "(?1)",
        "(?(1)a|b)",
        "(?|a|b)",
        "(*FAIL)",
        "\\pL",
        "\\X",
        "[\\p{L}]",
        "(?&n)",
        "(?P>n)",
        "[[.a.]]",
    ] {
        let problem = Pattern::compile(pattern, &mut 0).err().expect(pattern);
        assert_eq!(problem.kind, Kind::Unsupported, "{pattern}");
    }
    refuses(&"(".repeat(60), Kind::Depth, 50);
    refuses(&"a".repeat(PATTERN_BYTES_MAX + 1), Kind::TooBig, 0);
    refuses("(((a{1000}){1000}){1000})", Kind::TooBig, 0);
    refuses("(?!((a{1000}){1000}))", Kind::TooBig, 0);
}

#[test]
fn takes_the_smaller_form_when_an_automaton_is_too_big() {
    let mut room = 1 << 20;
    let pattern = Pattern::compile("a.{20}$", &mut room).expect("compiles");
    assert!(matches!(&pattern, Pattern::Automaton(_)) && room < 1 << 20);
    let text = "b".repeat(300) + "a" + &"c".repeat(20);
    assert!(pattern.is_in(Segment { raw: text.as_bytes(), escaped: false }));
    assert!(!pattern.is_in(Segment { raw: &text.as_bytes()[1..320], escaped: false }));
}

#[test]
fn gives_up_at_the_bound() {
    let mut room = 1 << 20;
    let hostile = Pattern::compile("^(?=(a+)+b)", &mut room).expect("compiles");
    for length in [30, 1000, 1024, 1025, 30_000] {
        let text = vec![b'a'; length];
        assert!(!hostile.is_in(Segment { raw: &text, escaped: false }));
    }
    let deep = Pattern::compile("^(?!x)(?:a|b)*$", &mut room).expect("compiles");
    assert!(deep.is_in(Segment { raw: &[b'a'; 1024], escaped: false }));
    assert!(!deep.is_in(Segment { raw: &[b'a'; 1025], escaped: false }));
}

#[test]
fn both_engines_agree_on_regular_patterns() {
    // A look-ahead that always holds sends the same pattern to the other engine.
    let texts = ["", "a", "b", "ab", "aab", "abab", "ba\n", "\n", "a b", "12", "a1", "foo", "Foo-bar"];
    for pattern in [
        "a*b",
        "^(a|b)*$",
        "(ab){1,2}",
        "\\bfoo",
        "[^a]",
        "^.*$",
        "a?b?",
        "\\w+\\W\\w+",
        "(?i)FOO",
        "(a*)*b",
        "(|a)+$",
    ] {
        let mut room = 1 << 20;
        let one = Pattern::compile(pattern, &mut room).expect(pattern);
        let other = Pattern::compile(&format!("(?=){pattern}"), &mut room).expect(pattern);
        assert!(matches!((&one, &other), (Pattern::Automaton(_), Pattern::Program(_))));
        for text in texts {
            let segment = Segment { raw: text.as_bytes(), escaped: false };
            assert_eq!(one.is_in(segment), other.is_in(segment), "{pattern} in {text:?}");
        }
    }
}

#[test]
fn equal_patterns_are_one_unless_room_is_short() {
    let is_one = |first: &Pattern, second: &Pattern| match (first, second) {
        (Pattern::Automaton(first), Pattern::Automaton(second)) => first.is_same(second),
        (Pattern::Program(first), Pattern::Program(second)) => Arc::ptr_eq(first, second),
        _ => false,
    };
    for pattern in ["^[0-9]+$", "^(?=a)a$"] {
        let mut patterns = Patterns::default();
        let (mut first_room, mut second_room, mut short) = (1 << 20, 1 << 20, linear::DFA_BYTES_MAX - 1);
        let (_, first) = patterns.compile(pattern, &mut first_room).expect(pattern);
        let (_, second) = patterns.compile(pattern, &mut second_room).expect(pattern);
        let (_, alone) = patterns.compile(pattern, &mut short).expect(pattern);
        assert!(is_one(&first, &second) && !is_one(&first, &alone), "{pattern}");
        // What is shared counts for each site as if it had its own.
        assert_eq!(first_room, second_room, "{pattern}");
    }
}
