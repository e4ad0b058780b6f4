//! A certificate authority for what pebble of Debian does not have: renewal information (RFC 9773) and profiles.
//!
//! It believes whoever asks: no signature is checked, and every name is valid from the start.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use x509_parser::prelude::FromDer;

/// A running authority; it goes with the process.
pub struct FakeAuthority {
    address: SocketAddr,
    state: Arc<State>,
    files: TempDir,
}

struct State {
    issuer: CertifiedIssuer<'static, KeyPair>,
    base: String,
    orders: Mutex<Vec<Order>>,
    /// The window of each certificate, by its number, in seconds from when it is asked for.
    windows: Vec<(i64, i64)>,
    asked: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Order {
    payload: Value,
    certificate: Option<String>,
}

impl FakeAuthority {
    /// `windows`: of the first certificate, the second, and so on; the last one holds for those behind it.
    pub fn start(windows: &[(i64, i64)]) -> FakeAuthority {
        let files = TempDir::with_prefix("portcullis-authority-").expect("a temporary directory");
        let mut root = CertificateParams::new(Vec::new()).expect("no names");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name.push(rcgen::DnType::CommonName, "Fake Authority");
        let issuer = CertifiedIssuer::self_signed(root, KeyPair::generate().expect("a key")).expect("a root");
        std::fs::write(files.path().join("ca.pem"), issuer.pem()).expect("writable");
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("both versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(leaf.der().to_vec())],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            issuer,
            base: format!("https://{address}"),
            orders: Mutex::default(),
            windows: windows.to_vec(),
            asked: Mutex::default(),
        });
        let (config, serving) = (Arc::new(config), state.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, state) = (config.clone(), serving.clone());
                std::thread::spawn(move || {
                    let session = ServerConnection::new(config).expect("a session");
                    // Whoever asks may leave at any time.
                    let _ = serve(&state, StreamOwned::new(session, stream));
                });
            }
        });
        FakeAuthority { address, state, files }
    }

    /// An entry of `certificate` for it; `keys` are further ones.
    pub fn source(&self, keys: &str) -> String {
        let ca: PathBuf = self.files.path().join("ca.pem");
        format!(
            "{{ source = \"acme\", directory_url = \"https://{}/directory\", ca = {ca:?}, {keys} }}",
            self.address
        )
    }

    /// What was ordered so far.
    pub fn orders(&self) -> Vec<Value> {
        self.state.orders.lock().expect("no panic").iter().map(|order| order.payload.clone()).collect()
    }

    /// For which certificates renewal information was asked, by their identifier.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().expect("no panic").clone()
    }
}

fn serve(state: &State, mut stream: impl Read + Write) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or("").to_owned());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let payload = serde_json::from_slice::<Value>(&body).ok().and_then(|signed| {
        let payload = BASE64_URL_SAFE_NO_PAD.decode(signed["payload"].as_str()?).ok()?;
        serde_json::from_slice(&payload).ok()
    });
    let (status, fields, body) = answer(state, method, &path, payload.unwrap_or(Value::Null));
    let body = if method == "HEAD" { String::new() } else { body };
    let response = format!(
        "HTTP/1.1 {status}\r\nReplay-Nonce: nonce\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes())?;
    stream.flush()
}

/// Status, fields and body.
fn answer(state: &State, method: &str, path: &str, payload: Value) -> (&'static str, String, String) {
    let base = &state.base;
    let ok = |fields: String, body: Value| ("200 OK", fields, body.to_string());
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        (_, ["directory"]) => ok(
            String::new(),
            json!({
                "newNonce": format!("{base}/nonce"),
                "newAccount": format!("{base}/account"),
                "newOrder": format!("{base}/order"),
                "revokeCert": format!("{base}/revoke"),
                "keyChange": format!("{base}/key"),
                "renewalInfo": format!("{base}/renewal"),
                "meta": { "profiles": { "shortlived": "six days" } },
            }),
        ),
        ("POST", ["account", ..]) => (
            "201 Created",
            format!("Location: {base}/account/1\r\n"),
            json!({ "status": "valid" }).to_string(),
        ),
        ("POST", ["order"]) => {
            let mut orders = state.orders.lock().expect("no panic");
            orders.push(Order { payload, certificate: None });
            let number = orders.len() - 1;
            let body = order(base, number, &orders[number]).to_string();
            ("201 Created", format!("Location: {base}/order/{number}\r\n"), body)
        }
        ("POST", ["order", number]) => {
            let number: usize = number.parse().expect("a number of ours");
            ok(String::new(), order(base, number, &state.orders.lock().expect("no panic")[number]))
        }
        ("POST", ["finalize", number]) => {
            let number: usize = number.parse().expect("a number of ours");
            let request = BASE64_URL_SAFE_NO_PAD.decode(payload["csr"].as_str().expect("a request"));
            let mut orders = state.orders.lock().expect("no panic");
            let names = orders[number].payload["identifiers"].as_array().expect("names").clone();
            let names = names.iter().map(|name| name["value"].as_str().expect("a name").to_owned());
            let issued = issue(&state.issuer, &request.expect("base64url"), names.collect());
            orders[number].certificate = Some(issued);
            ok(String::new(), order(base, number, &orders[number]))
        }
        ("POST", ["certificate", number]) => {
            let number: usize = number.parse().expect("a number of ours");
            let text = state.orders.lock().expect("no panic")[number].certificate.clone().expect("issued");
            ("200 OK", String::new(), text)
        }
        ("GET", ["renewal", identifier]) => {
            let mut asked = state.asked.lock().expect("no panic");
            if asked.last().map(String::as_str) != Some(*identifier) {
                asked.push((*identifier).to_owned());
            }
            let window = state.windows.get(asked.len() - 1).or(state.windows.last()).expect("there is one");
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
            let moment = |seconds: i64| rfc3339(now.saturating_add_signed(seconds));
            let window = json!({ "start": moment(window.0), "end": moment(window.1) });
            ok("Retry-After: 3600\r\n".to_owned(), json!({ "suggestedWindow": window }))
        }
        (_, ["nonce"]) => ("200 OK", String::new(), String::new()),
        other => panic!("asked for {other:?}"),
    }
}

/// As RFC 3339 writes a second since 1970.
fn rfc3339(seconds: u64) -> String {
    let http = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    // Sun, 06 Nov 1994 08:49:37 GMT
    let words: Vec<&str> = http.split(' ').collect();
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.find(words[2]).expect("a month") / 3 + 1;
    format!("{}-{month:02}-{}T{}Z", words[3], words[1], words[4])
}

fn order(base: &str, number: usize, order: &Order) -> Value {
    let mut told = order.payload.clone();
    told["status"] = if order.certificate.is_some() { "valid" } else { "ready" }.into();
    told["authorizations"] = json!([]);
    told["finalize"] = format!("{base}/finalize/{number}").into();
    if order.certificate.is_some() {
        told["certificate"] = format!("{base}/certificate/{number}").into();
    }
    told
}

/// The key of a request; who made it is not checked.
struct Requested(Vec<u8>);

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn issue(issuer: &CertifiedIssuer<'static, KeyPair>, request: &[u8], names: Vec<String>) -> String {
    let (_, request) =
        x509_parser::certification_request::X509CertificationRequest::from_der(request).expect("a request");
    let key = request.certification_request_info.subject_pki.subject_public_key.data.to_vec();
    let mut params = CertificateParams::new(names).expect("names");
    params.use_authority_key_identifier_extension = true;
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(3_600)).into();
    params.not_after = (now + Duration::from_secs(90 * 86_400)).into();
    params.signed_by(&Requested(key), issuer).expect("a certificate").pem()
}
