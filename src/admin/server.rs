//! Threads that answer: one waits for connections, and each connection has one for its one request.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::listen::{AdminFailure, Sockets, Token, bind};
use super::request::{Door, Refused, Route, route};
use super::view::{Ask, Phase, View};
use super::{certificates, metrics, status};
use crate::config::AdminListener;
use crate::http::Limits;
use crate::http1::{header_slots, parse_request};

/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 16;
/// From accept to the end of the answer, unless a reload is waited for.
const DEADLINE: Duration = Duration::from_secs(10);
/// A reload reads files and asks certificate sources.
const RELOAD_WAIT: Duration = Duration::from_secs(300);
/// After the answer.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_READS_MAX: usize = 16;
/// Of a request.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The listener. Dropped, it is closed; requests under way are answered.
pub struct Admin {
    settings: AdminListener,
    // Its end wakes the thread, which then closes the listeners.
    alive: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    addresses: Vec<std::net::SocketAddr>,
}

impl Admin {
    /// Binds and starts. `takes_over`: a process that listens on the same addresses is about to end.
    ///
    /// # Errors
    /// What of the settings cannot be had.
    pub fn start(settings: &AdminListener, view: Arc<View>, takes_over: bool) -> Result<Admin, AdminFailure> {
        let sockets = bind(settings, takes_over)?;
        let addresses = sockets.tcp.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let started = UnixStream::pair().and_then(|(alive, gone)| {
            let serve = move || accept(&sockets, &gone, &view);
            let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(serve)?;
            Ok((alive, thread))
        });
        match started {
            Ok((alive, thread)) => {
                let (alive, thread) = (Some(alive), Some(thread));
                Ok(Admin { settings: settings.clone(), alive, thread, addresses })
            }
            Err(error) => {
                let socket = settings.socket.as_ref();
                let path = socket.map_or_else(Default::default, |socket| socket.path.clone());
                let place = socket.and_then(|socket| socket.place.clone());
                Err(AdminFailure::Socket { place, path, error })
            }
        }
    }

    /// Whether another start with these settings would make no difference.
    pub fn is_same(&self, settings: &AdminListener) -> bool {
        // The file of a token may have changed, which only a new start sees.
        self.settings.is_same(settings) && settings.token_file.is_none()
    }

    /// What TCP clients connect to.
    pub fn addresses(&self) -> &[std::net::SocketAddr] {
        &self.addresses
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            // It answers nobody itself, so that this takes no time; a panic of it was told.
            let _ = thread.join();
        }
    }
}

/// Accepts until the other end of `gone` is closed.
fn accept(sockets: &Sockets, gone: &UnixStream, view: &Arc<View>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let mut polled = vec![PollFd::new(gone, PollFlags::IN)];
        if let Some(unix) = &sockets.unix {
            polled.push(PollFd::from_borrowed_fd(unix.listener.as_fd(), PollFlags::IN));
        }
        polled.extend(sockets.tcp.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        if poll(&mut polled, None).is_err() {
            // Interrupted.
            continue;
        }
        let ready: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        if ready[0] {
            return;
        }
        let mut ready = ready.into_iter().skip(1);
        if let Some(unix) = &sockets.unix
            && ready.next() == Some(true)
        {
            accepted(
                unix.listener.accept().map(|(stream, _)| stream),
                Stream::Unix,
                &sockets.token,
                view,
                &open,
            );
        }
        for (socket, ready) in sockets.tcp.iter().zip(ready) {
            if ready {
                accepted(socket.accept().map(|(stream, _)| stream), Stream::Tcp, &sockets.token, view, &open);
            }
        }
    }
}

fn accepted<S>(
    stream: io::Result<S>,
    wrap: impl FnOnce(S) -> Stream,
    token: &Token,
    view: &Arc<View>,
    open: &Arc<AtomicUsize>,
) {
    let stream = match stream {
        Ok(stream) => wrap(stream),
        Err(_) => {
            // Out of descriptors, mostly: asked again at once, it would spin.
            std::thread::sleep(Duration::from_millis(50));
            return;
        }
    };
    if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
        open.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let (token, view, counted) = (token.clone(), view.clone(), open.clone());
    let serve = move || {
        // The client may have gone; there is nobody to tell then.
        let _ = serve(stream, &token, &view);
        counted.fetch_sub(1, Ordering::Relaxed);
    };
    if std::thread::Builder::new().name("admin-request".to_owned()).spawn(serve).is_err() {
        open.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(std::net::TcpStream),
}

impl Stream {
    /// Reads or writes wait no longer than until `end`.
    ///
    /// # Errors
    /// `TimedOut` when it has passed.
    fn wait_until(&self, end: Instant) -> io::Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match self {
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))
            }
        }
    }

    fn read(&mut self, into: &mut [u8], end: Instant) -> io::Result<usize> {
        self.wait_until(end)?;
        match self {
            Stream::Unix(stream) => stream.read(into),
            Stream::Tcp(stream) => stream.read(into),
        }
    }

    /// Ends our side.
    fn finish(&self) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
        }
    }

    fn write_all(&mut self, mut bytes: &[u8], end: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.wait_until(end)?;
            let written = match self {
                Stream::Unix(stream) => stream.write(bytes)?,
                Stream::Tcp(stream) => stream.write(bytes)?,
            };
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

/// An answer.
struct Answer {
    status: &'static str,
    content_type: &'static str,
    fields: &'static str,
    body: Vec<u8>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Nothing but what this listener serves: no script, style or image of elsewhere, no frame, no form.
const POLICY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

impl Answer {
    fn text(status: &'static str, text: &str) -> Answer {
        Answer { status, content_type: TEXT, fields: "", body: format!("{text}\n").into_bytes() }
    }

    fn ok(content_type: &'static str, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status: "200 OK", content_type, fields: POLICY, body: body.into() }
    }
}

fn serve(mut stream: Stream, token: &Token, view: &View) -> io::Result<()> {
    let end = Instant::now() + DEADLINE;
    let mut bytes = vec![0; HEAD_BYTES_MAX];
    let mut length = 0;
    let limits = Limits { head_bytes_max: HEAD_BYTES_MAX, headers_max: 64, target_bytes_max: 1024 };
    let (answer, head_only) = loop {
        let read = stream.read(&mut bytes[length..], end)?;
        if read == 0 {
            return Ok(());
        }
        length += read;
        let mut slots = header_slots();
        match parse_request(&bytes[..length], &mut slots, &limits) {
            Ok(None) if length < bytes.len() => {}
            Ok(None) | Err(_) => break (Answer::text("400 Bad Request", "this is no request"), false),
            Ok(Some(head)) => {
                let door = match (&stream, token) {
                    (Stream::Unix(_), _) => Door::Unix,
                    (Stream::Tcp(_), Some(token)) => Door::Tcp { token },
                    // The reader of the configuration asks for one.
                    (Stream::Tcp(_), None) => return Ok(()),
                };
                let answer = match route(door, &head) {
                    Ok(route) => self::answer(route, view),
                    Err(refused) => refuse(refused),
                };
                break (answer, head.method == "HEAD");
            }
        }
    };
    let mut head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}Cache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.content_type,
        answer.body.len(),
        answer.fields
    )
    .into_bytes();
    if !head_only {
        head.extend_from_slice(&answer.body);
    }
    // A reload may have taken long.
    stream.write_all(&head, Instant::now() + DEADLINE)?;
    stream.finish()?;
    // What the client still sends is read for a moment: closing before would take the answer away from it.
    let end = Instant::now() + LINGER;
    for _ in 0..LINGER_READS_MAX {
        if stream.read(&mut bytes, end)? == 0 {
            break;
        }
    }
    Ok(())
}

