//! A site server that speaks HTTP/2, by the protocol's own library: each connection on a thread of its own, each request
//! a future that the thread polls.

use std::future::Future;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Response, request};
use tempfile::TempDir;

use super::http2::{Io, read_body};

/// A request, and where its response goes.
pub struct Call {
    pub request: request::Parts,
    pub body: RecvStream,
    pub respond: SendResponse<Bytes>,
}

pub struct Http2Upstream {
    url: String,
    shared: Arc<Shared>,
    // Makes accept return.
    wake: Box<dyn Fn() + Send + Sync>,
}

trait Socket: io::Read + io::Write + Send {}
impl<S: io::Read + io::Write + Send> Socket for S {}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    connections: AtomicUsize,
    open: AtomicUsize,
    /// Counted up for each wish.
    go_away: AtomicUsize,
    cut: AtomicUsize,
    calls: Mutex<Vec<(usize, request::Parts)>>,
}

type Work = dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync;

impl Http2Upstream {
    /// Runs `work` for each request.
    pub fn new<F: Future<Output = ()> + 'static>(
        work: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Http2Upstream {
        Http2Upstream::with(Builder::new(), work)
    }

    /// The same, with what a case wants of the protocol.
    pub fn with<F: Future<Output = ()> + 'static>(
        builder: Builder,
        work: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Http2Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            io::Result::Ok(Box::new(stream) as Box<dyn Socket>)
        };
        let wake = move || drop(TcpStream::connect_timeout(&address, super::PATIENCE));
        Http2Upstream::start(format!("h2://{address}"), accept, Box::new(wake), builder, work)
    }

    /// The same on a unix socket.
    pub fn on_unix<F: Future<Output = ()> + 'static>(
        work: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Http2Upstream {
        let directory = TempDir::with_prefix("portcullis-it-").expect("a temporary directory");
        let path = directory.path().join("site.sock");
        let listener = UnixListener::bind(&path).expect("a path of our own");
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            io::Result::Ok(Box::new(stream) as Box<dyn Socket>)
        };
        let url = format!("h2+unix:{}", path.display());
        let wake = move || {
            drop(UnixStream::connect(&path));
            // It goes with this.
            let _ = &directory;
        };
        Http2Upstream::start(url, accept, Box::new(wake), Builder::new(), work)
    }

    fn start<F: Future<Output = ()> + 'static>(
        url: String,
        accept: impl Fn() -> io::Result<Box<dyn Socket>> + Send + 'static,
        wake: Box<dyn Fn() + Send + Sync>,
        builder: Builder,
        work: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Http2Upstream {
        let upstream = Http2Upstream { url, shared: Arc::new(Shared::default()), wake };
        let shared = upstream.shared.clone();
        let work: Arc<Work> = Arc::new(move |call| Box::pin(work(call)));
        std::thread::spawn(move || {
            while let Ok(stream) = accept() {
                if shared.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, work, builder) = (shared.clone(), work.clone(), builder.clone());
                std::thread::spawn(move || {
                    shared.open.fetch_add(1, Ordering::SeqCst);
                    serve(stream, number, &builder, &shared, &*work);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        upstream
    }

    /// As `upstream` in a configuration names it.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// One site for any name.
    pub fn site(&self) -> String {
        format!("[[site]]\nname = \"any\"\nhosts = [\"a.test\", \"*\"]\nupstream = [{:?}]\n", self.url())
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Those that have not ended.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far, each with the number of its connection.
    pub fn calls(&self) -> Vec<(usize, request::Parts)> {
        self.shared.calls.lock().expect("no panic").clone()
    }

    /// Says GOAWAY on all connections there are: they finish what they have.
    pub fn go_away(&self) {
        self.shared.go_away.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends all connections there are, at once.
    pub fn cut(&self) {
        self.shared.cut.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Http2Upstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Accept wakes up and sees that it is over.
        (self.wake)();
    }
}

fn serve(stream: Box<dyn Socket>, number: usize, builder: &Builder, shared: &Shared, work: &Work) {
    let mut context = Context::from_waker(Waker::noop());
    let mut handshake = Box::pin(builder.handshake::<_, Bytes>(Io(stream)));
    let mut connection: Option<Connection<Io<Box<dyn Socket>>, Bytes>> = None;
    let mut running: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    let mut said = shared.go_away.load(Ordering::SeqCst);
    let cut = shared.cut.load(Ordering::SeqCst);
    while !shared.stopping.load(Ordering::SeqCst) && shared.cut.load(Ordering::SeqCst) == cut {
        match &mut connection {
            None => match handshake.as_mut().poll(&mut context) {
                Poll::Pending => {}
                Poll::Ready(Ok(ready)) => connection = Some(ready),
                Poll::Ready(Err(_)) => return,
            },
            Some(connection) => {
                if shared.go_away.load(Ordering::SeqCst) != said {
                    said = shared.go_away.load(Ordering::SeqCst);
                    connection.graceful_shutdown();
                }
                while let Poll::Ready(accepted) = connection.poll_accept(&mut context) {
                    let Some(Ok((request, respond))) = accepted else { return };
                    let (request, body) = request.into_parts();
                    shared.calls.lock().expect("no panic").push((number, request.clone()));
                    running.push(work(Call { request, body, respond }));
                }
            }
        }
        running.retain_mut(|call| call.as_mut().poll(&mut context).is_pending());
        std::thread::sleep(Duration::from_micros(200));
    }
}

impl Call {
    /// Reads the whole body, and its trailers.
    pub async fn read(&mut self) -> (Vec<u8>, Option<HeaderMap>) {
        read_body(&mut self.body).await.unwrap_or_default()
    }

    /// The next piece of the body; `None`: it has ended or broken off.
    pub async fn piece(&mut self) -> Option<Bytes> {
        let piece = self.body.data().await?.ok()?;
        self.body.flow_control().release_capacity(piece.len()).ok()?;
        Some(piece)
    }

    /// Sends the head of an answer of gRPC.
    pub fn begin(&mut self) -> SendStream<Bytes> {
        let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
        self.respond.send_response(head, false).expect("an open stream")
    }
}
