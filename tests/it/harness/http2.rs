//! HTTP/2 as a client: with the protocol's own library, or frame by frame.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Client, PATIENCE};

/// A socket that does not block, as the library's transport: it is polled again and again, so nobody is woken.
pub(super) struct Io<T>(pub(super) T);

impl<T: io::Read + Unpin> AsyncRead for Io<T> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut bytes = vec![0; into.remaining().min(64 * 1024)];
        match self.get_mut().0.read(&mut bytes) {
            Ok(read) => {
                into.put_slice(&bytes[..read]);
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<T: io::Write + Unpin> AsyncWrite for Io<T> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut().0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            other => Poll::Ready(other),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().0.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            other => Poll::Ready(other),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs `work` with a connection until it is done. What a case wants of the protocol it says through `builder`.
#[track_caller]
pub fn http2_with<T, F: Future<Output = T>>(
    client: Client,
    builder: &Builder,
    work: impl FnOnce(SendRequest<Bytes>) -> F,
) -> T {
    client.set_nonblocking();
    let io = Io(client);
    let mut all = pin!(async {
        let (send, connection) = builder.handshake(io).await.expect("a connection of HTTP/2");
        let mut connection = pin!(connection);
        let mut work = pin!(work(send));
        let mut over = false;
        std::future::poll_fn(move |context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            // Its end is seen by the work, as errors of its streams.
            over = over || connection.as_mut().poll(context).is_ready();
            Poll::Pending
        })
        .await
    });
    let since = Instant::now();
    loop {
        if let Poll::Ready(done) = all.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
        assert!(since.elapsed() < PATIENCE, "the work is not done");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[track_caller]
pub fn http2<T, F: Future<Output = T>>(client: Client, work: impl FnOnce(SendRequest<Bytes>) -> F) -> T {
    http2_with(client, &Builder::new(), work)
}

/// A response, read whole.
#[derive(Debug)]
pub struct Answered {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answered {
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().expect("text"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a head; `ends`: without a body.
pub async fn begin(
    send: &SendRequest<Bytes>,
    request: Request<()>,
    ends: bool,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let mut ready = send.clone().ready().await.expect("room for a stream");
    ready.send_request(request, ends).expect("a request")
}

/// # Errors
/// The stream's, or the connection's.
pub async fn read(response: h2::client::ResponseFuture) -> Result<Answered, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let (bytes, trailers) = read_body(&mut body).await?;
    Ok(Answered { head: Response::from_parts(head, ()), body: bytes, trailers })
}

/// # Errors
/// The stream's, or the connection's.
pub async fn read_body(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        bytes.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok((bytes, body.trailers().await?))
}

/// GET of a URL.
pub async fn get(send: &SendRequest<Bytes>, url: &str) -> Answered {
    let request = Request::get(url).body(()).expect("a request");
    let (response, _) = begin(send, request, true).await;
    read(response).await.expect("an answer")
}

/// The client's preface and an empty SETTINGS frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// One frame (RFC 9113 §4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The fields of `GET https://HOST/`, without a table and without Huffman's code.
pub fn get_fields(host: &str) -> Vec<u8> {
    let mut fields = vec![0x82, 0x87, 0x84, 0x01, u8::try_from(host.len()).expect("a short name")];
    fields.extend_from_slice(host.as_bytes());
    fields
}

/// The error code of the GOAWAY frame in what a server sent, if there is one.
pub fn goaway(mut bytes: &[u8]) -> Option<u32> {
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = rest.get(..length)?;
        if head[3] == 7 {
            return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?));
        }
        bytes = &rest[length..];
    }
    None
}
