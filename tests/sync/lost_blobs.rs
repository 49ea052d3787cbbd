//! Objects that are gone from the store though the index names them: it is seen, told, and made good by whoever has the
//! bytes.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lockstep_api::sync::{PreparedBlob, PushOutcome};
use lockstepd::{
    adapters::{filesystem::FilesystemBlobs, s3::S3Blobs},
    blobs::BlobStore,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::{
    Ground,
    blobs::{OCTETS, frame, hash, long, one, prepare, upload, without_bytes},
    in_both_modes,
    support::{
        device::{Device, id},
        mode::Mode,
        s3_process::S3Process,
    },
};

in_both_modes! {
    what_versions_keep_and_an_older_index_does_not_have_is_named_and_what_was_let_go_is_not;
}

/// A server with two long ciphertexts, each in an object of its own, and the store behind it.
struct Loss {
    ground: Ground,
    store: Box<dyn BlobStore>,
    service: Option<S3Process>,
}

impl Loss {
    async fn in_a_folder() -> Self {
        let ground = Ground::new(Mode::Embedded).await;
        let store = FilesystemBlobs::open(&ground.folder.path().join("blobs")).unwrap();
        Self { ground, store: Box::new(store), service: None }.with_two().await
    }

    async fn in_a_bucket() -> Self {
        let service = S3Process::start().await;
        let right = service.options();
        let options = [
            ("BLOBS", format!("s3://{}", right.bucket)),
            ("S3_ENDPOINT", right.endpoint.clone()),
            ("S3_ACCESS_KEY", right.access_key.clone()),
            ("S3_SECRET_KEY", right.secret_key.clone()),
        ];
        let options = options.map(|(name, value)| (format!("LOCKSTEP_{name}"), value)).to_vec();
        let ground = Ground::with_options(options).await;
        let store = Box::new(S3Blobs::new(&right));
        Self { ground, store, service: Some(service) }.with_two().await
    }

    async fn with_two(self) -> Self {
        let device = &self.ground.device;
        for bytes in [lost(), kept()] {
            upload(device, prepare(device, &bytes).await, &bytes).await;
            let pushed = device.push(vec![without_bytes(device, &bytes)]).await;
            assert_eq!(pushed[0].outcome, PushOutcome::Accepted);
        }
        self
    }

    /// Takes the objects of one ciphertext away, behind the server's back.
    async fn lose(&self) {
        let mut gone = 0;
        for object in self.store.list("", None, 100).await.unwrap() {
            if self.store.get(&object.key, 0, object.length).await.unwrap() == lost() {
                self.store.delete(&object.key).await.unwrap();
                gone += 1;
            }
        }
        assert_eq!(gone, 1);
    }

    fn lockstepd(&self, words: &[&str]) -> Output {
        lockstepd(&self.ground, words)
    }

    /// What `blobs verify` finds, and whether it is content.
    fn verified(&self) -> (Value, bool) {
        let output = self.lockstepd(&["blobs", "verify", "--json"]);
        let found = serde_json::from_slice(&output.stdout);
        (found.unwrap_or_else(|_| panic!("{output:?}")), output.status.success())
    }

    fn device(&self) -> &Device {
        &self.ground.device
    }
}

fn lockstepd(ground: &Ground, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstepd"));
    command.args(words).arg("--data").arg(ground.folder.path());
    command.envs(ground.options.iter().map(|(name, value)| (name, value)));
    command.output().unwrap()
}

fn lost() -> Vec<u8> {
    long(1)
}

fn kept() -> Vec<u8> {
    long(2)
}

/// The code, the bytes that are still to be had, and the bytes that whoever has them brings again.
async fn is_told_and_made_good(loss: &Loss) {
    assert_eq!(
        loss.verified(),
        (
            json!({ "objects": 2, "blobs": 2, "bytes": 80_000, "missing": 0,
        "missing_blobs": 0, "first": [], "unplaced": 0, "first_unplaced": [] }),
            true
        )
    );
    loss.lose().await;
    let (found, is_whole) = loss.verified();
    assert!(!is_whole);
    assert_eq!(
        (&found["objects"], &found["missing"], &found["missing_blobs"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(
        (&found["first"][0]["bytes"], &found["first"][0]["what"]),
        (&json!(40_000), &json!("it is missing"))
    );

    let device = loss.device();
    let reply = one(device, &hash(&lost())).await;
    assert_eq!((reply.status, reply.code().as_str()), (410, "blob_lost"));
    let many = format!("/v1/vaults/{}/blobs/get", device.vault);
    let both = device.post(&many, &json!({ "hashes": [hash(&lost()), hash(&kept())] })).await;
    let by_itself = [hash(&lost()).as_bytes(), &(u32::MAX - 1).to_be_bytes()[..]].concat();
    assert!(
        both.body == [by_itself, frame(&hash(&kept()), &kept())].concat(),
        "one that is lost hides no other"
    );

    let PreparedBlob::Put { url, .. } = prepare(device, &lost()).await else { panic!("it is not there") };
    assert!(url.starts_with('/'), "{url}");
    assert!(matches!(prepare(device, &kept()).await, PreparedBlob::Have { .. }));
    assert_eq!(upload(device, prepare(device, &lost()).await, &lost()).await, 204);
    assert!(one(device, &hash(&lost())).await.body == lost());
    assert!(loss.verified().1);
}

#[tokio::test]
async fn a_lost_file_of_the_folder_is_told_and_made_good_by_an_upload() {
    is_told_and_made_good(&Loss::in_a_folder().await).await;
}

#[tokio::test]
async fn a_lost_object_of_the_bucket_is_told_and_made_good_by_an_upload() {
    is_told_and_made_good(&Loss::in_a_bucket().await).await;
}

#[tokio::test]
async fn an_upload_of_several_makes_good_what_was_lost_and_leaves_the_rest() {
    let loss = Loss::in_a_folder().await;
    loss.lose().await;
    let device = loss.device();
    let frames = [frame(&hash(&lost()), &lost()), frame(&hash(&kept()), &kept())].concat();
    let path = format!("/v1/vaults/{}/blobs", device.vault);
    assert_eq!(device.send("POST", &path, &OCTETS, &frames).await.status, 204);
    assert!(one(device, &hash(&lost())).await.body == lost());
    let (found, is_whole) = loss.verified();
    assert!(is_whole);
    assert_eq!(found["bytes"], 80_000, "what was there is not stored again: {found}");
}

#[tokio::test]
async fn an_empty_bucket_is_no_whole_one_and_without_a_bucket_nothing_is_said_about_objects() {
    let mut loss = Loss::in_a_bucket().await;
    for object in loss.store.list("", None, 100).await.unwrap() {
        loss.store.delete(&object.key).await.unwrap();
    }
    let (found, is_whole) = loss.verified();
    assert_eq!((&found["missing"], is_whole), (&json!(2), false));
    let bucket = loss.ground.options.iter_mut().find(|(name, _)| name == "LOCKSTEP_BLOBS").unwrap();
    "s3://another-one".clone_into(&mut bucket.1);
    let output = loss.lockstepd(&["blobs", "verify"]);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("there is no bucket another-one: make it"), "{told}");
}

/// Statements in the tables that say where ciphertexts lie.
async fn in_the_index(ground: &Ground, sql: String) {
    let database = ground.options.iter().find(|(name, _)| name == "LOCKSTEP_CREDENTIALS");
    if let Some((_, url)) = database {
        PgConnection::connect(url).await.unwrap().execute(AssertSqlSafe(sql)).await.unwrap();
        return;
    }
    let url = format!("sqlite://{}", ground.folder.path().join("operations.sqlite").display());
    let mut file = SqliteConnection::connect(&url).await.unwrap();
    file.execute(AssertSqlSafe(sql)).await.unwrap();
    file.close().await.unwrap();
}

async fn what_versions_keep_and_an_older_index_does_not_have_is_named_and_what_was_let_go_is_not(mode: Mode) {
    let ground = Ground::new(mode).await;
    let device = &ground.device;
    let (short, purged) = (vec![5; 5_000], long(3));
    let mut pushed = vec![device.edit(crate::support::device::entry(), &[], b"in the log itself")];
    for bytes in [&lost(), &kept(), &short, &purged] {
        upload(device, prepare(device, bytes).await, bytes).await;
        pushed.push(without_bytes(device, bytes));
    }
    let last = pushed.last().unwrap().clone();
    assert!(device.push(pushed).await.iter().all(|one| one.outcome == PushOutcome::Accepted));
    let (entry, gone) = (last.header.entry, device.tombstone(last.header.entry, &[id(&last)]));
    assert_eq!(device.push(vec![gone.clone()]).await[0].outcome, PushOutcome::Accepted);
    let purge = json!({ "expect_heads": [id(&gone)] });
    let headers = [("content-type", "application/json"), ("idempotency-key", "a")];
    let path = format!("/v1/vaults/{}/entries/{entry}/purge", device.vault);
    let done = device.send("POST", &path, &headers, &serde_json::to_vec(&purge).unwrap()).await;
    assert_eq!(done.status, 200, "{}", done.code());
    let verified = || {
        let output = lockstepd(&ground, &["blobs", "verify", "--json"]);
        (serde_json::from_slice::<Value>(&output.stdout).unwrap(), output.status.code())
    };
    let (whole, code) = verified();
    assert_eq!((&whole["unplaced"], code), (&json!(0), Some(0)), "{whole}");

    let hex = |bytes: &[u8]| hash(bytes).to_string();
    let [first, second] = [hex(&lost()), hex(&short)].map(|hash| match mode {
        Mode::Embedded => format!("x'{hash}'"),
        Mode::Distributed => format!("'\\x{hash}'"),
    });
    in_the_index(&ground, format!("DELETE FROM blobs WHERE hash IN ({first}, {second})")).await;
    let (found, code) = verified();
    assert_eq!((&found["unplaced"], code), (&json!(2), Some(1)), "{found}");
    let said = lockstepd(&ground, &["blobs", "verify"]);
    let (out, err) = (String::from_utf8(said.stdout).unwrap(), String::from_utf8(said.stderr).unwrap());
    for bytes in [lost(), short] {
        assert!(out.contains(&format!("{}/{}: a version keeps it", device.vault, hex(&bytes))), "{out}");
    }
    assert!(err.contains("of 2 ciphertexts that versions keep nothing says where they lie"), "{err}");
}

fn export(loss: &Loss, folder: &TempDir) -> (Output, PathBuf) {
    let file = folder.path().join("export.jsonl");
    let account = loss.device().account.to_string();
    (
        loss.lockstepd(&["subject", "export", &account, "--reason=asked", "--out", file.to_str().unwrap()]),
        file,
    )
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_export_names_what_is_lost_has_the_rest_and_ends_with_1() {
    let (loss, folder) = (Loss::in_a_folder().await, tempfile::tempdir().unwrap());
    loss.lose().await;
    let (output, file) = export(&loss, &folder);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the export is written, but the blob store has lost 1 long ciphertexts"), "{told}");
    let lines = lines(&file);
    let of = |part: &str| lines.iter().filter(|line| line["part"] == part).collect::<Vec<_>>();
    assert_eq!(of("lost").len(), 1);
    assert_eq!((&of("lost")[0]["hash"], &of("lost")[0]["length"]), (&json!(hash(&lost())), &json!(40_000)));
    assert_eq!((of("blob").len(), &of("blob")[0]["hash"]), (1, &json!(hash(&kept()))));
    assert_eq!(lines.last().unwrap()["part"], "manifest");
}

#[tokio::test]
async fn an_export_that_breaks_off_says_why_and_leaves_no_file() {
    let (mut loss, folder) = (Loss::in_a_bucket().await, tempfile::tempdir().unwrap());
    loss.service.as_mut().unwrap().stop();
    let (output, file) = export(&loss, &folder);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the export broke off: the blob store is not reachable: "), "{told}");
    assert!(told.contains("refused"), "{told}");
    assert!(!file.exists());
}
