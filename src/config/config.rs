//! `Config`: what the operator means, with every default filled in. Immutable once read.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::access_log::{Destination, Format};
use crate::config::problem::Problem;
use crate::config::run_as::{PidFilePath, RunAs};
use crate::config::site_tls::{CertificateSource, ClientAuth, TlsVersions};
use crate::config::store::Store;
pub use crate::dispatch::{Alias, Unmatched};
use crate::dispatch::{Place, Ports, Rules, SiteRules};
use crate::http::Network;

/// A configuration that passed every check of this room. There is no "unset" in it: a value the
/// file left out is the default of `defaults.rs`, and an `Option` means that the thing is off.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, as named by the caller.
    pub file: Arc<Path>,
    /// Every file that was read, `file` first: what a reload watches.
    pub files: Vec<PathBuf>,
    pub workers: Workers,
    /// Keys, self-signed certificates and other things that outlive the process.
    pub state_directory: PathBuf,
    /// Who the process becomes when root has started it; `None`: it stays who it is.
    pub run_as: Option<RunAs>,
    /// `None`: it is not written anywhere.
    pub pid_file: Option<PidFilePath>,
    /// How long open connections may finish after SIGTERM.
    pub drain_timeout: Duration,
    pub log: LogLevel,
    pub listen: Listen,
    pub session_cache: SessionCache,
    pub certificate_cache: CertificateCache,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub upstream_pool: UpstreamPool,
    pub sandbox: Sandbox,
    /// `None`: no line is written.
    pub access_log: Option<AccessLog>,
    pub admin: AdminListener,
    /// What the machines of a fleet share; `None`: this one is alone.
    pub store: Option<Store>,
    /// In the order written, included files where `include` names them: after the sites of the
    /// file that includes them. Never empty.
    pub sites: Vec<Site>,
    /// What does not stop it from serving but is hardly meant.
    pub warnings: Vec<Problem>,
}

/// `[access_log]`: a line for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The path of a file is joined to the directory of the file that names it.
    pub to: Destination,
    pub format: Format,
    /// Octets of lines on their way, for each worker.
    pub buffer_bytes_max: u64,
    /// Where `to` is written.
    pub place: Place,
}

/// `[admin]`: where the process can be asked and told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminListener {
    /// `None`: off.
    pub socket: Option<AdminSocket>,
    pub access: SocketAccess,
    /// Empty, or there is a token.
    pub listen: Vec<AdminAddress>,
    pub token_file: Option<TokenFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSocket {
    pub path: PathBuf,
    /// `None`: the default.
    pub place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAddress {
    pub address: SocketAddr,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    pub path: PathBuf,
    pub place: Place,
}

/// Who may open the admin socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketAccess {
    /// The user Portcullis runs as, and root.
    #[default]
    Owner,
    /// Its group, too.
    Group,
}

impl SocketAccess {
    /// Of the socket's file.
    #[must_use]
    pub fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o660,
        }
    }
}

impl AdminListener {
    /// Whether both say the same, wherever it is written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let path = |socket: &Option<AdminSocket>| socket.as_ref().map(|socket| socket.path.clone());
        let token = |token: &Option<TokenFile>| token.as_ref().map(|token| token.path.clone());
        let addresses =
            |listen: &[AdminAddress]| listen.iter().map(|listen| listen.address).collect::<Vec<_>>();
        path(&self.socket) == path(&other.socket)
            && self.access == other.access
            && addresses(&self.listen) == addresses(&other.listen)
            && token(&self.token_file) == token(&other.token_file)
    }
}

/// How many threads serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per core the process may run on, pinned.
    PerCore,
    /// This many, pinned to cores in turn.
    Count(NonZeroU16),
}

/// The least important line that is still logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `[listen]`: where connections are accepted, and how that looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// May be empty; then `https` is not.
    pub http: Vec<ListenAddress>,
    /// May be empty; then `http` is not.
    pub https: Vec<ListenAddress>,
    pub outside_http_port: OutsidePort,
    pub outside_https_port: OutsidePort,
    /// Where its keys are written.
    pub written: WrittenAt,
}

/// Where the keys of a table are written: what `explain` shows beside a setting that took part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenAt {
    pub(super) keys: Vec<(&'static str, Place)>,
}

