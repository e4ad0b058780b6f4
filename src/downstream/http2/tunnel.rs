//! A tunnel in a stream: extended CONNECT (RFC 8441) in front, 101 of HTTP/1.1 behind.

use std::cell::Cell;
use std::io;
use std::pin::pin;

use super::body::Http2Body;
use super::responder::Http2Responder;
use crate::net::{Buffer, Local};
use crate::proxy::{Account, BodyFailure, BodyRead, First, RequestBody as _, Responder as _, first};
use crate::upstream::Connection;

/// Relays both ways until both sides have ended, one has failed, or nothing moved for `responder.idle`.
/// `to_client`: what was read ahead.
pub(super) async fn run(
    responder: &mut Http2Responder<'_>,
    body: &mut Http2Body<'_>,
    upstream: Connection,
    mut to_client: Buffer,
    account: &Account,
    local: &Local,
) -> io::Result<()> {
    let server = &upstream.stream;
    let idle = responder.idle;
    let until = || local.clock.after(idle);
    body.idle = idle;
    // When the site server last sent something: a client may be silent meanwhile.
    let heard_ms = Cell::new(local.clock.now_ms());
    let down = async {
        add(&account.response_bytes, to_client.len());
        // The head leaves even when nothing was read ahead.
        responder.send(&mut to_client, false).await?;
        loop {
            server.readable(until()).await?;
            let mut piece = local.buffers.small();
            if server.receive(&mut piece, until()).await? == 0 {
                return responder.send(&mut Buffer::default(), true).await;
            }
            heard_ms.set(local.clock.now_ms());
            add(&account.response_bytes, piece.len());
            responder.send(&mut piece, false).await?;
        }
    };
    let up = async {
        loop {
            let mut piece = local.buffers.small();
            let read = match body.read(&mut piece, true).await {
                Ok(read) => read,
                Err(BodyFailure::TimedOut)
                    if heard_ms.get() + idle.as_millis() as u64 > local.clock.now_ms() =>
                {
                    continue;
                }
                Err(BodyFailure::TimedOut) => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            server.extend_read(until());
            add(&account.request_bytes, piece.len());
            server.send(&mut piece, until).await?;
            if read == BodyRead::End {
                server.finish(until()).await;
                return io::Result::Ok(());
            }
        }
    };
    let (mut down, mut up) = (pin!(down), pin!(up));
    match first(down.as_mut(), up.as_mut()).await {
        First::Left(Ok(())) => up.await,
        First::Right(Ok(())) => down.await,
        First::Left(failed) | First::Right(failed) => failed,
    }
}

fn add(count: &Cell<u64>, more: usize) {
    count.set(count.get() + more as u64);
}
