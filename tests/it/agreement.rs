//! What is served is what is explained: thousands of random requests to the real listeners, each held against the
//! pure decision, and against `explain --batch`.
//!
//! The seed is printed; `PORTCULLIS_SEED` replays one.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use portcullis::config::{self, Config, FilesInMemory, Overrides};
use portcullis::dispatch::{
    Action, Covers, Decision, Handshake, Host, Ports, Question, Scheme, SiteId, Sites,
};
use serde_json::Value;

use crate::harness::{Client, PROGRAM, Server, Setup, Tls, Upstream, site};

const REQUESTS: usize = 12_000;

/// xorshift64* (Vigna): the same requests for a seed on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

const RULES: &str = r#"
dispatch = [
  { name = "true",  path = "/true/*",  ssl = true },
  { name = "false", path = "/false/*", ssl = false },
  { name = "any",   path = "/any/*",   ssl = "any" },
  { name = "unset", path = "/unset/*" },
  { name = "number", path = "/n/{id:^[0-9]+$}", ssl = true },
  { name = "hidden", path = ["a%2Fb", "%2E%2E", "{x}"], ssl = false },
  { name = "language", path = "/{z_language}/news", ssl = true },
  { name = "page", path = "/{id}/{slug}/edit", ssl = true },
]
"#;

/// Every switch, in some site; the site server of each says whose it is.
fn sites(upstreams: &mut Vec<Upstream>) -> String {
    let switches: [(&str, &[&str], &str); 9] = [
        ("neither", &["neither.test"], "is_secure = false\nis_permanent = true\n"),
        (
            "secure",
            &["secure.test", "*.secure.test"],
            "aliases = [\"www.secure.test\"]\nlanguages = [\"en\", \"nl\"]\n",
        ),
        ("ssl", &["ssl.test"], "is_ssl = true\naliases = [\"alias.ssl.test\"]\nalias = \"serve\"\n"),
        (
            "permanent",
            &["permanent.test"],
            "is_ssl = true\nis_permanent = true\naliases = [\"*.old.test\"]\n",
        ),
        ("found", &["found.test"], "unmatched = \"not_found\"\nis_secure = false\n"),
        ("plain", &["plain.test"], "ssl = false\n"),
        ("old", &["old-tls.test"], "tls_versions = [\"1.2\"]\n"),
        ("address", &["127.0.0.1", "[::1]"], "path_reading = \"normalized\"\n"),
        ("rest", &["rest.test", "*"], "is_ssl = true\nunmatched = \"not_found\"\n"),
    ];
    let mut text = String::new();
    for (name, hosts, keys) in switches {
        let upstream = says_whose_it_is(name);
        text += &(site(name, hosts, &upstream) + keys);
        // A site without https may not have rules that want it.
        text +=
            &if name == "plain" { RULES.replace("ssl = true", "ssl = \"keep\"") } else { RULES.to_owned() };
        upstreams.push(upstream);
    }
    text
}

fn says_whose_it_is(name: &'static str) -> Upstream {
    Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            let body = if request.method() == "HEAD" { "" } else { name };
            let length = name.len();
            peer.send(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Site: {name}\r\n\r\n{body}")
                    .as_bytes(),
            )?;
        }
        Ok(())
    })
}

const HOSTS: &[&str] = &[
    "neither.test",
    "NEITHER.test.",
    "secure.test",
    "www.secure.test",
    "a.secure.test",
    "a.b.Secure.test",
    "secure.test:8443",
    "secure.test:80",
    "ssl.test",
    "alias.ssl.test",
    "permanent.test",
    "x.old.test",
    "old.test",
    "found.test",
    "plain.test",
    "old-tls.test",
    "127.0.0.1",
    "127.0.0.1:8000",
    "[::1]",
    "[0:0:0:0:0:0:0:1]:443",
    "rest.test",
    "nobody.test",
    "com",
    "secure.test:65536",
    "secure..test",
    ".secure.test",
    "[::1",
    "a%2eb",
];

const NAMES: &[&str] = &[
    "neither.test",
    "secure.test",
    "www.secure.test",
    "a.secure.test",
    "ssl.test",
    "permanent.test",
    "x.old.test",
    "found.test",
    "old-tls.test",
    "rest.test",
    "nobody.test",
    "",
];

const SEGMENTS: &[&str] = &[
    "true",
    "false",
    "any",
    "unset",
    "n",
    "12",
    "x",
    "",
    "..",
    ".",
    "%2e%2e",
    "a%2Fb",
    "a%2fb",
    "%74rue",
    "tru%65",
    "en",
    "nl",
    "news",
    "edit",
    "+",
    "%zz",
    "%",
    "true;x",
    "caf%C3%A9",
    "true%00",
    "a+b%20",
];

const METHODS: &[&str] = &["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"];

