//! The disk is full: what is stored is served, what would be written is refused in so many words, and nothing that was
//! acknowledged is lost. The data lie on a small file system of the server's own, which ends with it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use lockstep_api::{
    account::LoginStart,
    sync::{PushItem, PushOutcome},
};
use lockstep_client::crypto::{opaque::Login, os_random, password::Password};
use serde_json::{Value, json};

use crate::{
    blobs::{OCTETS, hash, one},
    support::{
        device::{Device, entry},
        told::Told,
        wire::Reply,
    },
};

const FULL: &str = "no room is left";
const OVER: &str = "nothing is refused any more for want of room";

/// A program that is `lockstepd` on a disk of 24 MiB: only its own process sees what is mounted there.
fn small_disk(folder: &Path, data: &Path) -> PathBuf {
    let may =
        |args: &[&str]| Command::new("unshare").args(args).arg("true").status().is_ok_and(|s| s.success());
    // As root, or as whoever may be root in a name space of their own.
    let apart = if may(&["-m"]) { "-m" } else { "-rm" };
    let program = folder.join("on-a-small-disk");
    let script = format!(
        "#!/bin/sh\nexec unshare {apart} sh -c 'mount -t tmpfs -o size=24m,mode=700 tmpfs {data} && exec \"$@\"' \
         {data} {lockstepd} \"$@\"\n",
        data = data.display(),
        lockstepd = env!("CARGO_BIN_EXE_lockstepd"),
    );
    fs::create_dir(data).unwrap();
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    program
}

/// What else lies on the disk.
struct Ballast(PathBuf);

impl Ballast {
    /// Takes all the room that there is.
    fn fill(told: &Told) -> Self {
        let inside = told.data.strip_prefix("/").unwrap();
        let file =
            Path::new("/proc").join(told.server.id().to_string()).join("root").join(inside).join("ballast");
        assert!(fs::write(&file, vec![7; 32 * 1024 * 1024]).is_err(), "the disk of the test is not small");
        Self(file)
    }

    fn take_away(self) {
        fs::remove_file(self.0).unwrap();
    }
}

fn no_room(reply: &Reply, store: &str) {
    let problem: Value = reply.json();
    assert_eq!((reply.status, problem["code"].as_str().unwrap()), (507, "no_room"), "{problem}");
    assert_eq!(reply.header("retry-after"), Some("30"));
    assert!(problem["detail"].as_str().unwrap().contains(store), "{problem}");
}

/// Writes until the log takes no more; what it took.
async fn write_until_refused(device: &Device) -> Vec<PushItem> {
    let mut taken = Vec::new();
    // The journal of the log may have a few pages left.
    for _ in 0..2_000 {
        let item = device.edit(entry(), &[], &[3; 12_000]);
        let reply = device.post(&device.push_path(), &device.batch(vec![item.clone()])).await;
        if reply.status != 200 {
            no_room(&reply, "events");
            return taken;
        }
        taken.push(item);
    }
    panic!("the disk never was full");
}

async fn all_are_there(device: &Device, items: &[PushItem]) {
    for item in items {
        let content = item.inline.as_ref().unwrap();
        assert!(one(device, &hash(&content.0)).await.body == content.0, "an acknowledged version is lost");
    }
    assert_eq!(device.seq().await, items.len() as u64 + 1, "one is missing, or stands twice");
}

async fn begin_login(device: &Device) -> Reply {
    let password = Password::new("violet anchor mumbles seventeen".to_owned());
    let (_, message) = Login::start(&password, &mut os_random()).unwrap();
    let start = LoginStart { name: device.name.clone(), request: message.into(), device: None };
    device.post("/v1/sessions/start", &start).await
}

#[tokio::test]
async fn a_full_disk_is_told_once_refused_in_words_read_on_and_heals_when_there_is_room() {
    let mut told = Told::start_by(&[], small_disk);
    let device = Device::register(told.server.addr).await;
    let mut kept = vec![device.edit(entry(), &[], b"before")];
    device.push(kept.clone()).await;
    let ballast = Ballast::fill(&told);

    kept.extend(write_until_refused(&device).await);
    let large = vec![9; 900_000];
    let put = format!("/v1/vaults/{}/blobs/{}?size={}", device.vault, hash(&large), large.len());
    no_room(&device.send("PUT", &put, &OCTETS, &large).await, "long ciphertexts");
    for _ in 0..20 {
        let refused = device.edit(entry(), &[], &[4; 12_000]);
        let refused = device.post(&device.push_path(), &device.batch(vec![refused])).await;
        no_room(&refused, "events");
    }
    all_are_there(&device, &kept).await;

    let said = told.lines(FULL);
    assert_eq!(said.iter().filter(|line| line.contains("port=\"log\"")).count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|line| line.contains("port=\"blobs\"")).count(), 1, "{said:?}");
    assert!(said[0].contains("ERROR") && said[0].contains("full"), "{said:?}");
    let (status, ports) = told.health().await;
    assert_eq!((status, &ports["log"], &ports["blobs"]), (200, &json!("full"), &json!("full")), "{ports}");
    assert!(told.metrics().await.contains("\nlockstep_no_room{port=\"log\"} 1"));

    ballast.take_away();
    let after = device.edit(entry(), &[], b"after");
    let pushed = device.push(vec![after.clone()]).await;
    assert_eq!(pushed[0].outcome, PushOutcome::Accepted, "it goes on at once");
    kept.push(after);
    let until = Instant::now() + Duration::from_mins(1);
    while told.health().await.1["log"] != "ok" {
        assert!(Instant::now() < until, "it never is whole again");
        tokio::time::sleep(Duration::from_millis(500)).await;
        kept.push(device.edit(entry(), &[], b"once more"));
        device.push(vec![kept.last().unwrap().clone()]).await;
    }
    assert!(told.says(OVER).await.contains("INFO"));
    assert!(told.metrics().await.contains("\nlockstep_no_room{port=\"log\"} 0"));
    assert_eq!(device.send("PUT", &put, &OCTETS, &large).await.status, 204);
    assert_eq!(begin_login(&device).await.status, 200);
    all_are_there(&device, &kept).await;
    let defects: Vec<_> = told.lines(" ERROR ").into_iter().filter(|line| !line.contains(FULL)).collect();
    assert!(defects.is_empty(), "{defects:?}");
    told.server.kill();
}
