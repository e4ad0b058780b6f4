//! A client of rustls against our configurations, in memory and under a clock of our own.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::Acceptor;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, NamedGroup,
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};

use super::*;

const LIFETIME: Duration = Duration::from_secs(300);
const UNIX_START: u64 = 1_700_000_000_000;

/// Milliseconds since the start, moved by hand.
#[derive(Clone, Default)]
struct FakeClock(Arc<AtomicU64>);

impl FakeClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Moment {
        let ms = self.0.load(Ordering::SeqCst);
        Moment {
            monotonic: ms,
            unix: UNIX_START + ms,
        }
    }
}

fn served(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> ServedCertificate {
    let key = match algorithm {
        rsa if *rsa == PKCS_RSA_SHA256 => KeyPair::try_from(RSA_KEY.as_slice()),
        other => KeyPair::generate_for(other),
    }
    .unwrap();
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    ServedCertificate::new(
        vec![certificate.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        SourceWord::SelfSigned,
        ServerConfigs::new(None).provider(),
    )
    .unwrap()
}

fn ecdsa(names: &[&str]) -> CertificateSet {
    served(names, &PKCS_ECDSA_P256_SHA256).into()
}

/// Generating an RSA key takes seconds in a debug build: one for all tests.
static RSA_KEY: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
        .unwrap()
        .serialize_der()
});

/// A client that keeps its sessions, and trusts the certificates of the sets.
fn client(sets: &[&CertificateSet], version: ProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in sets.iter().flat_map(|set| set.certificates()) {
        roots.add(certificate.chain()[0].clone()).unwrap();
    }
    let version = match version {
        ProtocolVersion::TLSv1_2 => &rustls::version::TLS12,
        _ => &rustls::version::TLS13,
    };
    let mut config =
        ClientConfig::builder_with_provider(Arc::clone(ServerConfigs::new(None).provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(256);
    config
}

/// What a handshake came to, on the server's side.
#[derive(Debug)]
struct Outcome {
    kind: HandshakeKind,
    group: Option<NamedGroup>,
    alpn: Option<Vec<u8>>,
    /// The leaf the client saw.
    leaf: Option<CertificateDer<'static>>,
}

/// A whole connection as the shell drives it, a word each way, `pause` between the ClientHello
/// and the rest.
fn connect(
    client: &Arc<ClientConfig>,
    name: &str,
    server: &Arc<ServerConfig>,
    clock: &FakeClock,
    pause: impl FnOnce(),
) -> Result<Outcome, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut acceptor = Acceptor::default();
    let mut flight = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut flight).unwrap();
    }
    let mut rest = flight.as_slice();
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).unwrap();
    }
    let accepted = acceptor.accept().map_err(|(error, _)| error)?.unwrap();
    let mut server = accepted
        .into_connection(Arc::clone(server))
        .map_err(|(error, _)| error)?;
    origin::mark(&mut server, clock.now());
    pause();
    for _ in 0..8 {
        to_client(&mut server, &mut client)?;
        to_server(&mut client, &mut server, clock)?;
    }
    client.writer().write_all(b"ping").unwrap();
    to_server(&mut client, &mut server, clock)?;
    assert_eq!(server.reader().into_first_chunk().unwrap(), b"ping");
    Ok(Outcome {
        kind: server.handshake_kind().unwrap(),
        group: server
            .negotiated_key_exchange_group()
            .map(|group| group.name()),
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
        leaf: client
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| leaf.clone().into_owned()),
    })
}

fn to_client(server: &mut ServerConnection, client: &mut ClientConnection) -> Result<(), Error> {
    let mut flight = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut flight).unwrap();
    }
    let mut rest = flight.as_slice();
    while !rest.is_empty() {
        client.read_tls(&mut rest).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

fn to_server(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
    clock: &FakeClock,
) -> Result<(), Error> {
    let mut flight = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut flight).unwrap();
    }
    let mut rest = flight.as_slice();
    while !rest.is_empty() {
        server.read_tls(&mut rest).unwrap();
        server.process_new_packets()?;
        if server.is_handshaking() {
            origin::mark(server, clock.now());
        }
    }
    Ok(())
}