impl WrittenAt {
    /// The place of a key; `None`: it is not written, so its default holds.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Place> {
        self.keys.iter().find(|(written, _)| *written == key).map(|(_, place)| place)
    }

    /// Takes the places of `other` where it has some.
    pub(super) fn override_with(&mut self, other: WrittenAt) {
        self.keys.retain(|(key, _)| other.get(key).is_none());
        self.keys.extend(other.keys);
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Port 0: the system picks one.
    pub address: SocketAddr,
    /// Only for `[::]`: whether `0.0.0.0` with the same port is listed too, so that this socket
    /// must set `IPV6_V6ONLY`. Otherwise `[::]` takes IPv4 as well.
    pub only_v6: bool,
    pub settings: Arc<ListenerSettings>,
    /// For messages when the address cannot be had.
    pub place: Place,
}

/// What holds for the connections of one listener, besides its scheme.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Peers whose word on the visitor's scheme and host counts, and whose forwarding fields are kept.
    pub trusted_proxies: Vec<Network>,
    /// Peers whose connections begin with a header of the PROXY protocol, all of them.
    pub proxy_protocol: Vec<Network>,
    /// Where its keys are written: in its own table, or in `[listen]`.
    pub written: WrittenAt,
}

impl ListenerSettings {
    /// Whether the word of a peer with this address counts.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(peer))
    }

    /// Whether a connection from this address begins with a header of the PROXY protocol.
    #[must_use]
    pub fn expects_proxy_header(&self, peer: IpAddr) -> bool {
        self.proxy_protocol.iter().any(|network| network.contains(peer))
    }
}

/// The port visitors see, used in redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsidePort {
    Known(NonZeroU16),
    /// The one the system gives to the first listener of the scheme, which was written with port 0.
    AsBound,
    /// Nothing listens for the scheme, here or, as far as is said, in front: nothing is redirected to it.
    Nowhere,
}

impl OutsidePort {
    /// The port; `bound` is the one the first listener of the scheme got.
    #[must_use]
    pub fn number(self, bound: u16) -> Option<u16> {
        match self {
            Self::Known(port) => Some(port.get()),
            Self::AsBound => Some(bound),
            Self::Nowhere => None,
        }
    }
}

impl Listen {
    /// What redirects are built with. `bound_http`, `bound_https`: the port that the first listener of each
    /// got; of no importance when it was not written as 0.
    #[must_use]
    pub fn ports(&self, bound_http: u16, bound_https: u16) -> Ports {
        Ports {
            http: self.outside_http_port.number(bound_http),
            https: self.outside_https_port.number(bound_https),
        }
    }
}

impl Config {
    /// The sites as dispatch compiles them, in the order of `sites`: the numbers of both are the same.
    ///
    /// [`read`](crate::config::read) compiled them once, so that `Sites::compile` takes them.
    #[must_use]
    pub fn site_rules(&self) -> Vec<SiteRules> {
        self.sites.iter().map(Site::site_rules).collect()
    }
}

/// `[session_cache]`: how TLS sessions are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCache {
    pub mode: SessionMode,
    /// Sessions over all workers.
    pub size: usize,
    /// From the full handshake; resumption never extends it. Whole seconds, at most 7 days (RFC 8446 §4.6.1).
    pub lifetime: Duration,
    /// What all machines of a fleet have, for `Tickets`; `None`: tickets of this process only.
    pub fleet_secret_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionMode {
    /// One bounded cache shared by all workers.
    Cache,
    /// Stateless tickets; nothing is kept but rotating keys.
    Tickets,
    /// Every handshake is a full one.
    Off,
}

/// `[certificate_cache]`: what sources that are asked for names answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateCache {
    /// Names remembered, those nobody has a certificate for included.
    pub size: usize,
    /// How long an answer is good that does not say so itself.
    pub lifetime: Duration,
    /// Names without a known certificate that are asked for in a second.
    pub unknown_names_per_second: u32,
}

/// `[limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and header section, in octets; more is answered 431.
    pub request_head_bytes_max: usize,
    /// Fields in a header section; more is answered 431.
    pub headers_max: usize,
    /// Octets of a request body after transfer decoding; `u64::MAX` when "unlimited". More is answered 413.
    /// The default of `Site::request_body_bytes_max`, which is the one to enforce.
    pub request_body_bytes_max: u64,
    /// Octets of a response's status line and header section; more is answered 502.
    pub response_head_bytes_max: usize,
    /// Fields of a response's header section; more is answered 502.
    pub response_headers_max: usize,
    /// Octets a second that a client must send of a body or take of a response, while it is waited for; 0: any. Slower
    /// is answered 408, or cut.
    pub body_rate_min: u64,
    /// Downstream connections open at a time in the whole process; accept waits at the bound.
    pub connections_max: usize,
    /// Of those, from one client address; `None`: no limit. More are closed at once.
    pub connections_per_address: Option<u16>,
    /// Requests of one client address; `None`: no limit. More are answered 429.
    pub requests_per_address: Option<crate::limits::Rate>,
    /// TLS handshakes that run at a time on a worker; more are refused.
    pub handshakes_per_worker: usize,
}

