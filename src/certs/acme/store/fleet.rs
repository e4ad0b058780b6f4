//! What is asked of the store and put there. Each of these is one command, or one transaction, within a time.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::error::Unspecified;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, cmd, pipe};
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

use super::connection::{COMMAND, Connection, connect, failure};
use super::counts::StoreCounts;
use super::failure::StoreFailure;
use super::seal::Key;
use super::{LOOK, StoreSettings};
use crate::certs::acme::clock::{now, random};
use crate::certs::acme::settings::AcmeSite;

const FLEET: &str = "portcullis:fleet";
const CHALLENGES: &str = "portcullis:challenges";
const CHALLENGED: &str = "portcullis:challenged";
const CERTIFIED: &str = "portcullis:certified";
const MACHINES: &str = "portcullis:machines";

/// A holder that is silent for so long has died.
const LEASE: Duration = Duration::from_secs(15);
/// Nobody validates for longer: an answer left by a machine that died is then of no use. Seconds.
const ANSWER_SECONDS: i64 = 900;
/// A machine that has not looked for so long is not waited for. Seconds.
const MACHINE_SECONDS: i64 = 10;
/// It is forgotten after this many.
const MACHINE_FORGOTTEN_SECONDS: i64 = 3_600;
/// Machines that do not look in time do not hold an order up for longer.
const SEEN_BY_ALL: Duration = Duration::from_secs(5);
/// A certificate stays for so many seconds behind its end: what is expired is of use to nobody.
const KEPT_BEHIND_END: i64 = 86_400;

/// What one certificate is for: see the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::certs::acme) struct SetId(String);

impl SetId {
    pub(in crate::certs::acme) fn of(wanted: &AcmeSite) -> SetId {
        let mut names: Vec<&str> = wanted.names.iter().map(String::as_str).collect();
        names.sort_unstable();
        let mut all = Context::new(&SHA256);
        for part in names.into_iter().chain(wanted.cas.iter().map(|ca| ca.directory_url.as_str())) {
            all.update(part.as_bytes());
            all.update(b"\n");
        }
        let digest: String = all.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        SetId(format!("{}:{digest}", wanted.site))
    }

    fn place(&self) -> String {
        format!("portcullis:set:{}", self.0)
    }

    fn order(&self) -> String {
        format!("portcullis:order:{}", self.0)
    }
}

/// What a CA is answered when it validates a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::certs::acme) enum Answer {
    Http { token: String, authorization: String },
    Alpn { host: String, digest: [u8; 32] },
}

impl Answer {
    pub(in crate::certs::acme) fn field(&self) -> String {
        match self {
            Answer::Http { token, .. } => format!("http {token}"),
            Answer::Alpn { host, .. } => format!("alpn {host}"),
        }
    }

    fn value(&self) -> &[u8] {
        match self {
            Answer::Http { authorization, .. } => authorization.as_bytes(),
            Answer::Alpn { digest, .. } => digest,
        }
    }

    fn read(field: &str, value: &[u8]) -> Option<Answer> {
        let (kind, name) = field.split_once(' ')?;
        let name = name.to_owned();
        match kind {
            "http" => {
                let authorization = String::from_utf8(value.to_vec()).ok()?;
                Some(Answer::Http { token: name, authorization })
            }
            "alpn" => Some(Answer::Alpn { host: name, digest: value.try_into().ok()? }),
            _ => None,
        }
    }
}

/// What is known of a set.
#[derive(Default)]
pub(in crate::certs::acme) struct Record {
    /// Another one with each certificate; empty: there was none yet.
    pub version: String,
    /// As in its file of the state directory. `None`: there is none, or none that was sealed by this fleet.
    pub certificate: Option<Zeroizing<String>>,
    /// As in its file of the state directory.
    pub history: Option<String>,
}

/// What changes when anything does.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Another one says that the store was emptied.
    pub fleet: Option<Vec<u8>>,
    pub challenged: i64,
    pub certified: i64,
}

/// Who orders now.
pub(in crate::certs::acme) enum Turn {
    Ours(Lease),
    Elsewhere,
}

