//! A connection to the fleet's store, made when it is needed and again after a failure.

use std::fmt;
use std::io::{self, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use zeroize::Zeroizing;

use super::resp::{Reply, read_reply, write_command};

/// The store is near, or it is not there.
const PATIENCE: Duration = Duration::from_secs(2);

/// `redis://[[user]:password@]host[:port][/database]`
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    host: String,
    port: u16,
    user: String,
    password: Zeroizing<String>,
    database: u32,
}

impl StoreUrl {
    /// `None`: it is none.
    pub fn parse(text: &str) -> Option<StoreUrl> {
        let rest = text.strip_prefix("redis://")?;
        let (rest, database) = match rest.split_once('/') {
            Some((rest, "")) => (rest, 0),
            Some((rest, database)) => (rest, database.parse().ok()?),
            None => (rest, 0),
        };
        let (credentials, address) = rest.rsplit_once('@').unwrap_or((":", rest));
        let (user, password) = credentials.split_once(':')?;
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (address, 6379),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic())).then(|| StoreUrl {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
            database,
        })
    }
}

/// Without the password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis://{}:{}/{}", self.host, self.port, self.database)
    }
}

pub(super) struct Redis {
    url: StoreUrl,
    connection: Option<BufReader<TcpStream>>,
}

impl Redis {
    pub(super) fn new(url: StoreUrl) -> Redis {
        Redis { url, connection: None }
    }

    /// Sends a command and waits for its reply. One that fails on a connection kept from before is sent once more on a
    /// new one: all commands here may be repeated.
    ///
    /// # Errors
    /// Those of the connection; `Other` with the words of the store when it answers with an error.
    pub(super) fn run(&mut self, arguments: &[&[u8]]) -> io::Result<Reply> {
        let was_open = self.connection.is_some();
        match self.try_run(arguments) {
            Err(error) if was_open && error.kind() != io::ErrorKind::Other => self.try_run(arguments),
            other => other,
        }
    }

    fn try_run(&mut self, arguments: &[&[u8]]) -> io::Result<Reply> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let reply = exchange(&mut connection, arguments)?;
        // After anything else than a whole reply it is not used again.
        self.connection = Some(connection);
        match reply {
            Reply::Error(words) => Err(io::Error::other(words)),
            reply => Ok(reply),
        }
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in (self.url.host.as_str(), self.url.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return self.greet(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn greet(&self, stream: TcpStream) -> io::Result<BufReader<TcpStream>> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut connection = BufReader::new(stream);
        let password = self.url.password.as_bytes();
        let user = self.url.user.as_bytes();
        let mut greetings: Vec<Vec<&[u8]>> = Vec::new();
        match (user.is_empty(), password.is_empty()) {
            (_, true) => {}
            (true, false) => greetings.push(vec![b"AUTH", password]),
            (false, false) => greetings.push(vec![b"AUTH", user, password]),
        }
        let database = self.url.database.to_string();
        if self.url.database != 0 {
            greetings.push(vec![b"SELECT", database.as_bytes()]);
        }
        for greeting in greetings {
            if let Reply::Error(words) = exchange(&mut connection, &greeting)? {
                return Err(io::Error::other(words));
            }
        }
        Ok(connection)
    }
}

fn exchange(connection: &mut BufReader<TcpStream>, arguments: &[&[u8]]) -> io::Result<Reply> {
    let mut command = Zeroizing::new(Vec::new());
    write_command(&mut command, arguments);
    connection.get_mut().write_all(&command)?;
    read_reply(connection)
}
