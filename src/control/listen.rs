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
            Err(error) => failures.push(BindFailure {
                place: listen.place.clone(),
                address: listen.address,
                error,
            }),
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
    let mut address = listen.address;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        // Port 0: the first socket gets a port and the others join it.
        let socket = bind_one(address, listen.only_v6)?;
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(Bound { scheme, address, sockets })
}

fn bind_one(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Accepted sockets inherit it: no system call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
