//! A host is read in one way, whatever its case, its port and the dot at its end.

use portcullis::dispatch::{Alias, HOST_BYTES_MAX, Host, Ports, SiteRules, Sites, Unmatched};

pub fn check(bytes: &[u8]) {
    let Ok(host) = Host::parse(bytes) else {
        return;
    };
    let name = host.name;
    assert!(!name.is_empty() && name.len() <= HOST_BYTES_MAX && bytes.starts_with(name));
    let in_brackets = name.starts_with(b"[");
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    assert!(in_brackets || name.iter().all(allowed), "{}", name.escape_ascii());
    assert_eq!(Host::parse(name), Ok(Host { name, port: None }), "the name alone is the same host");
    let written = [name, b":", host.port.map_or(String::new(), |port| port.to_string()).as_bytes()].concat();
    assert_eq!(Host::parse(&written), Ok(Host { name, port: host.port }));

    // A configuration that has it finds it, in either case and with the dot.
    let text = String::from_utf8(name.to_ascii_lowercase()).expect("ASCII");
    let site = |name: &str, hosts: Vec<String>| SiteRules {
        name: name.to_owned(),
        hosts,
        aliases: Vec::new(),
        alias: Alias::Serve,
        ssl: true,
        is_secure: true,
        is_ssl: false,
        is_permanent: false,
        languages: Vec::new(),
        unmatched: Unmatched::Forward,
        rules: [].into(),
        tls_policy: 0,
    };
    let sites = vec![site("it", vec![text]), site("rest", vec!["*".to_owned()])];
    let sites =
        Sites::compile(sites, Ports::default()).map_err(|_| ()).expect("a host that is read can be written");
    let it = sites.named("it").expect("it is there");
    for spelled in [name.to_vec(), name.to_ascii_uppercase()] {
        assert_eq!(sites.find(&spelled), Some(it), "{}", spelled.escape_ascii());
        if !in_brackets {
            assert_eq!(sites.find(&[&spelled, &b"."[..]].concat()), Some(it));
        }
    }
}