/// A machine's end of the store.
pub(in crate::certs::acme) struct Fleet {
    pub(super) settings: StoreSettings,
    key: Key,
    /// Tells this process from others.
    machine: String,
    connection: RefCell<Option<Connection>>,
    pub(super) counts: Arc<StoreCounts>,
    /// Since when there is no connection, by the clock of this machine.
    away_since: Cell<i64>,
    /// How many seconds the store's clock is ahead of ours.
    ahead: Cell<i64>,
    /// Fields of answers that this machine has put and has to give itself.
    pub(super) own: RefCell<HashSet<String>>,
}

impl Fleet {
    /// # Errors
    /// No key can be made, or there are no random numbers.
    pub(in crate::certs::acme) fn new(
        settings: StoreSettings,
        counts: Arc<StoreCounts>,
    ) -> Result<Fleet, Unspecified> {
        let key = Key::from_secret(&settings.secret)?;
        let machine = format!("{:016x}{:016x}", random()?, random()?);
        Ok(Fleet {
            settings,
            key,
            machine,
            connection: RefCell::default(),
            counts,
            away_since: Cell::new(now()),
            ahead: Cell::new(0),
            own: RefCell::default(),
        })
    }

    pub(in crate::certs::acme) fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// Since when the store is away; `None`: it is not.
    pub(in crate::certs::acme) fn away_since(&self) -> Option<i64> {
        self.connection.borrow().is_none().then(|| self.away_since.get())
    }

    /// Connects, and sees that the store is one of this fleet.
    pub(super) async fn reach(&self) -> Result<(), StoreFailure> {
        let reached = async {
            let connection = connect(&self.settings).await?;
            self.is_of_this_fleet(&connection).await?;
            Ok(connection)
        };
        match reached.await {
            Ok(connection) => {
                self.connection.replace(Some(connection));
                self.counts.set_up(true);
                Ok(())
            }
            Err(failure) => Err(self.lost(failure)),
        }
    }

    async fn is_of_this_fleet(&self, connection: &Connection) -> Result<(), StoreFailure> {
        let commands = || connection.commands.clone();
        let mut there: Option<Vec<u8>> = ask(commands(), cmd("GET").arg(FLEET)).await?;
        if there.is_none() {
            let ours = self.sealed(FLEET, random().map_err(no_random)?.to_string().as_bytes())?;
            let _: Option<String> = ask(commands(), cmd("SET").arg(FLEET).arg(ours).arg("NX")).await?;
            there = ask(commands(), cmd("GET").arg(FLEET)).await?;
        }
        let sealed = there.ok_or(StoreFailure::Unexpected("it keeps nothing"))?;
        self.key.open(FLEET, &sealed).map(drop).ok_or(StoreFailure::Sealed)
    }

    /// After any doubt a connection is not used again.
    pub(super) fn lost(&self, failure: StoreFailure) -> StoreFailure {
        if self.connection.take().is_some() && self.counts.set_up(false) {
            self.away_since.set(now());
        }
        if !matches!(failure, StoreFailure::Away) {
            self.counts.failed(&failure);
        }
        failure
    }

    async fn run<T: FromRedisValue>(&self, command: &mut Cmd) -> Result<T, StoreFailure> {
        ask(self.commands()?, command).await.map_err(|failure| self.lost(failure))
    }

    async fn run_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, StoreFailure> {
        let mut connection = self.commands()?;
        let answer = tokio::time::timeout(COMMAND, commands.query_async(&mut connection)).await;
        answer.map_or(Err(StoreFailure::TimedOut), |answer| answer.map_err(failure)).map_err(|f| self.lost(f))
    }

    fn commands(&self) -> Result<MultiplexedConnection, StoreFailure> {
        let connection = self.connection.borrow();
        connection.as_ref().map(|connection| connection.commands.clone()).ok_or(StoreFailure::Away)
    }

    fn sealed(&self, place: &str, content: &[u8]) -> Result<Vec<u8>, StoreFailure> {
        self.key.seal(place, content).map_err(no_random)
    }

    fn opened(&self, place: &str, sealed: Option<Vec<u8>>) -> Option<Zeroizing<String>> {
        let sealed = sealed?;
        let content = self.key.open(place, &sealed);
        if content.is_none() {
            tracing::warn!(place, "a value in the store was not sealed by this fleet: passed over");
        }
        String::from_utf8(content?.to_vec()).ok().map(Zeroizing::new)
    }