fn refuse(refused: Refused) -> Answer {
    match refused {
        Refused::Token => Answer {
            fields: "WWW-Authenticate: Basic realm=\"portcullis\"\r\nWWW-Authenticate: Bearer\r\n",
            ..Answer::text("401 Unauthorized", "the token is needed: Authorization: Bearer TOKEN")
        },
        Refused::Foreign => Answer::text("403 Forbidden", "not for pages of others"),
        Refused::NoSuchPath => Answer::text("404 Not Found", "nothing is here"),
        Refused::Method("POST") => {
            Answer { fields: "Allow: POST\r\n", ..Answer::text("405 Method Not Allowed", "POST it") }
        }
        Refused::Method(_) => {
            Answer { fields: "Allow: GET, HEAD\r\n", ..Answer::text("405 Method Not Allowed", "GET it") }
        }
    }
}

fn answer(route: Route<'_>, view: &View) -> Answer {
    match route {
        Route::Page => Answer::ok("text/html; charset=utf-8", include_str!("page/page.html")),
        Route::Style => Answer::ok("text/css; charset=utf-8", include_str!("page/page.css")),
        Route::Script => Answer::ok("text/javascript; charset=utf-8", include_str!("page/page.js")),
        Route::Status => Answer::ok(JSON, status::of(view).to_string()),
        Route::Certificates => Answer::ok(JSON, certificates::of(view).to_string()),
        Route::Metrics => Answer::ok("text/plain; version=0.0.4; charset=utf-8", metrics::of(view)),
        Route::Health => Answer::text("200 OK", "ok"),
        Route::Ready => match view.seen().phase {
            Phase::Serving => Answer::text("200 OK", "ready"),
            Phase::Draining => Answer::text("503 Service Unavailable", "draining"),
        },
        Route::Reload => reload(view),
        Route::Drain => drain(view),
        Route::Renew(site) => renew(site, view),
    }
}

fn reload(view: &View) -> Answer {
    let (done, ended) = channel();
    if !(view.ask)(Ask::Reload(done)) {
        return ending();
    }
    let json = |status, value: serde_json::Value| Answer {
        status,
        content_type: JSON,
        fields: "",
        body: value.to_string().into_bytes(),
    };
    match ended.recv_timeout(RELOAD_WAIT) {
        Ok(Ok(generation)) => json("200 OK", serde_json::json!({ "generation": generation })),
        Ok(Err(problems)) => {
            let generation = view.seen().generation.number;
            let told = serde_json::json!({ "generation": generation, "problems": problems });
            json("422 Unprocessable Content", told)
        }
        Err(_) => Answer::text("504 Gateway Timeout", "the reload goes on; see the log"),
    }
}

fn drain(view: &View) -> Answer {
    let (done, begun) = channel();
    if !(view.ask)(Ask::Drain(done)) {
        return ending();
    }
    match begun.recv_timeout(DEADLINE) {
        Ok(connections) => Answer {
            status: "202 Accepted",
            content_type: JSON,
            fields: "",
            body: serde_json::json!({ "connections": connections }).to_string().into_bytes(),
        },
        Err(_) => ending(),
    }
}

fn renew(site: &str, view: &View) -> Answer {
    let (done, begun) = channel();
    if !(view.ask)(Ask::Renew(site.to_owned(), done)) {
        return ending();
    }
    match begun.recv_timeout(DEADLINE) {
        Ok(true) => Answer::text("202 Accepted", "ordered; see the log, or `portcullis certificates`"),
        Ok(false) => Answer::text("404 Not Found", "no site of this name orders certificates"),
        Err(_) => ending(),
    }
}

fn ending() -> Answer {
    Answer::text("503 Service Unavailable", "the process is about to end")
}
