//! h2o with one thread.

use std::fs;
use std::io;
use std::process::Command;

use super::Setting;

pub fn prepare(setting: &Setting<'_>, command: &mut Command) -> io::Result<()> {
    let text = format!(
        r#"num-threads: 1
max-connections: {connections}
http1-request-timeout: 10
proxy.preserve-host: ON
proxy.timeout.keepalive: 60000
hosts:
  "bench.test":
    listen:
      host: {http_host}
      port: {http_port}
    listen:
      host: {https_host}
      port: {https_port}
      ssl:
        certificate-file: {certificate}
        key-file: {key}
        minimum-version: TLSv1.3
        ocsp-update-interval: 0
    paths:
      "/secure":
        redirect:
          status: 302
          url: "https://bench.test/secure"
      "/":
        proxy.reverse.url: "http://{upstream}/"
"#,
        connections = (setting.descriptors - 256) / 2,
        http_host = setting.http.ip(),
        http_port = setting.http.port(),
        https_host = setting.https.ip(),
        https_port = setting.https.port(),
        certificate = setting.pair.certificate.display(),
        key = setting.pair.key.display(),
        upstream = setting.upstream,
    );
    let file = setting.directory.join("h2o.yaml");
    fs::write(&file, text)?;
    command.arg("-m").arg("worker").arg("-c").arg(file);
    Ok(())
}
