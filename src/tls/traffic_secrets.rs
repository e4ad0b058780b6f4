//! The secrets that the keys of an established TLS 1.3 connection come from (RFC 8446 §7.1 to §7.3).
//!
//! rustls gives keys away ([`ServerConnection::dangerous_extract_secrets`]), but not the secrets they are
//! renewed from; it tells those to the key log alone. So our key log catches them, for the length of one call
//! ([`captured`]), on the thread of the caller: handshakes that go on at once never mix.
//!
//! [`ServerConnection::dangerous_extract_secrets`]: rustls::server::ServerConnection::dangerous_extract_secrets

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hkdf;
use rustls::KeyLog;
use zeroize::Zeroizing;

/// Of SHA-384, the larger of the two hashes.
const SECRET_BYTES_MAX: usize = 48;

/// `application_traffic_secret_N` of one direction.
#[derive(Clone)]
pub(super) struct TrafficSecret {
    bytes: Zeroizing<[u8; SECRET_BYTES_MAX]>,
    length: usize,
}

/// Those of both directions, as the handshake made them.
pub struct TrafficSecrets {
    pub(super) client: TrafficSecret,
    pub(super) server: TrafficSecret,
}

#[derive(Default)]
struct Caught {
    client: Option<TrafficSecret>,
    server: Option<TrafficSecret>,
}

thread_local! {
    // There during `captured` only.
    static CAUGHT: RefCell<Option<Caught>> = const { RefCell::new(None) };
}

/// Runs a step of a handshake; also says the secrets it came to, in the one step that does.
pub fn captured<T>(step: impl FnOnce() -> T) -> (T, Option<TrafficSecrets>) {
    CAUGHT.set(Some(Caught::default()));
    let result = step();
    let secrets = CAUGHT
        .take()
        .and_then(|caught| Some(TrafficSecrets { client: caught.client?, server: caught.server? }));
    (result, secrets)
}

/// The key log of every configuration.
pub(super) struct Capture {
    /// Where the operator wants the secrets written.
    pub(super) also: Arc<dyn KeyLog>,
}

impl KeyLog for Capture {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if is_caught(label)
            && let Some(secret) = TrafficSecret::new(secret)
        {
            CAUGHT.with_borrow_mut(|caught| match caught {
                Some(caught) if label.starts_with("CLIENT") => caught.client = Some(secret),
                Some(caught) => caught.server = Some(secret),
                None => {}
            });
        }
        if self.also.will_log(label) {
            self.also.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        is_caught(label) || self.also.will_log(label)
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

fn is_caught(label: &str) -> bool {
    matches!(label, "CLIENT_TRAFFIC_SECRET_0" | "SERVER_TRAFFIC_SECRET_0")
}

impl TrafficSecret {
    pub(super) fn new(secret: &[u8]) -> Option<TrafficSecret> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES_MAX]);
        bytes.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(TrafficSecret { bytes, length: secret.len() })
    }

    /// The secret of the next generation of keys (RFC 8446 §7.2).
    pub(super) fn next(&self, hash: hkdf::Algorithm) -> TrafficSecret {
        let mut next = TrafficSecret { bytes: Zeroizing::new([0; SECRET_BYTES_MAX]), length: self.length };
        self.expand(hash, b"traffic upd", &mut next.bytes[..self.length]);
        next
    }

    /// HKDF-Expand-Label with an empty context (RFC 8446 §7.1): `"key"` and `"iv"` for §7.3.
    pub(super) fn expand(&self, hash: hkdf::Algorithm, label: &[u8], out: &mut [u8]) {
        let length = u16::try_from(out.len()).expect("keys are short").to_be_bytes();
        let label_bytes = [6 + u8::try_from(label.len()).expect("labels are short")];
        let info = [&length[..], &label_bytes, b"tls13 ", label, &[0]];
        let secret = hkdf::Prk::new_less_safe(hash, &self.bytes[..self.length]);
        let expanded = secret.expand(&info, Length(out.len())).and_then(|key| key.fill(out));
        expanded.expect("shorter than 255 hashes");
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
