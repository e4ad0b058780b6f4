//! The admin listener's sockets.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use zeroize::Zeroizing;

use crate::config::AdminListener;
use crate::dispatch::Place;

/// Connections that wait.
const BACKLOG: i32 = 64;
/// A token is at least this long: it is all that stands before the listener.
const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: u64 = 4096;

/// Why there is no admin listener.
#[derive(Debug)]
pub enum AdminFailure {
    Socket {
        place: Option<Place>,
        path: PathBuf,
        error: io::Error,
    },
    /// Another process answers on the socket.
    InUse {
        place: Option<Place>,
        path: PathBuf,
    },
    Tcp {
        place: Place,
        address: SocketAddr,
        error: io::Error,
    },
    Token {
        place: Place,
        path: PathBuf,
        why: BadToken,
    },
}

#[derive(Debug)]
pub enum BadToken {
    Unreadable(io::Error),
    TooShort,
    /// Other users may read it.
    Open,
}

impl AdminFailure {
    /// Whether the operator wrote what failed; the default socket is a convenience.
    pub fn is_written(&self) -> bool {
        !matches!(self, AdminFailure::Socket { place: None, .. } | AdminFailure::InUse { place: None, .. })
    }
}

impl fmt::Display for AdminFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |place: &Option<Place>| {
            place.as_ref().map_or(String::new(), |place| format!("{}: ", show(place)))
        };
        match self {
            AdminFailure::Socket { place, path, error } => write!(
                f,
                "{}cannot make the admin socket {}: {error}\n  do: name one in a directory that can be written to: \
                 [admin] socket = \"/run/portcullis/admin.sock\", or \"off\"",
                at(place),
                path.display()
            ),
            AdminFailure::InUse { place, path } => write!(
                f,
                "{}another process answers on the admin socket {}\n  do: give each process its own: [admin] socket, or \
                 state_directory",
                at(place),
                path.display()
            ),
            AdminFailure::Tcp { place, address, error } => write!(
                f,
                "{}: cannot listen on {address} for administration: {error}\n  do: choose another address or port",
                show(place)
            ),
            AdminFailure::Token { place, path, why } => {
                let (what, remedy) = match why {
                    BadToken::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        (error.to_string(), "let the user that Portcullis runs as read it")
                    }
                    BadToken::Unreadable(error) => {
                        (error.to_string(), "write a token into it: openssl rand -hex 32")
                    }
                    BadToken::TooShort => {
                        (format!("shorter than {TOKEN_BYTES_MIN} bytes"), "make one: openssl rand -hex 32")
                    }
                    BadToken::Open => ("others may read it".to_owned(), "chmod 600"),
                };
                write!(
                    f,
                    "{}: the token file {} is no good: {what}\n  do: {remedy}",
                    show(place),
                    path.display()
                )
            }
        }
    }
}

fn show(place: &Place) -> String {
    format!("{}:{}:{}", place.file.display(), place.line, place.column)
}

/// Listening sockets.
pub(super) struct Sockets {
    pub(super) unix: Option<UnixListener>,
    pub(super) tcp: Vec<TcpListener>,
    /// What TCP clients must show; there is one whenever there is a TCP listener.
    pub(super) token: Token,
}

pub(super) type Token = Option<Arc<Zeroizing<Vec<u8>>>>;

/// The file of the unix socket; goes when this is dropped.
pub(super) struct SocketFile {
    path: PathBuf,
    // Tells our file from one that another process has put in its place.
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // What cannot be removed is found stale by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// # Errors
/// The first thing that cannot be had.
pub(super) fn bind(
    settings: &AdminListener,
    takes_over: bool,
) -> Result<(Sockets, Option<SocketFile>), AdminFailure> {
    let mut sockets = Sockets { unix: None, tcp: Vec::new(), token: None };
    let mut file = None;
    if let Some(token) = &settings.token_file {
        let read = read_token(&token.path);
        let failed = |why| AdminFailure::Token { place: token.place.clone(), path: token.path.clone(), why };
        sockets.token = Some(Arc::new(read.map_err(failed)?));
    }
    for listen in &settings.listen {
        let failed =
            |error| AdminFailure::Tcp { place: listen.place.clone(), address: listen.address, error };
        sockets.tcp.push(bind_tcp(listen.address, takes_over).map_err(failed)?);
    }
    if let Some(socket) = &settings.socket {
        let place = || socket.place.clone();
        if !takes_over && UnixStream::connect(&socket.path).is_ok() {
            return Err(AdminFailure::InUse { place: place(), path: socket.path.clone() });
        }
        let failed = |error| AdminFailure::Socket { place: place(), path: socket.path.clone(), error };
        let (listener, own) = bind_unix(&socket.path, settings.access.mode()).map_err(failed)?;
        (sockets.unix, file) = (Some(listener), Some(own));
    }
    Ok((sockets, file))
}

/// An address that another process listens on is refused, unless that one is to be followed; ours lets its own
/// follower in.
fn bind_tcp(address: SocketAddr, takes_over: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(takes_over)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_reuse_port(true)?;
    // A client that has gone again leaves nothing to wait for.
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Under a name of its own first, so that it is never there with another mode, and a stale one is replaced.
fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory)?;
    }
    let mut own = path.as_os_str().to_owned();
    own.push(format!(".{}", std::process::id()));
    let own = PathBuf::from(own);
    let _ = fs::remove_file(&own);
    let listener = UnixListener::bind(&own)?;
    listener.set_nonblocking(true)?;
    let ready = fs::set_permissions(&own, fs::Permissions::from_mode(mode))
        .and_then(|()| fs::metadata(&own))
        .and_then(|found| fs::rename(&own, path).map(|()| found.ino()));
    match ready {
        Ok(inode) => Ok((listener, SocketFile { path: path.to_owned(), inode })),
        Err(error) => {
            let _ = fs::remove_file(&own);
            Err(error)
        }
    }
}

fn read_token(path: &Path) -> Result<Zeroizing<Vec<u8>>, BadToken> {
    use std::io::Read as _;
    let file = fs::File::open(path).map_err(BadToken::Unreadable)?;
    let mode = file.metadata().map_err(BadToken::Unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(BadToken::Open);
    }
    let mut token = Zeroizing::new(Vec::with_capacity(TOKEN_BYTES_MAX as usize));
    file.take(TOKEN_BYTES_MAX).read_to_end(&mut token).map_err(BadToken::Unreadable)?;
    let length = token.trim_ascii_end().len();
    token.truncate(length);
    if token.len() < TOKEN_BYTES_MIN { Err(BadToken::TooShort) } else { Ok(token) }
}
