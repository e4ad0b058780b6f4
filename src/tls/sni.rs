//! The server name a client asks for, and the answer to one nobody has.

use rustls::server::ClientHello;

/// A fatal `unrecognized_name` alert before any keys: type alert (21), legacy version 3.3, two
/// bytes: fatal (2), unrecognized_name (112) (RFC 8446 §6, RFC 6066 §3).
///
/// rustls answers a missing certificate with `access_denied`; sent by the shell in its place,
/// between `Acceptor::accept` and `into_connection`.
pub const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The name in the ClientHello: lowercase, no trailing dot, borrowed from it.
///
/// `None` without the extension, or with an address in it (RFC 6066 §3 allows host names only).
pub fn server_name<'a>(hello: &'a ClientHello<'_>) -> Option<&'a [u8]> {
    let name = hello.server_name()?.as_bytes();
    Some(name.strip_suffix(b".").unwrap_or(name)).filter(|name| !name.is_empty())
}
