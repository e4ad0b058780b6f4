//! One request, blocking: does the server answer, and what did it send on?

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::certificates::Pair;
use crate::client_tls;
use crate::response::{find, number};
use crate::workload::Arrival;

const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

pub struct Answer {
    pub status: usize,
    pub body: Vec<u8>,
}

/// Asks for `path` over TLS 1.3 and closes.
///
/// # Errors
/// No connection, no handshake, or no HTTP.
pub fn get_https(address: SocketAddr, pair: &Pair, path: &str) -> io::Result<Answer> {
    let config = client_tls::config(Arrival::FullHandshake, &pair.der).map_err(io::Error::other)?;
    let name = ServerName::try_from(crate::HOST).map_err(io::Error::other)?;
    let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(tls, socket);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", crate::HOST)?;
    let mut text = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut text) {
        // Without close_notify; what came before counts.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !text.is_empty() => {}
        other => {
            other?;
        }
    }
    let end = find(&text, b"\r\n\r\n").ok_or_else(|| io::Error::other("no HTTP response"))?;
    let status = text.get(9..12).and_then(number).ok_or_else(|| io::Error::other("no status"))?;
    Ok(Answer { status, body: text.split_off(end + 4) })
}
