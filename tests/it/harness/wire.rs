//! A connected socket, TCP or unix.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use super::PATIENCE;

pub enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    pub fn tcp(stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire::Tcp(stream))
    }

    pub fn unix(stream: UnixStream) -> io::Result<Wire> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire::Unix(stream))
    }

    pub fn try_clone(&self) -> io::Result<Wire> {
        match self {
            Wire::Tcp(stream) => stream.try_clone().map(Wire::Tcp),
            Wire::Unix(stream) => stream.try_clone().map(Wire::Unix),
        }
    }

    pub fn set_nonblocking(&self) {
        let set = match self {
            Wire::Tcp(stream) => stream.set_nonblocking(true),
            Wire::Unix(stream) => stream.set_nonblocking(true),
        };
        set.expect("an open socket");
    }

    pub fn shutdown(&self, how: Shutdown) {
        // The peer may have gone.
        let _ = match self {
            Wire::Tcp(stream) => stream.shutdown(how),
            Wire::Unix(stream) => stream.shutdown(how),
        };
    }

    /// Makes the close to come a reset. Unix sockets have none.
    pub fn reset_on_close(&self) {
        if let Wire::Tcp(stream) = self {
            socket2::SockRef::from(stream)
                .set_linger(Some(std::time::Duration::ZERO))
                .expect("an open socket takes SO_LINGER");
        }
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.read(into),
            Wire::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.write(bytes),
            Wire::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
