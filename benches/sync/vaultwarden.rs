//! Vaultwarden beside us, where the run names a build of it: the same client sends edits with as much content to the
//! same disk or the same Postgres, through the API that Vaultwarden's own clients speak. What helps it is left to it: no
//! TLS, no check for a stale copy, no history, and on SQLite first the durability that it comes with.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{
    pushes::{Round, Writer, timed},
    raw,
    report::{Options, Report},
    support::{
        child,
        wire::{Reply, Wire, request},
    },
};

/// How often ours should push where it pushes once, with 32 at a time.
const LEAST: f64 = 10.0;
const ADDRESS: &str = "ada@example.org";
/// The server stretches what it gets once more, and cannot tell that this was not stretched before.
const PASSWORD: &str = "b25lIGh1bmRyZWQgYW5kIHR3ZW50eS1laWdodCBiaXQ";
/// A commit is on the disk when it is answered, as in our file. Vaultwarden's own setting is NORMAL: a commit waits for
/// the next checkpoint, and a loss of power takes it.
const DURABLE: &str = "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL;";

/// A running Vaultwarden with one account. Killed when dropped.
pub struct Vaultwarden {
    name: &'static str,
    child: Child,
    addr: SocketAddr,
    bearer: String,
    _data: TempDir,
}

impl Vaultwarden {
    /// Those that stand on what our server of this mode stands on; none where the run names no build.
    pub async fn beside(options: &Options, mode: &str) -> Vec<Self> {
        let Some(program) = &options.vaultwarden else { return Vec::new() };
        if mode == "embedded" {
            let durable = [("DATABASE_CONN_INIT", DURABLE.to_owned())];
            return vec![
                Self::start("Vaultwarden, SQLite as it comes", program, &[]).await,
                Self::start("Vaultwarden, SQLite as durable as ours", program, &durable).await,
            ];
        }
        let database = raw::database(&std::env::var("LOCKSTEP_TEST_POSTGRES").unwrap()).await;
        vec![Self::start("Vaultwarden, Postgres", program, &[("DATABASE_URL", database)]).await]
    }

    async fn start(name: &'static str, program: &Path, options: &[(&str, String)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .env_clear()
            .current_dir(data.path())
            .env("DATA_FOLDER", data.path())
            .env("DATABASE_URL", format!("sqlite://{}", data.path().join("db.sqlite3").display()))
            .env("ROCKET_PROFILE", "release")
            .env("ROCKET_ADDRESS", addr.ip().to_string())
            .env("ROCKET_PORT", addr.port().to_string())
            .env("LOG_LEVEL", "error")
            .env("WEB_VAULT_ENABLED", "false")
            .envs(options.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut started = Self { name, child, addr, bearer: String::new(), _data: data };
        started.register().await;
        started
    }

    async fn register(&mut self) {
        let mut wire = self.first_connection().await;
        let account = json!({
            "email": ADDRESS,
            "name": "Ada",
            "masterPasswordHash": PASSWORD,
            "key": sealed(64, 0),
            "kdf": 0,
            "kdfIterations": 600_000,
            "keys": { "publicKey": "A".repeat(392), "encryptedPrivateKey": sealed(1232, 0) },
        });
        let register = body("POST", "/identity/accounts/register", "", &account);
        expect_ok(&wire.exchange(&register).await.unwrap());
        let form = format!(
            "grant_type=password&scope=api%20offline_access&client_id=cli&username=ada%40example.org\
             &password={PASSWORD}&device_identifier=6f2c0b1e-7d7e-4a43-9f5e-0d2f3b8f6a11&device_name=bench&device_type=8"
        );
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let login = request("POST", "/identity/connect/token", &headers, form.as_bytes());
        let reply = wire.exchange(&login).await.unwrap();
        expect_ok(&reply);
        self.bearer = format!("Bearer {}", text(&reply.json::<Value>(), "access_token"));
    }

    /// Waits until it listens.
    async fn first_connection(&mut self) -> Wire<TcpStream> {
        loop {
            if let Ok(wire) = Wire::plain(self.addr).await {
                return wire;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended with {ended:?}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// As ours: every writer is a connection of the one device that edits an entry of its own again and again. A quarter
    /// of the edits, as each takes longer.
    pub async fn round(&self, writers: usize, each: usize) -> Round {
        let each = if writers == 1 { each / 2 } else { each / 4 };
        let mut tasks = Vec::new();
        for _ in 0..writers {
            tasks.push(self.writer(each).await);
        }
        timed(tasks, || child::cpu(self.child.id()), |reply| reply.status == 200).await
    }

    async fn writer(&self, edits: usize) -> Writer<TcpStream> {
        let mut wire = Wire::plain(self.addr).await.unwrap();
        let add = body("POST", "/api/ciphers", &self.bearer, &entry(0));
        let added = wire.exchange(&add).await.unwrap();
        expect_ok(&added);
        let path = format!("/api/ciphers/{}", text(&added.json::<Value>(), "id"));
        let edit = |n| body("PUT", &path, &self.bearer, &entry(n));
        (wire, (0..=edits).map(edit).collect())
    }

    /// Ours beside the medians of its rounds; `of` says which mode and how many at a time.
    pub fn report(&self, report: &mut Report, of: &str, (writers, ours): (usize, &Round), its: &Round) {
        let least = (writers == 32).then_some(LEAST);
        let row = |what: &str| format!("{what} beside {}{of}", self.name);
        report.ratio(&row("pushes"), "pushes/s", ours.rate, (its.rate, self.name), least);
        report.ratio(&row("p50 of a push"), "ms", ours.p50, (its.p50, self.name), None);
        report.ratio(&row("server CPU per push"), "ms", ours.cpu_ms, (its.cpu_ms, self.name), None);
    }
}

impl Drop for Vaultwarden {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A login with 600 bytes of sealed content, as our pushes have.
fn entry(n: usize) -> Value {
    json!({
        "type": 1,
        "name": sealed(32, n),
        "notes": sealed(360, n),
        "key": sealed(80, n),
        "favorite": false,
        "login": {
            "username": sealed(48, n),
            "password": sealed(64, n),
            "totp": null,
            "uris": [{ "uri": sealed(96, n), "match": null }],
        },
    })
}

/// As long as so many bytes are when they are sealed by Vaultwarden's clients; another text for each `n`.
fn sealed(bytes: usize, n: usize) -> String {
    let content = bytes.div_ceil(3) * 4;
    format!("2.{}==|{n:0>content$}|{}=", "A".repeat(22), "A".repeat(43))
}

fn body(method: &str, path: &str, bearer: &str, body: &Value) -> Vec<u8> {
    let headers = [("content-type", "application/json"), ("authorization", bearer)];
    request(method, path, &headers, &serde_json::to_vec(body).unwrap())
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_else(|| panic!("no {field} in {answer}")).to_owned()
}

fn expect_ok(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
}