    /// Whether anything has changed, and what time it is there.
    pub(super) async fn look(&self) -> Result<Numbers, StoreFailure> {
        let mut asked = pipe();
        asked.cmd("MGET").arg(FLEET).arg(CHALLENGED).arg(CERTIFIED).cmd("TIME");
        type Looked = ((Option<Vec<u8>>, Option<i64>, Option<i64>), (i64, i64));
        let ((fleet, challenged, certified), (there, _)): Looked = self.run_all(&asked).await?;
        self.ahead.set(there.saturating_sub(now()));
        Ok(Numbers { fleet, challenged: challenged.unwrap_or(0), certified: certified.unwrap_or(0) })
    }

    fn now_there(&self) -> i64 {
        now().saturating_add(self.ahead.get())
    }

    /// Says that this machine lives, and has seen what was put up to `challenged`.
    pub(super) async fn seen(&self, challenged: i64) -> Result<(), StoreFailure> {
        let told = format!("{challenged} {}", self.now_there());
        self.run(cmd("HSET").arg(MACHINES).arg(&self.machine).arg(told)).await
    }

    /// The account kept under `name`.
    pub(in crate::certs::acme) async fn account(
        &self,
        name: &str,
    ) -> Result<Option<Zeroizing<String>>, StoreFailure> {
        let place = format!("portcullis:account:{name}");
        let sealed = self.run(cmd("GET").arg(&place)).await?;
        Ok(self.opened(&place, sealed))
    }

    /// Puts an account if there is none; the one that is there then.
    pub(in crate::certs::acme) async fn put_account(
        &self,
        name: &str,
        text: &str,
    ) -> Result<Option<Zeroizing<String>>, StoreFailure> {
        let place = format!("portcullis:account:{name}");
        let sealed = self.sealed(&place, text.as_bytes())?;
        let _: Option<String> = self.run(cmd("SET").arg(&place).arg(sealed).arg("NX")).await?;
        self.account(name).await
    }

    /// Puts `to` in the place of `from`, or nothing: another account that was put meanwhile stays.
    pub(in crate::certs::acme) async fn replace_account(
        &self,
        name: &str,
        from: &str,
        to: Option<&str>,
    ) -> Result<(), StoreFailure> {
        const REPLACE: &str = "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end \
            if ARGV[2]=='' then return redis.call('DEL',KEYS[1]) end redis.call('SET',KEYS[1],ARGV[2]) return 1";
        let place = format!("portcullis:account:{name}");
        let there: Option<Vec<u8>> = self.run(cmd("GET").arg(&place)).await?;
        let Some(there) = there else { return Ok(()) };
        if self.key.open(&place, &there).is_none_or(|kept| kept.as_slice() != from.as_bytes()) {
            return Ok(());
        }
        let to = to.map(|to| self.sealed(&place, to.as_bytes())).transpose()?.unwrap_or_default();
        self.run(cmd("EVAL").arg(REPLACE).arg(1).arg(&place).arg(there).arg(to)).await
    }

    /// Puts answers for the others to give. Returns the number that a machine has seen when it has seen them.
    pub(in crate::certs::acme) async fn put_answers(&self, answers: &[Answer]) -> Result<i64, StoreFailure> {
        let until = self.now_there().saturating_add(ANSWER_SECONDS).to_be_bytes();
        let mut all = pipe();
        all.atomic();
        for answer in answers {
            let field = answer.field();
            let content = Zeroizing::new([&until, answer.value()].concat());
            let sealed = self.sealed(&format!("{CHALLENGES} {field}"), &content)?;
            all.cmd("HSET").arg(CHALLENGES).arg(&field).arg(sealed).ignore();
            self.own.borrow_mut().insert(field);
        }
        all.cmd("EXPIRE").arg(CHALLENGES).arg(ANSWER_SECONDS).ignore().cmd("INCR").arg(CHALLENGED);
        let (challenged,): (i64,) = self.run_all(&all).await?;
        Ok(challenged)
    }

