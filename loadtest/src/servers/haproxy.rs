//! HAProxy with one thread, connections to the upstream shared by all clients.

use std::fs;
use std::io;
use std::process::Command;

use super::Setting;

pub fn prepare(setting: &Setting<'_>, command: &mut Command) -> io::Result<()> {
    let groups = if setting.post_quantum { "X25519MLKEM768:X25519" } else { "X25519" };
    let text = format!(
        r#"global
    nbthread 1
    maxconn {connections}
    tune.ssl.cachesize 20000
    tune.ssl.lifetime 300

defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 75s
    option http-keep-alive
    option forwardfor
    http-reuse always

frontend site
    bind {http} backlog 4096
    bind {https} backlog 4096 ssl crt {combined} ssl-min-ver TLSv1.2 curves {groups} alpn h2,http/1.1
    http-request redirect scheme https code 302 if !{{ ssl_fc }} {{ path_beg /secure/ }}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header Forwarded for=%[src];host=%[req.hdr(host)];proto=https
    http-request set-header X-Request-Id %[uuid()]
    http-request set-header Via "1.1 haproxy"
    default_backend site

backend site
    server site {upstream} pool-max-conn -1
"#,
        // A client's connection and one to the upstream each.
        connections = (setting.descriptors - 256) / 2,
        http = setting.http,
        https = setting.https,
        combined = setting.pair.combined.display(),
        upstream = setting.upstream,
    );
    let file = setting.directory.join("haproxy.cfg");
    fs::write(&file, text)?;
    command.arg("-db").arg("-f").arg(file);
    Ok(())
}