/// `[timeouts]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept to the end of the TLS handshake; then closed.
    pub handshake: Duration,
    /// From the first octet of a head to its end; then 408.
    pub request_head: Duration,
    /// Without an octet of a body moving, in either direction; then closed.
    pub body_idle: Duration,
    /// Between two exchanges of a connection; then closed.
    pub keep_alive: Duration,
    /// To connect to an upstream; then the next one, or 504.
    pub upstream_connect: Duration,
    /// From the end of the request to the end of the response head; then 504.
    pub response_head: Duration,
    /// Without an octet moving through a tunnel, in either direction; then closed.
    pub tunnel_idle: Duration,
}

/// `[upstream_pool]`: connections to site servers kept for the next exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamPool {
    /// Idle connections per upstream and worker; 0 keeps none.
    pub idle_per_worker: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// So many failures in a row, and a worker asks the site server no more for a while.
    pub eject_after: u32,
    /// For how long, the first time; each time in a row twice as long.
    pub ejection: Duration,
    /// And never longer.
    pub ejection_max: Duration,
    /// How long a site server that came back gets less than its share; zero: it gets it at once.
    pub slow_start: Duration,
    /// Requests that may be sent a second time, for each hundred that came.
    pub retry_percent: u32,
    /// How long the addresses of a name are taken for good.
    pub resolve_interval: Duration,
}

/// How requests are spread over the servers of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// To the one with the fewest exchanges of this worker under way, for its weight.
    LeastConnections,
    /// By the visitor's address: one visitor, one server, as long as it is well.
    Hash,
}

/// What a connection to a site server begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    Off,
    V1,
    V2,
}

/// `health_check`: a request of ours now and then, to see whether a site server is well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// In origin form.
    pub path: String,
    /// `None`: the site's canonical host.
    pub host: Option<String>,
    pub interval: Duration,
    /// For one check, from connecting to the end of the response head.
    pub timeout: Duration,
    pub unhealthy_after: u32,
    pub healthy_after: u32,
}

/// `[sandbox]`: what the process gives up once it has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// No program that is started has more rights than the process.
    pub no_new_privileges: bool,
    /// Workers open no file.
    pub landlock: bool,
    /// Workers make no system call they have no use for.
    pub seccomp: bool,
}

/// `[[site]]`
#[derive(Clone, Debug)]
pub struct Site {
    /// Unique; letters, digits, `-`, `_` and `.`: fit for file names, labels and log fields.
    pub name: String,
    /// Never empty; the first is canonical.
    pub hosts: Vec<Host>,
    pub aliases: Vec<Host>,
    pub alias: Alias,
    /// Whether the site has HTTPS.
    pub ssl: bool,
    pub is_secure: bool,
    pub is_ssl: bool,
    pub is_permanent: bool,
    /// Cookies that gain `Secure` on HTTPS when `is_secure`.
    pub session_cookies: Vec<String>,
    /// `Sealed` only with `is_secure` and `ssl`.
    pub session_protection: SessionProtection,
    pub path_reading: PathReading,
    /// For `z_language` and language prefixes; when empty there are no prefixes, and `z_language` takes any
    /// code of ISO 639-1.
    pub languages: Vec<String>,
    pub unmatched: Unmatched,
    /// `None`: no `Strict-Transport-Security` is sent.
    pub hsts: Option<Hsts>,
    pub tls_versions: TlsVersions,
    /// Protocols offered, the preferred one first; empty: no ALPN.
    pub alpn: Vec<String>,
    /// IANA names; empty: all there are.
    pub cipher_suites: Vec<String>,
    /// Whether chains are sent compressed to clients that take them so.
    pub certificate_compression: bool,
    /// `None`: clients are not asked for certificates.
    pub client_auth: Option<Box<ClientAuth>>,
    /// Octets of a request body; `u64::MAX` when "unlimited". More is answered 413.
    pub request_body_bytes_max: u64,
    /// In the order to ask; never empty when `ssl`.
    pub certificate: Vec<CertificateSource>,
    /// Never empty.
    pub upstream: Vec<SiteUpstream>,
    pub balance: Balance,
    /// `None`: nobody checks.
    pub health_check: Option<Box<HealthCheck>>,
    /// Whether `Location` is mended.
    pub rewrite_location: bool,
    /// Inline rules first, in order, then those of `dispatch_files`, file by file in the order of
    /// their names: what is written by hand overrides what is imported.
    pub dispatch: Rules,
    /// Where the site is written.
    pub place: Place,
    /// Where its keys are written.
    pub written: WrittenAt,
}

