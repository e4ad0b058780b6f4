//! A client of rustls against our configurations, in memory and under a clock of our own.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::Acceptor;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, NamedGroup, ProtocolVersion,
    RootCertStore, ServerConfig, ServerConnection,
};

mod serving;
mod sessions;

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
        Moment { monotonic: ms, unix: UNIX_START + ms }
    }
}

fn served(names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> ServedCertificate {
    let key = match algorithm {
        rsa if *rsa == PKCS_RSA_SHA256 => KeyPair::try_from(RSA_KEY.as_slice()),
        other => KeyPair::generate_for(other),
    }
    .unwrap();
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
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
static RSA_KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap().serialize_der()
});

fn provider() -> CryptoProvider {
    CryptoProvider::clone(ServerConfigs::new(None).provider())
}

/// A client that keeps its sessions, and trusts the certificates of the set.
fn client(set: &CertificateSet, version: ProtocolVersion) -> ClientConfig {
    client_with(set, version, provider(), None)
}

fn client_with(
    set: &CertificateSet,
    version: ProtocolVersion,
    provider: CryptoProvider,
    identity: Option<&Identity>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in set.certificates() {
        roots.add(certificate.chain()[0].clone()).unwrap();
    }
    let version = match version {
        ProtocolVersion::TLSv1_2 => &rustls::version::TLS12,
        _ => &rustls::version::TLS13,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(256);
    config
}

/// Of a client: with an authority that vouches for it.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: CertificateDer<'static>,
}

impl Identity {
    fn new() -> Identity {
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority = rcgen::CertifiedIssuer::self_signed(authority, authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec!["someone".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        Identity {
            chain: vec![leaf.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            authority: authority.der().clone(),
        }
    }

    fn policy(&self, mode: ClientAuthMode) -> Policy {
        let authorities = vec![self.authority.clone()];
        let provider = Arc::new(provider());
        let auth = ClientAuth::new(mode, authorities, vec![], &provider).unwrap();
        let settings = PolicySettings {
            alpn: vec![b"http/1.1".to_vec()],
            client_auth: Some(auth),
            ..PolicySettings::default()
        };
        Policy::new(settings, &provider).unwrap()
    }
}

/// What a handshake came to, on the server's side.
#[derive(Debug)]
struct Outcome {
    kind: HandshakeKind,
    group: Option<NamedGroup>,
    alpn: Option<Vec<u8>>,
    /// The leaf the client saw; on a resumed connection the one of the full handshake.
    leaf: CertificateDer<'static>,
    client_certificate: bool,
}

/// A whole connection as the shell drives it, with a word from the client; `pause` happens between
/// the ClientHello and the rest. Without a clock the shell forgets to mark.
fn connect(
    client: &Arc<ClientConfig>,
    name: &str,
    server: &Arc<ServerConfig>,
    clock: Option<&FakeClock>,
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
    let mut server = accepted.into_connection(Arc::clone(server)).map_err(|(error, _)| error)?;
    if let Some(clock) = clock {
        origin::mark(&mut server, clock.now());
    }
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
        group: server.negotiated_key_exchange_group().map(|group| group.name()),
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
        leaf: client.peer_certificates().unwrap()[0].clone().into_owned(),
        client_certificate: server.peer_certificates().is_some(),
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
    clock: Option<&FakeClock>,
) -> Result<(), Error> {
    let mut flight = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut flight).unwrap();
    }
    let mut rest = flight.as_slice();
    while !rest.is_empty() {
        server.read_tls(&mut rest).unwrap();
        server.process_new_packets()?;
        if let Some(clock) = clock
            && server.is_handshaking()
        {
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
            Mode::Cache => Sessions::Cache { cache: Arc::clone(&cache), clock: shared },
            Mode::Tickets => {
                Sessions::Tickets { keys: Arc::new(TicketKeys::random(LIFETIME).unwrap()), clock: shared }
            }
            Mode::Fleet => Sessions::Tickets {
                keys: Arc::new(TicketKeys::from_secret(&[5; 32], LIFETIME).unwrap()),
                clock: shared,
            },
            Mode::Off => Sessions::Off,
        };
        Bench { clock, cache, sessions, configs: ServerConfigs::new(None) }
    }

    fn site(&self, name: &str, policy: &Policy, set: &CertificateSet) -> Arc<ServerConfig> {
        let sessions = self.sessions.for_site(Binding::of(name, policy));
        self.configs.build(policy, set.clone(), sessions).unwrap()
    }

    fn kind(&self, client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
        connect(client, "a.example", server, Some(&self.clock), || {}).unwrap().kind
    }
}
