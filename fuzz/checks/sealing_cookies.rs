//! A session that is sealed does not get past: not on HTTP, not with another value, not behind another cookie.
//!
//! The bytes are a `Cookie`, a value to seal, a `Set-Cookie` and a key file.

use portcullis::http::Scheme;
use portcullis::http::cookies::{write_cookie, write_set_cookie};
use portcullis::sealing::{Binding, KEY_RANDOM_BYTES, Keys, NONCE_BYTES, SiteCookies};

const NONCE: Option<[u8; NONCE_BYTES]> = Some([3; NONCE_BYTES]);

pub fn check(bytes: &[u8]) {
    let keys = Keys::new(0, &[7; KEY_RANDOM_BYTES]);
    let names = ["z_sid".to_owned()];
    let bindings = [Binding::of("example", "z_sid")];
    let of = |scheme| SiteCookies { names: &names, bindings: &bindings, keys: &keys, scheme };

    for scheme in [Scheme::Http, Scheme::Https] {
        let cookies = of(scheme);
        let judge = |name: &[u8], value: &[u8], out: &mut Vec<u8>| cookies.incoming(name, value, out);
        let mut out = Vec::new();
        write_cookie(&mut out, [bytes].into_iter(), Some(&judge));
        // Nothing in the corpus was sealed with these keys.
        for part in out.split(|byte| b";,".contains(byte)) {
            let name = part.split(|&byte| byte == b'=').next().unwrap_or_default();
            assert_ne!(trim(name), b"z_sid", "{}", out.escape_ascii());
        }
        let mut again = Vec::new();
        write_cookie(&mut again, [&out[..]].into_iter(), Some(&judge));
        assert_eq!(again, out, "judged twice");
    }

    let mut sealed = b"before".to_vec();
    let verdict = of(Scheme::Https).outgoing(b"z_sid", bytes, NONCE, &mut sealed);
    let mut opened = Vec::new();
    if verdict == portcullis::http::cookies::Verdict::Replaced {
        let value = sealed.strip_prefix(b"before").expect("it is appended");
        assert!(keys.open(&bindings[0], value, &mut opened) && opened == bytes);
        assert!(!keys.open(&Binding::of("example", "z_sidx"), value, &mut opened));
    } else {
        assert_eq!(sealed, b"before");
        assert!(bytes.len() > 2900, "only what is too long does not leave");
    }
    opened.clear();
    assert!(!keys.open(&bindings[0], bytes, &mut opened) && opened.is_empty());

    let field = [b"z_sid=", bytes].concat();
    let cookies = of(Scheme::Http);
    let judge = |name: &[u8], value: &[u8], out: &mut Vec<u8>| cookies.outgoing(name, value, NONCE, out);
    assert!(!write_set_cookie(&mut Vec::new(), &field, &names, Some(&judge)), "on HTTP nothing leaves");

    if let Ok(keys) = Keys::read(bytes, 0) {
        let text = keys.write();
        let again = Keys::read(text.as_bytes(), 0).expect("what is written can be read");
        assert!(again.same_as(&keys));
    }
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
