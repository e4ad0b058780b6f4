//! Answers that are there for a CA to see, and have to go again.

use super::failure::OrderFailure;
use super::settings::DnsCommand;
use super::store::{Answer, Fleet};
use super::{alpn, dns};
use crate::tls::PendingChallenges;

/// Those of one order. Without a fleet they are given by this machine alone.
pub(super) struct Presented<'a> {
    challenges: &'a PendingChallenges,
    fleet: Option<&'a Fleet>,
    answers: Vec<Answer>,
    records: Vec<Record>,
}

struct Record {
    command: DnsCommand,
    name: String,
    value: String,
}

impl<'a> Presented<'a> {
    pub(super) fn new(challenges: &'a PendingChallenges, fleet: Option<&'a Fleet>) -> Presented<'a> {
        Presented { challenges, fleet, answers: Vec::new(), records: Vec::new() }
    }

    pub(super) fn http(&mut self, token: &str, authorization: &str) {
        self.challenges.add_http(token, authorization);
        let (token, authorization) = (token.to_owned(), authorization.to_owned());
        self.answers.push(Answer::Http { token, authorization });
    }

    pub(super) fn alpn(&mut self, host: &str, digest: &[u8]) -> Result<(), OrderFailure> {
        self.challenges.add_alpn(&alpn::server_name(host), alpn::config(host, digest)?);
        let digest = digest
            .try_into()
            .map_err(|_| OrderFailure::Internal("a digest of another length than SHA-256".to_owned()))?;
        self.answers.push(Answer::Alpn { host: host.to_owned(), digest });
        Ok(())
    }

    pub(super) async fn dns(
        &mut self,
        command: &DnsCommand,
        host: &str,
        value: String,
    ) -> Result<(), OrderFailure> {
        let name = format!("_acme-challenge.{host}");
        let record = Record { command: command.clone(), name: name.clone(), value };
        let ran = record.run("present").await;
        // To be removed even if it was set by half.
        self.records.push(record);
        ran.map_err(|why| OrderFailure::Dns { name, why })
    }

    /// Has every machine of the fleet give these answers before the CA is told of them: it may ask any.
    pub(super) async fn share(&self) -> Result<(), OrderFailure> {
        let Some(fleet) = self.fleet.filter(|_| !self.answers.is_empty()) else { return Ok(()) };
        let challenged = fleet.put_answers(&self.answers).await?;
        match fleet.seen_by_all(challenged).await? {
            0 => {}
            late => tracing::warn!(
                late,
                "machines of the fleet have not seen a challenge in time; the CA is told"
            ),
        }
        Ok(())
    }

    pub(super) async fn take_back(self) {
        if let Some(fleet) = self.fleet.filter(|_| !self.answers.is_empty())
            && let Err(failure) = fleet.remove_answers(&self.answers).await
        {
            // They end by themselves.
            tracing::debug!("answers to challenges stay in the fleet's store: {failure}");
        }
        for answer in self.answers {
            match answer {
                Answer::Http { token, .. } => self.challenges.remove_http(&token),
                Answer::Alpn { host, .. } => self.challenges.remove_alpn(&alpn::server_name(&host)),
            }
        }
        for record in self.records {
            if let Err(why) = record.run("cleanup").await {
                tracing::warn!(name = record.name, "the record of a challenge stays: {why}");
            }
        }
    }
}

impl Record {
    async fn run(&self, act: &'static str) -> Result<(), String> {
        let Record { command, name, value } = self;
        let (command, name, value) = (command.clone(), name.clone(), value.clone());
        let ended = tokio::task::spawn_blocking(move || dns::run(&command, act, &name, &value)).await;
        ended.unwrap_or_else(|error| Err(error.to_string()))
    }
}
