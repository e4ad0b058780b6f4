//! A certificate authority for tests: pebble, with a name server that says every name is here.
//!
//! It rejects nonces and reuses authorizations as it likes, as real ones may. It has no port 0, so ports are chosen
//! below those that the system gives to others.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::skip_without;

/// A running CA; ended when dropped.
pub struct Pebble {
    child: Child,
    names: Child,
    /// Where the programs under test must listen for validations.
    pub http: SocketAddr,
    pub https: SocketAddr,
    directory: SocketAddr,
    names_control: SocketAddr,
    dns: SocketAddr,
    nonces_rejected: u8,
    files: TempDir,
}

/// How a CA differs from the others.
pub struct PebbleSetup {
    /// Seconds that its certificates are valid for.
    pub validity: u64,
    /// Of a hundred good nonces so many are rejected.
    pub nonces_rejected: u8,
    /// It wants external account bindings, with this key and secret.
    pub binding: Option<(&'static str, &'static str)>,
}

impl Default for PebbleSetup {
    fn default() -> PebbleSetup {
        PebbleSetup { validity: 7_776_000, nonces_rejected: 15, binding: None }
    }
}

impl Pebble {
    /// `None`: it is not installed, which was said.
    pub fn start() -> Option<Pebble> {
        PebbleSetup::default().start()
    }

    /// Another CA in its place: same addresses, no memory.
    pub fn restart(mut self) -> Pebble {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child =
            start(&self.files.path().join("pebble.json"), &self.dns, self.nonces_rejected, self.directory);
        self
    }

    /// The file with the certificate that its directory is trusted by.
    pub fn ca(&self) -> PathBuf {
        self.files.path().join("ca.pem")
    }

    pub fn directory_url(&self) -> String {
        format!("https://{}/dir", self.directory)
    }

    /// An entry of `certificate` for this CA; `keys` are further ones.
    pub fn source(&self, keys: &str) -> String {
        format!(
            "{{ source = \"acme\", directory_url = {:?}, contact = [\"it@a.test\"], ca = {:?}{}{keys} }}",
            self.directory_url(),
            self.ca(),
            if keys.is_empty() { "" } else { ", " },
        )
    }

    /// The listeners that validations go to.
    pub fn listen(&self) -> String {
        format!("http = [\"{}\"], https = [\"{}\"]", self.http, self.https)
    }

    /// A program for dns-01 that tells this CA's name server, and writes what it does to a file beside it.
    pub fn dns_command(&self, directory: &Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join("set-record");
        let script = format!(
            "#!/bin/sh\nset -e\ncase $1 in\n\
             present) curl -sf -d \"{{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" http://{0}/set-txt ;;\n\
             cleanup) curl -sf -d \"{{\\\"host\\\":\\\"$2.\\\"}}\" http://{0}/clear-txt ;;\nesac\n\
             echo \"$1 $2\" >> {1:?}/records\n",
            self.names_control, directory
        );
        std::fs::write(&path, script).expect("a writable directory");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
        path
    }
}

impl PebbleSetup {
    /// `None`: it is not installed, which was said.
    pub fn start(self) -> Option<Pebble> {
        for program in ["pebble", "pebble-challtestsrv"] {
            if !is_installed(program) {
                skip_without(program);
                return None;
            }
        }
        let files = TempDir::with_prefix("portcullis-pebble-").expect("a temporary directory");
        issue(files.path());
        let [directory, management, http, https, dns, names_control] = [(); 6].map(|()| free_address());
        let mut config = format!(
            "{{ \"pebble\": {{ \"listenAddress\": \"{directory}\", \"managementListenAddress\": \"{management}\", \
             \"certificate\": {:?}, \"privateKey\": {:?}, \"httpPort\": {}, \"tlsPort\": {}, \
             \"certificateValidityPeriod\": {}",
            files.path().join("directory.pem"),
            files.path().join("directory.key"),
            http.port(),
            https.port(),
            self.validity,
        );
        if let Some((key, secret)) = self.binding {
            config += &format!(
                ", \"externalAccountBindingRequired\": true, \"externalAccountMACKeys\": {{ {key:?}: {secret:?} }}"
            );
        }
        config += " } }";
        let path = files.path().join("pebble.json");
        std::fs::write(&path, config).expect("writable");
        let names = Command::new("pebble-challtestsrv")
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""])
            .args(["-dns01", &dns.to_string(), "-management", &names_control.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is installed");
        let nonces_rejected = self.nonces_rejected;
        let child = start(&path, &dns, nonces_rejected, directory);
        let pebble =
            Pebble { child, names, http, https, directory, names_control, dns, nonces_rejected, files };
        super::wait_until("its name server listens", || std::net::TcpStream::connect(names_control).is_ok());
        Some(pebble)
    }
}

fn start(config: &Path, dns: &SocketAddr, nonces_rejected: u8, directory: SocketAddr) -> Child {
    let child = Command::new("pebble")
        .arg("-config")
        .arg(config)
        .args(["-dnsserver", &dns.to_string()])
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", nonces_rejected.to_string())
        .env("PEBBLE_AUTHZREUSE", "50")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it is installed");
    super::wait_until("pebble listens", || std::net::TcpStream::connect(directory).is_ok());
    child
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in [&mut self.child, &mut self.names] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether a program is to be found.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// An address nobody listens on, and that the system gives to nobody by itself.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 500).expect("below 500") * 20;
    for _ in 0..10_000 {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("bound");
        }
    }
    panic!("no free port");
}

/// A root, and a certificate for the directory signed by it.
fn issue(directory: &Path) {
    let root_key = KeyPair::generate().expect("a key");
    let mut root = CertificateParams::new(Vec::new()).expect("no names");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = root.self_signed(&root_key).expect("a certificate");
    std::fs::write(directory.join("ca.pem"), certificate.pem()).expect("writable");
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("names");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    std::fs::write(directory.join("directory.pem"), leaf.pem()).expect("writable");
    std::fs::write(directory.join("directory.key"), key.serialize_pem()).expect("writable");
}
