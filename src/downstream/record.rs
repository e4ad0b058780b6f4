//! One request as it is told afterwards: begun when its first byte is there, ended when its answer has left.
//!
//! It goes along with the request, whatever version of HTTP it came by. What is measured on the way is in the
//! exchange's [`Account`]; answers of our own fill in the same.

use crate::access_log::{self, Decision, Head, Outcome, Request};
use crate::dispatch::{self, Action, RuleId, SiteId, Sites};
use crate::http::Scheme;
use crate::http1::RequestHead;
use crate::metrics::Ended;
use crate::proxy::Account;
use crate::spool::Log;

use super::Visitor;
use super::request_id::REQUEST_ID_BYTES;
use super::service::Service;
use super::serving::{OwnTable, Serving};

/// When a request came: moments of [`Clock::now_us`](crate::net::Clock).
#[derive(Clone, Copy)]
pub(super) struct Came {
    pub(super) first_byte_us: u64,
    /// When its head was whole, or was given up.
    pub(super) head_us: u64,
}

/// What a request was decided to get.
#[derive(Clone, Copy)]
pub(super) struct Decided<'a> {
    pub(super) site: Option<(SiteId, &'a dispatch::Site)>,
    pub(super) rule: Option<RuleId>,
    pub(super) decision: Decision,
}

impl<'a> Decided<'a> {
    pub(super) fn of(decision: &dispatch::Decision<'_>, sites: &'a Sites) -> Decided<'a> {
        let word = match decision.action {
            Action::Forward => Decision::Forward,
            Action::Redirect(_) => Decision::Redirect,
            Action::NotFound => Decision::NotFound,
            Action::Refuse(_) => Decision::Refuse,
        };
        Decided {
            site: decision.site.map(|site| (site, sites.site(site))),
            rule: decision.rule,
            decision: word,
        }
    }

    /// What could not be read as a request.
    pub(super) const UNREADABLE: Decided<'static> =
        Decided { site: None, rule: None, decision: Decision::Refuse };
}

pub(super) struct Record {
    pub(super) id: [u8; REQUEST_ID_BYTES],
    pub(super) account: Account,
    came: Came,
    handshake_us: Option<u64>,
    /// Octets of the head, and of the body that came with it.
    bytes_in: u64,
    line: Option<Line>,
    /// The site and the rule, by their numbers, in the table that counts them.
    counted: Option<(OwnTable, SiteId, Option<RuleId>)>,
    /// Octets in and out that were counted when it became a tunnel.
    switched: Option<(u64, u64)>,
}

/// The line of the access log, as far as it is known.
struct Line {
    log: Log,
    text: Vec<u8>,
    split: usize,
}

impl Record {
    /// `head`: with the scheme and the host it was decided for; `None` when what came could not be read as a request.
    pub(super) fn begin(
        service: &Service,
        serving: &Serving,
        visitor: &Visitor,
        came: Came,
        head: Option<(Scheme, &[u8], &RequestHead<'_, '_>)>,
        decided: Decided<'_>,
    ) -> Record {
        let id = service.ids.next();
        let line = serving.log.as_ref().map(|log| {
            let site = decided.site.map(|(_, site)| site);
            let rule = site.zip(decided.rule).and_then(|(site, rule)| site.rule_name(rule));
            let scheme = head.map_or(visitor.scheme, |(scheme, ..)| scheme);
            let request = Request {
                time_ms: service.local.clock.unix_ms(came.first_byte_us),
                id: &id,
                client: visitor.peer,
                scheme,
                port: serving.generation.outside_port(scheme),
                tls: visitor.handshake.as_ref().map(|shaken| shaken.told),
                head: head.map(|(_, host, head)| told(host, head)),
                site: site.map(|site| site.name()),
                rule,
                decision: decided.decision,
            };
            let mut text = service.lines.text();
            let split = log.format.begin(&request, &mut text);
            Line { log: log.clone(), text, split }
        });
        Record {
            id,
            account: Account::default(),
            came,
            handshake_us: visitor.handshake.as_ref().and_then(|shaken| shaken.duration_us.take()),
            bytes_in: head.map_or(0, |(.., head)| head.head_bytes as u64),
            line,
            switched: None,
            counted: decided.site.map(|(id, _)| (serving.table.clone(), id, decided.rule)),
        }
    }

