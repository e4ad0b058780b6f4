//! One stream socket, TCP or unix: each operation with its deadline.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::path::Path;
use std::rc::Rc;

use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::{TcpStream, UnixStream};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::buffer::{Buffer, Content, Tail};
use super::clock::Until;
use super::deadline::{Deadline, Half};
use super::local::Local;

/// A connected socket. Receiving and sending go on at once; two receives or two sends must not.
pub struct Socket {
    // Declared first, dropped first: it must not outlive the descriptor.
    deadline: Deadline,
    io: Closing,
    // Counted for the whole worker: how many sends a response takes is held by a test.
    sends: Rc<Cell<u64>>,
}

enum Io {
    Tcp(UnsafeCell<TcpStream>),
    Unix(UnsafeCell<UnixStream>),
}

/// Closes the descriptor with one system call. The runtime's stream would have the ring do that when it is dropped, and
/// then have it cancel what it does: two operations and an allocation.
struct Closing {
    io: ManuallyDrop<Io>,
    // Operations that have not returned: the runtime holds the descriptor for each.
    under_way: Cell<u32>,
}

impl Closing {
    fn new(io: Io) -> Closing {
        Closing { io: ManuallyDrop::new(io), under_way: Cell::new(0) }
    }

    /// An operation begins. No guard ends it: one whose future is dropped half-way is under way for good.
    fn begin(&self) {
        self.under_way.set(self.under_way.get() + 1);
    }

    /// An operation has returned.
    fn end(&self) {
        self.under_way.set(self.under_way.get() - 1);
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        // SAFETY: taken here alone.
        let io = unsafe { ManuallyDrop::take(&mut self.io) };
        if self.under_way.get() > 0 {
            // The connection was given up in the middle of one: the runtime closes when that has completed.
            return drop(io);
        }
        let descriptor = match io {
            Io::Tcp(stream) => stream.into_inner().into_raw_fd(),
            Io::Unix(stream) => stream.into_inner().into_raw_fd(),
        };
        // SAFETY: the stream owned it, and has given it up.
        unsafe { rustix::io::close(descriptor) };
    }
}

impl Socket {
    /// The runtime accepts without close-on-exec, and that stays so: no program that is started gets a descriptor, see
    /// [`keep_descriptors`](super::keep_descriptors).
    pub fn tcp(stream: TcpStream, local: &Local) -> Socket {
        let deadline = local.deadlines.watch(stream.as_raw_fd());
        Socket { deadline, io: Closing::new(Io::Tcp(UnsafeCell::new(stream))), sends: local.sends.clone() }
    }

