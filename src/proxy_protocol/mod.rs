//! Room: the PROXY protocol, versions 1 and 2: what a balancer says of a connection before its first byte, read and
//! written. Core: bytes in, bytes out.
//!
//! ```text
//! v1   PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n                       at most 107 octets
//! v2   \r\n\r\n\0\r\nQUIT\n | version 2, command | family | length | addresses | TLVs
//! ```
//!
//! A header is read only from peers the operator named, and is required of them: whether a connection begins with one is
//! known before a byte of it is read. Set aside: taking a header where there happens to be one, since then any visitor
//! may say who he is.
//!
//! Never here: who is trusted (`config`), and reading from a socket (`downstream`).

mod read;
mod write;

use std::net::SocketAddr;

pub use read::{BadHeader, Header, read, take};
pub use write::{Facts, TlsFacts, Version, write, write_local};

/// What comes before the rest of a header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// Octets of a line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// Octets of a header of version 2 we take: addresses and a few TLVs. AWS, HAProxy and Envoy send less than 600.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}