    pub(in crate::certs::acme) async fn remove_answers(
        &self,
        answers: &[Answer],
    ) -> Result<(), StoreFailure> {
        let mut all = pipe();
        all.atomic();
        for answer in answers {
            let field = answer.field();
            all.cmd("HDEL").arg(CHALLENGES).arg(&field).ignore();
            self.own.borrow_mut().remove(&field);
        }
        all.cmd("INCR").arg(CHALLENGED).ignore();
        self.run_all(&all).await
    }

    /// Those that are pending on any machine. What is over, or not sealed by this fleet, is passed over.
    pub(super) async fn answers(&self) -> Result<Vec<Answer>, StoreFailure> {
        let all: Vec<(Vec<u8>, Vec<u8>)> = self.run(cmd("HGETALL").arg(CHALLENGES)).await?;
        let now = self.now_there();
        let mut over = pipe();
        let mut pending = Vec::new();
        for (field, sealed) in all {
            let Ok(field) = String::from_utf8(field) else { continue };
            let Some(content) = self.key.open(&format!("{CHALLENGES} {field}"), &sealed) else { continue };
            let Some((until, value)) = content.split_first_chunk::<8>() else { continue };
            if i64::from_be_bytes(*until) < now {
                over.cmd("HDEL").arg(CHALLENGES).arg(&field).ignore();
            } else {
                pending.extend(Answer::read(&field, value));
            }
        }
        if !over.is_empty() {
            let () = self.run_all(&over).await?;
        }
        Ok(pending)
    }

    /// Waits until every machine that lives has seen what was put up to `challenged`, or has had its time. How many
    /// have not.
    pub(in crate::certs::acme) async fn seen_by_all(&self, challenged: i64) -> Result<usize, StoreFailure> {
        let since = tokio::time::Instant::now();
        loop {
            let machines: Vec<(String, String)> = self.run(cmd("HGETALL").arg(MACHINES)).await?;
            let now = self.now_there();
            let mut gone = pipe();
            let mut waiting = 0;
            for (machine, told) in &machines {
                let Some((seen, at)) = told.split_once(' ') else { continue };
                let (Ok(seen), Ok(at)) = (seen.parse::<i64>(), at.parse::<i64>()) else { continue };
                let silent = now.saturating_sub(at);
                if silent > MACHINE_FORGOTTEN_SECONDS {
                    gone.cmd("HDEL").arg(MACHINES).arg(machine).ignore();
                }
                waiting +=
                    usize::from(silent <= MACHINE_SECONDS && seen < challenged && *machine != self.machine);
            }
            if !gone.is_empty() {
                let () = self.run_all(&gone).await?;
            }
            if waiting == 0 || since.elapsed() >= SEEN_BY_ALL {
                return Ok(waiting);
            }
            tokio::time::sleep(LOOK / 5).await;
        }
    }

    /// The versions of sets; empty where nothing was put yet.
    pub(super) async fn versions(&self, sets: &[SetId]) -> Result<Vec<String>, StoreFailure> {
        let mut all = pipe();
        for set in sets {
            all.cmd("HGET").arg(set.place()).arg("version");
        }
        let versions: Vec<Option<String>> = self.run_all(&all).await?;
        Ok(versions.into_iter().map(Option::unwrap_or_default).collect())
    }

    pub(in crate::certs::acme) async fn record(&self, set: &SetId) -> Result<Record, StoreFailure> {
        type Fields = (Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);
        let place = set.place();
        let (version, certificate, history): Fields =
            self.run(cmd("HMGET").arg(&place).arg("version").arg("certificate").arg("history")).await?;
        Ok(Record {
            version: version.unwrap_or_default(),
            certificate: self.opened(&format!("{place} certificate"), certificate),
            history: self.opened(&format!("{place} history"), history).map(|text| text.to_string()),
        })
    }

