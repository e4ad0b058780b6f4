//! What a trusted peer says has one meaning or none; a network holds what it says it holds.
//!
//! The first line is a network, the others are fields.

use portcullis::http::{Header, Network, Scheme, Told};

pub fn check(bytes: &[u8]) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    network(lines.next().unwrap_or_default());
    let fields: Vec<(String, &[u8])> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at(colon);
            Some((String::from_utf8(name.to_vec()).ok()?, &value[1..]))
        })
        .collect();
    let headers: Vec<Header<'_>> = fields.iter().map(|(name, value)| Header { name, value }).collect();
    let told = Told::read(&headers);
    if let Ok(Told { host: Some(host), .. }) = told {
        assert!(!host.is_empty() && headers.iter().any(|header| within(header.value, host)));
    }

    // Other fields change nothing.
    let mut more = headers.clone();
    more.insert(0, Header { name: "X-Other", value: b"https" });
    assert_eq!(Told::read(&more), told);

    // What the peer nearest to us appends is what counts, wherever the value before it ends.
    for name in ["X-Forwarded-Proto", "Forwarded"] {
        let own = headers.iter().rev().find(|header| header.name.eq_ignore_ascii_case(name));
        let Some(own) = own else { continue };
        let added: &[u8] = if name == "Forwarded" { b", proto=https" } else { b", https" };
        let value = [own.value, added].concat();
        let alone = [Header { name, value: &value }];
        match Told::read(&alone) {
            Ok(told) => assert_eq!((told.scheme, told.host), (Some(Scheme::Https), None)),
            // A quote that is open swallows it.
            Err(_) => assert!(name == "Forwarded" && own.value.contains(&b'"')),
        }
    }
}

fn network(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(network) = Network::parse(text) else { return };
    let shown = network.to_string();
    assert_eq!(Network::parse(&shown), Ok(network), "{shown}");
    let first = shown.split('/').next().expect("an address").parse().expect("an address");
    assert!(network.contains(first));
}

fn within(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
