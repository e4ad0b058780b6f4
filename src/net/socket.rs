//! One stream socket, TCP or unix: each operation with its deadline.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;

use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::{TcpStream, UnixStream};
use rustix::io::{Errno, FdFlags};
use rustix::net::{RecvFlags, Shutdown};

use super::buffer::{Buffer, Content, Tail};
use super::clock::Until;
use super::deadline::{Deadline, Half};
use super::local::Local;

/// A connected socket. Receiving and sending go on at once; two receives or two sends must not.
pub struct Socket {
    // Declared first, dropped first: it must not outlive the descriptor.
    deadline: Deadline,
    io: Io,
    // Counted for the whole worker: how many sends a response takes is held by a test.
    sends: Rc<Cell<u64>>,
}

enum Io {
    Tcp(UnsafeCell<TcpStream>),
    Unix(UnsafeCell<UnixStream>),
}

impl Socket {
    /// A connection just accepted. The runtime accepts without close-on-exec: set here, so that no
    /// program this process starts inherits a client.
    pub fn accepted(stream: TcpStream, local: &Local) -> Socket {
        let socket = Socket::tcp(stream, local);
        let _ = rustix::io::fcntl_setfd(socket.fd(), FdFlags::CLOEXEC);
        socket
    }

    fn tcp(stream: TcpStream, local: &Local) -> Socket {
        let deadline = local.deadlines.watch(stream.as_raw_fd());
        Socket { deadline, io: Io::Tcp(UnsafeCell::new(stream)), sends: local.sends.clone() }
    }

    fn unix(stream: UnixStream, local: &Local) -> Socket {
        let deadline = local.deadlines.watch(stream.as_raw_fd());
        Socket { deadline, io: Io::Unix(UnsafeCell::new(stream)), sends: local.sends.clone() }
    }

    /// # Errors
    /// Those of connect(2). The caller bounds the wait: nothing of value is lost when this is dropped.
    pub async fn connect_tcp(address: SocketAddr, local: &Local) -> io::Result<Socket> {
        let stream = TcpStream::connect_addr(address).await?;
        stream.set_nodelay(true)?;
        Ok(Socket::tcp(stream, local))
    }

    /// # Errors
    /// Those of connect(2).
    pub async fn connect_unix(path: &Path, local: &Local) -> io::Result<Socket> {
        Ok(Socket::unix(UnixStream::connect(path).await?, local))
    }

    /// Receives behind the buffer's content; 0: the peer has finished, or no room was left.
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first; the buffer is whole in every case.
    pub async fn receive(&self, buffer: &mut Buffer, until: Until) -> io::Result<usize> {
        let tail = std::mem::take(buffer).into_tail();
        self.deadline.set(Half::Read, until);
        // SAFETY: the reference lives only while the operation is made, which copies the descriptor's
        // handle; one thread, so nothing else looks meanwhile.
        let (result, Tail(back)) = match &self.io {
            Io::Tcp(stream) => unsafe { &mut *stream.get() }.read(tail).await,
            Io::Unix(stream) => unsafe { &mut *stream.get() }.read(tail).await,
        };
        self.deadline.set(Half::Read, Until::NEVER);
        *buffer = back;
        match result {
            Ok(0) if self.deadline.expired(Half::Read) => Err(io::ErrorKind::TimedOut.into()),
            other => other,
        }
    }

    /// Receives what is there now behind the buffer's content, with a system call of its own; `None`: nothing is.
    /// For bodies: the block is filled and passed on while it is in the cache.
    ///
    /// # Errors
    /// Those of recv(2).
    pub fn receive_now(&self, buffer: &mut Buffer) -> io::Result<Option<usize>> {
        match rustix::net::recv(self.fd(), buffer.spare_mut(), RecvFlags::DONTWAIT) {
            Ok((_, received)) => {
                buffer.grow(received);
                Ok(Some(received))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends all of the buffer's content and leaves it empty.
    ///
    /// # Errors
    /// `TimedOut` when the peer took nothing for as long as `until` says; `until` is asked before each send.
    pub async fn send(&self, buffer: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        while !buffer.is_empty() {
            self.sends.set(self.sends.get() + 1);
            let content = std::mem::take(buffer).into_content();
            self.deadline.set(Half::Write, until());
            // SAFETY: as in `receive`.
            let (result, Content(back)) = match &self.io {
                Io::Tcp(stream) => unsafe { &mut *stream.get() }.write(content).await,
                Io::Unix(stream) => unsafe { &mut *stream.get() }.write(content).await,
            };
            self.deadline.set(Half::Write, Until::NEVER);
            *buffer = back;
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => buffer.consume(sent),
                Err(_) if self.deadline.expired(Half::Write) => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the next request of a kept connection, holding no buffer. A drain ends this wait, and no
    /// other.
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first or the worker drains.
    pub async fn idle(&self, until: Until) -> io::Result<()> {
        self.deadline.set_idle(true);
        let result = self.readable(until).await;
        self.deadline.set_idle(false);
        result
    }

    /// Waits until there is something to receive, the end of the stream too, holding no buffer.
    ///
    /// # Errors
    /// `TimedOut` when `until` passed first.
    pub async fn readable(&self, until: Until) -> io::Result<()> {
        self.deadline.set(Half::Read, until);
        // Not "relaxed": on epoll that would go by what the runtime itself has read, and we read around it.
        // SAFETY: a shared reference beside those that live only while an operation is made.
        let result = match &self.io {
            Io::Tcp(stream) => unsafe { &*stream.get() }.readable(false).await,
            Io::Unix(stream) => unsafe { &*stream.get() }.readable(false).await,
        };
        self.deadline.set(Half::Read, Until::NEVER);
        if self.deadline.expired(Half::Read) { Err(io::ErrorKind::TimedOut.into()) } else { result }
    }

    /// Whether the wait in flight, or the next one, is one for a request, which a drain ends.
    pub fn set_idle(&self, idle: bool) {
        self.deadline.set_idle(idle);
    }

    pub fn is_idle(&self) -> bool {
        self.deadline.is_idle()
    }

    /// Moves the deadline of the read in flight, if there is one: something happened elsewhere.
    pub fn extend_read(&self, until: Until) {
        self.deadline.extend(Half::Read, until);
    }

    /// Whether the peer is silent and still there: what an idle connection must be to be used again.
    /// One system call.
    pub fn is_quiet(&self) -> bool {
        let peeked = rustix::net::recv(self.fd(), &mut [0u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(Errno::AGAIN))
    }

    /// No more will be sent: the peer reads the end of the stream.
    pub fn finish(&self) {
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Write);
    }

    /// Makes the close to come a reset: the peer must not take what it got for a whole message.
    pub fn reset_on_close(&self) {
        let _ = rustix::net::sockopt::set_socket_linger(self.fd(), Some(std::time::Duration::ZERO));
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and lives as long as `self`.
        unsafe {
            match &self.io {
                Io::Tcp(stream) => BorrowedFd::borrow_raw((*stream.get()).as_raw_fd()),
                Io::Unix(stream) => BorrowedFd::borrow_raw((*stream.get()).as_raw_fd()),
            }
        }
    }
}
