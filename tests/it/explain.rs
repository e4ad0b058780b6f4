//! `explain`, `replay` and `check` as they are run: what `docs/explain.md` shows is what they print.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn portcullis(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(ROOT);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    // One that ends before it has read all is judged by what it says.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// Command and output of every `console` block of the page.
fn examples(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("```console\n").skip(1);
    blocks
        .map(|block| {
            let block = block.split("```").next().unwrap_or("");
            block
                .strip_prefix("$ ")
                .and_then(|block| block.split_once('\n'))
                .expect("a command and its output")
        })
        .collect()
}

#[test]
fn the_page_shows_what_is_printed() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/explain.md")).expect("the page");
    let examples = examples(&page);
    assert!(examples.len() >= 7, "{}", examples.len());
    let directory = Path::new(PROGRAM).parent().expect("a directory").display();
    let path = format!("{directory}:{}", std::env::var("PATH").unwrap_or_default());
    for (command, expected) in examples {
        let script = format!("exec 2>&1; {command}");
        let output = Command::new("sh").args(["-c", &script]).current_dir(ROOT).env("PATH", &path).output();
        let output = output.expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{command}");
    }
}

#[test]
fn a_wrong_question_is_a_wrong_command_line() {
    for (arguments, said) in [
        (&["explain", "-c", "examples/minimal.toml", "example.com/"][..], "https://example.com/"),
        (&["explain", "-c", "examples/minimal.toml", "http://a/", "--sni", "a"], "--sni"),
        (
            &["explain", "-c", "examples/minimal.toml", "http://a/", "--header", "Cookie: a=b"],
            "only \"Host\"",
        ),
        (&["explain", "-c", "examples/minimal.toml"], "URL"),
        (&["replay", "-c", "examples/minimal.toml", "-", "--scheme", "ftp"], "one of http, https"),
    ] {
        let (code, _, stderr) = portcullis(arguments, "");
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

#[test]
fn replay_says_by_its_exit_status_whether_something_changes() {
    let line = "192.0.2.1 - - [10/Oct/2026:13:55:36 +0000] \"GET /logon HTTP/1.1\" 200 1 \"-\" \"-\"\n";
    let told = ["--scheme", "http", "--host", "example.com"];
    let replay = |against: &str, told: &[&str], log: &str| {
        let arguments = ["replay", "-c", "examples/zotonic.toml", "--against", against, "-"];
        portcullis(&[&arguments[..], told].concat(), log).0
    };
    assert_eq!(replay("examples/zotonic.toml", &told, line), Some(0));
    assert_eq!(replay("examples/minimal.toml", &told, line), Some(3));
    assert_eq!(replay("examples/minimal.toml", &[], line), Some(1), "neither scheme nor host");
    assert_eq!(replay("examples/minimal.toml", &told, "hello\n"), Some(1), "no log");
    assert_eq!(replay("examples/nothing.toml", &told, line), Some(1), "no configuration");
    assert_eq!(replay("examples/zotonic.toml", &told, ""), Some(0));
}

/// A program that asks one question at a time gets each answer before it asks the next.
#[test]
fn batch_answers_as_it_is_asked() {
    use std::io::{BufRead as _, BufReader};

    let mut child = Command::new(PROGRAM)
        .args(["explain", "-c", "examples/zotonic.toml", "--batch"])
        .current_dir(ROOT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut questions = child.stdin.take().expect("piped");
    let mut answers = BufReader::new(child.stdout.take().expect("piped"));
    for number in 0..3 {
        writeln!(questions, "https\texample.com\t/page/{number}/x").expect("it reads");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("it answers");
        let bindings = format!("[[\"id\",\"{number}\"],[\"slug\",\"x\"]]");
        assert!(answer.contains(&bindings), "{answer}");
    }
    drop(questions);
    assert!(child.wait().expect("it ends").success());
}
