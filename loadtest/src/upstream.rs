//! The site server behind every proxy: one thread, epoll, fixed answers.
//!
//! `/bytes/N` answers N bytes of [`crate::body`]; `/head` answers the request head as it arrived,
//! which shows what a proxy sent. Request bodies (with `Content-Length`) are read and counted.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::event::{Timespec, epoll};

use crate::affinity;
use crate::body;
use crate::response::{find, header, number};

const REQUEST_HEAD_BYTES_MAX: usize = 32 * 1024;
const READ_BYTES: usize = 64 * 1024;
const LISTENER: u64 = u64::MAX;

/// What came in since the start.
#[derive(Default)]
pub struct Counts {
    pub connections: AtomicU64,
    pub requests: AtomicU64,
    pub body_bytes: AtomicU64,
}

/// A running upstream; ends when dropped.
pub struct Upstream {
    pub address: SocketAddr,
    pub counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    pub fn start(cores: &[usize]) -> io::Result<Upstream> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        // `TcpListener` asks for a queue of 128; a burst of first requests needs more.
        rustix::net::listen(&listener, 4096)?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let stop = Arc::new(AtomicBool::new(false));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let server =
            Server { listener, epoll, connections: Vec::new(), free: Vec::new(), counts: counts.clone() };
        let stopped = stop.clone();
        let cores = cores.to_vec();
        let thread = std::thread::Builder::new().name("upstream".to_owned()).spawn(move || {
            affinity::pin(&cores);
            if let Err(error) = server.run(&stopped) {
                eprintln!("the upstream ended: {error}");
            }
        })?;
        Ok(Upstream { address, counts, stop, thread: Some(thread) })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Server {
    listener: TcpListener,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    counts: Arc<Counts>,
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// Bytes of the current request's body still to come.
    upload: usize,
    head: Vec<u8>,
    head_sent: usize,
    body: Body,
    body_sent: usize,
    close: bool,
}

enum Body {
    Noise(usize),
    Text(Vec<u8>),
}

impl Body {
    fn length(&self) -> usize {
        match self {
            Body::Noise(length) => *length,
            Body::Text(text) => text.len(),
        }
    }

    fn rest(&self, sent: usize) -> &[u8] {
        match self {
            Body::Noise(length) => body::piece(sent, length - sent),
            Body::Text(text) => &text[sent..],
        }
    }
}

impl Server {
    fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(512);
        let mut scratch = vec![0; READ_BYTES];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while !stop.load(Ordering::Relaxed) {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    index => self.serve(index as usize, &mut scratch),
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            // Edge-triggered: both directions once, no changes of interest afterwards.
            let flags = epoll::EventFlags::IN
                | epoll::EventFlags::OUT
                | epoll::EventFlags::RDHUP
                | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(index as u64), flags)?;
            self.counts.connections.fetch_add(1, Ordering::Relaxed);
            self.connections[index] = Some(Connection {
                stream,
                received: Vec::new(),
                upload: 0,
                head: Vec::new(),
                head_sent: 0,
                body: Body::Noise(0),
                body_sent: 0,
                close: false,
            });
        }
    }

    fn serve(&mut self, index: usize, scratch: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        // An error means that the proxy is gone; only its own side knows whether that was right.
        if !connection.step(scratch, &self.counts).unwrap_or(false) {
            self.connections[index] = None;
            self.free.push(index);
        }
    }
}

