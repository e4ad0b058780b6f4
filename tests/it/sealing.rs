//! Sealed session cookies: begun on HTTPS, they exist nowhere else.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Client, Message, Server, Setup, Upstream, response_with, site};

const SEALED: &str = "session_cookies = [\"z_sid\", \"z_logon\"]\nsession_protection = \"sealed\"\n\
    dispatch = [{ name = \"all\", path = \"/*\", ssl = \"any\" }]\n";

/// Sends these fields with every response.
fn setting(fields: &'static [&'static str]) -> Upstream {
    Upstream::script(move |peer| {
        while peer.request()?.is_some() {
            let mut response = response_with(b"served");
            let at = response.len() - "\r\n\r\nserved".len();
            let fields: String = fields.iter().map(|field| format!("\r\n{field}")).collect();
            response.splice(at..at, fields.bytes());
            peer.send(&response)?;
        }
        Ok(())
    })
}

fn ask(client: &mut Client, host: &str, cookies: &[&str]) -> Message {
    let fields: String = cookies.iter().map(|cookie| format!("Cookie: {cookie}\r\n")).collect();
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    client.response()
}

fn secure(server: &Server, host: &str, cookies: &[&str]) -> Message {
    ask(&mut Client::https(server.https(), host), host, cookies)
}

fn plain(server: &Server, host: &str, cookies: &[&str]) -> Message {
    ask(&mut Client::http(server.http()), host, cookies)
}

/// What the site server saw last of `Cookie`.
fn seen(upstream: &Upstream) -> Option<String> {
    upstream.requests().last().expect("a request").field("cookie").map(str::to_owned)
}

/// The value between the first `=` and the first `;`.
fn value(field: &str) -> &str {
    field.split(';').next().expect("a part").split_once('=').expect("a value").1
}

#[test]
fn values_leave_sealed_and_come_back_open() {
    let upstream = setting(&[
        "Set-Cookie: z_sid=abc; Path=/; HttpOnly",
        "set-cookie:   z_logon = \"a b\" ;pAth=/;  SECURE ; Max-Age=60",
        "Set-Cookie: z_sid=;Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Set-Cookie: other=1; Path=/",
        "Set-Cookie: z_sidx=1",
    ]);
    let server = Server::start(&(site("one", &["one.test"], &upstream) + SEALED));
    let page = secure(&server, "one.test", &[]);
    let fields = page.all("set-cookie");
    assert_eq!(fields.len(), 5, "{fields:?}");
    assert_eq!(fields[3..], ["other=1; Path=/", "z_sidx=1"]);
    let (sid, logon, gone) = (value(fields[0]), value(fields[1]), value(fields[2]));
    assert_eq!(fields[0], format!("z_sid={sid}; Path=/; HttpOnly; Secure"));
    assert_eq!(fields[1], format!("z_logon={logon};pAth=/;  SECURE ; Max-Age=60"));
    assert_eq!(fields[2], format!("z_sid={gone};Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure"));
    assert!(!sid.contains("abc") && sid.len() > 40 && logon.len() > 40 && gone.len() > 40);

    let cookies = format!("other=1;z_sid={sid} ; z_logon={logon}");
    secure(&server, "one.test", &[&cookies, &format!("z_sid={gone}")]);
    assert_eq!(seen(&upstream).as_deref(), Some("other=1; z_sid=abc; z_logon=\"a b\"; z_sid="));
    // The same value is sealed differently each time.
    assert_ne!(value(secure(&server, "one.test", &[]).all("set-cookie")[0]), sid);
}

#[test]
fn nothing_of_a_session_is_there_on_http() {
    let upstream = setting(&["Set-Cookie: z_sid=abc", "Set-Cookie: other=1"]);
    let server = Server::start(&(site("one", &["one.test"], &upstream) + SEALED));
    let page = secure(&server, "one.test", &[]);
    let sealed = format!("z_sid={}", value(page.all("set-cookie")[0]));
    for cookies in [sealed.as_str(), "z_sid=abc", "z_sid=\"abc\"", " z_sid =abc", "z_sid", "z_sid="] {
        let page = plain(&server, "one.test", &[cookies]);
        assert_eq!(page.all("set-cookie"), ["other=1"]);
        assert_eq!(seen(&upstream), None, "{cookies}");
        plain(&server, "one.test", &[&format!("a=1; {cookies}; b=2"), cookies]);
        assert_eq!(seen(&upstream).as_deref(), Some("a=1; b=2"), "{cookies}");
    }
    for cookies in ["a=1, z_sid=abc", "a=1,z_logon", "a=1,b=2 ,\tz_sid =abc", "a, z_sid=abc"] {
        plain(&server, "one.test", &[cookies]);
        assert_eq!(seen(&upstream), None, "{cookies}");
    }
    plain(&server, "one.test", &["a=1, b=z_sid; Z_SID=2; c={\"z_sid\",1}"]);
    assert_eq!(seen(&upstream).as_deref(), Some("a=1, b=z_sid; Z_SID=2; c={\"z_sid\",1}"));
}

