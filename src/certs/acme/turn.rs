//! One attempt at a certificate: whose turn it is, the order, and what other machines get of it.

use std::rc::Rc;

use zeroize::Zeroizing;

use super::account::Accounts;
use super::clock::{now, spread};
use super::failure::OrderFailure;
use super::files::{AccountFile, History, Kept, SiteFiles};
use super::order::{Means, Ordered, Wanted, accept, order};
use super::settings::{AcmeCa, AcmeSite};
use super::store::{Fleet, Lease, SetId, Turn};
use crate::tls::renewal::orders_alone;

/// An account that the CA does not know, or nonces it does not like, are met with another attempt.
const TRIES_MAX: usize = 5;
/// Others may put a certificate at the same moment, once.
const PUTS_MAX: usize = 3;
/// Until it is looked again whether another machine has ended its order. Seconds.
const ELSEWHERE: i64 = 5;
/// Until it is looked again whether the store is back. Seconds.
const AWAY: i64 = 10;

/// What is tried.
pub(super) struct Attempt {
    pub means: Rc<Means>,
    pub accounts: Accounts,
    pub fleet: Option<Rc<Fleet>>,
    pub site: AcmeSite,
    /// One of the site's.
    pub ca: AcmeCa,
    /// What is kept now.
    pub kept: Option<Kept>,
    pub history: History,
    /// The operator asked for it: nothing is waited for but the lease.
    pub is_forced: bool,
}

/// What came of it.
pub(super) enum Got {
    /// From the CA.
    Ordered(Ordered),
    /// Another machine had ordered it.
    Found(Ordered),
    /// It failed, and so it stands with the CAs now.
    Failed(OrderFailure, History),
    /// No CA was asked. It is looked at again after these seconds.
    Later(i64, Why),
}

/// Why no CA was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Another machine orders.
    Elsewhere,
    /// Another machine has asked in vain, and its wait is ours.
    Waits,
    /// The store is away.
    Away,
}

impl Why {
    pub(super) fn word(self) -> &'static str {
        match self {
            Why::Elsewhere => "elsewhere",
            Why::Waits => "waits",
            Why::Away => "store_away",
        }
    }
}

impl Attempt {
    pub(super) async fn run(self) -> Got {
        let Some(fleet) = self.fleet.clone() else { return self.order(None).await };
        let set = SetId::of(&self.site);
        match self.with_lease(&fleet, &set).await {
            Ok(got) => got,
            Err(OrderFailure::Store(failure)) => {
                tracing::debug!(site = self.site.site, "no order without the fleet's store: {failure}");
                Got::Later(AWAY, Why::Away)
            }
            Err(failure) => self.failed(failure),
        }
    }

    async fn with_lease(&self, fleet: &Rc<Fleet>, set: &SetId) -> Result<Got, OrderFailure> {
        let lease = match fleet.turn(set).await {
            Ok(Turn::Ours(lease)) => lease,
            Ok(Turn::Elsewhere) => return Ok(Got::Later(ELSEWHERE, Why::Elsewhere)),
            Err(failure) => {
                let validity = self.kept.as_ref().map(Kept::validity);
                let away = fleet.away_since().map_or(0, |since| now().saturating_sub(since));
                if !orders_alone(validity, away, now()) {
                    return Err(failure.into());
                }
                tracing::warn!(
                    site = self.site.site,
                    "the fleet's store is away for long: this machine orders by itself"
                );
                return Ok(self.order(None).await);
            }
        };
        let got = self.under(fleet, &lease, set).await;
        if let Err(failure) = lease.give_back().await {
            tracing::debug!(site = self.site.site, "an order's lease ends by itself: {failure}");
        }
        got
    }

    async fn under(&self, fleet: &Fleet, lease: &Lease, set: &SetId) -> Result<Got, OrderFailure> {
        let record = fleet.record(set).await?;
        if let Some(found) = record.certificate.and_then(|text| self.newer(text)) {
            return Ok(Got::Found(found));
        }
        if let Some(history) = record.history.as_deref().and_then(History::parse).filter(|_| !self.is_forced)
        {
            let wait = history.of(&self.ca.directory_url).not_before.saturating_sub(now());
            if wait > 0 {
                return Ok(Got::Later(wait, Why::Waits));
            }
        }
        match self.order(Some(fleet)).await {
            Got::Ordered(ordered) => Ok(self.put(fleet, set, record.version, ordered).await),
            Got::Failed(failure, history) => {
                if let Err(failure) = lease.put_history(&history.to_string()).await {
                    tracing::debug!(
                        site = self.site.site,
                        "other machines do not hear of a failure: {failure}"
                    );
                }
                Ok(Got::Failed(failure, history))
            }
            other => Ok(other),
        }
    }

