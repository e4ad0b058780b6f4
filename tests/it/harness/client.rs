//! A client that sends exactly the bytes it is told to, with or without TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, KeyLogFile, NamedGroup,
    ProtocolVersion, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

use super::certificate::Issued;
use super::message::{self, Ends, Message, read_body, read_head, response_ends, show};
use super::wire::Wire;

/// How a connection ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end of the stream; over TLS with close_notify.
    Clean,
    /// Over TLS: the end of the stream without close_notify.
    Truncated,
    Reset,
}

/// One connection.
pub struct Client {
    stream: Stream,
    unread: Vec<u8>,
}

enum Stream {
    Plain(Wire),
    Tls(Box<StreamOwned<ClientConnection, Wire>>, Option<Vec<u8>>),
}

impl Client {
    #[track_caller]
    pub fn http(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).expect("the listener accepts"))
    }

    /// On a connection that was made before.
    #[track_caller]
    pub fn over(stream: TcpStream) -> Client {
        Client { stream: Stream::Plain(Wire::tcp(stream).expect("an open socket")), unread: Vec::new() }
    }

    /// With this SNI and the defaults of [`Tls`].
    #[track_caller]
    pub fn https(address: SocketAddr, name: &str) -> Client {
        Tls::new().sni(name).connect(address).expect("a handshake")
    }

    /// The same, after what `begin` has written before TLS.
    #[track_caller]
    pub fn https_after(address: SocketAddr, name: &str, begin: impl FnOnce(&mut Wire)) -> Client {
        let mut wire =
            Wire::tcp(TcpStream::connect(address).expect("the listener accepts")).expect("an open socket");
        begin(&mut wire);
        Tls::new().sni(name).connect_over(wire, b"").expect("a handshake")
    }

    /// The port at our end.
    pub fn local_port(&self) -> u16 {
        let wire = match &self.stream {
            Stream::Plain(wire) => wire,
            Stream::Tls(tls, _) => &tls.sock,
        };
        wire.local_address().port()
    }

    /// From here on reads and writes that would wait fail with `WouldBlock`.
    pub fn set_nonblocking(&self) {
        match &self.stream {
            Stream::Plain(wire) => wire.set_nonblocking(),
            Stream::Tls(tls, _) => tls.sock.set_nonblocking(),
        }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the connection takes bytes");
    }

    /// # Errors
    /// Those of the socket.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.write_all(bytes.as_ref())?;
        self.flush()
    }

    /// Reads one response to a request with this method, interim ones too.
    ///
    /// # Errors
    /// What came instead, its end too early among it.
    pub fn try_response_to(&mut self, method: &str) -> io::Result<Message> {
        let mut unread = std::mem::take(&mut self.unread);
        let result = (|| {
            let mut response = read_head(self, &mut unread)?
                .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a response"))?;
            let ends = response_ends(&response, method);
            read_body(self, &mut unread, ends, &mut response)?;
            Ok(response)
        })();
        self.unread = unread;
        result
    }

    #[track_caller]
    pub fn response_to(&mut self, method: &str) -> Message {
        match self.try_response_to(method) {
            Ok(response) => response,
            Err(error) => panic!("no response: {error}; unread: {}", show(&self.unread)),
        }
    }

    #[track_caller]
    pub fn response(&mut self) -> Message {
        self.response_to("GET")
    }

    /// Reads the head of a response and leaves its body.
    #[track_caller]
    pub fn response_head(&mut self) -> Message {
        let mut unread = std::mem::take(&mut self.unread);
        let head = read_head(self, &mut unread).expect("a head").expect("a response");
        self.unread = unread;
        head
    }

    /// Reads the body of a response whose head was read.
    ///
    /// # Errors
    /// Those of the socket, its end too early among them.
    pub fn try_body(&mut self, head: &mut Message) -> io::Result<()> {
        let mut unread = std::mem::take(&mut self.unread);
        let ends = response_ends(head, "GET");
        let result = read_body(self, &mut unread, ends, head);
        self.unread = unread;
        result
    }

    /// To read from: what was read ahead, then the connection.
    pub fn unread_first(&mut self) -> impl Read + '_ {
        let unread = std::mem::take(&mut self.unread);
        io::Cursor::new(unread).chain(self)
    }

    /// Exactly so many bytes.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let mut unread = std::mem::take(&mut self.unread);
        let bytes = message::take(self, &mut unread, count).expect("so many bytes");
        self.unread = unread;
        bytes
    }

    /// Asks for a page and reads the answer.
    #[track_caller]
    pub fn get(&mut self, host: &str, target: &str) -> Message {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.response()
    }

    /// Reads to the end of the connection, which must bring nothing more.
    #[track_caller]
    pub fn end(&mut self) -> End {
        let mut unread = std::mem::take(&mut self.unread);
        let mut nothing = Message::default();
        let result = read_body(self, &mut unread, Ends::Close, &mut nothing);
        let rest = if nothing.body.is_empty() { unread } else { nothing.body };
        assert!(rest.is_empty(), "more came: {}", show(&rest));
        match result {
            Ok(()) => End::Clean,
            Err(error) => end_of(&error),
        }
    }

    /// Everything up to the end, and how it ended.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        let mut bytes = std::mem::take(&mut self.unread);
        loop {
            match message::more(self, &mut bytes) {
                Ok(0) => return (bytes, End::Clean),
                Ok(_) => {}
                Err(error) => return (bytes, end_of(&error)),
            }
        }
    }

    /// Ends our side; over TLS with close_notify.
    pub fn finish(&mut self) {
        match &mut self.stream {
            Stream::Plain(wire) => wire.shutdown(Shutdown::Write),
            Stream::Tls(tls, _) => {
                tls.conn.send_close_notify();
                let _ = tls.flush();
                tls.sock.shutdown(Shutdown::Write);
            }
        }
    }

    /// Asks for new keys both ways (RFC 8446 §4.6.3).
    #[track_caller]
    pub fn refresh_keys(&mut self) {
        let Stream::Tls(tls, _) = &mut self.stream else { panic!("a connection without TLS") };
        tls.conn.refresh_traffic_keys().expect("TLS 1.3");
        tls.flush().expect("the connection takes bytes");
    }

    /// Sends bytes beside the session's.
    #[track_caller]
    pub fn send_below_tls(&mut self, bytes: &[u8]) {
        let Stream::Tls(tls, _) = &mut self.stream else { panic!("a connection without TLS") };
        tls.sock.write_all(bytes).expect("the connection takes bytes");
    }

    /// Plaintext up to the end, which an alert may announce.
    #[track_caller]
    pub fn rest_after_alert(&mut self) -> (Vec<u8>, End) {
        let mut bytes = std::mem::take(&mut self.unread);
        match self.read_to_end(&mut bytes) {
            Ok(_) => (bytes, End::Clean),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => (bytes, End::Truncated),
            Err(error) => (bytes, end_of(&error)),
        }
    }

    /// Everything up to the end, however it comes.
    pub fn read_to_any_end(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.unread);
        // An error is an end like any other here.
        let _ = self.read_to_end(&mut bytes);
        bytes
    }

    #[track_caller]
    fn tls(&self) -> &ClientConnection {
        match &self.stream {
            Stream::Tls(tls, _) => &tls.conn,
            Stream::Plain(_) => panic!("a connection without TLS"),
        }
    }

    #[track_caller]
    pub fn handshake_kind(&self) -> HandshakeKind {
        self.tls().handshake_kind().expect("the handshake is over")
    }

    #[track_caller]
    pub fn version(&self) -> ProtocolVersion {
        self.tls().protocol_version().expect("the handshake is over")
    }

    #[track_caller]
    pub fn alpn(&self) -> Option<Vec<u8>> {
        self.tls().alpn_protocol().map(<[u8]>::to_vec)
    }

    /// The server's certificate of a full handshake, DER.
    #[track_caller]
    pub fn certificate(&self) -> Vec<u8> {
        match &self.stream {
            Stream::Tls(_, certificate) => certificate.clone().expect("a full handshake"),
            Stream::Plain(_) => panic!("a connection without TLS"),
        }
    }
}