#[test]
fn values_that_are_not_ours_are_dropped_on_https_too() {
    let upstream = setting(&["Set-Cookie: z_sid=abc"]);
    let sites =
        site("one", &["one.test"], &upstream) + SEALED + &site("two", &["two.test"], &upstream) + SEALED;
    let server = Server::start(&sites);
    let page = secure(&server, "one.test", &[]);
    let sealed = value(page.all("set-cookie")[0]).to_owned();
    let flipped = format!("{}{}", if sealed.starts_with('A') { 'B' } else { 'A' }, &sealed[1..]);
    secure(&server, "one.test", &[&format!("z_sid={sealed}")]);
    assert_eq!(seen(&upstream).as_deref(), Some("z_sid=abc"));
    for (host, cookie) in [
        ("one.test", "z_sid=abc".to_owned()),
        ("one.test", format!("z_sid={flipped}")),
        ("one.test", format!("z_sid={sealed}A")),
        ("one.test", format!("z_sid=\"{sealed}\"")),
        ("one.test", format!("z_logon={sealed}")),
        ("two.test", format!("z_sid={sealed}")),
        ("one.test", format!("z_sid={}", "A".repeat(9000))),
    ] {
        secure(&server, host, &[&cookie]);
        assert_eq!(seen(&upstream), None, "{host} {cookie}");
    }
}

#[test]
fn the_scheme_is_the_visitors_where_a_proxy_is_trusted() {
    let upstream = setting(&["Set-Cookie: z_sid=abc"]);
    let listen = "http = [\"127.0.0.1:0\"], https = [\"127.0.0.1:0\"], trusted_proxies = [\"127.0.0.1\"]";
    let server = Setup::new(&(site("one", &["one.test"], &upstream) + SEALED)).listen(listen).start();
    let ask = |scheme: &str, cookie: &str| {
        let mut client = Client::http(server.http());
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: one.test\r\nX-Forwarded-Proto: {scheme}\r\nCookie: {cookie}\r\n\r\n"
        ));
        client.response()
    };
    let page = ask("https", "a=1");
    let sealed = format!("z_sid={}", value(page.all("set-cookie")[0]));
    ask("https", &sealed);
    assert_eq!(seen(&upstream).as_deref(), Some("z_sid=abc"));
    assert!(ask("http", &sealed).all("set-cookie").is_empty());
    assert_eq!(seen(&upstream), None);
}

#[test]
fn a_value_too_long_for_a_browser_does_not_leave() {
    let long: &'static str = format!("Set-Cookie: z_sid={}", "v".repeat(3100)).leak();
    let fits: &'static str = format!("Set-Cookie: z_sid={}", "v".repeat(3000)).leak();
    let fields: &'static [&'static str] = vec![long, fits].leak();
    let upstream = setting(fields);
    let mut server = Server::start(&(site("one", &["one.test"], &upstream) + SEALED));
    let page = secure(&server, "one.test", &[]);
    let cookies = page.all("set-cookie");
    assert_eq!(cookies.len(), 1);
    let cookie = cookies[0].strip_suffix("; Secure").expect("it is secure");
    assert!(cookie.len() <= 4097, "{}", cookie.len());
    secure(&server, "one.test", &[cookie]);
    assert_eq!(seen(&upstream).map(|cookie| cookie.len()), Some("z_sid=".len() + 3000));
    server.stop();
    for (name, count) in [
        ("session_cookies_withheld", 2),
        ("session_cookies_sealed", 2),
        ("session_cookies_opened", 1),
        ("session_cookies_dropped", 0),
    ] {
        assert_eq!(server.total(name), count, "{name}");
    }
}

#[test]
fn sessions_go_on_after_a_restart_and_end_with_the_key_file() {
    let upstream = setting(&["Set-Cookie: z_sid=abc"]);
    let sites = site("one", &["one.test"], &upstream) + SEALED;
    let state = tempfile::tempdir().expect("a directory");
    let start = || Setup::new(&sites).state_directory(state.path()).workers(2).start();
    let server = start();
    let sealed = format!("z_sid={}", value(secure(&server, "one.test", &[]).all("set-cookie")[0]));
    let file = state.path().join("session-cookie-keys");
    let mode = std::fs::metadata(&file).expect("it is made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(server);

    let server = start();
    secure(&server, "one.test", &[&sealed]);
    assert_eq!(seen(&upstream).as_deref(), Some("z_sid=abc"));
    drop(server);

    std::fs::remove_file(&file).expect("it is there");
    let server = start();
    secure(&server, "one.test", &[&sealed]);
    assert_eq!(seen(&upstream), None);
    drop(server);

    std::fs::write(&file, "no key\n").expect("writable");
    let ended = Setup::new(&sites).state_directory(state.path()).run_to_end();
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("session-cookie-keys does not hold keys of session cookies: line 1:"), "{said}");
    assert!(said.contains("do: bring the file back"), "{said}");
}

#[test]
fn a_reload_turns_sealing_on_and_off_and_keeps_the_keys() {
    let upstream = setting(&["Set-Cookie: z_sid=abc"]);
    let unsealed = SEALED.replace("sealed", "secure");
    let one = site("one", &["one.test"], &upstream);
    let mut server = Setup::new(&(one.clone() + &unsealed)).workers(2).start();
    let mut client = Client::https(server.https(), "one.test");
    assert_eq!(ask(&mut client, "one.test", &[]).all("set-cookie"), ["z_sid=abc; Secure"]);
    server.reload(&(one.clone() + SEALED));
    let page = ask(&mut client, "one.test", &["z_sid=abc"]);
    assert_eq!(seen(&upstream), None);
    let sealed = format!("z_sid={}", value(page.all("set-cookie")[0]));
    server.reload(&(one.clone() + SEALED + "is_permanent = true\n"));
    ask(&mut client, "one.test", &[&sealed]);
    assert_eq!(seen(&upstream).as_deref(), Some("z_sid=abc"));
    server.reload(&(one + &unsealed));
    ask(&mut client, "one.test", &[&sealed]);
    assert_eq!(seen(&upstream), Some(sealed));
}