struct Bench {
    clock: FakeClock,
    cache: Arc<SessionCache>,
    sessions: Sessions,
    configs: ServerConfigs,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Cache,
    Tickets,
    Fleet,
    Off,
}

const STORING: [Mode; 3] = [Mode::Cache, Mode::Tickets, Mode::Fleet];
const BOTH: [ProtocolVersion; 2] = [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3];

impl Bench {
    fn new(mode: Mode) -> Bench {
        let clock = FakeClock::default();
        clock.advance(Duration::from_secs(1000));
        let cache = Arc::new(SessionCache::new(CacheLimits::new(100, LIFETIME)));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let sessions = match mode {
            Mode::Cache => Sessions::Cache {
                cache: Arc::clone(&cache),
                clock: shared,
            },
            Mode::Tickets => Sessions::Tickets {
                keys: Arc::new(TicketKeys::random(LIFETIME).unwrap()),
                clock: shared,
            },
            Mode::Fleet => Sessions::Tickets {
                keys: Arc::new(TicketKeys::from_secret(&[5; 32], LIFETIME).unwrap()),
                clock: shared,
            },
            Mode::Off => Sessions::Off,
        };
        Bench {
            clock,
            cache,
            sessions,
            configs: ServerConfigs::new(None),
        }
    }

    fn site(&self, name: &str, policy: &Policy, set: &CertificateSet) -> Arc<ServerConfig> {
        let sessions = self.sessions.for_site(Binding::of(name, policy));
        self.configs.build(policy, set.clone(), sessions).unwrap()
    }

    fn kind(&self, client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
        connect(client, "a.example", server, &self.clock, || {})
            .unwrap()
            .kind
    }
}

#[test]
fn serves_both_versions_with_the_hybrid_key_exchange_and_http_1_1() {
    let bench = Bench::new(Mode::Off);
    let set = ecdsa(&["a.example"]);
    let server = bench.site("a", &Policy::default(), &set);
    for version in BOTH {
        let client = Arc::new(client(&[&set], version));
        let outcome = connect(&client, "a.example", &server, &bench.clock, || {}).unwrap();
        assert_eq!(outcome.kind, HandshakeKind::Full);
        assert_eq!(outcome.alpn.as_deref(), Some(&b"http/1.1"[..]));
        if version == ProtocolVersion::TLSv1_3 {
            assert_eq!(outcome.group, Some(NamedGroup::X25519MLKEM768));
        }
    }
}

#[test]
fn a_session_resumes_within_its_lifetime_and_never_after() {
    let set = ecdsa(&["a.example"]);
    for mode in STORING {
        for version in BOTH {
            let bench = Bench::new(mode);
            let server = bench.site("a", &Policy::default(), &set);
            let client = Arc::new(client(&[&set], version));
            assert_eq!(bench.kind(&client, &server), HandshakeKind::Full);
            bench.clock.advance(LIFETIME);
            assert_eq!(
                bench.kind(&client, &server),
                HandshakeKind::Resumed,
                "{mode:?} {version:?}"
            );
            bench.clock.advance(Duration::from_millis(1));
            assert_eq!(
                bench.kind(&client, &server),
                HandshakeKind::Full,
                "{mode:?} {version:?}"
            );
        }
    }
}

#[test]
fn a_chain_of_resumptions_ends_with_the_lifetime_of_the_first_handshake() {
    let set = ecdsa(&["a.example"]);
    for mode in STORING {
        for version in BOTH {
            let bench = Bench::new(mode);
            let server = bench.site("a", &Policy::default(), &set);
            let client = Arc::new(client(&[&set], version));
            let mut kinds = Vec::new();
            // Every 40 seconds for 1,000: a full handshake at 0, 320, 640 and 960.
            for _ in 0..25 {
                kinds.push(bench.kind(&client, &server) == HandshakeKind::Full);
                bench.clock.advance(Duration::from_secs(40));
            }
            let full: Vec<_> = (0..25).filter(|at| kinds[*at]).collect();
            assert_eq!(full, [0, 8, 16, 24], "{mode:?} {version:?}");
        }
    }
}
