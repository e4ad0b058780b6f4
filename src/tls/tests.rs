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
    AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, NamedGroup,
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
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
static RSA_KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
        .unwrap()
        .serialize_der()
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
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .unwrap(),
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
        let leaf = CertificateParams::new(vec!["someone".to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        Identity {
            chain: vec![leaf.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            authority: authority.der().clone(),
        }
    }

    fn policy(&self, mode: ClientAuthMode) -> Policy {
        let authorities = vec![self.authority.clone()];
        let auth = ClientAuth::new(mode, authorities, &Arc::new(provider())).unwrap();
        Policy::new(Versions::default(), vec![b"http/1.1".to_vec()], Some(auth)).unwrap()
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
    let mut server = accepted
        .into_connection(Arc::clone(server))
        .map_err(|(error, _)| error)?;
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
        group: server
            .negotiated_key_exchange_group()
            .map(|group| group.name()),
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
        connect(client, "a.example", server, Some(&self.clock), || {})
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
        let client = Arc::new(client(&set, version));
        let outcome = connect(&client, "a.example", &server, Some(&bench.clock), || {}).unwrap();
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
            let client = Arc::new(client(&set, version));
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

/// At which of 25 connections, 40 seconds apart, the handshake was a full one.
fn full_handshakes(bench: &Bench, client: ClientConfig, server: &Arc<ServerConfig>) -> Vec<usize> {
    let client = Arc::new(client);
    let mut full = Vec::new();
    for at in 0..25 {
        if bench.kind(&client, server) != HandshakeKind::Resumed {
            full.push(at);
        }
        bench.clock.advance(Duration::from_secs(40));
    }
    full
}

#[test]
fn a_chain_of_resumptions_ends_with_the_lifetime_of_the_first_handshake() {
    let set = ecdsa(&["a.example"]);
    for mode in STORING {
        for version in BOTH {
            let bench = Bench::new(mode);
            let server = bench.site("a", &Policy::default(), &set);
            let full = full_handshakes(&bench, client(&set, version), &server);
            assert_eq!(full, [0, 8, 16, 24], "{mode:?} {version:?}");
        }
    }
}

/// Keeps sessions, and forgets which groups a server asked for: each connection begins with a retry.
#[derive(Debug)]
struct Forgetful(ClientSessionMemoryCache);

impl ClientSessionStore for Forgetful {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(name, value);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.0.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(name)
    }
}

#[test]
fn a_chain_with_hello_retries_ends_too() {
    let set = ecdsa(&["a.example"]);
    for mode in STORING {
        let bench = Bench::new(mode);
        let server = bench.site("a", &Policy::default(), &set);
        let mut provider = provider();
        provider
            .kx_groups
            .insert(0, rustls::crypto::aws_lc_rs::kx_group::MLKEM1024);
        let mut client = client_with(&set, ProtocolVersion::TLSv1_3, provider, None);
        client.resumption =
            Resumption::store(Arc::new(Forgetful(ClientSessionMemoryCache::new(256))));
        let first = connect(
            &Arc::new(client.clone()),
            "a.example",
            &server,
            Some(&bench.clock),
            || {},
        );
        assert_eq!(
            first.unwrap().kind,
            HandshakeKind::FullWithHelloRetryRequest
        );
        bench.clock.advance(LIFETIME + Duration::from_millis(1));
        let full = full_handshakes(&bench, client, &server);
        assert_eq!(full, [0, 8, 16, 24], "{mode:?}");
    }
}

#[test]
fn handshakes_that_interleave_keep_their_own_times() {
    let set = ecdsa(&["a.example"]);
    for mode in STORING {
        let bench = Bench::new(mode);
        let server = bench.site("a", &Policy::default(), &set);
        let [old, new] = [(); 2].map(|()| Arc::new(client(&set, ProtocolVersion::TLSv1_3)));
        bench.kind(&old, &server);
        bench.clock.advance(Duration::from_secs(200));
        let resumed = connect(&old, "a.example", &server, Some(&bench.clock), || {
            assert_eq!(bench.kind(&new, &server), HandshakeKind::Full);
        });
        assert_eq!(resumed.unwrap().kind, HandshakeKind::Resumed);
        bench.clock.advance(Duration::from_millis(100_001));
        assert_eq!(bench.kind(&old, &server), HandshakeKind::Full, "{mode:?}");
        assert_eq!(
            bench.kind(&new, &server),
            HandshakeKind::Resumed,
            "{mode:?}"
        );
    }
}

#[test]
fn without_a_mark_nothing_resumes() {
    let set = ecdsa(&["a.example"]);
    for mode in STORING {
        for version in BOTH {
            let bench = Bench::new(mode);
            let server = bench.site("a", &Policy::default(), &set);
            let client = Arc::new(client(&set, version));
            for _ in 0..2 {
                let outcome = connect(&client, "a.example", &server, None, || {});
                assert_eq!(outcome.unwrap().kind, HandshakeKind::Full);
            }
            assert_eq!(bench.cache.statistics().size, 0);
        }
    }
}

#[test]
fn switched_off_nothing_resumes() {
    let set = ecdsa(&["a.example"]);
    for version in BOTH {
        let bench = Bench::new(Mode::Off);
        let server = bench.site("a", &Policy::default(), &set);
        let client = Arc::new(client(&set, version));
        for _ in 0..2 {
            assert_eq!(bench.kind(&client, &server), HandshakeKind::Full);
        }
    }
}

#[test]
fn a_session_resumes_on_its_own_site_under_its_own_policy_only() {
    let set = ecdsa(&["a.example"]);
    let identity = Identity::new();
    let protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let policies = [
        Policy::default(),
        Policy::new(Versions::default(), protocols, None).unwrap(),
        identity.policy(ClientAuthMode::Request),
        identity.policy(ClientAuthMode::Require),
        Identity::new().policy(ClientAuthMode::Request),
    ];
    for mode in STORING {
        let bench = Bench::new(mode);
        let mut sites = Vec::new();
        for name in ["one", "two"] {
            for policy in &policies {
                sites.push((bench.site(name, policy, &set), policy));
            }
        }
        for version in BOTH {
            for (began_at, (began, _)) in sites.iter().enumerate() {
                for (tried_at, (tried, policy)) in sites.iter().enumerate() {
                    let client = Arc::new(client_with(&set, version, provider(), Some(&identity)));
                    // The certificate of an unknown authority is refused where one is asked for.
                    let unknown = |at: usize| at % policies.len() == 4;
                    if unknown(began_at) || unknown(tried_at) {
                        continue;
                    }
                    let clock = Some(&bench.clock);
                    let first = connect(&client, "a.example", began, clock, || {}).unwrap();
                    assert_eq!(first.kind, HandshakeKind::Full);
                    let second = connect(&client, "a.example", tried, clock, || {}).unwrap();
                    let expected = if began_at == tried_at {
                        HandshakeKind::Resumed
                    } else {
                        HandshakeKind::Full
                    };
                    assert_eq!(
                        second.kind, expected,
                        "{mode:?} {version:?} {began_at} {tried_at}"
                    );
                    assert_eq!(second.client_certificate, policy.client_auth().is_some());
                }
            }
        }
    }
}

#[test]
fn a_client_without_certificate_is_refused_where_one_is_required() {
    let set = ecdsa(&["a.example"]);
    let bench = Bench::new(Mode::Cache);
    let identity = Identity::new();
    for version in BOTH {
        let client = Arc::new(client(&set, version));
        for (mode, welcome) in [
            (ClientAuthMode::Request, true),
            (ClientAuthMode::Require, false),
        ] {
            let server = bench.site("a", &identity.policy(mode), &set);
            let outcome = connect(&client, "a.example", &server, Some(&bench.clock), || {});
            assert_eq!(outcome.is_ok(), welcome, "{version:?} {mode:?}");
        }
    }
}

#[test]
fn each_client_gets_the_kind_of_certificate_it_understands() {
    let rsa = served(&["a.example"], &PKCS_RSA_SHA256);
    let ecdsa = served(&["a.example"], &PKCS_ECDSA_P256_SHA256);
    let set = CertificateSet::new(vec![rsa.clone(), ecdsa.clone()]).unwrap();
    let bench = Bench::new(Mode::Off);
    let server = bench.site("a", &Policy::default(), &set);
    let all = provider().signature_verification_algorithms;
    for (word, expected) in [("", &ecdsa), ("ECDSA", &ecdsa), ("RSA", &rsa)] {
        for version in BOTH {
            let mapping: Vec<_> = all
                .mapping
                .iter()
                .filter(|(scheme, _)| format!("{scheme:?}").contains(word))
                .copied()
                .collect();
            let mut provider = provider();
            provider.signature_verification_algorithms = WebPkiSupportedAlgorithms {
                all: all.all,
                mapping: mapping.leak(),
            };
            let client = Arc::new(client_with(&set, version, provider, None));
            let outcome =
                connect(&client, "a.example", &server, Some(&bench.clock), || {}).unwrap();
            assert_eq!(outcome.leaf, expected.chain()[0], "{word} {version:?}");
        }
    }
}

#[test]
fn a_policy_decides_versions_and_protocols() {
    let set = ecdsa(&["a.example"]);
    let bench = Bench::new(Mode::Off);
    for (versions, welcome) in [
        (Versions::Tls12And13, [true, true]),
        (Versions::Tls13, [false, true]),
        (Versions::Tls12, [true, false]),
    ] {
        let policy = Policy::new(versions, vec![], None).unwrap();
        let server = bench.site("a", &policy, &set);
        for (version, welcome) in BOTH.into_iter().zip(welcome) {
            let client = Arc::new(client(&set, version));
            let outcome = connect(&client, "a.example", &server, Some(&bench.clock), || {});
            assert_eq!(outcome.is_ok(), welcome, "{versions:?} {version:?}");
            if let Ok(outcome) = outcome {
                assert_eq!(outcome.alpn, None);
            }
        }
    }
}

#[test]
fn a_client_reads_the_alert_for_an_unknown_name() {
    let set = ecdsa(&["a.example"]);
    let config = Arc::new(client(&set, ProtocolVersion::TLSv1_3));
    let name = ServerName::try_from("Unknown.Example").unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut hello.as_slice()).unwrap();
    let accepted = acceptor.accept().ok().flatten().unwrap();
    let hello = accepted.client_hello();
    assert_eq!(sni::server_name(&hello), Some(&b"unknown.example"[..]));
    client
        .read_tls(&mut sni::UNRECOGNIZED_NAME.as_slice())
        .unwrap();
    assert_eq!(
        client.process_new_packets().unwrap_err(),
        Error::AlertReceived(AlertDescription::UnrecognisedName)
    );
}

#[test]
fn a_client_that_names_an_address_names_nobody() {
    let set = ecdsa(&["127.0.0.1"]);
    let config = Arc::new(client(&set, ProtocolVersion::TLSv1_3));
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut hello.as_slice()).unwrap();
    let accepted = acceptor.accept().ok().flatten().unwrap();
    assert_eq!(sni::server_name(&accepted.client_hello()), None);
}

