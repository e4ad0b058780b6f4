//! Accepting: several accepts in flight for each listener, each connection a guarded task.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use monoio::io::Canceller;
use monoio::net::{TcpListener, TcpStream};

use super::{Listener, Queue, Ring};
use crate::downstream::{LiveSettings, Service};
use crate::http::Scheme;
use crate::net::contained;

/// Accepts waiting in the ring for each listener, in place of one that is asked again and again.
const IN_FLIGHT: usize = 8;
/// How long accepting waits when descriptors or connections ran out: others must close first.
const PAUSE: Duration = Duration::from_millis(50);
/// The same when a listener is about to close: what waits in its queue has little time.
const SHORT_PAUSE: Duration = Duration::from_millis(2);
/// Connections taken out of a queue in a row: those that are served meanwhile get their turn.
const QUEUED_IN_A_ROW: usize = 64;

/// Ends accepting. An accept in flight is cancelled and its result awaited: dropped instead, it would
/// leak a connection that had just come.
#[derive(Clone)]
pub(super) struct Stop {
    // What becomes of the queue; `None`: not asked.
    asked: Rc<Cell<Option<Queue>>>,
    canceller: Rc<RefCell<Canceller>>,
    // Accept loops that have not ended.
    running: Rc<Cell<usize>>,
}

impl Stop {
    pub(super) fn new() -> Stop {
        Stop {
            asked: Rc::default(),
            canceller: Rc::new(RefCell::new(Canceller::new())),
            running: Rc::default(),
        }
    }

    pub(super) fn now(&self, queue: Queue) {
        self.asked.set(Some(queue));
        drop(self.canceller.take().cancel());
    }

    fn is_asked(&self) -> bool {
        self.asked.get().is_some()
    }

    /// Whether the listeners are closed. A runtime that ends before leaks them, and the kernel goes on
    /// completing connections that nobody will ever accept.
    pub(super) fn is_done(&self) -> bool {
        self.running.get() == 0
    }
}

/// # Errors
/// When the socket cannot be given to the ring.
pub(super) fn start(
    listener: Listener,
    ring: Ring,
    service: &Rc<Service>,
    stop: &Stop,
    settings: &LiveSettings,
) -> io::Result<()> {
    // The ring waits on blocking sockets itself; epoll needs them to say that they would block.
    listener.socket.set_nonblocking(ring == Ring::Epoll)?;
    let queue = listener.socket.try_clone()?;
    let socket = TcpListener::from_std(listener.socket)?;
    let (scheme, settings) = (listener.scheme, settings.clone());
    let open = Rc::new(Open { socket, queue, ring, scheme, settings });
    for _ in 0..IN_FLIGHT {
        stop.running.set(stop.running.get() + 1);
        monoio::spawn(accept_loop(open.clone(), service.clone(), stop.clone()));
    }
    Ok(())
}

/// A listener in the ring.
struct Open {
    socket: TcpListener,
    // The same one, for what is left when nothing waits in the ring any more.
    queue: std::net::TcpListener,
    ring: Ring,
    scheme: Scheme,
    settings: LiveSettings,
}

async fn accept_loop(listener: Rc<Open>, service: Rc<Service>, stop: Stop) {
    accept_until_stopped(&listener, &service, &stop).await;
    // The last of them closes the listener, and with it the queue.
    if stop.running.get() == 1
        && let Some(Queue::Answered { until }) = stop.asked.get()
    {
        accept_queued(&listener, &service, until).await;
    }
    drop(listener);
    stop.running.set(stop.running.get() - 1);
}

async fn accept_until_stopped(listener: &Open, service: &Rc<Service>, stop: &Stop) {
    while !stop.is_asked() {
        if service.is_full() {
            service.accept_paused("connections");
            monoio::time::sleep(PAUSE).await;
            continue;
        }
        let handle = stop.canceller.borrow().handle();
        match listener.socket.cancelable_accept(handle).await {
            Ok((stream, peer)) => accepted(stream, peer, listener, service),
            Err(_) if stop.is_asked() => return,
            Err(error) if out_of_descriptors(&error) => {
                service.accept_paused("descriptors");
                monoio::time::sleep(PAUSE).await;
            }
            // The client left between its handshake and our accept, or the network failed.
            Err(_) => {}
        }
    }
}

/// Accepts what the kernel has completed already: closed with its queue, those connections would be reset.
async fn accept_queued(listener: &Open, service: &Rc<Service>, until: Instant) {
    if listener.queue.set_nonblocking(true).is_err() {
        return;
    }
    let mut in_a_row = 0;
    while Instant::now() < until {
        if service.is_full() || in_a_row == QUEUED_IN_A_ROW {
            in_a_row = 0;
            monoio::time::sleep(SHORT_PAUSE).await;
            continue;
        }
        let next = listener.queue.accept().and_then(|(stream, peer)| {
            stream.set_nonblocking(listener.ring == Ring::Epoll)?;
            Ok((TcpStream::from_std(stream)?, peer))
        });
        match next {
            Ok((stream, peer)) => {
                in_a_row += 1;
                accepted(stream, peer, listener, service);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // As in `accept_until_stopped`.
            Err(_) => in_a_row = QUEUED_IN_A_ROW,
        }
    }
}

fn accepted(stream: TcpStream, peer: SocketAddr, listener: &Open, service: &Rc<Service>) {
    // Not the listener itself, which is closed when a drain begins.
    let (scheme, settings) = (listener.scheme, listener.settings.clone());
    let service = service.clone();
    let counters = service.counters.clone();
    let open = service.open_connection();
    monoio::spawn(async move {
        let connection = pin!(service.serve(stream, peer, scheme, settings));
        if contained(connection).await.is_err() {
            counters.connections_panicked.add(1);
            tracing::error!(client = %peer, "a defect ended a connection; others are not affected");
        }
        drop(open);
    });
}

/// Runs something of our own so that its panic ends it alone.
pub(super) async fn guarded(task: Pin<Box<dyn Future<Output = ()>>>) {
    if contained(pin!(task)).await.is_err() {
        tracing::error!("a defect ended a health check; nothing else is affected");
    }
}

fn out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let out = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| out.iter().any(|errno| errno.raw_os_error() == code))
}
