//! Binding: one listening socket for each address and worker, so that the kernel spreads connections; and
//! which of them a reload keeps, or an upgrade hands over.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::upgrade::Inherited;
use crate::config::{Config, ListenAddress};
use crate::dispatch::Place;
use crate::http::Scheme;
use crate::worker::Listener;

/// Connections the kernel completes while all workers are busy.
const BACKLOG: i32 = 4096;

/// An address that is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub scheme: Scheme,
    /// With the port the system picked when 0 was asked for.
    pub address: SocketAddr,
    // As in the configuration: what a reload compares.
    written: SocketAddr,
    only_v6: bool,
}

/// An address with a socket for each worker.
pub struct Sockets {
    pub bound: Bound,
    sockets: Vec<TcpListener>,
}

impl Sockets {
    /// The same sockets, open as long as either is.
    pub fn try_clone(&self) -> io::Result<Sockets> {
        let sockets = self.sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        Ok(Sockets { bound: self.bound.clone(), sockets })
    }

    /// For the process that takes over.
    pub fn bequeath(self) -> Inherited {
        let Sockets { bound, sockets } = self;
        Inherited { scheme: Some(bound.scheme), written: bound.written, sockets }
    }
}

/// An address that could not be had.
#[derive(Debug)]
pub struct BindFailure {
    pub place: Place,
    pub address: SocketAddr,
    pub error: io::Error,
}

/// What a configuration listens on, beside what is listened on already.
pub struct Listening {
    /// All of it, in the order written.
    pub all: Vec<Bound>,
    /// What was not listened on before.
    pub new: Vec<Sockets>,
    /// What is not listened on any more.
    pub gone: Vec<Bound>,
}

/// Binds the addresses of a configuration that are not in `before`, once for each worker. Sockets of these addresses
/// that somebody else bound are taken out of `inherited`.
///
/// # Errors
/// All addresses that could not be had, not just the first.
pub fn bind(
    config: &Config,
    workers: usize,
    before: &[Bound],
    inherited: &mut Vec<Inherited>,
) -> Result<Listening, Vec<BindFailure>> {
    let http = config.listen.http.iter().map(|address| (Scheme::Http, address));
    let https = config.listen.https.iter().map(|address| (Scheme::Https, address));
    let mut gone = before.to_vec();
    let mut all = Vec::new();
    let mut new = Vec::new();
    let mut failures = Vec::new();
    for (scheme, listen) in http.chain(https) {
        let is_same = |bound: &Bound| {
            bound.scheme == scheme && bound.written == listen.address && bound.only_v6 == listen.only_v6
        };
        if let Some(kept) = gone.iter().position(is_same) {
            all.push(gone.remove(kept));
            continue;
        }
        // An address that overlaps one of ours can only be shared with it.
        let share = before.iter().any(|bound| bound.address.port() == listen.address.port());
        let ours = take(inherited, scheme, listen.address);
        let sockets = match ours.is_empty() {
            true => bind_all(scheme, listen, workers, share),
            false => go_on(scheme, listen, workers, ours),
        };
        match sockets {
            Ok(sockets) => {
                all.push(sockets.bound.clone());
                new.push(sockets);
            }
            Err(error) => {
                failures.push(BindFailure { place: listen.place.clone(), address: listen.address, error })
            }
        }
    }
    if failures.is_empty() { Ok(Listening { all, new, gone }) } else { Err(failures) }
}

/// Deals the sockets out: one set for each worker.
pub fn deal(sockets: Vec<Sockets>, workers: usize) -> Vec<Vec<Listener>> {
    let mut hands: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for Sockets { bound, sockets } in sockets {
        // More sockets than workers are those of a process that had more: their queues go on, too.
        for (index, socket) in sockets.into_iter().enumerate() {
            hands[index % workers].push(Listener { scheme: bound.scheme, address: bound.address, socket });
        }
    }
    hands
}

fn bind_all(scheme: Scheme, listen: &ListenAddress, workers: usize, share: bool) -> io::Result<Sockets> {
    // The first socket takes the address for itself: one that another process listens on is refused, which
    // sharing it would hide. Then it lets the others in. Port 0 gets its number here.
    let first = socket(listen.address, listen.only_v6)?;
    first.set_reuse_port(share)?;
    first.bind(&SockAddr::from(listen.address))?;
    first.listen(BACKLOG)?;
    first.set_reuse_port(true)?;
    let first = TcpListener::from(first);
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(another(address, listen.only_v6)?);
    }
    let bound = Bound { scheme, address, written: listen.address, only_v6: listen.only_v6 };
    Ok(Sockets { bound, sockets })
}

/// Goes on with sockets that somebody else bound, with one for each worker at least.
fn go_on(
    scheme: Scheme,
    listen: &ListenAddress,
    workers: usize,
    mut sockets: Vec<TcpListener>,
) -> io::Result<Sockets> {
    let address = sockets[0].local_addr()?;
    for index in sockets.len()..workers {
        // The address can be shared with sockets of the same user that were made to share it. Where it cannot be,
        // two workers take turns at one queue.
        let next =
            another(address, listen.only_v6).or_else(|_| sockets[index % sockets.len()].try_clone())?;
        sockets.push(next);
    }
    Ok(Sockets {
        bound: Bound { scheme, address, written: listen.address, only_v6: listen.only_v6 },
        sockets,
    })
}

/// All sockets of the first address of this name. Port 0 may be written more than once.
fn take(inherited: &mut Vec<Inherited>, scheme: Scheme, written: SocketAddr) -> Vec<TcpListener> {
    let is_it = |one: &Inherited| one.written == written && one.scheme.is_none_or(|of| of == scheme);
    let Some(first) = inherited.iter().position(is_it) else {
        return Vec::new();
    };
    let mut sockets = inherited.remove(first).sockets;
    let address = sockets.first().and_then(|socket| socket.local_addr().ok());
    // One address may have come in several pieces.
    let same = |one: &mut Inherited| {
        is_it(one) && one.sockets.first().and_then(|socket| socket.local_addr().ok()) == address
    };
    inherited.extract_if(.., same).for_each(|more| sockets.extend(more.sockets));
    sockets
}

/// One more socket of an address that is shared.
fn another(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let next = socket(address, only_v6)?;
    next.set_reuse_port(true)?;
    next.bind(&SockAddr::from(address))?;
    next.listen(BACKLOG)?;
    Ok(next.into())
}

fn socket(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Accepted sockets inherit it: no system call for each connection.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}
