//! HTTP/2 with the clients people use: a browser, and the tools of nghttp2.

use std::process::Command;

use tempfile::TempDir;

use crate::harness::{
    Setup, Upstream, any_site, response_with, serve, skip_without, with_one_worker_and_two,
};

/// Resources of the page: more than most pages have, and more than fit one burst of streams.
const RESOURCES: usize = 120;

/// A page that names its resources, and what they are.
fn page_of_many(style: &'static str) -> Upstream {
    Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            let (kind, body) = match request.target() {
                "/" => ("text/html", page(style)),
                target if target.starts_with("/script/") => {
                    ("text/javascript", "window.loaded = (window.loaded || 0) + 1;".to_owned())
                }
                _ => ("text/css", ".a { color: red; }".repeat(2000)),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
            peer.send([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
        }
        Ok(())
    })
}

fn page(last: &str) -> String {
    let resources: String = (0..RESOURCES)
        .map(|number| match number % 4 {
            0 => format!("<link rel=\"stylesheet\" href=\"/style/{number}.css\">\n"),
            _ => format!("<script src=\"/script/{number}.js\"></script>\n"),
        })
        .collect();
    format!("<!doctype html><html><head>{resources}</head><body>{last}</body></html>")
}

#[test]
fn a_browser_loads_a_page_of_many_resources() {
    if Command::new("chromium").arg("--version").output().is_err() {
        return skip_without("chromium");
    }
    let upstream = page_of_many(
        "<script>addEventListener('load', () => {
            const sheets = document.styleSheets.length;
            const over = performance.getEntriesByType('resource').map((entry) => entry.nextHopProtocol);
            const other = over.filter((protocol) => protocol != 'h2').length;
            document.body.textContent = `scripts ${window.loaded}, sheets ${sheets}, not h2 ${other}`;
        });</script>",
    );
    let server = serve(&upstream);
    let profile = TempDir::with_prefix("portcullis-it-").expect("a temporary directory");
    let output = Command::new("timeout")
        .args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--ignore-certificate-errors", "--no-first-run", "--disable-background-networking"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--dump-dom", &format!("https://{}/", server.https())])
        .output()
        .expect("chromium runs");
    let page = String::from_utf8_lossy(&output.stdout);
    let sheets = RESOURCES.div_ceil(4);
    let expected = format!("scripts {}, sheets {sheets}, not h2 0", RESOURCES - sheets);
    assert!(page.contains(&expected), "{page}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nghttp_gets_a_page_with_its_assets() {
    if Command::new("nghttp").arg("--version").output().is_err() {
        return skip_without("nghttp");
    }
    let upstream = page_of_many("");
    let server = serve(&upstream);
    // Null output, assets, statistics, no check of the certificate.
    let output = Command::new("nghttp")
        .args(["-nasy", "--timeout=60", &format!("https://{}/", server.https())])
        .output()
        .expect("nghttp runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let answered = told.lines().filter(|line| line.split_whitespace().any(|word| word == "200")).count();
    assert_eq!(answered, RESOURCES + 1, "{told}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn h2load_finds_no_request_unanswered() {
    if Command::new("h2load").arg("--version").output().is_err() {
        return skip_without("h2load");
    }
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::answering(response_with(&[b'x'; 3000]));
        let server = Setup::new(&any_site(&upstream)).workers(workers).start();
        let output = Command::new("h2load")
            .args(["-n", "3000", "-c", "6", "-m", "32", &format!("https://{}/", server.https())])
            .output()
            .expect("h2load runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{told}");
        assert!(told.contains("3000 2xx"), "{told}");
    });
}
