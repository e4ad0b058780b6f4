//! `portcullis demo`: the real program with a configuration and a site server built in.

mod site_server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::cli::logging;
use crate::config::{self, Config, FilesInMemory, LogLevel, Overrides, Problems};
use crate::control;
use crate::http::Scheme;
use crate::worker::Ring;

/// The configuration, but for the addresses: `examples/demo.toml` is the same file.
const CONFIGURATION: &str = include_str!("../../examples/demo.toml");
/// Where its relative paths begin; nothing is read from there.
const NAME: &str = "demo.toml";

/// Serves the demo until it is stopped.
pub fn main(http: &str, https: &str) -> ExitCode {
    logging::start(LogLevel::Warn);
    match serve(http, https) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("portcullis: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(http: &str, https: &str) -> Result<(), String> {
    let site_server = site_server::start().map_err(|error| format!("the demo's site server: {error}"))?;
    let state = state_directory()?;
    let config =
        configuration(http, https, site_server, state.path()).map_err(|problems| problems.to_string())?;
    let (path, http, https) = (state.path().to_owned(), http.to_owned(), https.to_owned());
    let ended = control::run(control::Start {
        config,
        ring: Ring::DeferTaskrun,
        predecessor: None,
        program: None,
        reread: Arc::new(move || configuration(&http, &https, site_server, &path)),
        ready: Box::new(|addresses, _| {
            let of = |scheme| addresses.iter().find(|(s, _)| *s == scheme).map(|(_, address)| address.port());
            if let (Some(http), Some(https)) = (of(Scheme::Http), of(Scheme::Https)) {
                print_lines(http, https);
            }
        }),
        reloaded: Box::new(|_| {}),
    });
    ended.map(|_| ()).map_err(|failure| failure.to_string())
}

fn configuration(http: &str, https: &str, site_server: SocketAddr, state: &Path) -> Result<Config, Problems> {
    let text = CONFIGURATION.replace("127.0.0.1:8000", &site_server.to_string());
    let text = format!("state_directory = \"{}\"\n{text}", state.display());
    let overrides =
        Overrides { http: vec![http.to_owned()], https: vec![https.to_owned()], ..Overrides::default() };
    let mut files = FilesInMemory::default().with(NAME, text);
    config::read(Path::new(NAME), &mut files, &overrides)
}

/// Where the demo's certificate is kept while it runs; removed afterwards.
struct StateDirectory(PathBuf);

impl StateDirectory {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StateDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn state_directory() -> Result<StateDirectory, String> {
    let path = std::env::temp_dir().join(format!("portcullis-demo-{}", std::process::id()));
    std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(StateDirectory(path))
}

/// Prints the lines the README shows, with the ports in use.
fn print_lines(http: u16, https: u16) {
    println!(
        "Portcullis serves a small site on http://localhost:{http}/ and https://localhost:{https}/.
Try it (-k: its certificate is self-signed):

  # a page over HTTPS
  curl -k https://localhost:{https}/

  # a rule with ssl = true: redirected to HTTPS
  curl -i http://localhost:{http}/logon

  # a rule with ssl = false: redirected to HTTP
  curl -k -i https://localhost:{https}/video/1

  # a rule with ssl = \"any\": keeps its scheme
  curl -i http://localhost:{http}/lib/site.css
  curl -k -i https://localhost:{https}/lib/site.css

  # a second connection resumes the TLS session: see \"session\" in the output
  curl -k -v --http1.1 -H 'Connection: close' https://localhost:{https}/ https://localhost:{https}/

  # an upload, echoed back
  curl -k --data-binary 'hello, portcullis' https://localhost:{https}/echo

Stop it with Ctrl-C."
    );
}
