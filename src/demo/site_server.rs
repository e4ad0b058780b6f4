//! The demo's site server: a few pages and an echo, on a thread for each connection.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

use crate::http::{BodyEnd, Limits, Reuse};
use crate::http1::{BodyReader, RequestHead, header_slots, parse_request};

/// Connections served at once; the front end keeps far fewer.
const CONNECTIONS_MAX: usize = 256;
const IDLE: Duration = Duration::from_secs(120);
/// Echoed at most; more is answered 413.
const ECHO_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Starts serving on a port of the loopback interface; returns its address.
///
/// # Errors
/// When the socket or the thread cannot be had.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("demo-site".to_owned()).spawn(move || accept(&listener))?;
    Ok(address)
}

fn accept(listener: &TcpListener) {
    let open = std::sync::Arc::new(());
    for stream in listener.incoming().flatten() {
        if std::sync::Arc::strong_count(&open) > CONNECTIONS_MAX {
            continue;
        }
        let guard = open.clone();
        // When no thread can be had the connection is dropped, and the front end answers 502.
        let _ = std::thread::Builder::new().name("demo-page".to_owned()).spawn(move || {
            let _ = serve(stream);
            drop(guard);
        });
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    loop {
        let mut slots = header_slots();
        let parsed = parse_request(&input, &mut slots, &Limits::default());
        let Some(head) = parsed.map_err(|bad| io::Error::other(bad.reason()))? else {
            if read_more(&mut stream, &mut input)? == 0 {
                return Ok(());
            }
            continue;
        };
        let page = Page::of(&head);
        let (head_bytes, body, reuse) = (head.head_bytes, head.body, head.reuse);
        if head.expects_continue {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        input.drain(..head_bytes);
        let Some(content) = read_body(&mut stream, &mut input, body)? else {
            return answer(&mut stream, &Page::error("413 Content Too Large"), b"");
        };
        answer(&mut stream, &page, &content)?;
        if reuse == Reuse::Close {
            return Ok(());
        }
    }
}

/// `None`: the body is larger than the demo takes.
fn read_body(stream: &mut TcpStream, input: &mut Vec<u8>, body: BodyEnd) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    let mut reader = BodyReader::new(body);
    while !reader.is_end() {
        if input.is_empty() && read_more(stream, input)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let progress = reader.read(input).map_err(|bad| io::Error::other(bad.reason()))?;
        content.extend_from_slice(&input[..progress.data]);
        input.drain(..progress.consumed);
        if content.len() as u64 > ECHO_BYTES_MAX {
            return Ok(None);
        }
    }
    Ok(Some(content))
}

fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 16 * 1024];
    let read = stream.read(&mut piece)?;
    input.extend_from_slice(&piece[..read]);
    Ok(read)
}

/// What the demo says about a path.
struct Page {
    status: &'static str,
    media_type: &'static str,
    text: String,
    echo: bool,
    head_only: bool,
}

impl Page {
    fn of(head: &RequestHead<'_, '_>) -> Page {
        let target = String::from_utf8_lossy(head.path_and_query()).into_owned();
        let path = target.split('?').next().unwrap_or_default();
        let field = |name| head.field(name).map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        let scheme = field("x-forwarded-proto");
        let html = "text/html; charset=utf-8";
        let (status, media_type, text) = match path {
            "/" => ("200 OK", html, page("Portcullis", &format!("This page came to you over {scheme}."))),
            "/logon" => ("200 OK", html, page("Log on", &format!("Safe to type here: this is {scheme}."))),
            "/lib/site.css" => ("200 OK", "text/css", "body { font-family: sans-serif }\n".to_owned()),
            "/echo" => ("200 OK", "application/octet-stream", String::new()),
            _ if path.starts_with("/video/") => {
                ("200 OK", html, page("Video", &format!("Played over {scheme}.")))
            }
            _ => ("404 Not Found", html, page("Not found", "The demo has no such page.")),
        };
        Page { status, media_type, text, echo: path == "/echo", head_only: head.method == "HEAD" }
    }

    fn error(status: &'static str) -> Page {
        Page { status, media_type: "text/plain", text: String::new(), echo: false, head_only: false }
    }
}

fn page(title: &str, sentence: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"/lib/site.css\">\n<h1>{title}</h1>\n<p>{sentence}</p>\n"
    )
}

fn answer(stream: &mut TcpStream, page: &Page, content: &[u8]) -> io::Result<()> {
    let body = if page.echo { content } else { page.text.as_bytes() };
    let mut bytes = format!(
        "HTTP/1.1 {}\r\nDate: {}\r\nServer: demo\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        page.status,
        httpdate::fmt_http_date(SystemTime::now()),
        page.media_type,
        body.len()
    )
    .into_bytes();
    if !page.head_only {
        bytes.extend_from_slice(body);
    }
    stream.write_all(&bytes)
}
