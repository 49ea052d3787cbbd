//! A device that slept for a month: what it wrote meanwhile is not lost, though the server pruned what that was made on.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lockstep_events::{Clock, Micros};
use lockstepd::{
    app,
    config::{Config, Layer},
    retention::prune,
};
use serde_json::{Value, json};

use crate::{
    device::{Device, NAME},
    mode::Mode,
};

in_both_modes! {
    an_offline_edit_of_a_version_whose_file_was_pruned_is_in_conflict_and_not_lost,
}

/// The machine's clock, and what has passed since.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Micros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Micros(i64::try_from(since.as_micros()).unwrap()).plus_seconds(self.0.load(Ordering::SeqCst))
    }
}

fn an_offline_edit_of_a_version_whose_file_was_pruned_is_in_conflict_and_not_lost(mode: Mode) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (data, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
    let options = runtime.block_on(mode.options());
    let given = |name: &str| options.iter().find(|(of, _)| of == name).map(|(_, value)| value.clone());
    let config = Config::with(Layer {
        data: Some(data.path().join("data")),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        plans: Some("free = { history_days = 10 }".parse().unwrap()),
        default_plan: Some("free".to_owned()),
        rate_limit_factor: Some(1_000_000),
        ..Layer::from_environment(given).unwrap()
    });
    let running = runtime.block_on(app::start_with(config.unwrap(), clock.clone())).unwrap();
    let enter = |device: &Device, verb: &str| {
        let fingerprint = running.fingerprint.as_ref().unwrap();
        device.run(&[verb, "--server", &running.url, "--email", NAME, "--fingerprint", fingerprint])
    };
    let [laptop, phone] = [Device::empty(), Device::empty()];
    assert_eq!(enter(&laptop, "register").code, 0);
    laptop.ok(&["add", "e", "--type", "note"]);
    let file = laptop.home().join("a1.bin");
    fs::write(&file, vec![7; 50_000]).unwrap();
    laptop.ok(&["attachment", "add", "e", file.to_str().unwrap()]);
    assert_eq!(enter(&phone, "login").code, 0);
    phone.ok(&["--offline", "edit", "e", "--set", "notes=mine"]);
    phone.ok(&["--offline", "edit", "e", "--set", "notes=mine, all of it"]);
    laptop.ok(&["edit", "e", "--set", "notes=of the laptop"]);
    laptop.ok(&["attachment", "rm", "e", "a1.bin"]);

    clock.0.fetch_add(32 * 24 * 3600, Ordering::SeqCst);
    runtime.block_on(async {
        lockstepd::commands::account::caught_up(&running.server).await.unwrap();
        prune(&running.server).await.unwrap();
    });
    let entered = enter(&phone, "login");
    assert_eq!(entered.code, 0, "{}", entered.err);
    let status = phone.json(&["status"]);
    assert_eq!((&status["quarantined"], &status["waiting"]), (&json!(0), &json!(0)), "{status}");
    assert_eq!(phone.json(&["conflicts"]).as_array().map(Vec::len), Some(1));
    assert_eq!(enter(&laptop, "login").code, 0);
    for device in [&laptop, &phone] {
        device.ok(&["sync"]);
        let conflicts = device.json(&["conflicts"]);
        let heads = conflicts[0]["heads"].as_array().unwrap().iter();
        let heads = heads.map(|head| head["version"].as_str().unwrap().to_owned());
        let mut notes: Vec<_> =
            heads.map(|head| device.ok(&["get", "e", "notes", "--version", &head])).collect();
        notes.sort();
        assert_eq!(notes, ["mine, all of it\n", "of the laptop\n"]);
        let history = device.json(&["history", "e"]);
        let refused = |version: &&Value| version["refused"] == json!(true);
        assert_eq!(history["versions"].as_array().unwrap().iter().filter(refused).count(), 0, "{history}");
    }
    // The file is gone, as the side that named it says; what is made of that side goes on.
    let gone = laptop.run(&["attachment", "get", "e", "a1.bin", "--out", laptop.home().to_str().unwrap()]);
    assert_ne!(gone.code, 0, "{}", gone.err);
    let conflicts = phone.json(&["conflicts"]);
    let own = conflicts[0]["heads"].as_array().unwrap().iter().map(|head| head["version"].as_str().unwrap());
    let own = own.filter(|head| phone.ok(&["get", "e", "notes", "--version", head]).starts_with("mine"));
    let own = own.collect::<Vec<_>>();
    let [own] = own[..] else { panic!("{own:?}") };
    phone.ok(&["resolve", "e", "--keep", own]);
    assert_eq!(phone.json(&["edit", "e", "--set", "notes=after"])["sent"], json!(true));
    laptop.ok(&["sync"]);
    assert_eq!(laptop.ok(&["get", "e", "notes"]), "after\n");
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), running.shutdown()).await })
        .unwrap();
}
