//! Every default and its bounds: unit, reason, and what happens at the bound.
//!
//! `docs/configuration.md` shows the same numbers; a test compares them.

use std::time::Duration;

use crate::access_log::Format;
use crate::config::{
    AcmeChallenge, Alias, Balance, ClientAuthMode, IdentityForm, LogLevel, PathReading, SessionMode,
    SessionProtection, SocketAccess, TlsVersions, Unmatched,
};

/// A setting that is a number: what it is when not written, and what may be written.
#[derive(Clone, Copy, Debug)]
pub struct Bounded<T> {
    pub default: T,
    pub least: T,
    pub most: T,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

// The process

/// Threads. There is no default number: one per core the process may run on, since a worker never
/// waits for another. 1024 is more than the cores of any machine this was thought for; more is an error.
pub const WORKERS: Bounded<u64> = Bounded { default: 0, least: 1, most: 1024 };
/// Where Debian and systemd (`StateDirectory=`) put what outlives a process.
pub const STATE_DIRECTORY: &str = "/var/lib/portcullis";
/// From SIGTERM to the end. Long enough for pages and small uploads, shorter than the 90 s after
/// which systemd kills. At the bound: what is still open is closed.
pub const DRAIN_TIMEOUT: Bounded<Duration> =
    Bounded { default: seconds(30), least: Duration::ZERO, most: HOUR };
/// One line per event an operator acts on; `debug` has lines per connection.
pub const LOG: LogLevel = LogLevel::Info;

// [listen]

/// All addresses of the machine, IPv6 and IPv4.
pub const LISTEN_HTTP: &str = "[::]:80";
pub const LISTEN_HTTPS: &str = "[::]:443";
/// Addresses per scheme; each is a socket in every worker. More is an error.
pub const LISTEN_ADDRESSES_MAX: usize = 64;

// [session_cache]

pub const SESSION_MODE: SessionMode = SessionMode::Cache;
/// Sessions. At about 1 KiB each, 20 MiB at the bound, where the least recently used one goes.
pub const SESSION_CACHE_SIZE: Bounded<u64> = Bounded { default: 20_000, least: 1, most: 10_000_000 };
/// From the full handshake. Five minutes cover a visit; a stolen session is worth no more than that.
/// At the bound the session is gone and the next handshake is a full one. 7 days: RFC 8446 §4.6.1.
pub const SESSION_LIFETIME: Bounded<Duration> =
    Bounded { default: seconds(300), least: SECOND, most: seconds(7 * 86_400) };

// [certificate_cache]

/// Names. With a certificate each takes some 10 KiB: 100 MiB at the bound, where the least recently used one goes.
pub const CERTIFICATE_CACHE_SIZE: Bounded<u64> = Bounded { default: 10_000, least: 1, most: 10_000_000 };
/// How long an answer is good that does not say so itself. A minute: a new certificate or site is soon there,
/// and a busy name is asked for once a minute.
pub const CERTIFICATE_CACHE_LIFETIME: Bounded<Duration> =
    Bounded { default: MINUTE, least: SECOND, most: seconds(7 * 86_400) };
/// Names without a known certificate that are asked for in a second, five seconds' worth at once. Above it the
/// handshake goes on without the source. Scans for names that do not exist must not start programs without end.
pub const UNKNOWN_NAMES_PER_SECOND: Bounded<u64> = Bounded { default: 20, least: 1, most: 100_000 };
/// For one question. A handshake waits for it.
pub const ASK_TIMEOUT: Bounded<Duration> = Bounded { default: seconds(2), least: TENTH, most: MINUTE };

// [limits]

/// Octets of request line and header section. Cookies of a few sites fit; above it 431.
pub const REQUEST_HEAD_BYTES: Bounded<u64> = Bounded { default: 32 * KIB, least: KIB, most: MIB };
/// Fields of a header section. Browsers send about 20; above it 431.
pub const HEADERS: Bounded<u64> = Bounded { default: 100, least: 10, most: 256 };
/// Octets of a request body. Bodies are streamed, so it bounds time and the disk of the site server,
/// not memory here: videos pass, endless uploads do not. Above it 413.
pub const REQUEST_BODY_BYTES: Bounded<u64> = Bounded { default: GIB, least: 0, most: 16 * TIB };
/// Octets of the status line and header section of a response. Above it 502.
pub const RESPONSE_HEAD_BYTES: Bounded<u64> = Bounded { default: 32 * KIB, least: KIB, most: MIB };
/// Fields of a response's header section. Above it 502.
pub const RESPONSE_HEADERS: Bounded<u64> = Bounded { default: 100, least: 10, most: 256 };
/// Octets a second that a client sends of a body or takes of a response while it is waited for; `body_idle` can be
/// saved up. A modem of 1995 has ten times that; who trickles to hold a connection has less. Slower: 408, or cut.
pub const BODY_RATE: Bounded<u64> = Bounded { default: 256, least: 0, most: MIB };
/// Connections of one client address; off, since one address may be a whole office. More are closed at once.
pub const CONNECTIONS_PER_ADDRESS: Bounded<u64> = Bounded { default: 100, least: 1, most: 65_535 };
/// Requests of one client address in a second; off, for the same reason. More are answered 429.
pub const REQUESTS_PER_ADDRESS: Bounded<u64> = Bounded { default: 100, least: 1, most: 1_000_000 };
/// Connections of clients open at a time. At the bound accept waits, the kernel queues, and the
/// oldest idle connections are not touched. About 1.5 GiB when all of them are busy with TLS.
pub const CONNECTIONS: Bounded<u64> = Bounded { default: 20_000, least: 1, most: 10_000_000 };

/// TLS handshakes of a worker that go on at a time, each from its ClientHello on: some 20 KiB and up to a
/// millisecond of its core. Above it the connection is closed: who waits behind a thousand others gets no answer
/// in time either. Those under way are not touched.
pub const HANDSHAKES_PER_WORKER: Bounded<u64> = Bounded { default: 1000, least: 1, most: 1_000_000 };

// [timeouts]

/// From accept to the end of the TLS handshake: slow mobile links need 3 s. Then closed.
pub const HANDSHAKE: Bounded<Duration> = Bounded { default: seconds(10), least: TENTH, most: HOUR };
/// First octet to last of a request head. Then 408: a head that trickles holds a connection.
pub const REQUEST_HEAD: Bounded<Duration> = Bounded { default: seconds(10), least: TENTH, most: HOUR };
/// Without an octet of a body moving, either way. Then closed.
pub const BODY_IDLE: Bounded<Duration> = Bounded { default: seconds(30), least: TENTH, most: DAY };
/// Between exchanges. A page's next click often comes within a minute. Then closed, silently.
pub const KEEP_ALIVE: Bounded<Duration> = Bounded { default: seconds(75), least: Duration::ZERO, most: DAY };
/// To connect to a site server, which is near. Then the next upstream, or 504.
pub const UPSTREAM_CONNECT: Bounded<Duration> =
    Bounded { default: seconds(5), least: Duration::from_millis(10), most: seconds(600) };
/// From the sent request to the head of the response. Then 504.
pub const RESPONSE_HEAD: Bounded<Duration> = Bounded { default: MINUTE, least: TENTH, most: DAY };

/// Without an octet moving either way through a tunnel (WebSocket and other upgrades); then closed.
pub const TUNNEL_IDLE: Bounded<Duration> = Bounded { default: HOUR, least: TENTH, most: DAY };

const TENTH: Duration = Duration::from_millis(100);

// [upstream_pool]

/// Idle connections per upstream and worker. At the bound the connection that came back is closed. A few clients of HTTP/2
/// have this many requests at a time: with 64 every second request made a connection, and cost twice as much.
pub const IDLE_PER_WORKER: Bounded<u64> = Bounded { default: 256, least: 0, most: 65_536 };
/// How long one is kept: site servers often close after one or two minutes themselves, and the
/// side that closes first decides who meets the race. Then closed.
pub const IDLE_TIMEOUT: Bounded<Duration> = Bounded { default: seconds(60), least: SECOND, most: DAY };

// [access_log]

pub const ACCESS_LOG_FORMAT: Format = Format::Json;
/// Octets of lines that each worker may have on their way to a log that is slow: some thousand lines. At the bound
/// lines are dropped and counted, and no request waits.
pub const ACCESS_LOG_BUFFER: Bounded<u64> = Bounded { default: MIB, least: 128 * KIB, most: 16 * MIB };
/// Where syslog daemons listen.
pub const SYSLOG_SOCKET: &str = "/dev/log";

/// Failures of a site server in a row, as one worker sees them. Three are no accident. Then the worker asks it no
/// more for `ejection`.
pub const EJECT_AFTER: Bounded<u64> = Bounded { default: 3, least: 1, most: 1000 };
/// The first pause; each in a row is twice as long. A restart is over in a second.
pub const EJECTION: Bounded<Duration> = Bounded { default: SECOND, least: TENTH, most: HOUR };
/// The longest pause: how late it may be noticed that a site server is back.
pub const EJECTION_MAX: Bounded<Duration> = Bounded { default: seconds(30), least: TENTH, most: HOUR };
/// Off: most site servers need no warming up.
pub const SLOW_START: Bounded<Duration> =
    Bounded { default: Duration::ZERO, least: Duration::ZERO, most: HOUR };
/// Requests sent again for each hundred that come, in one worker, beyond the first few. Retries must not become the
/// load that keeps a site down. At the bound the failure is answered.
pub const RETRY_PERCENT: Bounded<u64> = Bounded { default: 20, least: 0, most: 100 };
/// How long the addresses of a name are used before they are looked up again. The system's resolver does not say how
/// long they hold. When a lookup fails, the ones before stay.
pub const RESOLVE_INTERVAL: Bounded<Duration> = Bounded { default: seconds(30), least: SECOND, most: DAY };

// [sandbox]

/// On: nothing the process starts is meant to gain rights.
pub const NO_NEW_PRIVILEGES: bool = true;
/// On where the kernel has it; a warning where not.
pub const LANDLOCK: bool = true;
pub const SECCOMP: bool = true;

// [admin]

/// The unix socket, in the state directory.
pub const ADMIN_SOCKET: &str = "admin.sock";
/// Whoever may ask may also reload and drain.
pub const SOCKET_ACCESS: SocketAccess = SocketAccess::Owner;
/// Addresses for administration over TCP. More is an error.
pub const ADMIN_ADDRESSES_MAX: usize = 8;

// [[site]]

/// Of one server of a site beside the others.
pub const WEIGHT: Bounded<u64> = Bounded { default: 1, least: 1, most: 1000 };
pub const BALANCE: Balance = Balance::RoundRobin;
/// On: a site server that names its inside address in a redirect would lose the visitor.
pub const REWRITE_LOCATION: bool = true;
pub const HEALTH_INTERVAL: Bounded<Duration> = Bounded { default: seconds(5), least: TENTH, most: HOUR };
/// Of one check, in all. Then it counts as failed.
pub const HEALTH_TIMEOUT: Bounded<Duration> = Bounded { default: seconds(2), least: TENTH, most: MINUTE };
pub const UNHEALTHY_AFTER: Bounded<u64> = Bounded { default: 3, least: 1, most: 100 };
pub const HEALTHY_AFTER: Bounded<u64> = Bounded { default: 2, least: 1, most: 100 };

/// Protocols offered in TLS (RFC 7301), the preferred one first, and those that can be written.
pub const ALPN: &[&str] = &["h2", "http/1.1"];
/// Off: it saves bytes of a full handshake and costs memory for each certificate.
pub const CERTIFICATE_COMPRESSION: bool = false;
pub const CLIENT_AUTH_MODE: ClientAuthMode = ClientAuthMode::Require;
/// The field that tells a site server who the client is.
pub const CLIENT_AUTH_HEADER: &str = "X-Client-Identity";
pub const CLIENT_AUTH_IDENTITY: IdentityForm = IdentityForm::Subject;
/// Different fields of this kind in one configuration: each is looked for in every request.
pub const IDENTITY_FIELDS_MAX: usize = 8;
pub const ALIAS: Alias = Alias::Redirect;
pub const SSL: bool = true;
/// On: session cookies do not leave HTTPS.
pub const IS_SECURE: bool = true;
pub const IS_SSL: bool = false;
/// Off: a permanent redirect is remembered by browsers past the change of a configuration.
pub const IS_PERMANENT: bool = false;
pub const UNMATCHED: Unmatched = Unmatched::Forward;
/// Sealing ends the sessions there are, and needs a key file that is kept: for those who ask for it.
pub const SESSION_PROTECTION: SessionProtection = SessionProtection::Secure;
/// Site servers get what visitors sent, signatures over it included.
pub const PATH_READING: PathReading = PathReading::Raw;
pub const TLS_VERSIONS: TlsVersions = TlsVersions::Tls12AndTls13;
/// A year, as the preload list asks at least. 0 makes browsers forget.
pub const HSTS_MAX_AGE: Bounded<Duration> =
    Bounded { default: seconds(365 * 86_400), least: Duration::ZERO, most: seconds(3_650 * 86_400) };
pub const HSTS_INCLUDE_SUBDOMAINS: bool = false;
pub const HSTS_PRELOAD: bool = false;

// `certificate` with source = "acme"

/// Names in an hour that were never ordered before. More are answered by the next source. Let's Encrypt issues 50
/// certificates a week for the names of one domain.
pub const ON_DEMAND_PER_HOUR: Bounded<u64> = Bounded { default: 10, least: 1, most: 100_000 };

/// Free, and trusted by all browsers.
pub const ACME_DIRECTORY_URL: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Port 80 is open on nearly all machines that have port 443 open, and needs nothing else.
pub const ACME_CHALLENGE: AcmeChallenge = AcmeChallenge::Http01;
/// Name servers of some take minutes until all of them have a record. Then the program is stopped and the order
/// has failed.
pub const ACME_DNS_TIMEOUT: Bounded<Duration> = Bounded { default: seconds(300), least: SECOND, most: HOUR };

// Bounds that are no settings: far above what is meant, so that a mistake ends in a message.

/// Octets of one configuration or dispatch file.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Files in all, dispatch files included.
pub const FILES_MAX: usize = 10_000;
/// `include` inside an included file inside ...
pub const INCLUDE_DEPTH_MAX: usize = 8;
pub const SITES_MAX: usize = 10_000;
/// Entries of one array of a site: `hosts`, `aliases`, `upstream`, `languages`, ...
pub const ENTRIES_MAX: usize = 1_000;
/// Rules of one site, inline and imported.
pub const RULES_MAX: usize = 10_000;
/// Problems kept: enough to see the pattern.
pub const PROBLEMS_MAX: usize = 1_000;
