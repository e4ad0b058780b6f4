//! A store for tests: redis-server, on an address of its own, with nothing on disk.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::pebble::{free_address, is_installed};
use super::skip_without;

/// A running store; ended when dropped.
pub struct Redis {
    child: Option<Child>,
    pub address: SocketAddr,
    options: Vec<String>,
    is_tls: bool,
    files: TempDir,
}

impl Redis {
    /// `None`: it is not installed, which was said.
    pub fn start() -> Option<Redis> {
        Redis::start_with(&[])
    }

    /// With options more, as in its configuration.
    pub fn start_with(options: &[&str]) -> Option<Redis> {
        Redis::new(options, false)
    }

    /// With TLS, and nothing without.
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Option<Redis> {
        let files = [certificate, key].map(|path| path.to_str().expect("a path of ours"));
        Redis::new(
            &["--tls-cert-file", files[0], "--tls-key-file", files[1], "--tls-auth-clients", "no"],
            true,
        )
    }

    fn new(options: &[&str], is_tls: bool) -> Option<Redis> {
        if !is_installed("redis-server") {
            skip_without("redis-server");
            return None;
        }
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let files = TempDir::with_prefix("portcullis-redis-").expect("a temporary directory");
        let mut redis = Redis { child: None, address: free_address(), options, is_tls, files };
        redis.run();
        Some(redis)
    }

    /// Starts it, with nothing in it.
    pub fn run(&mut self) {
        let port = self.address.port().to_string();
        let ports = if self.is_tls { ["--port", "0", "--tls-port"] } else { ["--tls-port", "0", "--port"] };
        let child = Command::new("redis-server")
            .args(ports)
            .args([&port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(self.files.path())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("it is installed"));
        super::wait_until("the store listens", || TcpStream::connect(self.address).is_ok());
    }

    /// Ends it; what was in it is lost.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "rediss" } else { "redis" }, self.address)
    }

    /// What it answers to a command, as it stands on the wire.
    pub fn ask(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        // Behind the answer, so that its end is known.
        command += "*1\r\n$4\r\nQUIT\r\n";
        stream.write_all(command.as_bytes()).expect("written");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("read");
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The keys that begin so.
    pub fn keys(&self, begin: &str) -> Vec<String> {
        let answer = self.ask(&["KEYS", &format!("{begin}*")]);
        answer.lines().filter(|line| line.starts_with(begin)).map(str::to_owned).collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
