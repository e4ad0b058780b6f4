//! The PROXY protocol: the same header and the same rest from any pieces; what is read is written and read again.

use portcullis::proxy_protocol::{BadHeader, Facts, HEADER_BYTES_MAX, Header, Version, read, take, write};

/// The first byte says how long the pieces are; the others come from a balancer.
pub fn check(bytes: &[u8]) {
    let [piece, sent @ ..] = bytes else {
        return;
    };
    let whole = receive(sent, sent.len().max(1));
    assert_eq!(whole, receive(sent, usize::from(*piece) % 40 + 1), "{}", sent.escape_ascii());
    let Ok(Some((Header::Proxied(ends), length))) = whole else {
        return;
    };
    assert!(length <= HEADER_BYTES_MAX && length <= sent.len());
    for version in [Version::V1, Version::V2] {
        let mut written = Vec::new();
        write(&mut written, version, &Facts { ends, tls: None });
        let Ok(Some((Header::Proxied(again), all))) = receive(&written, 7) else {
            panic!("{}", written.escape_ascii());
        };
        assert_eq!(all, written.len());
        let canonical = |ends: portcullis::proxy_protocol::Ends| {
            [ends.source, ends.destination].map(|end| (end.ip().to_canonical(), end.port()))
        };
        assert_eq!(canonical(again), canonical(ends));
    }
}

/// What is read, and how many bytes the header took; `None`: it is not whole.
fn receive(sent: &[u8], piece: usize) -> Result<Option<(Header, usize)>, BadHeader> {
    let mut taken = 0;
    let mut seen = 0;
    loop {
        if take(&sent[..taken], b"?") == Ok(0) {
            return read(&sent[..taken]).map(|header| Some((header, taken)));
        }
        if seen == taken {
            if seen == sent.len() {
                return Ok(None);
            }
            seen = (seen + piece).min(sent.len());
        }
        let count = take(&sent[..taken], &sent[taken..seen])?;
        assert!(count > 0 && taken + count <= seen, "it goes on");
        taken += count;
    }
}
