//! A source that is asked for each name: looks into the cache, asks when there is nothing, takes up the answer.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;

use super::answer::{self, NameAnswer};
use super::ask_failure::AskFailure;
use super::http::{self, AskUrl, Trust};
use super::questions::Questions;
use super::{command, verify};
use crate::tls::{
    Answer, Cached, CertificateCache, Clock, Known, NameKey, NameOf, NameSource, Policy, Reply, ServedTls,
    ServerConfigs, Sessions, SourceWord,
};

/// How the question is put.
#[derive(Clone)]
pub(super) enum Asking {
    Command { run: Vec<String>, timeout: Duration },
    Http { url: AskUrl, timeout: Duration, trust: Option<Trust> },
}

/// What all asked sources share.
pub(super) struct Room {
    pub(super) questions: Arc<Questions>,
    pub(super) cache: CertificateCache,
    pub(super) configs: ServerConfigs,
    pub(super) clock: Arc<dyn Clock>,
}

pub(super) struct AskedSource {
    shared: Arc<Shared>,
}

struct Shared {
    site: Arc<str>,
    asking: Asking,
    // Tells this source from others in the cache, and the policy with it: an answer is served under the one
    // it was taken up under.
    base: ArcSwap<Base>,
    sessions: Sessions,
    room: Arc<Room>,
}

struct Base {
    id: [u8; 32],
    policy: Arc<Policy>,
}

impl AskedSource {
    pub(super) fn new(
        site: &str,
        asking: Asking,
        policy: Arc<Policy>,
        sessions: Sessions,
        room: Arc<Room>,
    ) -> AskedSource {
        let base = ArcSwap::from_pointee(Base { id: id(site, &asking, &policy), policy });
        AskedSource { shared: Arc::new(Shared { site: site.into(), asking, base, sessions, room }) }
    }

    /// Answers from here on are under `policy`; those from before are as if never given.
    pub(super) fn set_policy(&self, policy: Arc<Policy>) {
        let Shared { site, asking, base, .. } = &*self.shared;
        base.store(Arc::new(Base { id: id(site, asking, &policy), policy }));
    }

    fn ask_in_background(&self, key: NameKey, known: bool, name: &[u8], reply: Reply) {
        let shared = Arc::clone(&self.shared);
        let base = shared.base.load_full();
        let name = String::from_utf8_lossy(name).into_owned();
        let work = Box::new(move || shared.answer(key, &name, &base));
        self.shared.room.questions.ask(key, known, reply, work);
    }
}

fn id(site: &str, asking: &Asking, policy: &Policy) -> [u8; 32] {
    let mut all = digest::Context::new(&digest::SHA256);
    let mut part = |bytes: &[u8]| {
        all.update(&(bytes.len() as u64).to_be_bytes());
        all.update(bytes);
    };
    part(site.as_bytes());
    part(&policy.number().to_be_bytes());
    match asking {
        Asking::Command { run, .. } => run.iter().for_each(|word| part(word.as_bytes())),
        Asking::Http { url, .. } => part(url.to_string().as_bytes()),
    }
    all.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl NameSource for AskedSource {
    fn look(&self, name: &[u8]) -> Known {
        let Shared { base, room, .. } = &*self.shared;
        let key = NameKey::new(&base.load().id, name);
        match room.cache.look(&key, room.clock.now()) {
            Cached::Fresh { answer, refresh } => {
                if refresh {
                    self.ask_in_background(key, true, name, Box::new(drop));
                }
                Known::Answered(answer)
            }
            Cached::Stale(_) | Cached::Unknown => Known::Unknown,
        }
    }

    fn ask(&self, name: &[u8], reply: Reply) {
        let Shared { base, room, .. } = &*self.shared;
        let key = NameKey::new(&base.load().id, name);
        let known = room.cache.knows(&key, room.clock.now());
        self.ask_in_background(key, known, name, reply);
    }
}

impl Shared {
    fn word(&self) -> SourceWord {
        match self.asking {
            Asking::Command { .. } => SourceWord::Command,
            Asking::Http { .. } => SourceWord::Http,
        }
    }

    /// Asks and takes up what comes of it; what it returns is what the name is served with.
    fn answer(&self, key: NameKey, name: &str, base: &Base) -> Answer {
        let room = &*self.room;
        let (answer, lifetime) = match self.serve(name, base) {
            Ok(Some((served, lifetime))) => (Answer::Served(Arc::new(served)), lifetime),
            Ok(None) => (Answer::Nothing, None),
            Err(failure) => {
                room.questions.counters.failed.add(failure.reason());
                tracing::warn!(
                    site = &*self.site,
                    name,
                    source = self.word().word(),
                    reason = failure.reason(),
                    "no certificate from this source: {failure}"
                );
                (Answer::Failed, None)
            }
        };
        let of = NameOf { site: Arc::clone(&self.site), source: self.word().word(), name: name.into() };
        room.cache.put(key, of, answer, lifetime, room.clock.now())
    }

    fn serve(&self, name: &str, base: &Base) -> Result<Option<(ServedTls, Option<Duration>)>, AskFailure> {
        let question = answer::question(name, &self.site);
        let bytes = match &self.asking {
            Asking::Command { run, timeout } => command::ask(run, &question, *timeout)?,
            Asking::Http { url, timeout, trust } => http::ask(url, trust.as_ref(), &question, *timeout)?,
        };
        let configs = &self.room.configs;
        let provider = configs.provider();
        let Some(answer) = answer::parse(&bytes, self.word(), base.policy.alpn(), provider)? else {
            return Ok(None);
        };
        let NameAnswer { certificate, options, lifetime } = answer;
        if !certificate.covers(name.as_bytes()) {
            return Err(AskFailure::NotCovered);
        }
        let now = i64::try_from(self.room.clock.now().unix / 1000).unwrap_or(i64::MAX);
        if !certificate.is_current(now) {
            return Err(AskFailure::OutOfDates);
        }
        verify(&certificate, configs).map_err(AskFailure::Handshake)?;
        let policy = match options {
            None => Arc::clone(&base.policy),
            Some(options) => Arc::new(options.over(&base.policy, provider)?),
        };
        let site_policy = base.policy.number();
        let served =
            ServedTls::new(&self.site, site_policy, policy, certificate.into(), &self.sessions, configs);
        Ok(Some((served.map_err(|problem| AskFailure::Policy(problem.to_string()))?, lifetime)))
    }
}
