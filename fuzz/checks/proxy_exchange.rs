//! Exchanges one after another over the same connections, with everything that clients and site servers do to them as a
//! list of operations. Whatever they do: nobody gets what was for another, half a response never ends as a whole one,
//! half a request never arrives as one, and nothing is sent twice that must not be.
//!
//! ```text
//! input      exchange (0xff exchange)*               four exchanges at most
//! exchange   kind  client operations  0xfe  server operations
//! ```
//!
//! Time is moved on while all wait, so that a timeout takes milliseconds.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use monoio::io::{AsyncReadRent as _, AsyncWriteRent as _, AsyncWriteRentExt as _};
use monoio::net::{UnixListener, UnixStream};
use portcullis::config::{
    Balance, Endpoint, EndpointKey, EndpointState, Upstream, UpstreamId, UpstreamProtocol,
};
use portcullis::http::{BodyEnd, Limits};
use portcullis::http1::{BodyReader, RequestKind, ResponseHead, header_slots, parse_request, parse_response};
use portcullis::metrics::Counters;
use portcullis::net::{Buffer, Local};
use portcullis::proxy::{
    Account, BodyFailure, BodyRead, Ended, Exchange, Proxy, ProxyLimits, RequestBody, Responder,
};
use portcullis::upstream::{HealthRules, Pool, PoolLimits};

const EXCHANGES_MAX: usize = 4;
/// Operations of one side of an exchange.
const OPERATIONS_MAX: usize = 24;
const SERVERS: usize = 2;
/// Octets of a request body: more than one buffer takes.
const LARGE_BODY: usize = 300_000;
/// How long anything may be waited for; nothing here takes so long otherwise.
const WAIT: Duration = Duration::from_secs(1);
/// Time that passes with each millisecond in which nothing happens.
const STEP: Duration = Duration::from_millis(100);

pub fn check(bytes: &[u8]) {
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
        .enable_timer()
        .build()
        .expect("descriptors for a ring");
    runtime.block_on(run(bytes));
}

/// What is asked for, by the bits of the first byte.
#[derive(Clone, Copy)]
struct Kind {
    number: usize,
    head: bool,
    upgrade: bool,
    repeatable: bool,
    body: BodyEnd,
    /// All of the body goes with the head.
    in_hand: bool,
}

impl Kind {
    fn read(number: usize, bits: u8) -> Kind {
        let body = match (bits >> 3) & 3 {
            0 => BodyEnd::None,
            1 => BodyEnd::Length(10),
            2 => BodyEnd::Length(LARGE_BODY as u64),
            _ => BodyEnd::Chunked,
        };
        let upgrade = bits & 2 != 0 && body == BodyEnd::None;
        Kind {
            number,
            head: bits & 1 != 0,
            upgrade,
            repeatable: bits & 4 != 0,
            body,
            in_hand: bits & 32 != 0,
        }
    }

    fn content(self) -> Vec<u8> {
        let size = match self.body {
            BodyEnd::Length(length) => length as usize,
            BodyEnd::Chunked => 20_000,
            BodyEnd::None | BodyEnd::Close => 0,
        };
        (0..size).map(|at| b'a' + ((at / 3 + self.number) % 26) as u8).collect()
    }

    fn request(self) -> Vec<u8> {
        let framing = match self.body {
            BodyEnd::Length(length) => format!("Content-Length: {length}\r\n"),
            BodyEnd::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            BodyEnd::None | BodyEnd::Close => String::new(),
        };
        let mut bytes = format!("POST /{} HTTP/1.1\r\nHost: a\r\n{framing}\r\n", self.number).into_bytes();
        if self.in_hand {
            let content = self.content();
            match self.body {
                BodyEnd::Chunked => {
                    bytes.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
                    bytes.extend_from_slice(&content);
                    bytes.extend_from_slice(b"\r\n0\r\n\r\n");
                }
                _ => bytes.extend_from_slice(&content),
            }
        }
        bytes
    }

    fn is_streamed(self) -> bool {
        !self.in_hand && !self.body.is_empty()
    }
}

/// What the client does, one for each time it is asked.
struct ClientSide {
    kind: Kind,
    operations: RefCell<VecDeque<u8>>,
    failed: Cell<bool>,
    local: Local,
}

impl ClientSide {
    fn next(&self) -> Option<u8> {
        self.operations.borrow_mut().pop_front()
    }
}

struct Body<'a> {
    client: &'a ClientSide,
    rest: Vec<u8>,
}

