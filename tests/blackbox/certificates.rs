//! A certificate of one's own: how the server asks itself by it, and how it is renewed.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{
    outside::wire,
    process::{Process, command, complaint},
};

/// The pair of a server, which an authority vouches for, under a name that is not the machine's.
struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { folder: tempfile::tempdir().unwrap() };
        pair.put(&made());
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, made: &Made) {
        fs::write(self.path("cert.pem"), &made.chain).unwrap();
        fs::write(self.path("key.pem"), &made.key).unwrap();
    }

    /// A command of the server that has this pair.
    fn command(&self, data: &Path) -> Command {
        let mut command = command(data);
        command.env("LOCKSTEP_TLS_CERT", self.path("cert.pem")).env("LOCKSTEP_TLS_KEY", self.path("key.pem"));
        command
    }
}

struct Made {
    chain: String,
    key: String,
    der: Vec<u8>,
}

fn made() -> Made {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["vault.example.org".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    Made {
        chain: format!("{}{}", leaf.pem(), authority.pem()),
        key: key.serialize_pem(),
        der: leaf.der().to_vec(),
    }
}

#[test]
fn health_knows_the_server_by_the_very_certificate_that_it_was_given_whatever_its_name() {
    let (folder, pair) = (tempfile::tempdir().unwrap(), Pair::new());
    let process = Process::of(&mut pair.command(folder.path()));
    let ask =
        |pair: &Pair| pair.command(folder.path()).args(["health", "--url", process.url()]).output().unwrap();
    let answer = ask(&pair);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    assert!(String::from_utf8_lossy(&answer.stdout).contains("\"ready\":true"));
    let said = complaint(&ask(&Pair::new()));
    assert!(said.contains("does not show this machine's certificate"), "{said}");
}

/// A server without a terminal, whose log is a file.
struct Logged {
    child: Child,
    log: PathBuf,
    addr: SocketAddr,
}

impl Logged {
    fn start(pair: &Pair, data: &Path) -> Self {
        // The port is told in the first line.
        let (out, log) = (pair.path("out"), pair.path("log"));
        let mut command = pair.command(data);
        let file = |path: &Path| Stdio::from(fs::File::create(path).unwrap());
        let child = command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&log)).spawn().unwrap();
        let told = soon(|| {
            let text = fs::read_to_string(&out).unwrap();
            text.contains("Next: ").then_some(text)
        });
        let addr = told.lines().next().unwrap().rsplit('/').next().unwrap().parse().unwrap();
        Self { child, log, addr }
    }

    fn hangup(&self) {
        assert!(
            Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap().success()
        );
    }

    async fn shown(&self) -> Vec<u8> {
        let stream = wire::tls(self.addr).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    async fn shows(&self, made: &Made) {
        let since = Instant::now();
        while self.shown().await != made.der {
            assert!(since.elapsed() < Duration::from_secs(60), "the new certificate is not shown");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn warns(&self) -> usize {
        fs::read_to_string(&self.log).unwrap().matches("another pair, which cannot be used").count()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is there in a while.
fn soon<T>(look: impl Fn() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "it does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_pair_is_shown_without_a_restart_and_one_that_does_not_fit_is_told_of_and_not_taken() {
    let (folder, pair) = (tempfile::tempdir().unwrap(), Pair::new());
    let mut server = Logged::start(&pair, folder.path());
    let (first, second) = (made(), made());
    pair.put(&first);
    server.shows(&first).await;
    // One of the two files is another's.
    fs::write(pair.path("key.pem"), &second.key).unwrap();
    server.hangup();
    soon(|| (server.warns() > 0).then_some(()));
    assert_eq!(server.shown().await, first.der);
    pair.put(&second);
    server.hangup();
    server.shows(&second).await;
    assert_eq!(server.child.try_wait().unwrap(), None, "a SIGHUP ends nothing");
}

#[cfg(unix)]
#[test]
fn files_on_another_machine_that_does_not_answer_keep_no_server_from_stopping() {
    let (folder, pair) = (tempfile::tempdir().unwrap(), Pair::new());
    let mut server = Logged::start(&pair, folder.path());
    let key = pair.path("key.pem");
    fs::remove_file(&key).unwrap();
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    // Somebody who writes has it open as soon as the server reads, and nothing comes.
    let (opened, is_read) = std::sync::mpsc::channel();
    std::thread::spawn(move || opened.send(fs::OpenOptions::new().write(true).open(key)));
    let silent = is_read.recv_timeout(Duration::from_secs(60)).expect("it does not look").unwrap();
    assert!(Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap().success());
    let since = Instant::now();
    let ended = loop {
        if let Some(ended) = server.child.try_wait().unwrap() {
            break ended;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "it does not stop");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(ended.success(), "{ended:?}");
    drop(silent);
}

#[cfg(unix)]
#[test]
fn without_a_certificate_of_its_own_a_server_goes_on_after_a_hangup_too() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::of(command(folder.path()).stdin(Stdio::null()));
    assert!(Command::new("kill").args(["-HUP", &process.id().to_string()]).status().unwrap().success());
    for _ in 0..3 {
        let answer = command(folder.path()).args(["health", "--url", process.url()]).output().unwrap();
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    }
}
