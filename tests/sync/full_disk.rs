//! The disk is full: what is stored is served, what would be written is refused in so many words, and nothing that was
//! acknowledged is lost. The data lie on a small file system of the server's own, which ends with it.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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
    in_both_modes,
    support::{
        child::Lockstepd,
        device::{Device, entry},
        mode::Mode,
        told::Told,
        wire::Reply,
    },
};

in_both_modes! {
    a_file_that_does_not_fit_is_refused_and_takes_no_room_from_others;
    a_server_that_ended_on_a_full_disk_starts_on_it_and_serves_what_is_stored;
}

const FULL: &str = "no room is left";
const OVER: &str = "nothing is refused any more for want of room";

/// A program that is `lockstepd` on a disk of 24 MiB: only its own process sees what is mounted there.
fn small_disk(folder: &Path, data: &Path) -> PathBuf {
    let apart = apart();
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

/// How a name space of its own is made: as root, or as whoever may be root in a name space of their own.
fn apart() -> &'static str {
    let may = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    if may { "-m" } else { "-rm" }
}

/// A disk of 24 MiB that stays when its server ends, and goes with this value.
struct Disk(Child);

impl Disk {
    /// Makes it where data will lie, and a program that is `lockstepd` on it.
    fn make(folder: &Path, data: &Path) -> (Self, PathBuf) {
        fs::create_dir(data).unwrap();
        let script = format!(
            "mount -t tmpfs -o size=24m,mode=700 tmpfs {} && echo it is there && exec sleep 1000000",
            data.display()
        );
        let mut keeper = Command::new("unshare");
        keeper.args([apart(), "sh", "-c", &script]).stdout(Stdio::piped());
        let mut keeper = Self(keeper.spawn().unwrap());
        let mut said = String::new();
        BufReader::new(keeper.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "it is there\n");
        let user = if apart() == "-m" { "" } else { "-U --preserve-credentials" };
        let script = format!(
            "#!/bin/sh\nexec nsenter -t {} -m {user} {} \"$@\"\n",
            keeper.0.id(),
            env!("CARGO_BIN_EXE_lockstepd")
        );
        let program = folder.join("on-a-disk-that-stays");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        (keeper, program)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The data folder as the server sees it.
fn inside(told: &Told) -> PathBuf {
    let root = Path::new("/proc").join(told.server.id().to_string()).join("root");
    root.join(told.data.strip_prefix("/").unwrap())
}

/// What else lies on the disk.
struct Ballast(PathBuf);

impl Ballast {
    /// Takes all the room that there is.
    fn fill(told: &Told) -> Self {
        let file = inside(told).join("ballast");
        assert!(fs::write(&file, vec![7; 32 * 1024 * 1024]).is_err(), "the disk of the test is not small");
        Self(file)
    }

    /// Leaves so much room again.
    fn leave(&self, bytes: u64) {
        let file = fs::File::options().write(true).open(&self.0).unwrap();
        file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
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

async fn a_file_that_does_not_fit_is_refused_and_takes_no_room_from_others(mode: Mode) {
    let mut told = Told::start_by(&mode.options().await, small_disk);
    let one = Device::register(told.server.addr).await;
    let other = Device::register(told.server.addr).await;
    Ballast::fill(&told).leave(4 * 1024 * 1024);
    let large = vec![9; 9_000_000];
    let put = format!("/v1/vaults/{}/blobs/{}?size={}", one.vault, hash(&large), large.len());
    for _ in 0..2 {
        no_room(&one.send("PUT", &put, &OCTETS, &large).await, "long ciphertexts");
        let parts = fs::read_dir(inside(&told).join("uploads")).unwrap();
        assert_eq!(parts.map(|part| part.unwrap().metadata().unwrap().len()).sum::<u64>(), 0);
        for _ in 0..10 {
            let written = other.push(vec![other.edit(entry(), &[], &[3; 12_000])]).await;
            assert_eq!(written[0].outcome, PushOutcome::Accepted);
        }
    }
    assert_eq!(told.health().await.1["log"], "ok");
    told.server.kill();
}

async fn a_server_that_ended_on_a_full_disk_starts_on_it_and_serves_what_is_stored(mode: Mode) {
    let (options, mut made) = (mode.options().await, None);
    let mut told = Told::start_by(&options, |folder, data| {
        let (disk, program) = Disk::make(folder, data);
        made = Some((disk, program.clone()));
        program
    });
    let (_disk, program) = made.unwrap();
    let mut device = Device::register(told.server.addr).await;
    let kept = vec![device.edit(entry(), &[], b"before")];
    device.push(kept.clone()).await;
    Ballast::fill(&told);
    told.server.kill();
    let errors = fs::File::options().append(true).open(&told.log).unwrap();
    let data = told.data.clone();
    told.server = Lockstepd::start_writing(
        program.to_str().unwrap(),
        &data,
        "127.0.0.1:0",
        &options,
        Stdio::from(errors),
    );
    device.addr = told.server.addr;
    all_are_there(&device, &kept).await;
    let said = told.says("how far the log was read for erasures cannot be noted now").await;
    assert!(said.contains("WARN") && said.contains("shred-scan.json"), "{said}");
    let mark = inside(&told).join("keys/shred-scan.json");
    let before = fs::read(&mark).unwrap();
    fs::remove_file(inside(&told).join("ballast")).unwrap();
    let until = Instant::now() + Duration::from_mins(3);
    while fs::read(&mark).unwrap() == before {
        assert!(Instant::now() < until, "it is never noted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    told.server.kill();
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