#[track_caller]
fn end_of(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
        io::ErrorKind::UnexpectedEof => End::Truncated,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => panic!("the connection does not end"),
        _ => panic!("not an end: {error}"),
    }
}

impl Read for Client {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(wire) => wire.read(into),
            Stream::Tls(tls, _) => tls.read(into),
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(wire) => wire.write(bytes),
            Stream::Tls(tls, _) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(tls, _) => tls.flush(),
        }
    }
}

/// What a client wants of TLS. Connections made from the same value share its sessions, whatever name they ask
/// for: a session begun with one site is offered to every other, as nobody should.
#[derive(Clone)]
pub struct Tls {
    sni: Option<String>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    // Chain and key, in DER.
    identity: Option<(Vec<u8>, Vec<u8>)>,
    // Made at the first connection: sessions are of use to the configuration they were begun with.
    config: OnceLock<(Arc<ClientConfig>, Arc<Chain>)>,
}

impl Tls {
    /// No SNI, both versions, no ALPN, sessions of its own.
    pub fn new() -> Tls {
        Tls {
            sni: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
            alpn: Vec::new(),
            identity: None,
            config: OnceLock::new(),
        }
    }

    pub fn sni(mut self, name: &str) -> Tls {
        self.sni = Some(name.to_owned());
        self.config = OnceLock::new();
        self
    }

    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Tls {
        self.versions = vec![version];
        self.config = OnceLock::new();
        self
    }

    pub fn alpn(mut self, protocols: &[&str]) -> Tls {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self.config = OnceLock::new();
        self
    }

    /// Shows this certificate when asked for one.
    pub fn identity(mut self, issued: &Issued) -> Tls {
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key in PEM");
        self.identity = Some((issued.der.clone(), key.secret_der().to_vec()));
        self.config = OnceLock::new();
        self
    }

