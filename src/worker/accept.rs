//! Accepting: several accepts in flight for each listener, each connection a guarded task.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use monoio::io::Canceller;
use monoio::net::{TcpListener, TcpStream};

use super::{Listener, Ring};
use crate::downstream::{LiveSettings, Service};
use crate::http::Scheme;
use crate::net::contained;

/// Accepts waiting in the ring for each listener, in place of one that is asked again and again.
const IN_FLIGHT: usize = 8;
/// How long accepting waits when descriptors or connections ran out: others must close first.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends accepting. An accept in flight is cancelled and its result awaited: dropped instead, it would
/// leak a connection that had just come.
#[derive(Clone)]
pub(super) struct Stop {
    asked: Rc<Cell<bool>>,
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

    pub(super) fn now(&self) {
        self.asked.set(true);
        drop(self.canceller.take().cancel());
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
    let socket = TcpListener::from_std(listener.socket)?;
    let open = Rc::new(Open { socket, scheme: listener.scheme, settings: settings.clone() });
    for _ in 0..IN_FLIGHT {
        stop.running.set(stop.running.get() + 1);
        monoio::spawn(accept_loop(open.clone(), service.clone(), stop.clone()));
    }
    Ok(())
}

/// A listener in the ring.
struct Open {
    socket: TcpListener,
    scheme: Scheme,
    settings: LiveSettings,
}

async fn accept_loop(listener: Rc<Open>, service: Rc<Service>, stop: Stop) {
    accept_until_stopped(&listener, &service, &stop).await;
    drop(listener);
    stop.running.set(stop.running.get() - 1);
}

async fn accept_until_stopped(listener: &Open, service: &Rc<Service>, stop: &Stop) {
    while !stop.asked.get() {
        if service.is_full() {
            service.accept_paused("connections");
            monoio::time::sleep(PAUSE).await;
            continue;
        }
        let handle = stop.canceller.borrow().handle();
        match listener.socket.cancelable_accept(handle).await {
            Ok((stream, peer)) => accepted(stream, peer, listener, service),
            Err(_) if stop.asked.get() => return,
            Err(error) if out_of_descriptors(&error) => {
                service.accept_paused("descriptors");
                monoio::time::sleep(PAUSE).await;
            }
            // The client left between its handshake and our accept, or the network failed.
            Err(_) => {}
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