#[test]
fn a_fleet_resumes_each_others_sessions() {
    let set = ecdsa(&["a.example"]);
    for version in BOTH {
        let [here, there] = [(); 2].map(|()| Bench::new(Mode::Fleet));
        let policy = Policy::default();
        let [one, two] = [&here, &there].map(|bench| bench.site("a", &policy, &set));
        let client = Arc::new(client(&set, version));
        assert_eq!(here.kind(&client, &one), HandshakeKind::Full);
        assert_eq!(there.kind(&client, &two), HandshakeKind::Resumed);
        assert_eq!(here.kind(&client, &one), HandshakeKind::Resumed);
    }
}

#[test]
fn a_set_needs_a_certificate_and_covers_what_all_of_it_covers() {
    assert!(CertificateSet::new(vec![]).is_none());
    let set = CertificateSet::new(vec![
        served(&["a.example", "b.example"], &PKCS_ECDSA_P256_SHA256),
        served(&["a.example", "c.example"], &PKCS_RSA_SHA256),
    ])
    .unwrap();
    let kinds: Vec<_> = set
        .certificates()
        .iter()
        .map(|one| one.key_kind())
        .collect();
    assert_eq!(kinds, [KeyKind::Ecdsa, KeyKind::Rsa]);
    for (host, covered) in [
        ("a.example", true),
        ("b.example", false),
        ("c.example", false),
    ] {
        assert_eq!(set.covers(host.as_bytes()), covered, "{host}");
    }
}

