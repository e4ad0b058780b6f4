//! What is served: versions, protocols, certificates, alerts.

use super::*;

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
fn a_client_without_certificate_is_refused_where_one_is_required() {
    let set = ecdsa(&["a.example"]);
    let bench = Bench::new(Mode::Cache);
    let identity = Identity::new();
    for version in BOTH {
        let client = Arc::new(client(&set, version));
        for (mode, welcome) in [(ClientAuthMode::Request, true), (ClientAuthMode::Require, false)] {
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
            provider.signature_verification_algorithms =
                WebPkiSupportedAlgorithms { all: all.all, mapping: mapping.leak() };
            let client = Arc::new(client_with(&set, version, provider, None));
            let outcome = connect(&client, "a.example", &server, Some(&bench.clock), || {}).unwrap();
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
        let policy = Policy::speaking(versions, &[]);
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
    client.read_tls(&mut sni::UNRECOGNIZED_NAME.as_slice()).unwrap();
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
fn a_set_needs_a_certificate_and_covers_what_all_of_it_covers() {
    assert!(CertificateSet::new(vec![]).is_none());
    let set = CertificateSet::new(vec![
        served(&["a.example", "b.example"], &PKCS_ECDSA_P256_SHA256),
        served(&["a.example", "c.example"], &PKCS_RSA_SHA256),
    ])
    .unwrap();
    let kinds: Vec<_> = set.certificates().iter().map(|one| one.key_kind()).collect();
    assert_eq!(kinds, [KeyKind::Ecdsa, KeyKind::Rsa]);
    for (host, covered) in [("a.example", true), ("b.example", false), ("c.example", false)] {
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
        (vec![vec![1, 2].into()], der(&key), CertificateFlaw::Malformed),
        (chain(&nameless), der(&key), CertificateFlaw::NoNames),
        (chain(&named), unusable(), CertificateFlaw::KeyUnusable),
        (chain(&named), der(&KeyPair::generate().unwrap()), CertificateFlaw::KeyMismatch),
    ] {
        let served = ServedCertificate::new(chain, key, SourceWord::Files, configs.provider());
        assert_eq!(served.err(), Some(flaw));
    }
}
