//! A site server that does what a case says and records every byte it got.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::message::{self, Message, read_body, read_head, request_ends};
use super::wire::Wire;
use super::{PATIENCE, wait_until};

/// A listening site server; each connection runs the script on a thread of its own.
pub struct Upstream {
    address: Address,
    shared: Arc<Shared>,
}

enum Address {
    Tcp(SocketAddr),
    /// The directory goes when this is dropped.
    Unix {
        path: PathBuf,
        _directory: TempDir,
    },
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    connections: Mutex<Vec<Record>>,
}

/// One connection, as recorded.
#[derive(Default)]
struct Record {
    received: Vec<u8>,
    requests: Vec<Message>,
    ended: bool,
    wire: Option<Wire>,
}

type Script = dyn Fn(&mut Peer) -> io::Result<()> + Send + Sync;

impl Upstream {
    /// Runs `script` for each connection; it ends when the script does, with or without an error.
    pub fn script(script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = Address::Tcp(listener.local_addr().expect("bound"));
        let accept = move || listener.accept().and_then(|(stream, _)| Wire::tcp(stream));
        Upstream::start(address, accept, Arc::new(script))
    }

    /// The same on a unix socket.
    pub fn script_on_unix(script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Upstream {
        let directory = TempDir::with_prefix("portcullis-it-").expect("a temporary directory");
        let path = directory.path().join("site.sock");
        let listener = UnixListener::bind(&path).expect("a path of our own");
        let accept = move || listener.accept().and_then(|(stream, _)| Wire::unix(stream));
        Upstream::start(Address::Unix { path, _directory: directory }, accept, Arc::new(script))
    }

    fn start(
        address: Address,
        accept: impl Fn() -> io::Result<Wire> + Send + 'static,
        script: Arc<Script>,
    ) -> Upstream {
        let shared = Arc::new(Shared::default());
        let upstream = Upstream { address, shared: shared.clone() };
        std::thread::spawn(move || {
            while let Ok(wire) = accept() {
                if shared.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let number = {
                    let mut connections = shared.connections.lock().expect("no panic");
                    connections.push(Record { wire: wire.try_clone().ok(), ..Record::default() });
                    connections.len() - 1
                };
                let (shared, script) = (shared.clone(), script.clone());
                std::thread::spawn(move || {
                    let mut peer = Peer { wire, number, unread: Vec::new(), shared: shared.clone() };
                    // The front end may end a connection at any time: what matters is recorded.
                    let _ = script(&mut peer);
                    // Ended is what has closed: both of its descriptors.
                    shared.connections.lock().expect("no panic")[number].wire = None;
                    drop(peer);
                    shared.connections.lock().expect("no panic")[number].ended = true;
                });
            }
        });
        upstream
    }

    /// Answers every request with the same bytes.
    pub fn answering(response: impl Into<Vec<u8>>) -> Upstream {
        let response = response.into();
        Upstream::script(move |peer| {
            while peer.request()?.is_some() {
                peer.send(&response)?;
            }
            Ok(())
        })
    }

    /// Answers every request with this text.
    pub fn saying(text: &str) -> Upstream {
        Upstream::answering(response_with(text.as_bytes()))
    }

    /// Answers with the request's body.
    pub fn echo() -> Upstream {
        Upstream::script(echo)
    }

    pub fn echo_on_unix() -> Upstream {
        Upstream::script_on_unix(echo)
    }

    /// As `upstream` in a configuration names it.
    pub fn url(&self) -> String {
        match &self.address {
            Address::Tcp(address) => format!("http://{address}"),
            Address::Unix { path, .. } => format!("unix:{}", path.display()),
        }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().expect("no panic").len()
    }

    /// Every byte of all connections.
    pub fn received_in_all(&self) -> Vec<u8> {
        let connections = self.shared.connections.lock().expect("no panic");
        connections.iter().flat_map(|record| record.received.clone()).collect()
    }

    /// The requests that were read whole, over all connections.
    pub fn requests(&self) -> Vec<Message> {
        let connections = self.shared.connections.lock().expect("no panic");
        connections.iter().flat_map(|record| record.requests.clone()).collect()
    }

    /// The one request there was.
    #[track_caller]
    pub fn only_request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.remove(0)
    }