#[test]
fn flaws_of_certificates_are_told() {
    let configs = ServerConfigs::new(None);
    let key = KeyPair::generate().unwrap();
    let der = |key: &KeyPair| PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let named = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let nameless = CertificateParams::new(vec![]).unwrap();
    let chain = |params: &CertificateParams| vec![params.self_signed(&key).unwrap().der().clone()];
    let unusable = || PrivateKeyDer::Pkcs8(vec![0x30, 0].into());
    for (chain, key, flaw) in [
        (vec![], der(&key), CertificateFlaw::EmptyChain),
        (
            vec![vec![1, 2].into()],
            der(&key),
            CertificateFlaw::Malformed,
        ),
        (chain(&nameless), der(&key), CertificateFlaw::NoNames),
        (chain(&named), unusable(), CertificateFlaw::KeyUnusable),
        (
            chain(&named),
            der(&KeyPair::generate().unwrap()),
            CertificateFlaw::KeyMismatch,
        ),
    ] {
        let served = ServedCertificate::new(chain, key, SourceWord::Files, configs.provider());
        assert_eq!(served.err(), Some(flaw));
    }
}

#[test]
#[ignore = "a measurement"]
fn measure_ten_thousand_sites() {
    let bench = Bench::new(Mode::Cache);
    let set = ecdsa(&["a.example"]);
    let policy = Policy::default();
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let (before, began) = (resident(), std::time::Instant::now());
    let sites: Vec<_> = (0..10_000)
        .map(|number| bench.site(&format!("site{number}"), &policy, &set))
        .collect();
    let took = began.elapsed();
    println!("{took:?}, {} bytes each", (resident() - before) / sites.len());
}