impl Site {
    /// Forgets where its keys are written, which only `explain` tells: sites come by the thousand.
    pub fn forget_places(&mut self) {
        self.written = WrittenAt::default();
    }

    /// Its rules, in the order in which they are tried.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.dispatch
    }

    /// The site as dispatch compiles it.
    #[must_use]
    pub fn site_rules(&self) -> SiteRules {
        let names = |hosts: &[Host]| hosts.iter().map(|host| host.pattern.to_string()).collect();
        SiteRules {
            name: self.name.clone(),
            hosts: names(&self.hosts),
            aliases: names(&self.aliases),
            alias: self.alias,
            ssl: self.ssl,
            is_secure: self.is_secure,
            is_ssl: self.is_ssl,
            is_permanent: self.is_permanent,
            languages: self.languages.clone(),
            unmatched: self.unmatched,
            rules: self.dispatch.clone(),
            // A number of the whole configuration: whoever compiles all sites gives it.
            tls_policy: 0,
        }
    }

    /// The host redirects go to, when it is a name: a wildcard or `"*"` has none.
    #[must_use]
    pub fn canonical_host(&self) -> Option<&str> {
        match self.hosts.first().map(|host| &host.pattern) {
            Some(HostPattern::Exact(name)) => Some(name),
            _ => None,
        }
    }
}

/// How `is_secure` keeps the session cookies of a site to HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionProtection {
    /// By their attribute: browsers send them on HTTPS alone.
    Secure,
    /// Their values, too, mean nothing elsewhere: sealed here, and opened on HTTPS alone.
    Sealed,
}

/// The target that the site server gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathReading {
    /// As it was received.
    Raw,
    /// As rules read it: it cannot be read in another way.
    Normalized,
}

/// A host of a site, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub pattern: HostPattern,
    pub place: Place,
}

/// Lowercase, without port and trailing dot; an IPv6 address keeps its brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `example.com`, `192.0.2.1`, `[2001:db8::1]`
    Exact(String),
    /// `*.shop.example.com`, held without `*.`: any number of labels before the rest, at least one.
    Wildcard(String),
    /// `*`: the fallback site.
    Any,
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(rest) => write!(f, "*.{rest}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// `Strict-Transport-Security` (RFC 6797), sent on HTTPS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// Whole seconds; zero makes browsers forget.
    pub max_age: Duration,
    pub include_subdomains: bool,
    pub preload: bool,
}

/// As the header says it (RFC 6797 §6.1).
impl std::fmt::Display for Hsts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "max-age={}", self.max_age.as_secs())?;
        if self.include_subdomains {
            f.write_str("; includeSubDomains")?;
        }
        if self.preload {
            f.write_str("; preload")?;
        }
        Ok(())
    }
}

/// One entry of `upstream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteUpstream {
    pub upstream: Upstream,
    /// What is spoken with it.
    pub protocol: UpstreamProtocol,
    /// Its share beside the others; not 0.
    pub weight: u32,
    /// PEM file of the authorities that may vouch for it; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// The name its certificate must cover, and that SNI says; `None`: its host.
    pub server_name: Option<String>,
    /// What its connections begin with; `None`: with the request.
    pub proxy_protocol: Option<crate::proxy_protocol::Version>,
    /// As written, for logs and `explain`.
    pub text: String,
    pub place: Place,
}

/// Where a site server listens; also the key of the connection pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// `http://host:port`, `h2://host:port`
    Tcp { host: UpstreamHost, port: u16 },
    /// `https://host:port`, `h2s://host:port`, its certificate verified for `host`.
    Tls { host: UpstreamHost, port: u16 },
    /// `unix:/path`, `h2+unix:/path`
    Unix { path: PathBuf },
}

/// Which version of HTTP a site server is spoken to in; its URL says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    Http1,
    /// Known beforehand, or over TLS agreed on by ALPN: never tried out.
    Http2,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamHost {
    Address(IpAddr),
    /// Lowercase; to be resolved off the worker threads.
    Name(String),
}

impl std::fmt::Display for UpstreamHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}