impl RequestBody for Body<'_> {
    async fn read(&mut self, into: &mut Buffer, _: bool) -> Result<BodyRead, BodyFailure> {
        let fail = |failure| {
            self.client.failed.set(true);
            Err(failure)
        };
        let wanted = loop {
            match self.client.next() {
                None => break self.rest.len(),
                Some(0xe0) => return fail(BodyFailure::Gone),
                Some(0xe1) => return fail(BodyFailure::TimedOut),
                Some(0xe2) => return fail(BodyFailure::TooSlow),
                Some(0xe3) => return fail(BodyFailure::TooLarge),
                Some(0xe4) => return fail(BodyFailure::Malformed),
                Some(0xe5) => self.client.local.pause().await,
                // Those are for the response.
                Some(0xf0..) => {}
                Some(count) => break usize::from(count) * 97 + 1,
            }
        };
        let count = wanted.min(self.rest.len()).min(into.spare());
        into.append(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(if self.rest.is_empty() { BodyRead::End } else { BodyRead::More })
    }

    fn remaining(&self) -> Option<u64> {
        matches!(self.client.kind.body, BodyEnd::Length(_)).then_some(self.rest.len() as u64)
    }

    fn trailers(&self) -> &[u8] {
        b""
    }
}

/// What came back to the client.
struct Sink<'a> {
    client: &'a ClientSide,
    interims: usize,
    /// Status of the head written last.
    status: Option<u16>,
    /// Octets of the body that left.
    body: Vec<u8>,
    /// Sends behind the final head.
    sends: usize,
    ended: bool,
    is_final: bool,
}

impl Responder for Sink<'_> {
    fn write_interim(&mut self, head: &ResponseHead<'_, '_>, out: &mut Vec<u8>) {
        assert!(
            (100..200).contains(&head.status) && self.sends == 0,
            "an interim response behind the final one"
        );
        // A head whose body was none is forgotten when another server is asked.
        (self.status, self.is_final) = (None, false);
        self.interims += 1;
        out.extend_from_slice(b"interim");
    }

    fn write_head(&mut self, head: &ResponseHead<'_, '_>, _: &mut Vec<u8>) {
        assert!(self.sends == 0, "a second response");
        self.status = Some(head.status);
        self.is_final = true;
    }

    fn frame(&mut self, _: &mut Buffer, _: Option<&[u8]>) {}

    async fn send(&mut self, bytes: &mut Buffer, last: bool) -> io::Result<()> {
        assert!(!self.ended, "nothing follows the end");
        let is_interim = !self.is_final;
        // A send may wait, and may fail; only operations that are there for it are taken.
        let next = self.client.operations.borrow().front().copied();
        if let Some(operation @ 0xf0..) = next {
            self.client.next();
            match operation {
                0xf0 => {
                    self.client.failed.set(true);
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                0xf1 => {
                    self.client.failed.set(true);
                    return Err(io::ErrorKind::TimedOut.into());
                }
                _ => self.client.local.pause().await,
            }
        }
        if is_interim {
            assert_eq!(bytes.filled(), b"interim");
            bytes.clear();
            return Ok(());
        }
        self.sends += 1;
        self.body.extend_from_slice(bytes.filled());
        bytes.clear();
        self.ended = last;
        Ok(())
    }
}

/// What the site servers do, and all they saw.
#[derive(Default)]
struct ServerSide {
    // The exchange under way.
    number: usize,
    operations: VecDeque<u8>,
    connections: Vec<Conversation>,
    // Connections that are at it.
    busy: usize,
}

/// One connection.
#[derive(Default)]
struct Conversation {
    received: Vec<u8>,
    /// What was sent while an exchange was under way, and whether the connection was ended then.
    sent: [Vec<u8>; EXCHANGES_MAX],
    ended_in: Option<usize>,
    // Requests that had something sent to them.
    answered: usize,
}

impl Conversation {
    fn sends(&mut self, number: usize, bytes: &[u8]) {
        self.sent[number].extend_from_slice(bytes);
        let (whole, part) = requests(&self.received);
        self.answered = whole.len() + usize::from(part.is_some());
    }

    fn is_unanswered(&self) -> bool {
        requests(&self.received).0.len() > self.answered
    }
}

