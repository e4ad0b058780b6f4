//! Calls as clients and servers of gRPC make them.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};

use super::http2::{Answered, begin, read};
use super::{Call, Client, Server, Tls};

#[track_caller]
pub fn connect(server: &Server) -> Client {
    Tls::new().sni("a.test").alpn(&["h2"]).connect(server.https()).expect("a handshake")
}

/// A message as gRPC frames it.
pub fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("short").to_be_bytes();
    [&[0], &length[..], text.as_bytes()].concat().into()
}

pub fn status(code: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().expect("a value"));
    trailers
}

/// A call as clients of gRPC begin it.
pub fn call(method: &str) -> Request<()> {
    Request::post(format!("https://a.test/test.Echo/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "10S")
        .header("x-user_id.bin", "7")
        .body(())
        .expect("a request")
}

/// Says each message of the call again, then that all is well.
pub async fn echo(mut call: Call) {
    let mut answer = call.begin();
    while let Some(piece) = call.piece().await {
        if answer.send_data(piece, false).is_err() {
            return;
        }
    }
    let _ = answer.send_trailers(status("0"));
}

pub fn code(answered: &Answered) -> Option<&str> {
    answered.trailers.as_ref()?.get("grpc-status")?.to_str().ok()
}

pub async fn unary(send: &SendRequest<Bytes>, text: &str) -> Answered {
    let (response, mut body) = begin(send, call("Say"), false).await;
    body.send_data(message(text), true).expect("an open stream");
    read(response).await.expect("an answer")
}

pub fn code_of(trailers: &Option<HeaderMap>) -> Option<&str> {
    trailers.as_ref()?.get("grpc-status")?.to_str().ok()
}