struct Request {
    scheme: Scheme,
    /// What a trusted proxy in front says, of a visitor's scheme and host.
    told: Option<(Scheme, &'static str)>,
    name: &'static str,
    host: &'static str,
    method: &'static str,
    target: String,
}

fn request(random: &mut Random) -> Request {
    let schemes = [&Scheme::Http, &Scheme::Https];
    let told = random.below(6) == 0;
    let scheme = if told { Scheme::Http } else { *random.of(&schemes) };
    let host = random.of(HOSTS);
    // Most clients ask for the name they are going to.
    let name = if random.below(3) > 0 && NAMES.contains(&host) { host } else { random.of(NAMES) };
    let method = random.of(METHODS);
    let mut target = String::new();
    if method == "OPTIONS" && random.below(4) == 0 {
        target.push('*');
    } else {
        for _ in 0..=random.below(4) {
            target.push('/');
            target.push_str(random.of(SEGMENTS));
        }
        if random.below(3) == 0 {
            target.push_str(random.of(&["?", "?a=/../true", "?q=%20+", "/", "//", "/?x=http://evil.test/"]));
        }
    }
    let told = told.then(|| (*random.of(&schemes), host));
    Request { scheme, told, name, host, method, target }
}

/// The self-signed certificates the sites have: hosts and aliases, a wildcard for one label.
struct Names(Vec<String>);

impl Covers for Names {
    fn covers(&self, host: &[u8]) -> bool {
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        let host = match host.parse::<std::net::Ipv6Addr>().ok().or_else(|| {
            host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).and_then(|rest| rest.parse().ok())
        }) {
            Some(address) => format!("[{address}]"),
            None => host,
        };
        self.0.iter().any(|name| match name.strip_prefix("*.") {
            Some(rest) => host.split_once('.').is_some_and(|(label, end)| !label.is_empty() && end == rest),
            None if name == "*" => ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str()),
            None => *name == host,
        })
    }
}

/// What goes out, in words that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    /// The site that served it.
    site: Option<String>,
    location: Option<String>,
}

struct Model {
    sites: Sites,
    names: Vec<Names>,
}

impl Model {
    fn new(config: &Config, ports: Ports) -> Model {
        let of = |site: &config::Site| {
            let hosts = site.hosts.iter().chain(&site.aliases);
            Names(hosts.map(|host| host.pattern.to_string()).collect())
        };
        let names = config.sites.iter().map(of).collect();
        Model { sites: Sites::compile(config.site_rules(), ports).expect("they compile"), names }
    }

    /// The site a handshake with this name ends up with; `None`: it fails.
    fn handshake(&self, name: &str) -> Option<SiteId> {
        let site = if name.is_empty() { self.sites.fallback() } else { self.sites.find(name.as_bytes()) };
        site.filter(|site| self.sites.site(*site).written().ssl)
    }

    fn decide(&self, request: &Request) -> Outcome {
        let site =
            (request.scheme == Scheme::Https).then(|| self.handshake(request.name).expect("it succeeds"));
        let handshake =
            site.map(|site| Handshake { site: Some(site), certificate: &self.names[site.index()] });
        let (scheme, host) = request.told.unwrap_or((request.scheme, request.host));
        let question = Question {
            scheme,
            handshake,
            authority: host.as_bytes(),
            method: request.method.as_bytes(),
            target: request.target.as_bytes(),
        };
        self.outcome(&self.sites.decide(&question))
    }

    fn outcome(&self, decision: &Decision<'_>) -> Outcome {
        let site = decision.site.map(|site| self.sites.site(site).name().to_owned());
        match &decision.action {
            Action::Forward => Outcome { status: 200, site, location: None },
            Action::NotFound => Outcome { status: 404, site: None, location: None },
            Action::Refuse(refusal) => Outcome { status: refusal.status(), site: None, location: None },
            Action::Redirect(redirect) => {
                let mut location = Vec::new();
                redirect.write_location(&mut location);
                let location = Some(String::from_utf8(location).expect("ASCII"));
                Outcome { status: redirect.status, site: None, location }
            }
        }
    }
}

/// Connections that are kept, one for each name in a handshake.
struct Clients<'a> {
    server: &'a Server,
    open: HashMap<(bool, bool, &'static str), Client>,
}