fn piece(operation: u8, number: usize) -> Vec<u8> {
    let whole = |head: &str| format!("HTTP/1.1 {head}\r\n\r\nresp{number}").into_bytes();
    match operation % 22 {
        0 => whole("200 OK\r\nContent-Length: 5"),
        1 => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nresp{number}\r\n0\r\n\r\n")
            .into_bytes(),
        2 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        3 => format!("5\r\nresp{number}\r\n").into_bytes(),
        4 => b"0\r\n\r\n".to_vec(),
        5 => b"0\r\nX-Sum: 7\r\n\r\n".to_vec(),
        6 => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_vec(),
        7 => format!("resp{number}").into_bytes(),
        8 => b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        9 => b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec(),
        10 => b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_vec(),
        11 => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        12 => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".to_vec(),
        13 => format!("HTTP/1.0 200 OK\r\n\r\nresp{number}").into_bytes(),
        14 => whole("200 OK\r\nConnection: close\r\nContent-Length: 5"),
        15 => whole("200 OK\r\nContent-Length: 5\r\nContent-Length: 6"),
        16 => b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(),
        17 => b"HTTP/1.1 200 O".to_vec(),
        18 => {
            let body = format!("resp{number}").repeat(40_000);
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        }
        19 => b"zz\r\n".to_vec(),
        20 => whole("500 No\r\nContent-Length: 5"),
        _ => b"HTTP/1.1 200 OK\r\nX: y\r\n".to_vec(),
    }
}

async fn accept(listener: UnixListener, side: Rc<RefCell<ServerSide>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let index = {
            let mut side = side.borrow_mut();
            side.connections.push(Conversation::default());
            side.connections.len() - 1
        };
        monoio::spawn(converse(stream, index, side.clone()));
    }
}

/// Reads, then does what is next: until an operation says to read on, or there are none.
async fn converse(mut stream: UnixStream, index: usize, side: Rc<RefCell<ServerSide>>) {
    let end = |side: &Rc<RefCell<ServerSide>>| {
        let mut side = side.borrow_mut();
        let number = side.number;
        side.connections[index].ended_in.get_or_insert(number);
    };
    let mut is_silent = false;
    loop {
        let (read, bytes) = stream.read(vec![0; 65_536]).await;
        let count = read.unwrap_or(0);
        let number = {
            let mut side = side.borrow_mut();
            side.connections[index].received.extend_from_slice(&bytes[..count]);
            side.busy += 1;
            side.number
        };
        if count == 0 {
            side.borrow_mut().busy -= 1;
            return end(&side);
        }
        while !is_silent {
            let next = side.borrow_mut().operations.pop_front();
            let bytes = match next {
                Some(0xc0..0xc8) => break,
                Some(0xc8) => {
                    side.borrow_mut().busy -= 1;
                    return end(&side);
                }
                Some(0xc9) => {
                    end(&side);
                    let _ = stream.shutdown().await;
                    break;
                }
                Some(0xca..) => {
                    // Until the other side gives up.
                    is_silent = true;
                    break;
                }
                Some(operation) => piece(operation, number),
                // As it should: when all of the request is there, once.
                None if side.borrow().connections[index].is_unanswered() => piece(0, number),
                None => break,
            };
            side.borrow_mut().connections[index].sends(number, &bytes);
            if stream.write_all(bytes).await.0.is_err() {
                side.borrow_mut().busy -= 1;
                return end(&side);
            }
        }
        side.borrow_mut().busy -= 1;
    }
}

/// The number and the body of a request.
type Arrived = (usize, Vec<u8>);

/// The whole requests of a connection; and what is behind them, when that is part of one.
fn requests(mut bytes: &[u8]) -> (Vec<Arrived>, Option<&[u8]>) {
    let mut whole = Vec::new();
    while !bytes.is_empty() {
        let mut slots = header_slots();
        let parsed = parse_request(bytes, &mut slots, &Limits::default());
        let Some(head) = parsed.unwrap_or_else(|bad| panic!("{bad:?}: {}", bytes.escape_ascii())) else {
            return (whole, Some(bytes));
        };
        let number = std::str::from_utf8(&head.path_and_query()[1..]).ok().and_then(|text| text.parse().ok());
        let mut rest = bytes[head.head_bytes..].to_vec();
        let mut reader = BodyReader::new(head.body);
        let progress =
            reader.read(&mut rest).unwrap_or_else(|bad| panic!("{bad:?}: {}", bytes.escape_ascii()));
        if !progress.end {
            return (whole, Some(bytes));
        }
        whole.push((number.expect("a number of ours"), rest[..progress.data].to_vec()));
        bytes = &bytes[head.head_bytes + progress.consumed..];
    }
    (whole, None)
}

