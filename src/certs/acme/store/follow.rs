//! The task that reaches the store, sees what is new there, and puts there what it lacks.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::LOOK;
use super::failure::StoreFailure;
use super::fleet::{Answer, Fleet, Numbers, SetId};
use crate::certs::acme::alpn;
use crate::certs::acme::clock::{now, spread};
use crate::certs::acme::files::SiteFiles;
use crate::certs::acme::order::{Means, Ordered, accept};
use crate::certs::acme::settings::AcmeSite;
use crate::tls::PendingChallenges;

/// Between attempts to reach it, doubled up to the longest, and up to a quarter more: a fleet does not come back as one.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_LONGEST: Duration = Duration::from_secs(30);
/// A failure that lasts is told this often.
const TELL_AGAIN: i64 = 600;
/// Says that this machine lives, also when nothing changes. In looks.
const SIGN_OF_LIFE: u64 = 3;
/// Sets asked about in one go.
const SETS_AT_ONCE: usize = 500;

/// What this machine wants certificates for, as its schedule has it.
#[derive(Default)]
pub(in crate::certs::acme) struct Known {
    sets: RefCell<Rc<[(AcmeSite, SetId)]>>,
    changed: Cell<bool>,
}

impl Known {
    pub(in crate::certs::acme) fn set(&self, wanted: impl Iterator<Item = AcmeSite>) {
        let sets = wanted.map(|wanted| {
            let id = SetId::of(&wanted);
            (wanted, id)
        });
        self.sets.replace(sets.collect());
        self.changed.set(true);
    }
}

/// What is told of the store.
pub(in crate::certs::acme) enum Heard {
    /// It is there, and what was newer there was told before this.
    Reached,
    /// A certificate that is newer than what this machine has, and may be served.
    Found(Box<(AcmeSite, Ordered)>),
}