    /// Octets of the body that came along with the head.
    pub(super) fn add_body(&mut self, count: usize) {
        self.bytes_in += count as u64;
    }

    /// An answer of ours is about to be sent.
    pub(super) fn answered(&self, status: u16, bytes: &[u8]) {
        self.account.status.set(status);
        self.account.response_bytes.set(self.account.response_bytes.get() + bytes.len() as u64);
        let head = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |end| end + 4);
        self.account.response_head_bytes.set(head as u64);
    }

    /// The connection becomes a tunnel, which is over when it is over: the request was answered.
    pub(super) fn switched(&mut self, service: &Service) {
        self.count(service, service.local.clock.now_us());
        self.switched = Some(self.bytes());
    }

    fn bytes(&self) -> (u64, u64) {
        (self.bytes_in + self.account.request_bytes.get(), self.account.response_bytes.get())
    }

    /// Counts it with its site and its rule.
    fn count(&self, service: &Service, now_us: u64) {
        let Some((table, site, rule)) = &self.counted else {
            return;
        };
        let (bytes_in, bytes_out) = self.bytes();
        if let Some((counted_in, counted_out)) = self.switched {
            return table.add_bytes(site.index(), bytes_in - counted_in, bytes_out - counted_out);
        }
        let timings = &service.counters.timings;
        let account = &self.account;
        let (connected, first_byte) = (account.connected_us.get(), account.first_byte_us.get());
        if connected > 0 && !account.reused.get() {
            timings.upstream_connect.observe(connected.saturating_sub(account.asked_us.get()));
        }
        if first_byte > 0 {
            timings.upstream_first_byte.observe(first_byte.saturating_sub(connected));
        }
        let ended = Ended {
            status: account.status.get(),
            duration_us: now_us.saturating_sub(self.came.first_byte_us),
            bytes_in,
            bytes_out,
        };
        table.count(site.index(), rule.map(RuleId::index), &ended);
    }

    /// It is over. `reason`: why it did not end as it should have.
    pub(super) fn end(self, service: &Service, reason: Option<&'static str>) {
        let now = service.local.clock.now_us();
        self.count(service, now);
        if let Some(reason) = reason {
            service.counters.failures.add(reason);
        }
        let Record { account, came, handshake_us, bytes_in, line, .. } = self;
        let Some(Line { log, text, split }) = line else {
            return;
        };
        let since = |from: u64, to: u64| to.saturating_sub(from);
        let asked = Some(account.asked_us.get()).filter(|asked| *asked > 0);
        let connected = Some(account.connected_us.get()).filter(|connected| *connected > 0);
        let first_byte = Some(account.first_byte_us.get()).filter(|first| *first > 0);
        let upstream = account.upstream.borrow();
        let outcome = Outcome {
            status: account.status.get(),
            handshake_us,
            head_us: since(came.first_byte_us, came.head_us),
            decision_us: since(came.head_us, asked.unwrap_or(now)),
            connect_us: asked.zip(connected).map(|(asked, connected)| since(asked, connected)),
            first_byte_us: connected.zip(first_byte).map(|(connected, first)| since(connected, first)),
            total_us: since(came.first_byte_us, now),
            bytes_in: bytes_in + account.request_bytes.get(),
            bytes_out: account.response_bytes.get(),
            head_out: account.response_head_bytes.get(),
            upstream: upstream.as_deref(),
            reused: account.reused.get(),
            retries: account.retries.get(),
            reason,
        };
        service.lines.add(&log, |out| log.format.end(&text, split, &outcome, out));
        service.lines.give_back(text);
    }
}

fn told<'a>(host: &'a [u8], head: &RequestHead<'_, 'a>) -> Head<'a> {
    access_log::Head {
        method: head.method.as_bytes(),
        host,
        target: head.path_and_query(),
        version: head.version,
        referer: head.field("referer"),
        user_agent: head.field("user-agent"),
    }
}
