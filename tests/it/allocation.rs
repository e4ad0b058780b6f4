//! The request path of the core allocates nothing in steady state: counted, not believed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

use portcullis::dispatch::{
    Alias, Covers, Element, Handshake, Place, Ports, Question, Rule, Rules, Scheme, SiteId, SiteRules, Sites,
    Ssl, Unmatched, write_normalized,
};
use portcullis::http::{BodyEnd, Forwarded, Header, Limits, Reuse, Told, Version};
use portcullis::http1::{
    BodyReader, Outbound, Reply, RequestKind, header_slots, parse_request, parse_response, write_request,
    write_response,
};
use portcullis::sealing::{Binding, KEY_RANDOM_BYTES, Keys, NONCE_BYTES};
use serde_json::Value;

/// The system's allocator, with a count for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// A thread whose allocations are counted from outside, by its number in the kernel; 0: none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static WATCHED_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn count() {
    // No destructor, so it is there as long as the thread is.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    let watched = WATCHED.load(Relaxed);
    if watched != 0 && rustix::thread::gettid().as_raw_nonzero().get() == watched {
        WATCHED_ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

/// Allocations of another thread while `work` runs. One thread at a time in a process.
pub fn allocations_of(thread: i32, work: impl FnOnce()) -> u64 {
    WATCHED.store(thread, Relaxed);
    let before = WATCHED_ALLOCATIONS.load(Relaxed);
    work();
    WATCHED.store(0, Relaxed);
    WATCHED_ALLOCATIONS.load(Relaxed) - before
}

// SAFETY: each call is passed on to the system's allocator unchanged, whose contract is the same; counting
// touches a thread-local number without allocating.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: likewise.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: likewise.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| ()), 0);
}

fn site(name: &str, hosts: &[&str]) -> SiteRules {
    SiteRules {
        name: name.to_owned(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        aliases: Vec::new(),
        alias: Alias::Redirect,
        ssl: true,
        is_secure: true,
        is_ssl: false,
        is_permanent: false,
        languages: Vec::new(),
        unmatched: Unmatched::Forward,
        rules: Rules::default(),
        tls_policy: 0,
    }
}

fn rule(name: &str, path: Vec<Element>, ssl: Option<Ssl>) -> Rule {
    let place = Place { file: Arc::from(Path::new("rules.toml")), line: 1, column: 1 };
    Rule { name: name.to_owned(), path, ssl, place }
}

fn element(written: &Value) -> Element {
    let text = |at: usize| written[at].as_str().expect("text").to_owned();
    match text(0).as_str() {
        "lit" => Element::Literal(text(1).into_bytes()),
        "var" => Element::Variable(text(1)),
        "re" => Element::Pattern { name: text(1), pattern: text(2) },
        "lang" => Element::Language,
        "star" => Element::Rest,
        other => panic!("unknown element {other}"),
    }
}

fn question<'a>(scheme: Scheme, authority: &'a str, method: &'a str, target: &'a [u8]) -> Question<'a> {
    Question { scheme, handshake: None, authority: authority.as_bytes(), method: method.as_bytes(), target }
}

#[test]
fn decisions_over_all_vectors_allocate_nothing() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/match.jsonl");
    let vectors = std::fs::read_to_string(vectors).expect("the vectors are there");
    let mut decided = 0;
    for line in vectors.lines() {
        let vector: Value = serde_json::from_str(line).expect("a vector is JSON");
        let mut site = site("vectors", &["a.test", "*"]);
        let languages = vector["languages"].as_array().expect("a list");
        site.languages = languages.iter().map(|code| code.as_str().expect("text").to_owned()).collect();
        let rules = vector["rules"].as_array().expect("a list").iter().map(|written| {
            let path = written[1].as_array().expect("a list").iter().map(element).collect();
            rule(written[0].as_str().expect("text"), path, Some(Ssl::Https))
        });
        site.rules = rules.collect();
        let sites = Sites::compile(vec![site], Ports { http: Some(80), https: Some(443) }).expect("rules");
        let target = vector["path"].as_str().expect("text");
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let question = question(Scheme::Http, "a.test", "GET", target.as_bytes());
        // Engines of regular expressions fill their caches the first time.
        std::hint::black_box(sites.decide(&question));
        let count = allocations(|| {
            std::hint::black_box(sites.decide(&question));
        });
        assert_eq!(count, 0, "{line}");
        decided += 1;
    }
    assert_eq!(decided, 4436);
}

struct All;

