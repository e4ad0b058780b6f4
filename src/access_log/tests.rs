use super::*;

fn request<'a>(head: Option<Head<'a>>) -> Request<'a> {
    Request {
        time_ms: 1_795_850_648_123,
        id: b"00ff",
        client: "192.0.2.1:4711".parse().expect("an address"),
        scheme: Scheme::Https,
        port: 443,
        tls: Some(Tls { version: "1.3", resumed: true }),
        head,
        site: Some("example"),
        rule: None,
        decision: Decision::Forward,
    }
}

fn head<'a>(target: &'a [u8], agent: Option<&'a [u8]>) -> Head<'a> {
    Head {
        method: b"GET",
        host: b"example.com:8443",
        target,
        version: Version::Http11,
        referer: None,
        user_agent: agent,
    }
}

fn line(format: Format, request: &Request<'_>, outcome: &Outcome<'_>) -> String {
    let mut begun = Vec::new();
    let split = format.begin(request, &mut begun);
    let mut line = b"before\n".to_vec();
    format.end(&begun, split, outcome, &mut line);
    String::from_utf8(line.split_off(7)).expect("UTF-8")
}

const OUTCOME: Outcome<'static> = Outcome {
    status: 200,
    handshake_us: None,
    head_us: 1,
    decision_us: 2,
    connect_us: Some(3),
    first_byte_us: Some(4),
    total_us: 10,
    bytes_in: 100,
    bytes_out: 2526,
    head_out: 200,
    upstream: Some("http://127.0.0.1:8000"),
    reused: false,
    retries: 1,
    reason: None,
};

#[test]
fn a_line_of_json_has_every_key_in_the_documented_order() {
    let request = request(Some(head(b"/a?b", Some(b"curl/8"))));
    assert_eq!(
        line(Format::Json, &request, &OUTCOME),
        "{\"time\":\"2026-11-28T07:24:08.123Z\",\"id\":\"00ff\",\"client\":\"192.0.2.1\",\"client_port\":4711,\
         \"scheme\":\"https\",\"host\":\"example.com:8443\",\"method\":\"GET\",\"target\":\"/a?b\",\"http\":\"1.1\",\
         \"referer\":null,\"user_agent\":\"curl/8\",\"tls\":\"1.3\",\"resumed\":true,\"site\":\"example\",\"rule\":null,\
         \"decision\":\"forward\",\"status\":200,\"handshake_us\":null,\"head_us\":1,\"decision_us\":2,\"connect_us\":3,\
         \"first_byte_us\":4,\"total_us\":10,\"bytes_in\":100,\"bytes_out\":2526,\"upstream\":\"http://127.0.0.1:8000\",\
         \"reused\":false,\"retries\":1,\"reason\":null}\n"
    );
}

#[test]
fn the_keys_are_those_of_the_document() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access-log.md"))
        .expect("it is there");
    let table = text.split("### Reasons").next().expect("the table is before");
    let documented = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let line = line(Format::Json, &request(None), &Outcome::default());
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).expect("JSON");
    let written: Vec<&str> = object.keys().map(String::as_str).collect();
    let mut documented: Vec<&str> = documented.collect();
    // The parser sorts keys.
    documented.sort_unstable();
    assert_eq!(written, documented);
}

#[test]
fn combined_lines_are_those_of_apache() {
    let asked = request(Some(head(b"/a \"b\\\xff", Some(b"a\"gent"))));
    let expected = "192.0.2.1 - - [28/Nov/2026:07:24:08 +0000] \"GET /a \\x22b\\x5C\\xFF HTTP/1.1\" 200 2326 \"-\" \"a\\x22gent\"\n";
    assert_eq!(line(Format::Combined, &asked, &OUTCOME), expected);
    assert_eq!(line(Format::VhostCombined, &asked, &OUTCOME), format!("example.com:443 {expected}"));
    let nothing = line(Format::VhostCombined, &request(None), &Outcome::default());
    assert_eq!(nothing, "-:443 192.0.2.1 - - [28/Nov/2026:07:24:08 +0000] \"-\" 499 0 \"-\" \"-\"\n");
}

#[test]
fn any_bytes_make_one_line_of_json_that_reads_back() {
    for byte in 0..=255u8 {
        for text in [vec![byte], vec![b'/', byte, b'"'], vec![0xc3, byte], vec![0xe2, 0x80, byte]] {
            let line = line(Format::Json, &request(Some(head(&text, Some(&text)))), &OUTCOME);
            assert_eq!(line.matches('\n').count(), 1);
            let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            let target = read["target"].as_str().expect("text");
            match std::str::from_utf8(&text) {
                Ok(text) => assert_eq!(target, text),
                Err(_) => assert!(target.contains('%'), "{target}"),
            }
            let plain = super::tests::line(Format::Combined, &request(Some(head(&text, None))), &OUTCOME);
            assert!(plain.trim_end().bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{plain}");
        }
    }
}

#[test]
fn reasons_of_all_rooms_look_alike() {
    let outcome = Outcome { reason: Some("no-site"), ..OUTCOME };
    assert!(line(Format::Json, &request(None), &outcome).contains("\"reason\":\"no_site\"}"));
}
