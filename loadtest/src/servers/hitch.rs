//! hitch with one worker: TLS alone, no HTTP. A lower bound rather than a peer.

use std::fs;
use std::io;
use std::process::Command;

use super::Setting;

pub fn prepare(setting: &Setting<'_>, command: &mut Command) -> io::Result<()> {
    // It refuses to work as root.
    let user = if rustix::process::geteuid().is_root() { "user = \"nobody\"" } else { "" };
    let text = format!(
        r#"{user}
frontend = "[{host}]:{port}"
backend = "[{upstream_host}]:{upstream_port}"
pem-file = "{combined}"
workers = 1
backlog = 4096
keepalive = 3600
tls-protos = TLSv1.2 TLSv1.3
ecdh-curve = "X25519"
"#,
        host = setting.https.ip(),
        port = setting.https.port(),
        upstream_host = setting.upstream.ip(),
        upstream_port = setting.upstream.port(),
        combined = setting.pair.combined.display(),
    );
    let file = setting.directory.join("hitch.conf");
    fs::write(&file, text)?;
    command.arg(format!("--config={}", file.display()));
    Ok(())
}