impl Covers for All {
    fn covers(&self, _: &[u8]) -> bool {
        true
    }
}

#[test]
fn every_kind_of_decision_allocates_nothing() {
    let literal = |text: &str| Element::Literal(text.as_bytes().to_vec());
    let mut one = site("one", &["one.test", "*.one.test"]);
    one.aliases = vec!["alias.test".to_owned()];
    one.languages = vec!["en".to_owned(), "nl".to_owned()];
    one.rules = Rules::from([
        rule("true", vec![literal("true"), Element::Rest], Some(Ssl::Https)),
        rule("false", vec![literal("false"), Element::Variable("id".to_owned())], Some(Ssl::Http)),
        rule(
            "number",
            vec![literal("n"), Element::Pattern { name: "n".to_owned(), pattern: "^[0-9]+$".to_owned() }],
            None,
        ),
        rule(
            "backtracking",
            vec![Element::Pattern { name: "n".to_owned(), pattern: "^(a)\\1$".to_owned() }],
            None,
        ),
        rule("language", vec![Element::Language, literal("news")], Some(Ssl::Any)),
    ]);
    let mut two = site("two", &["two.test"]);
    two.is_ssl = true;
    two.unmatched = Unmatched::NotFound;
    let sites = Sites::compile(vec![one, two], Ports { http: Some(8080), https: Some(8443) }).expect("rules");
    let mut location = Vec::with_capacity(4096);
    let hosts = ["one.test", "a.one.test:80", "ALIAS.test", "two.test.", "none.test", "bad host", ""];
    let targets: [&[u8]; 12] = [
        b"/",
        b"/true/x/y?z",
        b"/false/1",
        b"/n/12",
        b"/n/x",
        b"/aa",
        b"/ab",
        b"/en/news",
        b"/nl/true/x",
        b"//true/../%66alse/%20",
        b"/a/../../b",
        b"*",
    ];
    for handshake in [None, Some(Handshake { site: Some(SiteId(0)), certificate: &All })] {
        for scheme in [Scheme::Http, Scheme::Https] {
            for host in hosts {
                for method in ["GET", "POST"] {
                    for target in targets {
                        let question = Question { handshake, ..question(scheme, host, method, target) };
                        let mut decide = || {
                            if let portcullis::dispatch::Action::Redirect(redirect) =
                                sites.decide(&question).action
                            {
                                location.clear();
                                redirect.write_location(&mut location);
                            }
                        };
                        decide();
                        let count = allocations(decide);
                        assert_eq!(count, 0, "{scheme:?} {host} {method} {}", target.escape_ascii());
                    }
                }
            }
        }
    }
}

#[test]
fn heads_are_read_and_written_without_allocating() {
    let request = b"POST /path?query HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
        Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nCookie: a=b; c=d\r\nX-Forwarded-For: 203.0.113.9\r\n\
        TE: trailers\r\nVia: 1.0 before\r\nContent-Length: 5\r\n\r\n";
    let response =
        b"HTTP/1.1 200 OK\r\nServer: site\r\nContent-Type: text/html\r\nSet-Cookie: z_sid=1; Path=/\r\n\
        Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
    let limits = Limits::default();
    let client: SocketAddr = "203.0.113.9:1234".parse().expect("an address");
    let session_cookies = ["z_sid".to_owned()];
    let mut written = Vec::new();
    let mut exchange = || {
        let mut slots = header_slots();
        let head = parse_request(request, &mut slots, &limits).expect("valid").expect("whole");
        let forwarded = Forwarded {
            client,
            scheme: Scheme::Https,
            host: head.authority(),
            port: 443,
            request_id: b"0123456789abcdef",
            trusted: None,
        };
        written.clear();
        write_request(&mut written, &head, &Outbound::new(&head, &forwarded));

        let mut slots = header_slots();
        let kind = RequestKind { head: false, upgrade: false };
        let head = parse_response(response, &mut slots, kind, &limits).expect("valid").expect("whole");
        written.clear();
        let mut reply = Reply::new(&head, Version::Http11, Reuse::Keep, b"Sun, 06 Nov 1994 08:49:37 GMT");
        reply.scheme = Scheme::Https;
        reply.session_cookies = &session_cookies;
        reply.hsts = Some(b"max-age=1");
        write_response(&mut written, &head, &reply);
        assert!(written.ends_with(b"\r\n\r\n"));
    };
    exchange();
    assert_eq!(allocations(|| (0..100).for_each(|_| exchange())), 0);
}