    fn unix(stream: UnixStream, local: &Local) -> Socket {
        let deadline = local.deadlines.watch(stream.as_raw_fd());
        Socket { deadline, io: Closing::new(Io::Unix(UnsafeCell::new(stream))), sends: local.sends.clone() }
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
        self.io.begin();
        // SAFETY: the reference lives only while the operation is made, which copies the descriptor's
        // handle; one thread, so nothing else looks meanwhile.
        let (result, Tail(back)) = match &*self.io.io {
            Io::Tcp(stream) => unsafe { &mut *stream.get() }.read(tail).await,
            Io::Unix(stream) => unsafe { &mut *stream.get() }.read(tail).await,
        };
        self.io.end();
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
            self.io.begin();
            // SAFETY: as in `receive`.
            let (result, Content(back)) = match &*self.io.io {
                Io::Tcp(stream) => unsafe { &mut *stream.get() }.write(content).await,
                Io::Unix(stream) => unsafe { &mut *stream.get() }.write(content).await,
            };
            self.io.end();
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

    /// Sends all of the buffer's content, leaves it empty, and ends our side: the end of the stream goes with the last
    /// segment, not in one of its own.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_last(&self, buffer: &mut Buffer, until: impl Fn() -> Until) -> io::Result<()> {
        if !buffer.is_empty() {
            // A system call of its own: a last segment that is not full is only kept, for the end that follows.
            let flags = SendFlags::MORE | SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(self.fd(), buffer.filled(), flags) {
                Ok(sent) => {
                    self.sends.set(self.sends.get() + 1);
                    buffer.consume(sent);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.send(buffer, until).await?;
        }
        self.finish();
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
        self.io.begin();
        // Not "relaxed": on epoll that would go by what the runtime itself has read, and we read around it.
        // SAFETY: a shared reference beside those that live only while an operation is made.
        let result = match &*self.io.io {
            Io::Tcp(stream) => unsafe { &*stream.get() }.readable(false).await,
            Io::Unix(stream) => unsafe { &*stream.get() }.readable(false).await,
        };
        self.io.end();
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

    /// Ends both ways at once: what is in flight completes, and the peer reads the end.
    pub fn abandon(&self) {
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Both);
    }

    /// Whether the peer has ended its side or the connection has failed, whatever came before. One system call.
    pub fn is_hung_up(&self) -> bool {
        let mut asked = [PollFd::from_borrowed_fd(self.fd(), PollFlags::RDHUP)];
        matches!(rustix::event::poll(&mut asked, Some(&Timespec::default())), Ok(1..))
    }

    /// The address of our end.
    ///
    /// # Errors
    /// Those of getsockname(2); it is no TCP socket.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let address = rustix::net::getsockname(self.fd())?;
        SocketAddr::try_from(address).map_err(|_| io::ErrorKind::Unsupported.into())
    }

    /// Looks at what has come without taking it; `None`: nothing has.
    ///
    /// # Errors
    /// Those of recv(2).
    pub fn peek_now(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        self.receive_flagged(into, RecvFlags::PEEK)
    }

    /// Takes what has come, no more than fits.
    ///
    /// # Errors
    /// Those of recv(2).
    pub fn take_now(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        self.receive_flagged(into, RecvFlags::empty())
    }

    fn receive_flagged(&self, into: &mut [u8], flags: RecvFlags) -> io::Result<Option<usize>> {
        match rustix::net::recv(self.fd(), into, RecvFlags::DONTWAIT | flags) {
            Ok((_, received)) => Ok(Some(received)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the close to come a reset: the peer must not take what it got for a whole message.
    pub fn reset_on_close(&self) {
        let _ = rustix::net::sockopt::set_socket_linger(self.fd(), Some(std::time::Duration::ZERO));
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and lives as long as `self`.
        unsafe {
            match &*self.io.io {
                Io::Tcp(stream) => BorrowedFd::borrow_raw((*stream.get()).as_raw_fd()),
                Io::Unix(stream) => BorrowedFd::borrow_raw((*stream.get()).as_raw_fd()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::Read;
    use std::net::TcpListener;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::super::{LARGE, run};
    use super::*;

    /// Ours, and the client's end.
    fn pair(local: &Local) -> (Socket, std::net::TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let client =
            std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
        let (accepted, _) = listener.accept().expect("the same connection");
        accepted.set_nonblocking(monoio::utils::is_legacy()).expect("a mode");
        (Socket::tcp(TcpStream::from_std(accepted).expect("a stream"), local), client)
    }

    fn holding(bytes: &[u8], local: &Local) -> Buffer {
        let mut buffer = local.buffers.at_least(bytes.len());
        buffer.append(bytes);
        buffer
    }

    /// `tcpi_segs_in` of `struct tcp_info` (linux/tcp.h).
    fn segments_in(socket: &std::net::TcpStream) -> u32 {
        const SEGS_IN: usize = 140;
        let mut info = [0u8; SEGS_IN + 4];
        let mut length = info.len() as libc::socklen_t;
        // SAFETY: the kernel writes no more than `length` bytes.
        let result = unsafe {
            let into = info.as_mut_ptr().cast();
            libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, into, &mut length)
        };
        assert_eq!((result, length as usize), (0, info.len()));
        u32::from_ne_bytes(info[SEGS_IN..].try_into().expect("four bytes"))
    }

    #[test]
    fn the_end_of_the_stream_goes_with_the_last_segment() {
        run(async {
            let local = Local::new();
            let (ours, mut client) = pair(&local);
            let before = segments_in(&client);
            let mut last = holding(b"the last of it", &local);
            ours.send_last(&mut last, || Until::NEVER).await.expect("sent");
            assert!(last.is_empty());
            let mut read = String::new();
            client.read_to_string(&mut read).expect("the end, though our socket is open");
            assert_eq!((read.as_str(), segments_in(&client) - before), ("the last of it", 1));
        });
    }

    #[test]
    fn what_the_kernel_does_not_take_at_once_is_sent_before_the_end() {
        run(async {
            let local = Local::new();
            let (ours, mut client) = pair(&local);
            rustix::net::sockopt::set_socket_send_buffer_size(ours.fd(), 4096).expect("a size");
            let bytes: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
            let reader = std::thread::spawn(move || {
                let (mut read, mut piece) = (Vec::new(), [0; 1000]);
                while let count @ 1.. = client.read(&mut piece).expect("bytes") {
                    read.extend_from_slice(&piece[..count]);
                }
                read
            });
            let mut last = holding(&bytes, &local);
            ours.send_last(&mut last, || Until::NEVER).await.expect("sent");
            assert!(reader.join().expect("read") == bytes);
        });
    }

    #[test]
    fn a_socket_given_up_in_the_middle_of_an_operation_is_closed_all_the_same() {
        run(async {
            let local = Local::new();
            let (ours, mut client) = pair(&local);
            {
                let mut into = local.buffers.small();
                let mut receiving = pin!(ours.receive(&mut into, Until::NEVER));
                let polled = receiving.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Pending));
            }
            drop(ours);
            client.set_nonblocking(true).expect("a mode");
            // The runtime has to turn for that.
            let closed = async {
                while client.read(&mut [0; 1]).is_err() {
                    monoio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            monoio::time::timeout(Duration::from_secs(10), closed).await.expect("closed");
        });
    }
}
