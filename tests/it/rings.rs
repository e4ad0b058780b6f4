//! Every set-up of the ring serves, and a process that may not have one says so and serves all the same.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;

use crate::harness::{Client, PROGRAM, Server, Setup, Upstream, any_site, skip};

/// A little of everything a ring has to do.
#[track_caller]
fn exercise(server: &Server) {
    for mut client in [Client::http(server.http()), Client::https(server.https(), "a.test")] {
        for size in [0, 10, 100_000, 1_000_000] {
            client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n"));
            client.send(vec![b'x'; size]);
            assert_eq!(client.response().body.len(), size);
        }
    }
}

#[test]
fn every_ring_serves() {
    for ring in ["defer_taskrun", "coop_taskrun", "plain", "epoll"] {
        for workers in [1, 2] {
            let upstream = Upstream::echo();
            let mut server =
                Setup::new(&any_site(&upstream)).workers(workers).flags(&["--ring", ring]).start();
            let line = server.wait_for_line("worker started");
            let fell = server.log_text().contains("cannot be set up");
            assert!(line.contains(&format!("ring={ring}")) || fell, "{line}");
            let many: Vec<_> = (0..8).map(|_| Client::http(server.http())).collect();
            exercise(&server);
            drop(many);
        }
    }
}

#[test]
fn the_log_names_the_ring_of_every_worker() {
    let upstream = Upstream::echo();
    let server = Setup::new(&any_site(&upstream)).workers(2).flags(&["--ring", "epoll"]).start();
    for worker in 0..2 {
        let words = [format!("worker={worker}"), "ring=epoll".to_owned()];
        assert!(
            server.lines().iter().any(|line| words.iter().all(|word| line.contains(word))),
            "{}",
            server.log_text()
        );
    }
}

#[test]
fn an_unprivileged_process_without_locked_memory_serves_and_says_what_it_lacks() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can start a process as another user");
    }
    const NOBODY: u32 = 65534;
    let upstream = Upstream::echo();
    let setup = Setup::new(&any_site(&upstream)).workers(2);
    // Where the user may read the program, and write its state.
    let directory = setup.directory().to_owned();
    let program = directory.join("portcullis");
    std::fs::copy(PROGRAM, &program).expect("the program is readable");
    std::fs::create_dir(directory.join("state")).expect("writable");
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).expect("ours");
    chown(directory.join("state"), Some(NOBODY), Some(NOBODY)).expect("root may");
    let program = program.to_str().expect("a plain path").to_owned();
    let mut server = setup
        .program(&program)
        .under(&["sh", "-c", "ulimit -l 0; exec \"$0\" \"$@\""])
        .start_with(|command| {
            command.uid(NOBODY).gid(NOBODY);
        });
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).expect("it runs");
    assert!(status.lines().any(|line| line.starts_with("Uid:") && line.contains("65534")), "{status}");

    let line = server.wait_for_line("worker started");
    if !line.contains("ring=defer_taskrun") {
        let warning = server.wait_for_line("this ring cannot be set up");
        for words in ["WARN", "ring=defer_taskrun", "ulimit -l", "io_uring_disabled"] {
            assert!(warning.contains(words), "{warning}");
        }
    }
    exercise(&server);
}

#[test]
fn every_thread_that_can_be_is_confined_and_says_so_to_the_kernel() {
    let upstream = Upstream::echo();
    for (keys, privileges, filter) in
        [("", "1", "2"), ("no_new_privileges = false, landlock = false, seccomp = false", "0", "0")]
    {
        let server = Setup::new(&any_site(&upstream)).workers(2).table("sandbox", keys).start();
        exercise(&server);
        let tasks = format!("/proc/{}/task", server.process());
        let mut workers = 0;
        for task in std::fs::read_dir(tasks).expect("it runs") {
            let status = task.expect("readable").path().join("status");
            let status = std::fs::read_to_string(status).expect("a thread that stays");
            let of = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.expect("Linux says so").trim().to_owned()
            };
            let name = of("Name:");
            let is_worker = name.starts_with("worker-");
            workers += usize::from(is_worker);
            // Those that start programs or read new files cannot be.
            let is_confined =
                is_worker || ["access-log", "admin", "admin-request", "watchdog"].contains(&&*name);
            // Where these cases themselves are confined, the program is, too.
            if std::fs::read_to_string("/proc/self/status").expect("ours").contains("NoNewPrivs:\t0") {
                assert_eq!(of("NoNewPrivs:"), privileges, "{status}");
                assert_eq!(of("Seccomp:"), if is_confined { filter } else { "0" }, "{status}");
            }
        }
        assert_eq!(workers, 2);
        assert!(!server.log_text().contains("not confined as it should be") || !keys.is_empty());
    }
}