/// Status and body of the response in what a site server sent, when there is a whole one.
fn response(mut bytes: &[u8], kind: Kind, ended: bool) -> Option<(u16, Vec<u8>)> {
    loop {
        let mut slots = header_slots();
        let kind = RequestKind { head: kind.head, upgrade: kind.upgrade };
        let head = parse_response(bytes, &mut slots, kind, &Limits::default()).ok()??;
        bytes = &bytes[head.head_bytes..];
        if head.is_interim {
            continue;
        }
        let mut reader = BodyReader::new(head.body);
        let mut rest = bytes.to_vec();
        let progress = reader.read(&mut rest).ok()?;
        let is_whole = progress.end || (ended && reader.finish().is_ok());
        return is_whole.then(|| (head.status, rest[..progress.data].to_vec()));
    }
}

async fn run(bytes: &[u8]) {
    let directory = tempfile_directory();
    let side = Rc::new(RefCell::new(ServerSide::default()));
    let mut endpoints = Vec::new();
    for server in 0..SERVERS {
        let path = directory.0.join(format!("{server}.sock"));
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a path of our own");
        listener.set_nonblocking(true).expect("an open socket");
        monoio::spawn(accept(UnixListener::from_std(listener).expect("listening"), side.clone()));
        let key = EndpointKey {
            upstream: Upstream::Unix { path },
            protocol: UpstreamProtocol::Http1,
            ca: None,
            server_name: None,
            proxy_protocol: None,
            health_check: None,
        };
        endpoints.push(Arc::new(Endpoint {
            key,
            tls: None,
            state: Arc::new(EndpointState::new(Vec::new())),
        }));
    }
    let local = Local::new();
    let ticks = local.clone();
    monoio::spawn(async move {
        loop {
            monoio::time::sleep(Duration::from_millis(1)).await;
            ticks.clock.advance(STEP);
            ticks.tick();
        }
    });
    let pool_limits = PoolLimits {
        idle_max: 4,
        idle_timeout: Duration::from_secs(3600),
        connect_timeout: Duration::from_secs(10),
        response_head_bytes_max: 32 * 1024,
        // Nobody is given up: each exchange has somebody to ask.
        health: HealthRules {
            eject_after: 1000,
            ejection: WAIT,
            ejection_max: WAIT,
            slow_start: Duration::ZERO,
        },
    };
    let pool = Pool::new(pool_limits, local.clone());
    let upstreams = pool.install(&endpoints, pool_limits);
    let servers = upstreams.balancer(Balance::RoundRobin, &[(UpstreamId(0), 1), (UpstreamId(1), 1)]);
    let limits = ProxyLimits {
        response: Limits::default(),
        response_head: WAIT,
        body_idle: WAIT,
        tunnel_idle: WAIT,
        retry_percent: 100,
    };
    let proxy = Proxy::new(pool, limits, local.clone(), Arc::new(Counters::default()));

    let mut kinds = Vec::new();
    let mut silent = false;
    for (number, part) in bytes.split(|byte| *byte == 0xff).take(EXCHANGES_MAX).enumerate() {
        let (first, rest) = part.split_first().unwrap_or((&0, &[]));
        let kind = Kind::read(number, *first);
        let mut sides = rest.splitn(2, |byte| *byte == 0xfe);
        let mut operations =
            || -> VecDeque<u8> { sides.next().unwrap_or(&[]).iter().copied().take(OPERATIONS_MAX).collect() };
        let client = ClientSide {
            kind,
            operations: RefCell::new(operations()),
            failed: Cell::new(false),
            local: local.clone(),
        };
        {
            let mut side = side.borrow_mut();
            side.number = number;
            side.operations = operations();
        }
        // A connection that is silent from some point on may be kept, and met again.
        silent |= side.borrow().operations.iter().any(|operation| *operation >= 0xca);
        let is_usual = part.len() <= 1 && !silent;
        let (ended, sink) = exchange(&proxy, &servers, &client).await;
        settle(&side).await;
        judge(&ended, &sink, &client, &side.borrow(), is_usual);
        kinds.push((kind, client.failed.get()));
        drop(ended);
    }
    settle(&side).await;
    each_request_arrived_as_it_was(&kinds, &side.borrow());
    for upstream in upstreams.each() {
        assert_eq!(upstream.under_way(), 0, "an exchange that is over is counted");
    }
}