impl Connection {
    /// Reads, answers and writes until the socket wants no more; false: the connection is over.
    fn step(&mut self, scratch: &mut [u8], counts: &Counts) -> io::Result<bool> {
        loop {
            if !self.flush()? {
                return Ok(true);
            }
            if self.close {
                return Ok(false);
            }
            if self.take_request(counts) {
                continue;
            }
            if self.received.len() > REQUEST_HEAD_BYTES_MAX {
                return Ok(false);
            }
            match self.stream.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    let body = count.min(self.upload);
                    self.upload -= body;
                    counts.body_bytes.fetch_add(body as u64, Ordering::Relaxed);
                    self.received.extend_from_slice(&scratch[body..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the next response, when a whole request head is there.
    fn take_request(&mut self, counts: &Counts) -> bool {
        if self.upload > 0 {
            return false;
        }
        let Some(end) = find(&self.received, b"\r\n\r\n").map(|at| at + 4) else {
            return false;
        };
        counts.requests.fetch_add(1, Ordering::Relaxed);
        let request = &self.received[..end];
        let upload = header(request, "content-length").and_then(number).unwrap_or(0);
        let target = request.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        let (status, body) = if header(request, "transfer-encoding").is_some() {
            ("501 Not Implemented", Body::Noise(0))
        } else if target == b"/head" {
            ("200 OK", Body::Text(request.to_vec()))
        } else {
            match target.strip_prefix(b"/bytes/").and_then(number) {
                Some(length) => ("200 OK", Body::Noise(length)),
                None => ("404 Not Found", Body::Noise(0)),
            }
        };
        self.close = status.starts_with("501")
            || header(request, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        self.received.drain(..end);
        let here = upload.min(self.received.len());
        self.received.drain(..here);
        counts.body_bytes.fetch_add(here as u64, Ordering::Relaxed);
        self.upload = upload - here;
        self.head.clear();
        // Vec<u8> takes every write.
        let _ = write!(
            self.head,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Date: Mon, 23 Nov 2026 12:00:00 GMT\r\nServer: fixed\r\n{}\r\n",
            body.length(),
            if self.close { "Connection: close\r\n" } else { "" },
        );
        (self.head_sent, self.body, self.body_sent) = (0, body, 0);
        true
    }

    /// Writes what is due; false: the socket is full.
    fn flush(&mut self) -> io::Result<bool> {
        while self.head_sent < self.head.len() || self.body_sent < self.body.length() {
            let head = &self.head[self.head_sent..];
            let pieces = [IoSlice::new(head), IoSlice::new(self.body.rest(self.body_sent))];
            match self.stream.write_vectored(&pieces) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    let of_head = count.min(head.len());
                    self.head_sent += of_head;
                    self.body_sent += count - of_head;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Response;
    use crate::workload::Answer;

    fn answers(stream: &mut TcpStream, bytes: usize) {
        let mut response = Response::default();
        let mut buffer = vec![0; 1000];
        loop {
            let count = stream.read(&mut buffer).expect("read");
            assert_ne!(count, 0, "closed early");
            if response.feed(&buffer[..count], &Answer::Body(bytes)).expect("a right answer") {
                return;
            }
        }
    }

    #[test]
    fn keeps_the_connection_and_counts_uploads() {
        let upstream = Upstream::start(&[0]).expect("start");
        let mut stream = TcpStream::connect(upstream.address).expect("connect");
        for bytes in [0, 100, 65_536, 3_000_000] {
            write!(stream, "POST /bytes/{bytes} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
                .expect("write");
            stream.write_all(b"cde").expect("write");
            answers(&mut stream, bytes);
        }
        assert_eq!(upstream.counts.connections.load(Ordering::Relaxed), 1);
        assert_eq!(upstream.counts.requests.load(Ordering::Relaxed), 4);
        assert_eq!(upstream.counts.body_bytes.load(Ordering::Relaxed), 20);
    }

    #[test]
    fn answers_requests_that_arrive_together() {
        let upstream = Upstream::start(&[0]).expect("start");
        let mut stream = TcpStream::connect(upstream.address).expect("connect");
        let request = "GET /bytes/0 HTTP/1.1\r\nHost: a\r\n\r\n";
        write!(stream, "{request}{request}GET /bytes/0 HTTP/1.1\r\nConnection: close\r\n\r\n")
            .expect("write");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read to the end");
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
    }
}