    /// The same with another name, sessions included.
    #[track_caller]
    pub fn connect_as(&self, address: SocketAddr, name: &str) -> Client {
        self.config();
        Tls { sni: Some(name.to_owned()), ..self.clone() }.connect(address).expect("a handshake")
    }

    fn config(&self) -> &(Arc<ClientConfig>, Arc<Chain>) {
        self.config.get_or_init(|| {
            let chain = Arc::new(Chain(Mutex::default(), Arc::new(aws_lc_rs::default_provider())));
            let builder = ClientConfig::builder_with_provider(chain.1.clone())
                .with_protocol_versions(&self.versions)
                .expect("the provider has suites for them")
                .dangerous()
                .with_custom_certificate_verifier(chain.clone());
            let mut config = match &self.identity {
                None => builder.with_no_client_auth(),
                Some((leaf, key)) => {
                    let key = PrivateKeyDer::try_from(key.clone()).expect("a key");
                    let chain = vec![CertificateDer::from(leaf.clone())];
                    builder.with_client_auth_cert(chain, key).expect("they fit")
                }
            };
            config.alpn_protocols = self.alpn.clone();
            config.resumption = Resumption::store(Arc::new(AnyName(ClientSessionMemoryCache::new(32))));
            config.enable_sni = self.sni.is_some();
            config.key_log = Arc::new(KeyLogFile::new());
            (Arc::new(config), chain)
        })
    }

    /// The client's half of a connection, without a socket.
    pub fn session(&self) -> ClientConnection {
        let name = self.sni.clone().unwrap_or_else(|| "no-sni.test".to_owned());
        let name = ServerName::try_from(name).expect("a name of DNS");
        ClientConnection::new(self.config().0.clone(), name).expect("a sound configuration")
    }

    /// Connects and runs the handshake to its end.
    ///
    /// # Errors
    /// The alert that came instead, as `rustls::Error` inside.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Client> {
        self.connect_with(address, b"")
    }

    /// The same, with these bytes in the flight that ends the handshake.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(&self, address: SocketAddr, first: &[u8]) -> io::Result<Client> {
        self.connect_over(Wire::tcp(TcpStream::connect(address)?)?, first)
    }

    fn connect_over(&self, wire: Wire, first: &[u8]) -> io::Result<Client> {
        let (_, chain) = self.config();
        chain.0.lock().expect("no panic").clear();
        let mut session = self.session();
        session.writer().write_all(first)?;
        let mut tls = StreamOwned::new(session, wire);
        while tls.conn.is_handshaking() {
            let went = tls.conn.complete_io(&mut tls.sock);
            went.map_err(|error| alert_before(&mut tls).unwrap_or(error))?;
        }
        tls.flush().map_err(|error| alert_before(&mut tls).unwrap_or(error))?;
        let certificate = chain.0.lock().expect("no panic").first().map(|first| first.to_vec());
        Ok(Client { stream: Stream::Tls(Box::new(tls), certificate), unread: Vec::new() })
    }

    /// The fatal alert that comes before any response: in TLS 1.3 a client has finished its handshake when the
    /// server looks at its certificate.
    #[track_caller]
    pub fn alert_at_first_request(&self, address: SocketAddr) -> rustls::AlertDescription {
        let ended = match self.connect(address) {
            Err(error) => error,
            Ok(mut client) => {
                let _ = client.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
                client.try_response_to("GET").expect_err("the handshake went through")
            }
        };
        match ended.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            _ => panic!("no alert but {ended:?}"),
        }
    }

    /// The fatal alert a handshake ends with.
    #[track_caller]
    pub fn alert(&self, address: SocketAddr) -> rustls::AlertDescription {
        match self.connect(address) {
            Ok(_) => panic!("the handshake went through"),
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(rustls::Error::AlertReceived(alert)) => *alert,
                _ => panic!("no alert but {error:?}"),
            },
        }
    }
}

/// Accepts every certificate and keeps the chain. Signatures are verified: the key must be the certificate's.
#[derive(Debug)]
struct Chain(Mutex<Vec<CertificateDer<'static>>>, Arc<CryptoProvider>);

impl ServerCertVerifier for Chain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        *self.0.lock().expect("no panic") =
            chain.map(|certificate| certificate.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.1.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.1.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

/// A store of sessions that does not look at names.
#[derive(Debug)]
struct AnyName(ClientSessionMemoryCache);

impl AnyName {
    fn name() -> ServerName<'static> {
        ServerName::try_from("any.test").expect("a name of DNS")
    }
}

impl ClientSessionStore for AnyName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(AnyName::name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&AnyName::name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(AnyName::name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&AnyName::name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&AnyName::name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(AnyName::name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&AnyName::name())
    }
}

/// The alert that a server sent before it closed: what is written after that fails before anything is read.
fn alert_before(tls: &mut StreamOwned<ClientConnection, Wire>) -> Option<io::Error> {
    while let Ok(1..) = tls.conn.read_tls(&mut tls.sock) {
        if let Err(error) = tls.conn.process_new_packets() {
            return Some(io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
    None
}
