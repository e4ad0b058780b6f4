//! Many sites with a certificate and rules each: how long `check`, start and reload take, and in how much memory.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;

use crate::certificates::Pair;
use crate::measure::{self, Reading};
use crate::probe;
use crate::servers::{self, RunDirectory};

/// Rules of each site: the usual kinds, and the last one answers.
const RULES_EACH: usize = 10;
const PATIENCE: Duration = Duration::from_secs(300);
/// After a start and a reload: memory that is given back late.
const SETTLE: Duration = Duration::from_secs(3);

/// What one round found.
struct Round {
    check: f64,
    check_cpu: f64,
    start: f64,
    memory_mib: f64,
    reload: f64,
    memory_after_mib: f64,
}

/// Measures it and prints a line for each figure.
///
/// # Errors
/// The program does not take the configuration, or does not serve it.
pub fn run(program: &Path, sites: usize, rounds: usize) -> io::Result<()> {
    let program = fs::canonicalize(program)?;
    let directory = RunDirectory::make(&std::env::temp_dir())?;
    let http = servers::free_address()?;
    let https = servers::free_address()?;
    let last = write(&directory.0, sites, http.port(), https.port())?;
    println!("{sites} sites, a certificate (P-256) and {RULES_EACH} rules each; one worker; {rounds} rounds");
    let mut all = Vec::new();
    for _ in 0..rounds {
        all.push(round(&program, &directory.0, https.port(), &last, sites)?);
    }
    type Figure = (&'static str, &'static str, fn(&Round) -> f64);
    let figures: [Figure; 6] = [
        ("`check`", "s", |round| round.check),
        ("`check`, CPU time", "s", |round| round.check_cpu),
        ("start, to the first answer over HTTPS", "s", |round| round.start),
        ("memory after the start", "MiB", |round| round.memory_mib),
        ("reload (SIGHUP), to the first answer by it", "s", |round| round.reload),
        ("memory after the reload", "MiB", |round| round.memory_after_mib),
    ];
    for (name, unit, figure) in figures {
        let mut values: Vec<f64> = all.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (values[0], values[values.len() - 1]);
        println!("| {name} | {:.2} ({least:.2}–{most:.2}) {unit} |", values[values.len() / 2]);
    }
    Ok(())
}

/// The configuration and its files; the pair of the last site.
fn write(directory: &Path, sites: usize, http: u16, https: u16) -> io::Result<Pair> {
    let mut text = format!(
        "workers = 1\nstate_directory = \"{}\"\n[listen]\nhttp = [\"127.0.0.1:{http}\"]\n\
         https = [\"127.0.0.1:{https}\"]\n",
        directory.join("state").display()
    );
    fs::create_dir_all(directory.join("state"))?;
    let mut last = None;
    for number in 0..sites {
        let name = name_of(number, sites);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
        let certificate = CertificateParams::new(vec![name.clone()])
            .and_then(|params| params.self_signed(&key))
            .map_err(io::Error::other)?;
        let file = |end: &str| -> PathBuf { directory.join(format!("{number}.{end}")) };
        fs::write(file("pem"), certificate.pem())?;
        fs::write(file("key"), key.serialize_pem())?;
        fs::set_permissions(file("key"), fs::Permissions::from_mode(0o600))?;
        last = Some((file("pem"), file("key"), certificate.der().clone()));
        // String takes every write.
        let _ = writeln!(
            text,
            "[[site]]\nname = \"site{number}\"\nhosts = [\"{name}\"]\nupstream = [\"http://127.0.0.1:9\"]\n\
             certificate = [{{ source = \"files\", certificate = \"{number}.pem\", key = \"{number}.key\" }}]\n\
             unmatched = \"not_found\"\ndispatch = ["
        );
        for rule in 0..RULES_EACH {
            let path = match rule % 4 {
                0 => format!("/page{rule}"),
                1 => format!("/list{rule}/*"),
                2 => format!("/item{rule}/{{id:^[0-9]+$}}"),
                _ => format!("/part{rule}/{{name}}/site{number}"),
            };
            let ssl = ["true", "\"any\""][rule % 2];
            let _ = writeln!(text, "  {{ name = 'rule{rule}', path = '{path}', ssl = {ssl} }},");
        }
        text.push_str("]\n");
    }
    fs::write(directory.join("portcullis.toml"), text)?;
    let (certificate, key, der) = last.ok_or_else(|| io::Error::other("no sites"))?;
    Ok(Pair { combined: certificate.clone(), certificate, key, der: CertificateDer::into_owned(der) })
}

/// The last one has the name that is asked for.
fn name_of(number: usize, sites: usize) -> String {
    if number + 1 == sites { crate::HOST.to_owned() } else { format!("www.site{number}.test") }
}

fn round(program: &Path, directory: &Path, https: u16, last: &Pair, sites: usize) -> io::Result<Round> {
    let file = directory.join("portcullis.toml");
    let began = Instant::now();
    let before = Reading::of_ended_children()?;
    let check = Command::new(program).arg("check").arg("-c").arg(&file).stdout(Stdio::null()).output()?;
    let check_seconds = began.elapsed().as_secs_f64();
    let check_cpu = (Reading::of_ended_children()? - before) as f64 / 100.0;
    if !check.status.success() {
        let words = String::from_utf8_lossy(&check.stderr);
        let words: String = words.lines().take(10).map(|line| format!("{line}\n")).collect();
        return Err(io::Error::other(format!("check refuses {sites} sites:\n{words}")));
    }

    let log = File::create(directory.join("output.log"))?;
    let began = Instant::now();
    let child = Command::new(program)
        .arg("run")
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let mut running = Running(child);
    let address = ([127, 0, 0, 1], https).into();
    wait_for(&mut running, || probe::get_https(address, last, "/none").is_ok_and(|a| a.status == 404))?;
    let start = began.elapsed().as_secs_f64();
    std::thread::sleep(SETTLE);
    let memory_mib = measure::resident_kib(&[running.0.id()])? as f64 / 1024.0;

    // Another answer says that another generation is there.
    let text = fs::read_to_string(&file)?;
    let end = text.rfind("unmatched = \"not_found\"").ok_or_else(|| io::Error::other("no last site"))?;
    let changed = format!(
        "{}alias = \"serve\"\nis_secure = true\nunmatched = \"forward\"{}",
        &text[..end],
        &text[end + "unmatched = \"not_found\"".len()..]
    );
    fs::write(&file, changed)?;
    let began = Instant::now();
    if let Some(process) = i32::try_from(running.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(process, rustix::process::Signal::HUP)?;
    }
    let reloaded =
        wait_for(&mut running, || probe::get_https(address, last, "/none").is_ok_and(|a| a.status == 502));
    let reload = began.elapsed().as_secs_f64();
    fs::write(&file, text)?;
    reloaded?;
    std::thread::sleep(SETTLE);
    let memory_after_mib = measure::resident_kib(&[running.0.id()])? as f64 / 1024.0;
    Ok(Round { check: check_seconds, check_cpu, start, memory_mib, reload, memory_after_mib })
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(running: &mut Running, mut holds: impl FnMut() -> bool) -> io::Result<()> {
    let began = Instant::now();
    while !holds() {
        if let Some(status) = running.0.try_wait()? {
            return Err(io::Error::other(format!("the program ended: {status}")));
        }
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other("it does not serve"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