/// Follows the store until it is dropped.
pub(in crate::certs::acme) async fn follow(
    fleet: Rc<Fleet>,
    known: Rc<Known>,
    means: Rc<Means>,
    heard: impl Fn(Heard),
) {
    let mut follower = Follower {
        answers: Answers { challenges: means.challenges.clone(), given: HashMap::new() },
        fleet,
        known,
        means,
        versions: HashMap::new(),
        seen: None,
    };
    let mut wait = WAIT;
    let mut told: Option<(&'static str, i64)> = None;
    loop {
        let failure = match follower.fleet.reach().await {
            Ok(()) => {
                let (was_reached, failure) = follower.while_reached(&heard).await;
                if was_reached {
                    (wait, told) = (WAIT, None);
                }
                failure
            }
            Err(failure) => failure,
        };
        let is_new = told.is_none_or(|(reason, at)| reason != failure.word() || now() - at >= TELL_AGAIN);
        if is_new {
            told = Some((failure.word(), now()));
            let store = follower.fleet.settings().place();
            let reason = failure.word();
            tracing::warn!(%store, reason, "no fleet store: {failure}; what is here is served, and it is tried again");
        }
        let spread = u32::try_from(spread() % 250).unwrap_or(0);
        tokio::time::sleep(wait + wait * spread / 1_000).await;
        wait = (wait * 2).min(WAIT_LONGEST);
    }
}

struct Follower {
    fleet: Rc<Fleet>,
    known: Rc<Known>,
    means: Rc<Means>,
    answers: Answers,
    /// What was seen of each set: nothing is fetched twice.
    versions: HashMap<SetId, String>,
    seen: Option<Numbers>,
}

impl Follower {
    /// Until it fails. Whether it was of use before.
    async fn while_reached(&mut self, heard: &impl Fn(Heard)) -> (bool, StoreFailure) {
        // What happened meanwhile is not known: everything is looked at again.
        self.seen = None;
        self.versions.clear();
        self.known.changed.set(true);
        let mut looks = 0;
        loop {
            if let Err(failure) = self.look(looks, heard).await {
                return (looks > 0, failure);
            }
            if looks == 0 {
                tracing::info!(store = %self.fleet.settings().place(), "the fleet's store is reached");
                heard(Heard::Reached);
            }
            looks += 1;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&mut self, looks: u64, heard: &impl Fn(Heard)) -> Result<(), StoreFailure> {
        let numbers = self.fleet.look().await?;
        if numbers.fleet.is_none() || self.seen.as_ref().is_some_and(|seen| seen.fleet != numbers.fleet) {
            return Err(self.fleet.lost(StoreFailure::Emptied));
        }
        let before = self.seen.replace(numbers.clone());
        let challenged = before.as_ref().map(|seen| seen.challenged);
        if challenged != Some(numbers.challenged) {
            let answers = self.fleet.answers().await?;
            self.answers.give(answers, &self.fleet.own.borrow());
        }
        if challenged != Some(numbers.challenged) || looks.is_multiple_of(SIGN_OF_LIFE) {
            self.fleet.seen(numbers.challenged).await?;
        }
        let is_certified = before.is_none_or(|seen| seen.certified != numbers.certified);
        if self.known.changed.take() || is_certified {
            self.compare(heard).await.inspect_err(|_| self.seen = None)?;
        }
        Ok(())
    }

    /// Takes up what is newer there, and puts what is newer here.
    async fn compare(&mut self, heard: &impl Fn(Heard)) -> Result<(), StoreFailure> {
        let sets = self.known.sets.borrow().clone();
        for some in sets.chunks(SETS_AT_ONCE) {
            let ids: Vec<SetId> = some.iter().map(|(_, id)| id.clone()).collect();
            let versions = self.fleet.versions(&ids).await?;
            for ((wanted, id), version) in some.iter().zip(versions) {
                if self.versions.get(id) != Some(&version) {
                    self.compare_one(wanted, id, heard).await?;
                }
            }
        }
        let wanted: HashSet<&SetId> = sets.iter().map(|(_, id)| id).collect();
        self.versions.retain(|id, _| wanted.contains(id));
        Ok(())
    }

    async fn compare_one(
        &mut self,
        wanted: &AcmeSite,
        id: &SetId,
        heard: &impl Fn(Heard),
    ) -> Result<(), StoreFailure> {
        let files = SiteFiles::new(&self.means.state_directory, &wanted.site);
        let record = self.fleet.record(id).await?;
        let provider = self.means.configs.provider();
        let there = record.certificate.as_ref().and_then(|text| {
            accept(&files, text, wanted, &self.means.configs, now())
                .inspect_err(|failure| {
                    tracing::warn!(site = wanted.site, "the certificate in the store is not used: {failure}")
                })
                .ok()
        });
        // What is broken here is made anew elsewhere, and told there.
        let here = files.certificate(provider).ok().flatten().filter(|kept| kept.is_for(wanted));
        match (there, here, record.certificate) {
            (Some(there), here, Some(text)) if here.as_ref().is_none_or(|here| there.is_newer(here)) => {
                heard(Heard::Found(Box::new((wanted.clone(), Ordered { kept: there, text }))));
            }
            (there, Some(here), _) if there.as_ref().is_none_or(|there| here.is_newer(there)) => {
                let not_after = here.certificate.not_after();
                if not_after > now()
                    && let Ok(Some(text)) = files.certificate_text()
                    && let Some(version) =
                        self.fleet.put_certificate(id, &record.version, &text, not_after).await?
                {
                    tracing::info!(site = wanted.site, "certificate put into the fleet's store");
                    self.versions.insert(id.clone(), version);
                    return Ok(());
                }
            }
            _ => {}
        }
        self.versions.insert(id.clone(), record.version);
        Ok(())
    }
}

/// What this machine answers for others. Taken back when it follows no more.
struct Answers {
    challenges: Arc<PendingChallenges>,
    /// By field: those that are given now.
    given: HashMap<String, Answer>,
}

impl Answers {
    /// `own`: fields that this machine gives by itself, and takes back by itself.
    fn give(&mut self, pending: Vec<Answer>, own: &HashSet<String>) {
        let mut before = std::mem::take(&mut self.given);
        for answer in pending {
            let field = answer.field();
            if own.contains(&field) {
                continue;
            }
            if before.remove(&field).as_ref() != Some(&answer) {
                match &answer {
                    Answer::Http { token, authorization } => self.challenges.add_http(token, authorization),
                    Answer::Alpn { host, digest } => match alpn::config(host, digest) {
                        Ok(config) => self.challenges.add_alpn(&alpn::server_name(host), config),
                        Err(failure) => {
                            tracing::warn!(host, "a challenge of the fleet is not answered: {failure}");
                            continue;
                        }
                    },
                }
            }
            self.given.insert(field, answer);
        }
        for (field, answer) in before {
            if !own.contains(&field) {
                self.take_back(&answer);
            }
        }
    }

    fn take_back(&self, answer: &Answer) {
        match answer {
            Answer::Http { token, .. } => self.challenges.remove_http(token),
            Answer::Alpn { host, .. } => self.challenges.remove_alpn(&alpn::server_name(host)),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.given.values().for_each(|answer| self.take_back(answer));
    }
}
