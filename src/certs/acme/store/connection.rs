//! A connection to the store: made within a time, and with an end to what it may send.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::StoreSettings;
use super::failure::StoreFailure;
use crate::certs::authorities;
use crate::tls::UpstreamName;

/// The store is near, or it is not there. One command with its answer.
pub(super) const COMMAND: Duration = Duration::from_secs(3);
/// Name, connection, TLS and greeting together.
const CONNECT: Duration = Duration::from_secs(5);
/// What may come without being asked for anew: the largest answer is that for all challenges that are pending.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Ends with the task that moves its bytes: a store that says nothing more would keep that one forever.
pub(super) struct Connection {
    pub commands: MultiplexedConnection,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects and says who we are.
pub(super) async fn connect(settings: &StoreSettings) -> Result<Connection, StoreFailure> {
    tokio::time::timeout(CONNECT, open(settings)).await.unwrap_or(Err(StoreFailure::TimedOut))
}

async fn open(settings: &StoreSettings) -> Result<Connection, StoreFailure> {
    let unreachable = |error: io::Error| StoreFailure::Unreachable(error.to_string());
    let host = settings.host.trim_start_matches('[').trim_end_matches(']');
    let mut stream = Err(StoreFailure::Unreachable("its name has no address".to_owned()));
    for address in tokio::net::lookup_host((host, settings.port)).await.map_err(unreachable)? {
        stream = TcpStream::connect(address).await.map_err(unreachable);
        if stream.is_ok() {
            break;
        }
    }
    let stream = stream?;
    stream.set_nodelay(true).map_err(unreachable)?;
    if !settings.is_tls {
        return greet(settings, stream).await;
    }
    let client = authorities::client(settings.ca.as_deref(), &[])
        .map_err(|problem| StoreFailure::Setting(format!("{problem}: {}", problem.remedy())))?;
    let name = UpstreamName::new(host)
        .ok_or_else(|| StoreFailure::Setting(format!("no certificate can be for {host}")))?;
    let stream = TlsConnector::from(client).connect(name.server_name(), stream).await;
    greet(settings, stream.map_err(unreachable)?).await
}

async fn greet(
    settings: &StoreSettings,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Connection, StoreFailure> {
    let mut who = RedisConnectionInfo::default().set_db(settings.database.into()).set_skip_set_lib_name();
    if let Some(user) = &settings.user {
        who = who.set_username(user);
    }
    if let Some(password) = &settings.password {
        who = who.set_password(password.as_str());
    }
    let bounds = AsyncConnectionConfig::new().set_response_timeout(Some(COMMAND));
    let stream = Bounded { stream, left: ANSWER_BYTES_MAX };
    let (commands, driver) =
        MultiplexedConnection::new_with_config(&who, stream, bounds).await.map_err(failure)?;
    let driver = tokio::task::spawn_local(driver).abort_handle();
    Ok(Connection { commands, driver })
}

/// What an error of the client means.
pub(super) fn failure(error: RedisError) -> StoreFailure {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => StoreFailure::TimedOut,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
            StoreFailure::Refused(error.to_string())
        }
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            StoreFailure::Unexpected("an answer of another kind")
        }
        _ => StoreFailure::Unreachable(error.to_string()),
    }
}

/// A stream that fails once so much has come in since the last command: the client has no bound of its own.
struct Bounded<S> {
    stream: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        match self.left.checked_sub(into.filled().len() - before) {
            Some(left) => self.left = left,
            None => {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without end")));
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.left = ANSWER_BYTES_MAX;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
