//! Binding: one listening socket for each address and worker, so that the kernel spreads connections.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::{Config, ListenAddress};
use crate::dispatch::Place;
use crate::http::Scheme;
use crate::worker::Listener;

/// Connections the kernel completes while all workers are busy.
const BACKLOG: i32 = 4096;

/// One address, bound once for each worker.
pub struct Bound {
    pub scheme: Scheme,
    /// With the port the system picked when 0 was asked for.
    pub address: SocketAddr,
    sockets: Vec<TcpListener>,
}

/// An address that could not be had.
#[derive(Debug)]
pub struct BindFailure {
    pub place: Place,
    pub address: SocketAddr,
    pub error: io::Error,
}

/// Binds every address of the configuration `workers` times.
///
/// # Errors
/// All addresses that could not be had, not just the first.
pub fn bind(config: &Config, workers: usize) -> Result<Vec<Bound>, Vec<BindFailure>> {
    let http = config.listen.http.iter().map(|address| (Scheme::Http, address));
    let https = config.listen.https.iter().map(|address| (Scheme::Https, address));
    let mut bound = Vec::new();
    let mut failures = Vec::new();
    for (scheme, listen) in http.chain(https) {
        match bind_all(scheme, listen, workers) {
            Ok(all) => bound.push(all),
            Err(error) => {
                failures.push(BindFailure { place: listen.place.clone(), address: listen.address, error })
            }
        }
    }
    if failures.is_empty() { Ok(bound) } else { Err(failures) }
}

/// Deals the sockets out: one set for each worker.
pub fn deal(bound: Vec<Bound>, workers: usize) -> Vec<Vec<Listener>> {
    let mut hands: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for address in bound {
        for (hand, socket) in hands.iter_mut().zip(address.sockets) {
            hand.push(Listener { scheme: address.scheme, socket });
        }
    }
    hands
}

fn bind_all(scheme: Scheme, listen: &ListenAddress, workers: usize) -> io::Result<Bound> {
    // The first socket takes the address for itself: one that another process listens on is refused, which
    // sharing it would hide. Then it lets the others in. Port 0 gets its number here.
    let first = socket(listen.address, listen.only_v6)?;
    first.bind(&SockAddr::from(listen.address))?;
    first.listen(BACKLOG)?;
    first.set_reuse_port(true)?;
    let first = TcpListener::from(first);
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        let next = socket(address, listen.only_v6)?;
        next.set_reuse_port(true)?;
        next.bind(&SockAddr::from(address))?;
        next.listen(BACKLOG)?;
        sockets.push(next.into());
    }
    Ok(Bound { scheme, address, sockets })
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
