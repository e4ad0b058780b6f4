//! Source `http`: a server that is asked over TCP, TLS or a unix socket.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use zeroize::Zeroizing;

use super::answer::ANSWER_BYTES_MAX;
use super::ask_failure::AskFailure;
use super::{CertificateProblem, CertificateTrouble, pem};
use crate::http::{BodyEnd, Limits};
use crate::http1::{BodyReader, RequestKind, header_slots, parse_response};
use crate::tls::ServerConfigs;

/// Where a question goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskUrl {
    pub server: AskServer,
    /// As in `Host`.
    pub authority: String,
    /// Path and query.
    pub target: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskServer {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16 },
    Unix { path: PathBuf },
}

impl fmt::Display for AskUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AskUrl { authority, target, .. } = self;
        match &self.server {
            AskServer::Tcp { .. } => write!(f, "http://{authority}{target}"),
            AskServer::Tls { .. } => write!(f, "https://{authority}{target}"),
            AskServer::Unix { path } if target == "/" => write!(f, "unix:{}", path.display()),
            AskServer::Unix { path } => write!(f, "unix:{}:{target}", path.display()),
        }
    }
}

/// Who is believed to be the server of an https URL.
pub(super) type Trust = Arc<ClientConfig>;

/// `ca`: PEM certificates to trust in place of the system's.
///
/// # Errors
/// The file cannot be used, or the system has no certificates.
pub(super) fn trust(ca: Option<&Path>, configs: &ServerConfigs) -> Result<Trust, CertificateProblem> {
    let mut roots = RootCertStore::empty();
    let from = ca.unwrap_or(Path::new("the system's certificates"));
    match ca {
        Some(path) => {
            for certificate in pem::chain(path, &pem::read(path)?.bytes)? {
                roots
                    .add(certificate)
                    .map_err(|error| CertificateProblem::new(path, CertificateTrouble::Handshake(error)))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(CertificateProblem::new(from, CertificateTrouble::NoCertificate));
    }
    let config = ClientConfig::builder_with_provider(Arc::clone(configs.provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| CertificateProblem::new(from, CertificateTrouble::Handshake(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Posts the question and returns the body of a 200. One connection for each question. The name of the server
/// is looked up by the system, whose own bounds hold for that.
///
/// # Errors
/// `Unreachable`, `TimedOut`, `Status`, `NotHttp`, `TooLarge`.
pub(super) fn ask(
    url: &AskUrl,
    trust: Option<&Trust>,
    question: &[u8],
    timeout: Duration,
) -> Result<Zeroizing<Vec<u8>>, AskFailure> {
    let until = Instant::now() + timeout;
    match &url.server {
        AskServer::Unix { path } => {
            let socket = UnixStream::connect(path).map_err(AskFailure::Unreachable)?;
            exchange(&mut Timed { socket, until }, url, question)
        }
        AskServer::Tcp { host, port } => exchange(&mut connect(host, *port, until)?, url, question),
        AskServer::Tls { host, port } => {
            let trust = trust.ok_or(AskFailure::Defect)?;
            let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(bare)
                .map_err(|error| AskFailure::Unreachable(io::Error::new(ErrorKind::InvalidInput, error)))?;
            let session = ClientConnection::new(Arc::clone(trust), name)
                .map_err(|error| AskFailure::Unreachable(io::Error::other(error)))?;
            let mut stream = StreamOwned::new(session, connect(host, *port, until)?);
            exchange(&mut stream, url, question)
        }
    }
}

fn connect(host: &str, port: u16, until: Instant) -> Result<Timed<TcpStream>, AskFailure> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = (bare, port).to_socket_addrs().map_err(AskFailure::Unreachable)?;
    let mut last = AskFailure::Unreachable(ErrorKind::NotFound.into());
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(socket) => return Ok(Timed { socket, until }),
            Err(error) => last = failure(error),
        }
    }
    Err(last)
}

fn exchange(
    stream: &mut (impl Read + Write),
    url: &AskUrl,
    question: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AskFailure> {
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Accept: application/json\r\nUser-Agent: portcullis\r\nConnection: close\r\n\r\n",
        url.target,
        url.authority,
        question.len()
    );
    let request = [head.as_bytes(), question].concat();
    stream.write_all(&request).and_then(|()| stream.flush()).map_err(failure)?;
    let limits = Limits::default();
    // Room for all of it beforehand: a buffer that grows leaves copies of the key behind.
    let most = ANSWER_BYTES_MAX + limits.head_bytes_max;
    let mut received = Zeroizing::new(Vec::with_capacity(most + 1));
    let mut piece = Zeroizing::new([0; 16 * 1024]);
    loop {
        let read = match stream.read(&mut *piece) {
            Ok(read) => read,
            // The end without close_notify: the framing below says whether it is the end.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failure(error)),
        };
        if received.len() + read > most {
            return Err(AskFailure::TooLarge);
        }
        received.extend_from_slice(&piece[..read]);
        if let Some(body) = whole_body(&received, read == 0, &limits)? {
            return Ok(body);
        }
        if read == 0 {
            return Err(AskFailure::NotHttp);
        }
    }
}

/// The body once all of it is there. `ended`: nothing more comes.
fn whole_body(
    received: &[u8],
    ended: bool,
    limits: &Limits,
) -> Result<Option<Zeroizing<Vec<u8>>>, AskFailure> {
    let mut slots = header_slots();
    let kind = RequestKind { head: false, upgrade: false };
    let head = parse_response(received, &mut slots, kind, limits).map_err(|_| AskFailure::NotHttp)?;
    let Some(head) = head else { return Ok(None) };
    if head.status != 200 {
        return Err(AskFailure::Status(head.status));
    }
    if matches!(head.body, BodyEnd::Length(length) if length > ANSWER_BYTES_MAX as u64) {
        return Err(AskFailure::TooLarge);
    }
    let mut body = Zeroizing::new(received.get(head.head_bytes..).unwrap_or(&[]).to_vec());
    let mut reader = BodyReader::new(head.body);
    reader.limit(ANSWER_BYTES_MAX as u64);
    let (mut kept, mut at) = (0, 0);
    while at < body.len() && !reader.is_end() {
        let read = reader.read(&mut body[at..]).map_err(|_| AskFailure::NotHttp)?;
        body.copy_within(at..at + read.data, kept);
        kept += read.data;
        if read.consumed == 0 {
            break;
        }
        at += read.consumed;
    }
    let whole = reader.is_end() || (ended && reader.finish().is_ok());
    body.truncate(kept);
    Ok(whole.then_some(body))
}

/// A socket whose every operation ends at the deadline of the question.
struct Timed<S> {
    socket: S,
    until: Instant,
}

trait Timeouts {
    fn set(&self, timeout: Duration) -> io::Result<()>;
}

impl Timeouts for TcpStream {
    fn set(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

impl Timeouts for UnixStream {
    fn set(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

impl<S: Timeouts> Timed<S> {
    fn arm(&self) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { self.socket.set(left) }
    }
}

impl<S: Read + Timeouts> Read for Timed<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        self.socket.read(into)
    }
}

impl<S: Write + Timeouts> Write for Timed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm()?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn left(until: Instant) -> Result<Duration, AskFailure> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(AskFailure::TimedOut) } else { Ok(left) }
}

fn failure(error: io::Error) -> AskFailure {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => AskFailure::TimedOut,
        _ => AskFailure::Unreachable(error),
    }
}
