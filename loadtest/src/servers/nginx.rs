//! nginx, tuned as its documentation advises for a proxy that keeps connections.

use std::fs;
use std::io;
use std::process::Command;

use super::Setting;

pub fn prepare(setting: &Setting<'_>, command: &mut Command) -> io::Result<()> {
    let directory = setting.directory.display();
    // A worker of root's master would otherwise be `nobody`, who may not enter the directory.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let groups = if setting.post_quantum { "X25519MLKEM768:X25519" } else { "X25519" };
    let text = format!(
        r#"{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
worker_rlimit_nofile {descriptors};
events {{
    worker_connections {worker_connections};
    multi_accept on;
}}
http {{
    access_log off;
    server_tokens off;
    tcp_nodelay on;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ecdh_curve {groups};
    ssl_session_cache shared:bench:20m;
    ssl_session_timeout 5m;
    ssl_session_tickets on;
    # Wait for the client instead of filling a file, as the others do.
    proxy_max_temp_file_size 0;
    proxy_buffer_size 16k;
    proxy_buffers 8 16k;
    upstream site {{
        server {upstream};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {http} backlog=4096;
        listen {https} ssl http2 backlog=4096;
        server_name bench.test;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location /secure/ {{
            if ($scheme = http) {{ return 302 https://$host$request_uri; }}
            proxy_pass http://site;
        }}
        location / {{
            proxy_pass http://site;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header Forwarded "for=$remote_addr;host=$host;proto=$scheme";
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header Via "1.1 nginx";
        }}
    }}
}}
"#,
        descriptors = setting.descriptors,
        // Each connection of a client may need one to the upstream.
        worker_connections = setting.descriptors - 64,
        upstream = setting.upstream,
        http = setting.http,
        https = setting.https,
        certificate = setting.pair.certificate.display(),
        key = setting.pair.key.display(),
    );
    let file = setting.directory.join("nginx.conf");
    fs::write(&file, text)?;
    command.arg("-p").arg(setting.directory).arg("-e").arg("stderr").arg("-c").arg(file);
    Ok(())
}
