//! gRPC with the library people use, on both sides.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::{Issued, Setup, run_to_end, skip_without};

/// What the script of both peers prints when every call ended as it should have.
const EXPECTED: &str = "\
unary olleh me yes True
server stream 0,1,2,3,4
client stream a+b+c
both you said 0,you said 1,you said 2
not found NOT_FOUND there is no cat \u{e9}
no method UNIMPLEMENTED
deadline DEADLINE_EXCEEDED
given up 2
many 300
large True
";

#[test]
fn grpcio_makes_calls_of_every_shape() {
    // The system's has the packages of the system.
    let imports = |python: &&str| {
        let output = Command::new(python).args(["-c", "import grpc"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(python) = ["/usr/bin/python3", "python3"].into_iter().find(imports) else {
        return skip_without("python3-grpcio");
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/grpc/peer.py");
    let mut peer = Command::new(python)
        .arg(&script)
        .arg("server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut port = String::new();
    BufReader::new(peer.stdout.take().expect("piped")).read_line(&mut port).expect("its port");
    let issued = Issued::for_names(&["a.test"]);
    let sites = format!(
        "[[site]]\nname = \"any\"\nhosts = [\"a.test\"]\nupstream = [\"h2://127.0.0.1:{}\"]\n\
         certificate = [{{ source = \"files\", certificate = \"a.pem\", key = \"a.key\" }}]\n",
        port.trim()
    );
    let setup = Setup::new(&sites).limits("request_body_bytes = \"unlimited\"");
    let server = setup.file("a.pem", &issued.certificate).file("a.key", &issued.key).start();
    let certificate = server.configuration().with_file_name("a.pem");
    let mut client = Command::new(python);
    client.env("PYTHONIOENCODING", "utf-8").arg(&script).arg("client");
    let output = run_to_end(client.arg(server.https().to_string()).arg(certificate));
    // Its standard input ends: it does, too.
    drop(peer.stdin.take());
    peer.wait().expect("a child of ours");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told, EXPECTED, "{}", String::from_utf8_lossy(&output.stderr));
}