async fn exchange<'a>(
    proxy: &Proxy,
    servers: &portcullis::upstream::Balancer,
    client: &'a ClientSide,
) -> (Ended, Sink<'a>) {
    let kind = client.kind;
    let account = Account::default();
    let exchange = Exchange {
        servers,
        visitor: std::net::Ipv4Addr::LOCALHOST.into(),
        facts: &|| unreachable!("no site server wants the PROXY protocol"),
        kind: RequestKind { head: kind.head, upgrade: kind.upgrade },
        repeatable: kind.repeatable,
        body: kind.body,
        account: &account,
    };
    let head = kind.request();
    let mut request = client.local.buffers.at_least(head.len());
    request.append(&head);
    let mut body = Body { client, rest: kind.content() };
    let mut sink =
        Sink { client, interims: 0, status: None, body: Vec::new(), sends: 0, ended: false, is_final: false };
    let streamed = kind.is_streamed().then_some(&mut body);
    let ended = proxy.exchange(&exchange, request, streamed, &mut sink).await;
    (ended, sink)
}

/// Lets the site servers come to rest: what they still do belongs to the exchange that is over.
async fn settle(side: &Rc<RefCell<ServerSide>>) {
    for _ in 0..50 {
        monoio::time::sleep(Duration::from_millis(1)).await;
        if side.borrow().busy == 0 {
            return;
        }
    }
}

/// What holds for one exchange when it is over.
fn judge(ended: &Ended, sink: &Sink<'_>, client: &ClientSide, side: &ServerSide, is_usual: bool) {
    let kind = client.kind;
    let whole = || {
        side.connections.iter().find_map(|connection| {
            let ended = connection.ended_in == Some(kind.number);
            let found = response(&connection.sent[kind.number], kind, ended)?;
            (Some(found.0) == sink.status && found.1 == sink.body).then_some(found)
        })
    };
    match ended {
        Ended::Answered { status, request_whole } => {
            assert!(sink.ended, "a response without an end was whole");
            assert_eq!(Some(*status), sink.status);
            assert!(whole().is_some(), "nobody sent this: {} {}", status, sink.body.escape_ascii());
            if *request_whole {
                let arrived = side.connections.iter().any(|connection| {
                    requests(&connection.received).0.iter().any(|(number, _)| *number == kind.number)
                        // It may not have read all of it.
                        || connection.ended_in.is_some()
                        || requests(&connection.received).1.is_some()
                });
                assert!(arrived, "a request that was sent whole did not arrive");
            }
        }
        Ended::Unanswered(failure) => {
            assert!(sink.sends == 0, "something of a response left, and then {failure:?}");
            assert!(failure.status() >= 500 || client.failed.get(), "{failure:?}");
        }
        Ended::Cut(_) => assert!(!sink.ended, "a response that was cut looks whole"),
        Ended::Tunnel { .. } => {
            assert!(kind.upgrade && sink.status == Some(101) && sink.sends == 0);
        }
    }
    let number = kind.number.to_string();
    for marker in String::from_utf8_lossy(&sink.body).split("resp").skip(1) {
        assert!(marker.is_empty() || marker.starts_with(&number), "a part of another's response: {marker}");
    }
    if is_usual {
        let answered = matches!(ended, Ended::Answered { status: 200, .. });
        let why = match ended {
            Ended::Unanswered(failure) => failure.reason(),
            Ended::Cut(cut) => cut.reason(),
            Ended::Answered { .. } | Ended::Tunnel { .. } => "answered in another way",
        };
        assert!(answered, "an exchange in which nothing happened was not answered: {why}");
    }
}

/// Each request that is whole is one that was asked for, with its own body; and no more often than may be.
fn each_request_arrived_as_it_was(kinds: &[(Kind, bool)], side: &ServerSide) {
    let mut seen = [0; EXCHANGES_MAX];
    for connection in &side.connections {
        let (whole, part) = requests(&connection.received);
        for (number, body) in &whole {
            let (kind, client_failed) = kinds[*number];
            assert!(*body == kind.content(), "the body of {number} is another one");
            assert!(
                !(client_failed && kind.is_streamed() && body.is_empty()),
                "a request that failed arrived whole"
            );
            seen[*number] += 1;
        }
        if let Some(part) = part
            && let Some(number) = part.strip_prefix(b"POST /").and_then(|rest| rest.first())
        {
            let number = usize::from(number.wrapping_sub(b'0'));
            assert!(kinds.len() > number, "part of a request nobody made: {}", part.escape_ascii());
            seen[number] += 1;
        }
    }
    for ((kind, _), count) in kinds.iter().zip(seen) {
        let most = if kind.repeatable && !kind.is_streamed() { SERVERS + 1 } else { 1 };
        assert!(count <= most, "request {} was sent {count} times", kind.number);
    }
}

/// A directory that goes when this is dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempfile_directory() -> Directory {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("portcullis-fuzz-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&path).expect("a writable directory");
    Directory(path)
}