#[test]
fn session_cookies_are_sealed_and_opened_without_allocating() {
    let keys = Keys::new(0, &[7; KEY_RANDOM_BYTES]);
    let binding = Binding::of("example", "z_sid");
    let value = [b'v'; 300];
    let (mut sealed, mut opened) = (Vec::with_capacity(1024), Vec::with_capacity(1024));
    let mut number = 0u64;
    let mut both = || {
        number += 1;
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        sealed.clear();
        opened.clear();
        assert!(keys.seal(&binding, nonce, &value, &mut sealed));
        assert!(keys.open(&binding, &sealed, &mut opened) && opened == value);
        sealed.truncate(100);
        assert!(!keys.open(&binding, &sealed, &mut opened));
    };
    both();
    assert_eq!(allocations(|| (0..100).for_each(|_| both())), 0);
}

#[test]
fn a_trusted_peer_is_read_and_a_path_normalized_without_allocating() {
    let fields = [
        ("Forwarded", "for=192.0.2.1;host=\"a.test:8443\", for=10.0.0.1;proto=https;host=a.test"),
        ("X-Forwarded-Proto", "http, https"),
        ("X-Forwarded-Host", "A.test"),
    ];
    let headers = fields.map(|(name, value)| Header { name, value: value.as_bytes() });
    let mut out = Vec::with_capacity(1024);
    let count = allocations(|| {
        for _ in 0..100 {
            let told = Told::read(&headers).expect("one meaning");
            assert_eq!(told.scheme, Some(Scheme::Https));
            out.clear();
            assert!(write_normalized(b"/a/../%62/c+d%20e/%2e%2e?x=/../", &mut out));
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn bodies_are_read_without_allocating() {
    let chunked = b"5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
    let mut buffer = chunked.to_vec();
    let mut reader = BodyReader::new(BodyEnd::Chunked);
    let count = allocations(|| {
        for _ in 0..100 {
            buffer.copy_from_slice(chunked);
            reader.reset(BodyEnd::Chunked);
            let progress = reader.read(&mut buffer).expect("valid");
            assert!(progress.end && progress.data == 21);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn a_request_is_counted_and_logged_without_allocating() {
    use portcullis::access_log::{self, AccessLog, Decision, Destination, Format, Outcome};
    use portcullis::metrics::{Counters, Ended, Table};
    use portcullis::spool::{self, Lines, Log, Writer};

    let (writer, mut inlets) = Writer::start(1, || {}).expect("a thread");
    writer.set_bound(1 << 20);
    let lines = Lines::new(inlets.pop().expect("one worker"));
    let counters = Counters::default();
    let sites = [("one", ["page", "video"])];
    let table =
        Table::build(sites.iter().map(|(name, rules)| (*name, rules.iter().copied())), &Table::default());
    for format in [Format::Json, Format::Combined, Format::VhostCombined] {
        let destination = Destination::File("/dev/null".into());
        let sink = spool::open(&destination).expect("Linux has it");
        let log = Log::new(Arc::new(AccessLog { destination, format, sink }));
        let request = access_log::Request {
            time_ms: 1_795_850_648_123,
            id: b"0123456789abcdef0123456789abcdef",
            client: "203.0.113.9:1234".parse().expect("an address"),
            scheme: Scheme::Https,
            port: 443,
            tls: Some(access_log::Tls { version: "1.3", resumed: true }),
            head: Some(access_log::Head {
                method: b"GET",
                host: b"a.test",
                target: b"/page?\xff\"",
                version: Version::Http11,
                referer: Some(b"https://b.test/"),
                user_agent: Some("Mozilla \u{2028}".as_bytes()),
            }),
            site: Some("one"),
            rule: Some("page"),
            decision: Decision::Forward,
        };
        let outcome = Outcome {
            status: 200,
            upstream: Some("127.0.0.1:8000"),
            reason: Some("no-site"),
            ..Outcome::default()
        };
        let exchange = || {
            let mut text = lines.text();
            let split = format.begin(&request, &mut text);
            lines.add(&log, |out| format.end(&text, split, &outcome, out));
            lines.give_back(text);
            table.count(0, Some(1), &Ended { status: 200, duration_us: 1234, bytes_in: 1, bytes_out: 2 });
            counters.failures.add("no-site");
            counters.timings.upstream_first_byte.observe(1234);
        };
        (0..500).for_each(|_| exchange());
        let count = allocations(|| (0..5_000).for_each(|_| exchange()));
        assert_eq!(count, 0, "{format:?}: allocations for 5,000 requests");
        lines.flush();
    }
    writer.end();
}