impl Clients<'_> {
    fn ask(&mut self, request: &Request) -> Outcome {
        let tls = request.scheme == Scheme::Https;
        let key = (tls, request.told.is_some(), if tls { request.name } else { "" });
        let addresses = self.server.https();
        let client = self.open.remove(&key);
        let mut client = client.unwrap_or_else(|| match (tls, request.name) {
            (false, _) if request.told.is_some() => Client::http(self.server.http_all()[1]),
            (false, _) => Client::http(self.server.http()),
            (true, "") => Tls::new().connect(addresses).expect("a handshake"),
            (true, name) => Client::https(addresses, name),
        });
        let Request { method, target, host, .. } = request;
        let (host, fields) = match request.told {
            None => (*host, String::new()),
            Some((scheme, host)) => {
                let told = format!("X-Forwarded-Proto: {}\r\nX-Forwarded-Host: {host}\r\n", scheme.as_str());
                ("inside.test", told)
            }
        };
        let length = if matches!(*method, "POST" | "PUT") { "Content-Length: 0\r\n" } else { "" };
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}\r\n"));
        let answer = client.response_to(method);
        let served = answer.field("x-site").map(str::to_owned);
        let outcome = Outcome {
            status: answer.status(),
            site: served,
            location: answer.field("location").map(str::to_owned),
        };
        if !answer.closes() {
            self.open.insert(key, client);
        }
        outcome
    }
}

fn seed() -> u64 {
    let given = std::env::var("PORTCULLIS_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or(0x9e37_79b9_7f4a_7c15)
}

#[test]
fn what_is_served_is_what_is_explained() {
    let seed = seed();
    println!("PORTCULLIS_SEED={seed}");
    let mut random = Random(seed);
    let mut upstreams = Vec::new();
    let sites = sites(&mut upstreams);
    let listen = "http = [\"127.0.0.1:0\", { address = \"127.0.0.1:0\", trusted_proxies = [\"127.0.0.1\"] }], \
                  https = [\"127.0.0.1:0\"], outside_http_port = 8000, outside_https_port = 8443";
    let server = Setup::new(&sites).listen(listen).start();
    let text = format!("listen = {{ {listen} }}\n{sites}");
    let mut files = FilesInMemory::default().with("portcullis.toml", text.as_bytes());
    let config = config::read(Path::new("portcullis.toml"), &mut files, &Overrides::default());
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let model = Model::new(&config, config.listen.ports(0, 0));

    let mut clients = Clients { server: &server, open: HashMap::new() };
    let mut lines: HashMap<&'static str, (String, Vec<Outcome>)> = HashMap::new();
    let mut statuses: HashMap<u16, usize> = HashMap::new();
    for number in 0..REQUESTS {
        let request = request(&mut random);
        if request.scheme == Scheme::Https && model.handshake(request.name).is_none() {
            continue;
        }
        let expected = model.decide(&request);
        let served = clients.ask(&request);
        let Request { scheme, told, name, host, method, target } = &request;
        assert_eq!(
            served,
            expected,
            "PORTCULLIS_SEED={seed}, request {number}: {method} {}://{host}{target}, SNI {name:?}, told {told:?}",
            scheme.as_str()
        );
        *statuses.entry(served.status).or_default() += 1;
        // What `--batch` supposes: the name asked for is the host's.
        let same = Host::parse(host.as_bytes()).ok().and_then(|host| model.sites.find(host.name));
        let plain_name = *scheme == Scheme::Http || model.handshake(name) == same;
        if told.is_none() && plain_name {
            let (input, outcomes) = lines.entry(method).or_default();
            input.push_str(&format!("{}\t{host}\t{target}\n", scheme.as_str()));
            outcomes.push(served);
        }
    }
    println!("{statuses:?}");
    for status in [200, 301, 302, 307, 308, 400, 404, 421] {
        assert!(statuses.get(&status).is_some_and(|count| *count > 50), "{status}: {statuses:?}");
    }
    assert!(statuses.values().sum::<usize>() >= 10_000, "{statuses:?}");

    let file = server.configuration();
    let mut explained = 0;
    for (method, (input, outcomes)) in &lines {
        let answers = batch(&file, method, input);
        assert_eq!(answers.len(), outcomes.len());
        for ((answer, served), line) in answers.iter().zip(outcomes).zip(input.lines()) {
            assert_eq!(&of_batch(answer), served, "PORTCULLIS_SEED={seed}: {method} {line}: {answer}");
            explained += 1;
        }
    }
    assert!(explained >= 5_000, "{explained}");
}

fn batch(file: &Path, method: &str, input: &str) -> Vec<Value> {
    let mut command = Command::new(PROGRAM);
    command.arg("explain").arg("-c").arg(file).args(["--batch", "--method", method]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    let output = std::thread::scope(|scope| {
        // Both ends move at once: neither pipe holds all of it.
        scope.spawn(move || stdin.write_all(input.as_bytes()).expect("it reads all of it"));
        child.wait_with_output().expect("it ends")
    });
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

fn of_batch(answer: &Value) -> Outcome {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    let status = answer.get("status").and_then(Value::as_u64).map_or(200, |status| status as u16);
    let forward = answer["action"] == "forward";
    Outcome { status, site: text("site").filter(|_| forward), location: text("location") }
}
