//! Which sessions resume, where and for how long.

use super::*;

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
            assert_eq!(bench.kind(&client, &server), HandshakeKind::Resumed, "{mode:?} {version:?}");
            bench.clock.advance(Duration::from_millis(1));
            assert_eq!(bench.kind(&client, &server), HandshakeKind::Full, "{mode:?} {version:?}");
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
        provider.kx_groups.insert(0, rustls::crypto::aws_lc_rs::kx_group::MLKEM1024);
        let mut client = client_with(&set, ProtocolVersion::TLSv1_3, provider, None);
        client.resumption = Resumption::store(Arc::new(Forgetful(ClientSessionMemoryCache::new(256))));
        let first = connect(&Arc::new(client.clone()), "a.example", &server, Some(&bench.clock), || {});
        assert_eq!(first.unwrap().kind, HandshakeKind::FullWithHelloRetryRequest);
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
        assert_eq!(bench.kind(&new, &server), HandshakeKind::Resumed, "{mode:?}");
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
    let settings = |change: &dyn Fn(&mut PolicySettings)| {
        let mut settings = PolicySettings { alpn: vec![b"http/1.1".to_vec()], ..PolicySettings::default() };
        change(&mut settings);
        Policy::new(settings, &Arc::new(provider())).unwrap()
    };
    let policies = [
        Policy::default(),
        Policy::speaking(Versions::default(), &["h2", "http/1.1"]),
        identity.policy(ClientAuthMode::Request),
        identity.policy(ClientAuthMode::Require),
        Identity::new().policy(ClientAuthMode::Request),
        settings(&|settings| settings.compression = true),
        settings(&|settings| {
            settings.cipher_suites = ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
                .map(str::to_owned)
                .to_vec();
        }),
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
                    let expected =
                        if began_at == tried_at { HandshakeKind::Resumed } else { HandshakeKind::Full };
                    assert_eq!(second.kind, expected, "{mode:?} {version:?} {began_at} {tried_at}");
                    assert_eq!(second.client_certificate, policy.client_auth().is_some());
                }
            }
        }
    }
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
