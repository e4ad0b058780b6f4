//! Health checks: a request of ours to a site server now and then, on one worker, for all of them.
//!
//! ```text
//! unknown, up --unhealthy_after checks in a row failed--> down --healthy_after in a row were good--> up
//! ```
//!
//! A check is made as an exchange is: over a new connection with its TLS and what else it begins with. An answer below
//! 400 is good. What it finds is seen by every worker before its next request ([`EndpointState`]).
//!
//! [`EndpointState`]: crate::config::EndpointState

use std::rc::Rc;

use super::exchange::Proxy;
use crate::config::{Health, HealthCheck};
use crate::http1::{RequestKind, header_slots, parse_response};
use crate::net::Until;
use crate::proxy_protocol;
use crate::upstream::{Channel, ConnectFailure, Upstream, Upstreams};

impl Proxy {
    /// The site servers whose next check is due; each is to be given to [`check`](Self::check). Called once a tick.
    pub fn due_checks<'a>(&self, upstreams: &'a Upstreams) -> impl Iterator<Item = &'a Rc<Upstream>> {
        let now = self.local.clock.now_ms();
        upstreams.each().filter(move |upstream| upstream.begins_check(now))
    }

    /// Makes one check and takes note of what it finds.
    pub async fn check(&self, upstream: Rc<Upstream>) {
        let endpoint = upstream.endpoint();
        let Some(check) = &endpoint.key.health_check else { return };
        let found = self.ask(&upstream, check).await;
        self.counters.upstream_checks.add(1);
        if found.is_err() {
            self.counters.upstream_checks_failed.add(1);
        }
        let streak = upstream.ends_check(found.is_ok());
        let label = upstream.label();
        let before = endpoint.state.health();
        match (before, found) {
            (Health::Down, Ok(())) if streak >= check.healthy_after => {
                endpoint.state.set_health(Health::Up);
                tracing::info!(upstream = %label, "a site server is well again: its checks are good");
            }
            (Health::Unknown, Ok(())) => endpoint.state.set_health(Health::Up),
            (Health::Unknown | Health::Up, Err(reason)) if streak >= check.unhealthy_after => {
                endpoint.state.set_health(Health::Down);
                tracing::warn!(upstream = %label, reason, "a site server is not well: its checks fail");
            }
            _ => {}
        }
    }

    async fn ask(&self, upstream: &Rc<Upstream>, check: &HealthCheck) -> Result<(), &'static str> {
        let until = self.local.clock.after(check.timeout);
        let preface = || {
            let mut written = Vec::new();
            proxy_protocol::write_local(&mut written, upstream.endpoint().key.proxy_protocol?);
            let mut preface = self.local.buffers.at_least(written.len());
            preface.append(&written);
            Some(preface)
        };
        let connection = self.pool().connect(upstream, check.timeout, preface).await;
        let connection = connection.map_err(|failure| match failure {
            ConnectFailure::TimedOut => "connect_timed_out",
            ConnectFailure::Failed(_) => "no_upstream",
            ConnectFailure::Tls(_) => "upstream_tls",
        })?;
        let host = check.host.as_deref().unwrap_or("localhost");
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: portcullis\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            check.path
        );
        let stream = &connection.stream;
        let mut buffer = self.local.buffers.at_least(request.len());
        buffer.append(request.as_bytes());
        stream.send(&mut buffer, || until).await.map_err(|_| "upstream_closed_early")?;
        self.answer_is_good(stream, until).await
    }

    async fn answer_is_good(&self, stream: &Channel, until: Until) -> Result<(), &'static str> {
        // A head larger than this is none a check should have.
        let mut buffer = self.local.buffers.small();
        loop {
            match stream.receive(&mut buffer, until).await {
                Ok(1..) => {}
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                    return Err("upstream_timed_out");
                }
                Ok(0) | Err(_) => return Err("upstream_closed_early"),
            }
            loop {
                let mut slots = header_slots();
                let limits = &self.limits().response;
                let head = parse_response(buffer.filled(), &mut slots, RequestKind::default(), limits);
                let Some(head) = head.map_err(|_| "upstream_bad_response")? else { break };
                if !head.is_interim {
                    return if head.status < 400 { Ok(()) } else { Err("upstream_status") };
                }
                let head_bytes = head.head_bytes;
                buffer.consume(head_bytes);
            }
        }
    }
}