    /// What another machine has put, when it is good, and better than what is here.
    fn newer(&self, text: Zeroizing<String>) -> Option<Ordered> {
        let files = SiteFiles::new(&self.means.state_directory, &self.site.site);
        let kept = accept(&files, &text, &self.site, &self.means.configs, now()).ok()?;
        let is_newer = self.kept.as_ref().is_none_or(|here| kept.is_newer(here));
        is_newer.then_some(Ordered { kept, text })
    }

    /// Gives what was ordered to the others; if one of them was faster with something newer, that is taken. The store
    /// may be away: what it lacks is put when it is back.
    async fn put(&self, fleet: &Fleet, set: &SetId, mut version: String, ordered: Ordered) -> Got {
        for _ in 0..PUTS_MAX {
            let not_after = ordered.kept.certificate.not_after();
            match fleet.put_certificate(set, &version, &ordered.text, not_after).await {
                Ok(Some(_)) => return Got::Ordered(ordered),
                Ok(None) => {}
                Err(failure) => {
                    tracing::warn!(
                        site = self.site.site,
                        "a certificate is not in the fleet's store yet: {failure}"
                    );
                    return Got::Ordered(ordered);
                }
            }
            let Ok(record) = fleet.record(set).await else { return Got::Ordered(ordered) };
            version = record.version;
            let there = record.certificate.and_then(|text| self.newer(text));
            if let Some(there) = there.filter(|there| there.kept.is_newer(&ordered.kept)) {
                return Got::Found(there);
            }
        }
        Got::Ordered(ordered)
    }

    /// Without a lease, or with one: then answers to challenges are the fleet's, too.
    async fn order(&self, fleet: Option<&Fleet>) -> Got {
        let (site, ca) = (&self.site, &self.ca);
        tracing::info!(site = site.site, ca = %ca.directory_url, method = ca.method.word(), "ordering a certificate");
        let replaces = self.kept.as_ref().filter(|kept| kept.directory_url == ca.directory_url);
        let replaces = replaces.and_then(|kept| kept.certificate.chain().first().cloned());
        let file = AccountFile::new(&self.means.state_directory, ca);
        let mut tries = 0;
        loop {
            tries += 1;
            let ordered = match self.accounts.open(&file, ca, fleet).await {
                Ok(account) => {
                    let replaces = replaces.clone();
                    let wanted = Wanted { site, ca, fleet, replaces, now: now() };
                    order(&self.means, &account, wanted).await
                }
                Err(failure) => Err(failure),
            };
            let failure = match ordered {
                Ok(ordered) => return Got::Ordered(ordered),
                Err(failure) => failure,
            };
            self.accounts.close(&file);
            let is_unknown = failure.is_type("accountDoesNotExist");
            if is_unknown && let Err(failure) = forget(&file, fleet).await {
                return self.failed(failure);
            }
            if tries >= TRIES_MAX || !(is_unknown || failure.is_type("badNonce")) {
                return self.failed(failure);
            }
        }
    }

    fn failed(&self, failure: OrderFailure) -> Got {
        if matches!(failure, OrderFailure::Store(_)) {
            // The CA is not to blame.
            tracing::warn!(site = self.site.site, "an order is given up: {failure}");
            return Got::Later(AWAY, Why::Away);
        }
        let mut history = self.history.clone();
        let url = &self.ca.directory_url;
        history.set(url, history.of(url).failed(failure.kind(), now(), spread()));
        history.last_error = Some((now(), failure.to_string()));
        Got::Failed(failure, history)
    }
}

async fn forget(file: &AccountFile, fleet: Option<&Fleet>) -> Result<(), OrderFailure> {
    if let (Some(fleet), Some(text)) = (fleet, file.read()?) {
        fleet.replace_account(&file.name, &text, None).await?;
    }
    Ok(file.forget()?)
}
