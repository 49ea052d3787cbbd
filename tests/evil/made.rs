//! Two devices that agree, made once for all tests of a run: registering and logging in stretch a password four times.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use lockstep_client::{Client, Unlock, server::Server as Address};
use zeroize::Zeroizing;

use crate::{
    ground::Ground,
    people::{Device, another, register, until},
};

/// No run takes that long.
const OLD: Duration = Duration::from_hours(2);
const DEVICES: [&str; 2] = ["first", "second"];

/// The server's data, and the folders and keys of two devices, as they were after both had synced.
pub struct Made {
    folder: PathBuf,
}

impl Made {
    /// Makes it, or waits until another process of the run has.
    pub async fn once() -> Self {
        let tests = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Tests of one run share it; programs that know no run have their own.
        let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| format!("of-{}", std::process::id()));
        let folder = tests.join(format!("evil-{run}"));
        let lock = File::create(tests.join("evil.lock")).unwrap();
        let locking = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
        let _held = locking.await.unwrap().unwrap();
        if !folder.join("done").exists() {
            forget_others(tests);
            make(&folder).await;
        }
        Self { folder }
    }

    /// The name that the account was registered with.
    pub fn name(&self) -> String {
        fs::read_to_string(self.folder.join("name")).unwrap()
    }

    /// A copy of the server's data.
    pub fn data(&self, to: &Path) {
        copy(&self.folder.join("data"), to);
    }

    /// A copy of a device, which reaches the server at another address.
    pub async fn device(&self, name: &str, address: &Address) -> Device {
        let home = tempfile::tempdir().unwrap();
        copy(&self.folder.join(name), home.path());
        let path = home.path().join("profile.json");
        let mut profile: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        profile["server"] = serde_json::to_value(address).unwrap();
        fs::write(path, profile.to_string()).unwrap();
        let token = fs::read_to_string(self.folder.join(format!("{name}.token"))).unwrap();
        let client = Client::open(home.path(), &Unlock::Token(Zeroizing::new(token))).await.unwrap();
        Device { home, client }
    }
}

async fn make(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
    let ground = Ground::start().await;
    let first = register(&ground.server, &ground.name).await;
    first.add(b"one").await.unwrap();
    first.add(b"two").await.unwrap();
    first.sync().await.unwrap();
    let second = another(&ground.server, &ground.name).await;
    assert_eq!(second.contents().await, ["one", "two"]);
    first.sync().await.unwrap();
    for (device, name) in [first, second].iter().zip(DEVICES) {
        device.close().await;
        settle(device.home.path(), &folder.join(name)).await;
        fs::write(folder.join(format!("{name}.token")), &*device.unlock_token()).unwrap();
    }
    fs::write(folder.join("name"), &ground.name).unwrap();
    let data = ground.stop().await;
    settle(&data.path().join("data"), &folder.join("data")).await;
    fs::write(folder.join("done"), b"").unwrap();
}

/// What runs of long ago have left.
fn forget_others(tests: &Path) {
    for entry in fs::read_dir(tests).unwrap().flatten() {
        let made = entry.metadata().and_then(|metadata| metadata.modified());
        let old = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > OLD));
        if old && entry.path().is_dir() && entry.file_name().to_string_lossy().starts_with("evil-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Copies a folder with databases that were closed. What was beside them may vanish a moment later: then all of it is
/// copied anew.
async fn settle(from: &Path, to: &Path) {
    for _ in 0..200 {
        if !has_journal(from) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until("the folder is copied", || async {
        let _ = fs::remove_dir_all(to);
        try_copy(from, to).is_ok()
    })
    .await;
}

fn has_journal(folder: &Path) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let journal = entry.file_name().to_string_lossy().ends_with("-wal");
        journal || (entry.path().is_dir() && has_journal(&entry.path()))
    })
}

fn copy(from: &Path, to: &Path) {
    try_copy(from, to).unwrap();
}

fn try_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy(&entry.path(), &target)?;
        } else if !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
