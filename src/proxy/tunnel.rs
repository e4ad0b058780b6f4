//! A tunnel after 101: bytes both ways, each side ended on its own.

use std::io;
use std::pin::pin;

use super::exchange::Proxy;
use super::race::{First, first};
use crate::net::{Buffer, Stream};
use crate::upstream::Connection;

impl Proxy {
    /// Relays both ways until both sides have ended or nothing moved for `tunnel_idle`.
    ///
    /// `to_client`, `to_upstream`: what was read ahead of the tunnel, the head of the 101 among it.
    pub async fn tunnel(
        &self,
        client: &Stream,
        mut to_client: Buffer,
        upstream: Connection,
        mut to_upstream: Buffer,
    ) {
        let server = &upstream.socket;
        let idle = || self.local.clock.after(self.limits().tunnel_idle);
        let down = async {
            client.send(&mut to_client, idle).await?;
            loop {
                server.readable(idle()).await?;
                to_client = self.local.buffers.small();
                if server.receive(&mut to_client, idle()).await? == 0 {
                    client.finish(idle()).await;
                    return io::Result::Ok(());
                }
                client.socket().extend_read(idle());
                client.send(&mut to_client, idle).await?;
                to_client = Buffer::default();
            }
        };
        let up = async {
            server.send(&mut to_upstream, idle).await?;
            loop {
                client.readable(idle()).await?;
                to_upstream = self.local.buffers.small();
                if client.fill(&mut to_upstream, idle()).await? == 0 {
                    server.finish();
                    return io::Result::Ok(());
                }
                server.extend_read(idle());
                server.send(&mut to_upstream, idle).await?;
                to_upstream = Buffer::default();
            }
        };
        let (mut down, mut up) = (pin!(down), pin!(up));
        // One side that ended cleanly lets the other go on; one that failed ends both.
        match first(down.as_mut(), up.as_mut()).await {
            First::Left(Ok(())) => drop(up.await),
            First::Right(Ok(())) => drop(down.await),
            First::Left(Err(_)) | First::Right(Err(_)) => {}
        }
    }
}
