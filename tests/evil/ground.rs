//! A real server in this process, the lying one before it, devices of one account, and what it means to be caught.

use std::{collections::BTreeMap, sync::Arc};

use lockstep_api::sync::{Changes, StreamEvent};
use lockstep_client::{
    Client, Error, Unlock,
    model::{AlarmKind, Entry, SyncReport, VersionView},
    server::Server as Address,
};
use lockstep_events::{Clock, Micros, StreamId};
use lockstepd::{
    app::{self, Running},
    config::{Config, Layer},
};
use uuid::Uuid;

use crate::{
    made::Made,
    people::{Device, another, password, text},
    proxy::{Asked, Lie, Proxy},
};

/// What is done to an answer, and the alarm that it is.
pub type Forgery<T> = (AlarmKind, fn(&mut T));

/// How devices reach the server: through the liar.
pub struct Server {
    pub address: Address,
}

struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Micros {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Micros(i64::try_from(since.as_micros()).unwrap())
    }
}

pub struct Ground {
    pub server: Server,
    pub proxy: Proxy,
    pub name: String,
    running: Running,
    folder: tempfile::TempDir,
}

impl Ground {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), format!("{}@example.org", Uuid::new_v4())).await
    }

    async fn start_in(folder: tempfile::TempDir, name: String) -> Self {
        let options = Layer {
            data: Some(folder.path().join("data")),
            listen: Some("127.0.0.1:0".parse().unwrap()),
            plain_http: Some(true),
            drain_s: Some(1),
            tail_poll_ms: Some(100),
            // Tests are faster than people.
            rate_limit_factor: Some(1_000_000),
            ..Layer::default()
        };
        let running = app::start_with(Config::with(options).unwrap(), Arc::new(MachineClock)).await.unwrap();
        let proxy = Proxy::start(running.addr).await;
        let server = Server { address: proxy.address.clone() };
        Self { server, proxy, name, running, folder }
    }

    /// Stops the server; its data stays.
    pub async fn stop(self) -> tempfile::TempDir {
        self.running.shutdown().await;
        self.folder
    }

    /// The account's first device.
    pub async fn first(&self) -> Device {
        crate::people::register(&self.server, &self.name).await
    }

    /// A second device, which reads what the first has written.
    pub async fn another(&self) -> Device {
        another(&self.server, &self.name).await
    }

    /// A second device that has logged in and read nothing yet.
    pub async fn unread(&self) -> Device {
        let home = tempfile::tempdir().unwrap();
        let client = Client::login(home.path(), &self.server.address, &self.name, &password()).await.unwrap();
        Device { home, client }
    }

    /// Two devices of one account that agree about two entries.
    pub async fn two() -> (Self, Device, Device) {
        let made = Made::once().await;
        let folder = tempfile::tempdir().unwrap();
        made.data(&folder.path().join("data"));
        let ground = Self::start_in(folder, made.name()).await;
        let first = made.device("first", &ground.server.address).await;
        let second = made.device("second", &ground.server.address).await;
        // The liar learns where they are.
        for device in [&first, &second] {
            device.sync().await.unwrap();
            assert_eq!(device.contents().await, ["one", "two"]);
        }
        (ground, first, second)
    }

    /// As [`Self::two`]; then the first writes more entries, which the second has not read.
    pub async fn with_news(news: &[&str]) -> (Self, Device, Device) {
        let (ground, first, second) = Self::two().await;
        for text in news {
            first.add(text.as_bytes()).await.unwrap();
        }
        first.sync().await.unwrap();
        (ground, first, second)
    }

    /// The truth, after a lie: the device takes all of it, and says what it had to say.
    pub async fn recovers(&self, device: &Device, expected: &[&str]) {
        device.sync().await.unwrap();
        assert_eq!(device.contents().await, expected);
        assert_eq!(alarmed(device).await, []);
    }

    /// The server lies to a device: its sync ends with this alarm, which is kept on its disk; it holds what it held; and
    /// nothing that it has to say leaves it after the lie, nor anything else that is made of a secret.
    pub async fn caught(&self, device: &Device, kind: AlarmKind, lie: Lie) {
        self.lied(device, lie, |result| matches!(result, Err(Error::Alarm(raised)) if *raised == kind)).await;
        assert!(alarmed(device).await.contains(&kind), "{kind:?} is kept");
        device.acknowledge_alarms().await.unwrap();
    }

    /// As [`Self::caught`], where it is no lie about what happened but an answer that is none: a typed refusal.
    pub async fn refused(&self, device: &Device, lie: Lie, expected: fn(&Error) -> bool) {
        self.lied(device, lie, |result| matches!(result, Err(error) if expected(error))).await;
        assert_eq!(alarmed(device).await, []);
    }

    async fn lied(&self, device: &Device, lie: Lie, fits: impl Fn(&Result<SyncReport, Error>) -> bool) {
        if device.status().await.unwrap().waiting == 0 {
            device.add(b"unsaid").await.unwrap();
        }
        let before = held(device).await;
        self.proxy.tell(lie);
        let synced = device.sync().await;
        assert!(fits(&synced), "{synced:?}");
        let once = self.proxy.told();
        let synced = device.sync().await;
        assert!(fits(&synced), "{synced:?}");
        let (told, after) = self.proxy.honest();
        assert!(once > 0, "the lie was not told");
        assert!(told <= 6, "it is asked for again and again: {told}");
        nothing_secret(&after);
        assert_eq!(held(device).await, before);
    }
}

