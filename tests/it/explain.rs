//! `explain`, `replay` and `check` as they are run: what `docs/explain.md` shows is what they print.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{Client, Setup, Upstream, site};

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

/// What the server logged is decided by `replay` as the server decided it.
#[test]
fn our_own_log_is_replayed() {
    for (format, flags) in [("json", &[][..]), ("combined", &["--scheme", "http", "--host", "one.test"])] {
        let upstream = Upstream::saying("served");
        let sites = site("one", &["one.test"], &upstream) + "aliases = [\"www.one.test\"]\n";
        let rule = |ssl: &str| {
            format!("{sites}dispatch = [{{ name = \"logon\", path = \"/logon\", ssl = {ssl} }}]\n")
        };
        let log = format!("to = \"access.log\", format = \"{format}\"");
        let mut server = Setup::new(&rule("true")).table("access_log", &log).start();
        let (http, https) = (server.http(), server.https());
        let mut client = Client::http(http);
        for target in ["/", "/logon?a=\\\"b", "/logon", "/x/../logon"] {
            client.get("one.test", target);
        }
        client.get("www.one.test", "/");
        client.get("nobody.test", "/");
        Client::https(https, "one.test").get("one.test", "/logon");
        client.send("nonsense\r\n\r\n");
        assert_eq!(client.response().status(), 400);
        server.stop();

        let directory = server.setup().directory().to_owned();
        let new = directory.join("new.toml");
        let old = server.configuration();
        let text = std::fs::read_to_string(&old).expect("it is written");
        std::fs::write(&new, text.replace("ssl = true", "ssl = \"any\"")).expect("writable");
        let log = directory.join("access.log");
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let (old, new, log) = (path(&old), path(&new), path(&log));
        let replay = |config: &str| {
            let arguments = ["replay", "-c", config, "--against", &old, "--json", &log];
            let (code, out, errors) = portcullis(&[&arguments[..], flags].concat(), "");
            let report: serde_json::Value =
                serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{errors}"));
            (
                code,
                report["requests"].clone(),
                report["changed"].clone(),
                report["unreadable"]["count"].clone(),
            )
        };
        let counts = |code, changed: u64| (Some(code), 7.into(), changed.into(), 1.into());
        assert_eq!(replay(&old), counts(0, 0), "{format}");
        // By the combined format all of them came by http.
        let changed = if format == "json" { 3 } else { 4 };
        assert_eq!(replay(&new), counts(3, changed), "{format}");
    }
}