    /// Whether this connection's script has ended.
    pub fn has_ended(&self, connection: usize) -> bool {
        let connections = self.shared.connections.lock().expect("no panic");
        connections.get(connection).is_some_and(|record| record.ended)
    }

    /// Waits until this connection's script has ended.
    #[track_caller]
    pub fn wait_for_end_of(&self, connection: usize) {
        wait_until("the end of an upstream connection", || self.has_ended(connection));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for record in self.shared.connections.lock().expect("no panic").iter() {
            if let Some(wire) = &record.wire {
                wire.shutdown(Shutdown::Both);
            }
        }
        // Accept wakes up and sees that it is over.
        match &self.address {
            Address::Tcp(address) => drop(TcpStream::connect_timeout(address, PATIENCE)),
            Address::Unix { path, .. } => drop(UnixStream::connect(path)),
        }
    }
}

fn echo(peer: &mut Peer) -> io::Result<()> {
    while let Some(request) = peer.request()? {
        peer.send(&response_with(&request.body))?;
    }
    Ok(())
}

/// 200 with this body.
pub fn response_with(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A connection from the front end, as a script sees it.
pub struct Peer {
    wire: Wire,
    /// 0 for the first.
    pub number: usize,
    unread: Vec<u8>,
    shared: Arc<Shared>,
}

impl Peer {
    /// The address it was asked at.
    pub fn own_address(&self) -> SocketAddr {
        self.wire.local_address()
    }

    /// Reads the next request whole; `None`: the front end ended the connection.
    pub fn request(&mut self) -> io::Result<Option<Message>> {
        let Some(mut request) = self.head()? else { return Ok(None) };
        self.body(&mut request)?;
        Ok(Some(request))
    }

    /// Reads a head and leaves the body.
    pub fn head(&mut self) -> io::Result<Option<Message>> {
        let (mut from, unread) = self.reader();
        read_head(&mut from, unread)
    }

    /// Reads the body of a request whose head was read, and records the request.
    pub fn body(&mut self, request: &mut Message) -> io::Result<()> {
        let ends = request_ends(request);
        let (mut from, unread) = self.reader();
        read_body(&mut from, unread, ends, request)?;
        let mut connections = self.shared.connections.lock().expect("no panic");
        connections[self.number].requests.push(request.clone());
        Ok(())
    }

    /// Exactly so many bytes.
    pub fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let (mut from, unread) = self.reader();
        message::take(&mut from, unread, count)
    }

    /// The digest of exactly so many bytes, which are not recorded.
    pub fn digest(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut left = count;
        let mut failed = None;
        let digest = super::sha256(std::iter::from_fn(|| {
            if left == 0 {
                return None;
            }
            let mut piece = std::mem::take(&mut self.unread);
            if piece.is_empty()
                && let Err(error) = message::more(&mut self.wire, &mut piece)
            {
                failed = Some(error);
            }
            left = left.checked_sub(piece.len()).filter(|_| !piece.is_empty()).unwrap_or(0);
            Some(piece)
        }));
        failed.map_or(Ok(digest), Err)
    }

    /// Sends exactly so many bytes back as they come; they are not recorded.
    pub fn forward(&mut self, count: usize) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let mut piece = std::mem::take(&mut self.unread);
            if piece.is_empty() && message::more(&mut self.wire, &mut piece)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread = piece.split_off(left.min(piece.len()));
            left -= piece.len();
            self.wire.write_all(&piece)?;
        }
        Ok(())
    }

    /// Reads to the end of the stream.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let (mut from, unread) = self.reader();
        while message::more(&mut from, unread)? > 0 {}
        Ok(std::mem::take(unread))
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)
    }

    /// Ends our side; reading goes on.
    pub fn finish(&self) {
        self.wire.shutdown(Shutdown::Write);
    }

    /// The connection will end with a reset.
    pub fn reset(&self) {
        self.wire.reset_on_close();
    }

    fn reader(&mut self) -> (Recording<'_>, &mut Vec<u8>) {
        (Recording { wire: &mut self.wire, number: self.number, shared: &self.shared }, &mut self.unread)
    }
}

struct Recording<'a> {
    wire: &'a mut Wire,
    number: usize,
    shared: &'a Shared,
}

impl io::Read for Recording<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.wire.read(into)?;
        let mut connections = self.shared.connections.lock().expect("no panic");
        connections[self.number].received.extend_from_slice(&into[..read]);
        Ok(read)
    }
}