/// Everything that stands in the vault's stream.
pub async fn events(device: &Client) -> Vec<StreamEvent> {
    let status = device.status().await.unwrap();
    let vault: StreamId = status.vault.into();
    let place = status.streams.iter().find(|place| place.stream == vault).unwrap();
    let path = format!("/v1/streams/{vault}/changes?after={}.0&limit=100&wait=0&inline=16384", place.epoch);
    let (code, text) = device.api("GET", &path, None).await.unwrap();
    assert_eq!(code, 200, "{text}");
    serde_json::from_str::<Changes>(&text).unwrap().events
}

/// The entry that says something.
pub async fn entry(device: &Client, says: &str) -> Entry {
    let all = device.entries().await.unwrap();
    all.into_iter().find(|entry| entry.heads.iter().any(|head| text(head) == says)).unwrap()
}

/// Writes something else in the place of what an entry says.
pub async fn change(device: &Client, says: &str, new: &str) {
    let entry = entry(device, says).await;
    device.edit(entry.entry, &entry.head_ids(), new.as_bytes()).await.unwrap();
}

/// Everything that a device shows: each entry with its heads and what they say.
pub async fn held(device: &Client) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    let shown = |entry: &Entry| {
        let head = |head: &VersionView| format!("{} {:?} {}", head.version, head.branch, text(head));
        entry.heads.iter().map(head).collect()
    };
    for (list, of) in
        [("live", device.entries().await.unwrap()), ("deleted", device.deleted().await.unwrap())]
    {
        all.extend(of.iter().map(|entry| (format!("{list} {}", entry.entry), shown(entry))));
    }
    let status = device.status().await.unwrap();
    let counts = format!("{} {} {}", status.waiting, status.quarantined, status.key_generation);
    all.insert("counts".to_owned(), vec![counts]);
    let file = device.file_get().await.unwrap();
    all.insert("file".to_owned(), file.iter().map(|(bytes, _)| hex::encode(&**bytes)).collect());
    all
}

/// The kinds of alarm that nobody has seen yet, as another process finds them on the disk.
pub async fn alarmed(device: &Device) -> Vec<AlarmKind> {
    let anew = Client::open(device.home.path(), &Unlock::Token(device.unlock_token())).await.unwrap();
    let kept = anew.alarms().await.unwrap();
    anew.close().await;
    kept.into_iter().filter(|alarm| !alarm.seen).map(|alarm| alarm.kind).collect()
}

/// Questions name streams, ids and hashes that the server itself has told; nothing else leaves a device.
pub fn nothing_secret(after: &[Asked]) {
    let names_only = ["/blobs/get", "/versions/get", "/reconcile"];
    for asked in after {
        let harmless = asked.body.is_empty() || names_only.iter().any(|end| asked.path.ends_with(end));
        assert!(harmless, "sent after the lie: {} {}", asked.method, asked.path);
    }
}