    /// Puts a certificate, and its history with it, if nobody put one since `version` was read. Returns the version
    /// of it; `None`: somebody did. `not_after`: seconds since 1970.
    pub(in crate::certs::acme) async fn put_certificate(
        &self,
        set: &SetId,
        version: &str,
        text: &str,
        not_after: i64,
    ) -> Result<Option<String>, StoreFailure> {
        const PUT: &str = "if (redis.call('HGET',KEYS[1],'version') or '')~=ARGV[1] then return 0 end \
            redis.call('HSET',KEYS[1],'version',ARGV[2],'certificate',ARGV[3]) redis.call('HDEL',KEYS[1],'history') \
            redis.call('EXPIREAT',KEYS[1],ARGV[4]) redis.call('INCR',KEYS[2]) return 1";
        let place = set.place();
        let sealed = self.sealed(&format!("{place} certificate"), text.as_bytes())?;
        let new = format!("{:016x}", random().map_err(no_random)?);
        let until = not_after.saturating_add(KEPT_BEHIND_END);
        let mut put = cmd("EVAL");
        put.arg(PUT).arg(2).arg(&place).arg(CERTIFIED).arg(version).arg(&new).arg(sealed).arg(until);
        let done: i64 = self.run(&mut put).await?;
        Ok((done == 1).then_some(new))
    }

    /// Whether this machine orders from here on.
    pub(in crate::certs::acme) async fn turn(self: &Rc<Self>, set: &SetId) -> Result<Turn, StoreFailure> {
        let place = set.order();
        let token = format!("{} {:016x}", self.machine, random().map_err(no_random)?);
        let mut take = cmd("SET");
        take.arg(&place).arg(&token).arg("NX").arg("PX").arg(millis(LEASE));
        let taken: Option<String> = self.run(&mut take).await?;
        if taken.is_none() {
            return Ok(Turn::Elsewhere);
        }
        let keep = keep(self.clone(), place.clone(), token.clone());
        let keeping = tokio::task::spawn_local(keep).abort_handle();
        Ok(Turn::Ours(Lease { fleet: self.clone(), set: set.clone(), place, token, keeping }))
    }
}

/// The right to order for a set. Kept up by a task of its own; without [`give_back`](Self::give_back) it ends by
/// itself, as it does when the process dies.
pub(in crate::certs::acme) struct Lease {
    fleet: Rc<Fleet>,
    set: SetId,
    place: String,
    /// Whose it is: another holder's is neither extended nor taken away.
    token: String,
    keeping: AbortHandle,
}

impl Lease {
    /// Keeps what happened with the CAs for the machine that tries next, as long as the lease is ours.
    pub(in crate::certs::acme) async fn put_history(&self, text: &str) -> Result<(), StoreFailure> {
        const PUT: &str = "if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end \
            redis.call('HSET',KEYS[2],'history',ARGV[2]) \
            if redis.call('TTL',KEYS[2])<0 then redis.call('EXPIRE',KEYS[2],172800) end return 1";
        let place = self.set.place();
        let sealed = self.fleet.sealed(&format!("{place} history"), text.as_bytes())?;
        let mut put = cmd("EVAL");
        put.arg(PUT).arg(2).arg(&self.place).arg(&place).arg(&self.token).arg(sealed);
        self.fleet.run(&mut put).await
    }

    pub(in crate::certs::acme) async fn give_back(self) -> Result<(), StoreFailure> {
        const GIVE: &str =
            "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0";
        self.fleet.run(cmd("EVAL").arg(GIVE).arg(1).arg(&self.place).arg(&self.token)).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

/// Extends a lease until it is somebody else's. A store that is away for a moment is no end: it may have kept it.
async fn keep(fleet: Rc<Fleet>, place: String, token: String) {
    const EXTEND: &str = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('PEXPIRE',KEYS[1],ARGV[2]) end \
         if redis.call('SET',KEYS[1],ARGV[1],'NX','PX',ARGV[2]) then return 1 end return 0";
    loop {
        tokio::time::sleep(LEASE / 4).await;
        let mut extend = cmd("EVAL");
        extend.arg(EXTEND).arg(1).arg(&place).arg(&token).arg(millis(LEASE));
        if let Ok(0) = fleet.run::<i64>(&mut extend).await {
            tracing::warn!(place, "another machine took over an order that is under way here");
            return;
        }
    }
}

async fn ask<T: FromRedisValue>(
    mut commands: MultiplexedConnection,
    command: &mut Cmd,
) -> Result<T, StoreFailure> {
    let answer = tokio::time::timeout(COMMAND, command.query_async(&mut commands)).await;
    answer.map_or(Err(StoreFailure::TimedOut), |answer| answer.map_err(failure))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn no_random(_: Unspecified) -> StoreFailure {
    StoreFailure::Setting("the system gives no random numbers".to_owned())
}
