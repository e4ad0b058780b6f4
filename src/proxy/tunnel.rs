//! A tunnel after 101: bytes both ways, each side ended on its own.

use std::io;
use std::pin::pin;

use super::account::{Account, add};
use super::exchange::Proxy;
use super::race::{First, first};
use crate::net::{Buffer, Stream};
use crate::upstream::Connection;

impl Proxy {
    /// Relays both ways until both sides have ended or nothing moved for `tunnel_idle`.
    ///
    /// Returns why it ended, when that was not both sides having said so.
    ///
    /// `to_client`, `to_upstream`: what was read ahead of the tunnel, the head of the 101 among it.
    pub async fn tunnel(
        &self,
        client: &Stream,
        mut to_client: Buffer,
        upstream: Connection,
        mut to_upstream: Buffer,
        account: &Account,
    ) -> Option<&'static str> {
        let server = &upstream.socket;
        let idle = || self.local.clock.after(self.limits().tunnel_idle);
        let down = async {
            add(&account.response_bytes, to_client.len());
            client.send(&mut to_client, idle).await?;
            loop {
                server.readable(idle()).await?;
                to_client = self.local.buffers.small();
                if server.receive(&mut to_client, idle()).await? == 0 {
                    client.finish(idle()).await;
                    return io::Result::Ok(());
                }
                client.socket().extend_read(idle());
                add(&account.response_bytes, to_client.len());
                client.send(&mut to_client, idle).await?;
                to_client = Buffer::default();
            }
        };
        let up = async {
            add(&account.request_bytes, to_upstream.len());
            server.send(&mut to_upstream, idle).await?;
            loop {
                client.readable(idle()).await?;
                to_upstream = self.local.buffers.small();
                if client.fill(&mut to_upstream, idle()).await? == 0 {
                    server.finish();
                    return io::Result::Ok(());
                }
                server.extend_read(idle());
                add(&account.request_bytes, to_upstream.len());
                server.send(&mut to_upstream, idle).await?;
                to_upstream = Buffer::default();
            }
        };
        let (mut down, mut up) = (pin!(down), pin!(up));
        // One side that ended cleanly lets the other go on; one that failed ends both.
        match first(down.as_mut(), up.as_mut()).await {
            First::Left(Ok(())) => up.await.err().map(|error| ended(&error, "client_gone")),
            First::Right(Ok(())) => down.await.err().map(|error| ended(&error, "upstream_cut")),
            // Which of its two sockets failed a direction does not tell; its source mostly.
            First::Left(Err(error)) => Some(ended(&error, "upstream_cut")),
            First::Right(Err(error)) => Some(ended(&error, "client_gone")),
        }
    }
}

fn ended(error: &io::Error, otherwise: &'static str) -> &'static str {
    if error.kind() == io::ErrorKind::TimedOut { "tunnel_idle" } else { otherwise }
}
