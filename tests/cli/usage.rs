//! What is not said rightly is told apart from what does not work, by both programs alike; and where a server listens.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    device::{Answer, Device, answer},
    port::Port,
};

fn lockstepd(data: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    command.env_clear().arg("--data").arg(data).args(words).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Answer {
    answer(&command.output().unwrap())
}

#[test]
fn what_is_not_said_rightly_ends_with_2_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, nowhere) = (folder.path().join("data"), folder.path().join("nowhere"));
    let nowhere = nowhere.to_str().unwrap();
    for words in [
        &["nonsense"][..],
        &["admin"],
        &["log", "verfy"],
        &["serve", "--bogus"],
        &["serve", "--listen", "localhost"],
        &["move"],
        &["serve", "--tls-cert", nowhere],
        &["projections", "rebuild"],
        &["projections", "rebuild", "entrys"],
        &["log", "verify", "--since", nowhere],
        &["log", "verify", "--file", nowhere],
        &["log", "export", "--json"],
    ] {
        let refused = run(&mut lockstepd(&data, words));
        assert!(refused.code == 2 && !refused.err.is_empty(), "{words:?}: {refused:?}");
        assert!(refused.out.is_empty() && !data.exists(), "{words:?}");
    }
    let wrong = folder.path().join("wrong.toml");
    let wrong = wrong.to_str().unwrap();
    for content in [&b"listenn = 1"[..], b"\xff"] {
        std::fs::write(wrong, content).unwrap();
        assert_eq!(run(&mut lockstepd(&data, &["serve", "--config", wrong])).code, 2);
    }
    // It may be on a disk that comes later: whatever starts the server tries again.
    for words in [
        &["serve", "--config", nowhere][..],
        &["config", "show", "--config", nowhere],
        &["move", "--to", nowhere],
    ] {
        let unread = run(&mut lockstepd(&data, words));
        assert!(unread.code == 1 && unread.err.contains("cannot read the configuration"), "{unread:?}");
        assert!(unread.out.is_empty() && !data.exists(), "{words:?}");
    }
    let options =
        [("LISTEN", "nowhere"), ("REQUEST_TIMEOUT_S", "soon"), ("LISTENN", "x"), ("BLOBS", "ftp://x")];
    for (option, value) in options {
        let mut serve = lockstepd(&data, &["serve"]);
        serve.env("LOCKSTEP_LISTEN", "127.0.0.1:0");
        let refused = run(serve.env(format!("LOCKSTEP_{option}"), value));
        assert!(refused.code == 2 && refused.err.to_uppercase().contains(option), "{option}: {refused:?}");
    }
    let nothing = run(&mut lockstepd(&folder.path().join("other"), &["log", "verify"]));
    assert!(nothing.code == 1 && nothing.err.contains("no server has run"), "{nothing:?}");
    let device = Device::empty();
    for words in [&[][..], &["nonsense"], &["admin"], &["get"]] {
        assert_eq!(device.run(words).code, 2, "{words:?}");
    }
}

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that listens there, and its URL.
fn serving(data: &Path, listen: &str) -> (Serving, String) {
    let mut command = lockstepd(data, &["serve", "--listen", listen]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let url = lines.find_map(|line| line.strip_prefix("Lockstep serves at ").map(str::to_owned)).unwrap();
    // The last line: after it nobody misses the reader of this pipe.
    lines.find(|line| line.starts_with("Next: ")).unwrap();
    (Serving(child), url)
}

#[test]
fn a_server_that_listens_at_a_name_is_reached_by_it_and_shares_it_with_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let (first, url) = serving(&data, "localhost:0");
    assert!(url.starts_with("https://localhost:") && !url.ends_with(":0"), "{url}");
    let health = run(&mut lockstepd(&data, &["health", "--url", &url]));
    assert!(health.code == 0 && health.out.contains("\"ready\":true"), "{health:?}");
    let at = url.strip_prefix("https://").unwrap();
    let second = run(&mut lockstepd(&other, &["serve", "--listen", at]));
    assert!(second.code == 1 && second.err.contains("something else listens"), "{second:?}");
    drop(first);

    // The options alone say where it is.
    let port = Port::reserve();
    let at = format!("localhost:{}", port.number());
    let (_again, url) = serving(&data, &at);
    assert_eq!(url, format!("https://{at}"));
    let health = run(&mut lockstepd(&data, &["health", "--listen", &at]));
    assert_eq!(health.code, 0, "{health:?}");
}

#[test]
fn a_name_that_has_no_address_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(&mut lockstepd(folder.path(), &["serve", "--listen", "nobody.invalid:0"]));
    assert!(refused.code == 1 && refused.err.contains("nobody.invalid"), "{refused:?}");
    assert!(refused.err.contains("has no address"), "{refused:?}");
}
