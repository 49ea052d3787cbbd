//! Somebody who has lived here with everything that there is, so that no table about people is without a row of theirs;
//! what an export shows of it, and what an erasure leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
    time::{Duration, Instant},
};

use lockstep_api::{
    approval::AskApproval,
    privacy::ExportLine,
    sync::{BlobRef, Changes, PrepareBlobs},
};
use lockstep_events::{BlobHash, Micros, canonical::sha256, header::public_key};
use lockstepd::{
    adapters::{postgres, sqlite},
    auth::{
        credentials::Wrapped,
        factors::{FactorKind, Replacement, Staged, StoredFactor},
        identities::{Flow, Identity, IdentityKey},
    },
    erasure,
    subjects::holding::ELSEWHERE,
};
use reqwest::StatusCode;
use tracing_subscriber::{Layer, filter::filter_fn, fmt, layer::SubscriberExt};
use uuid::Uuid;

use crate::{
    both,
    canary::{canary, has},
    erasing::assert_all_forgotten,
    exporting::export,
    ground::{Life, finish, left, quick},
    leaving::overhear,
    raw::{self, Row},
    restoring::purge,
    support::{Mode, Node, body, page::Page, person::random_key, ways::Initiator},
    ways::set_recovery,
};

/// What names somebody may stay in, as [`ELSEWHERE`] says: ids, times and hashes of the log, the stones of the read models
/// and of keys.
const STAYS: [&str; 4] = ["events", "streams", "read_rows", "subject_keys"];
/// Tables whose rows do not run out by themselves within hours.
const LASTING: [&str; 10] = [
    "names",
    "passwords",
    "wraps",
    "sessions",
    "staged",
    "addresses",
    "identities",
    "oidc_flows",
    "kept_answers",
    "served",
];
/// Rows come behind what caused them: letters, places.
const PATIENCE: Duration = Duration::from_mins(2);

/// A life with everything.
struct Whole {
    life: Life,
    /// Words of theirs beside those of the life.
    more: Vec<String>,
}

impl Whole {
    async fn lead(node: &Node) -> Self {
        let whole = Self { life: Life::lead(node).await, more: (0..3).map(|_| canary()).collect() };
        whole.by_its_routes(node).await;
        whole.by_the_ports(node).await;
        whole
    }

    /// An address and another that waits, a link to sign in, a recovery code, a device that asks to join, an entry that
    /// was purged, a blob that was promised, places that were read up to.
    async fn by_its_routes(&self, node: &Node) {
        let person = &self.life.person;
        let address = |n: u8| format!("{}-{n}@example.org", self.life.name);
        person.with_email(node, &address(1)).await;
        person.name_email(node, &address(2)).await;
        node.letter(&address(2), "Confirm", 1).await;
        assert_eq!(Initiator::new().ask(node, &address(1)).await.status(), StatusCode::ACCEPTED);
        node.letter(&address(1), "sign-in", 1).await;
        assert!(set_recovery(node, person, [7; 32], 1).await.status().is_success());
        let ask = AskApproval {
            name: person.name.clone(),
            device: lockstep_events::DeviceId(Uuid::new_v4()),
            public_key: public_key(&random_key()),
            kem_key: vec![5; 32].into(),
        };
        assert_eq!(node.post("/v1/approvals", &ask).send().await.unwrap().status(), StatusCode::CREATED);
        purge(node, &self.life).await;
        let blobs = vec![BlobRef {
            hash: BlobHash(sha256(person.vault.as_bytes())),
            size: 30_000,
            attachment: false,
        }];
        let path = format!("/v1/vaults/{}/blobs/prepare", person.vault);
        assert_eq!(person.post(node, &path, &PrepareBlobs { blobs }).await.status(), StatusCode::OK);
        for stream in [self.life.account().0, person.vault.0] {
            let path = format!("/v1/streams/{stream}/changes?limit=100");
            let page: Changes = body(person.get(node, &path).await, StatusCode::OK).await;
            // Who names a place has it: that is what is noted.
            let on = format!("{path}&after={}.{}", page.epoch, page.to);
            assert_eq!(person.get(node, &on).await.status(), StatusCode::OK);
        }
        let server = &node.running().server;
        server.served.keep(server.clock.now(), usize::MAX).await.unwrap();
    }

    /// What takes a provider, an authenticator or a crash to come by.
    async fn by_the_ports(&self, node: &Node) {
        let (account, now) = (self.life.account(), node.running().server.clock.now());
        let stores = &node.running().server;
        let word = |n: usize| self.more[n].clone();
        let provider = word(0);
        let key = IdentityKey(sha256(provider.as_bytes()));
        let identity =
            Identity { key, id: Uuid::new_v4(), account, provider: provider.clone(), linked_at: now };
        stores.ways.link_identity(&identity).await.unwrap();
        let flow = Flow {
            owner: sha256(account.as_bytes()),
            state_hash: sha256(provider.as_bytes()),
            provider,
            port: 49_152,
            link: Some((account, self.life.person.tokens.session)),
            expires_at: Micros(i64::MAX / 2),
        };
        assert!(stores.ways.put_flow(&flow).await.unwrap());
        let (id, kind, body) = (Uuid::new_v4(), FactorKind::Approval, word(1).into_bytes());
        let factor = StoredFactor { id, account, kind, body, version: 1, created_at: now };
        stores.credentials.put_factor(&factor).await.unwrap();
        let wrap = Wrapped { name: "ark/password".to_owned(), generation: 2, bytes: word(2).into_bytes() };
        let replacement = Replacement { wraps: vec![wrap], ..Replacement::default() };
        let staged = Staged { account, attempt: Uuid::new_v4(), replacement, staged_at: now };
        assert!(stores.credentials.stage(&staged).await.unwrap());
    }

    fn words(&self) -> Vec<String> {
        [self.life.words(), self.more.clone()].concat()
    }

    /// What names them wherever a row is about them.
    fn names(&self) -> [Uuid; 2] {
        [self.life.account().0, self.life.person.vault.0]
    }

    fn is_in(&self, row: &Row) -> bool {
        self.names().into_iter().any(|id| row.has_id(id))
    }

    /// How many rows of each table are about them.
    fn counted(&self, rows: &[Row]) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for row in rows.iter().filter(|row| self.is_in(row)) {
            *counts.entry(row.table.clone()).or_default() += 1;
        }
        counts
    }

    /// What of them stands where it may not.
    fn remains(&self, rows: &[Row]) -> BTreeSet<String> {
        let person = &self.life.person;
        let of_devices = [person.device.0, person.tokens.session.0];
        let is_left = |row: &&Row| {
            let table = row.table.as_str();
            self.words().iter().any(|word| row.has_word(word))
                || !STAYS.contains(&table) && self.is_in(row)
                // Of devices and sessions nothing is left but what the log says.
                || table != "events" && of_devices.into_iter().any(|id| row.has_id(id))
        };
        rows.iter().filter(is_left).map(|row| row.table.clone()).collect()
    }
}

/// Looks until it is as it should be.
async fn settled<T>(look: impl AsyncFn() -> Result<T, String>) -> T {
    let since = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(found) => assert!(since.elapsed() < PATIENCE, "{found}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What an export shows of each table.
async fn shown(node: &Node, whole: &Whole) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in export(node, &whole.life).await.1 {
        if let ExportLine::Row { table, .. } = line {
            *counts.entry(table).or_default() += 1;
        }
    }
    counts
}

/// The tables that hold rows about people, by the list of the adapter.
fn held(mode: Mode) -> Vec<&'static str> {
    let of_sqlite = sqlite::holdings::FILES.iter().flat_map(|(_, tables)| tables.iter());
    match mode {
        Mode::Embedded => of_sqlite.map(|table| table.table).collect(),
        Mode::Distributed | Mode::ThreeNodes => {
            postgres::holdings::TABLES.iter().map(|table| table.table).collect()
        }
    }
}

fn written() -> Page {
    static PAGE: OnceLock<Page> = OnceLock::new();
    let page = PAGE.get_or_init(|| {
        let page = Page::default();
        let writer = page.clone();
        let lines = fmt::layer().json().with_writer(move || writer.clone());
        let lines = lines.with_filter(filter_fn(lockstepd::cli::may_be_logged));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines)).unwrap();
        page
    });
    page.clone()
}

/// What an export shows is every row that is about somebody, in every table: it is what an erasure looks for, too.
async fn assert_shown_whole(node: &Node, mode: Mode, whole: &Whole) {
    let tables: BTreeSet<&str> = held(mode).into_iter().collect();
    let shown = settled(async || {
        let shown = shown(node, whole).await;
        let mut there = whole.counted(&raw::rows(node, mode).await);
        there.retain(|table, _| tables.contains(table.as_str()));
        if there == shown { Ok(shown) } else { Err(format!("there is {there:?}, shown is {shown:?}")) }
    })
    .await;
    assert_eq!(shown.keys().map(String::as_str).collect::<BTreeSet<_>>(), tables, "a table without a row");
}

/// Nothing of somebody is left in any table, but what may stay.
async fn assert_nothing_left(node: &Node, mode: Mode, whole: &Whole) {
    for table in STAYS {
        assert!(ELSEWHERE.iter().any(|(name, _)| *name == table), "{table}");
    }
    settled(async || {
        let remains = whole.remains(&raw::rows(node, mode).await);
        if remains.is_empty() { Ok(()) } else { Err(format!("left in {remains:?}")) }
    })
    .await;
}

both! {
    async fn a_whole_life_is_shown_by_an_export_and_nothing_of_it_is_left_by_an_erasure(mode: Mode) {
        let log = written();
        let heard = if mode == Mode::Distributed { Some(overhear().await) } else { None };
        let node = Node::start_with(mode, quick()).await;
        let (gone, other) = (Whole::lead(&node).await, Whole::lead(&node).await);
        assert_shown_whole(&node, mode, &gone).await;
        let (found, rows) = (left(&node, mode, &gone.words()).await.join("; "), raw::rows(&node, mode).await);
        let is_found = |word: &String| found.contains(word) || rows.iter().any(|row| row.has_word(word));
        assert!(gone.words().iter().all(is_found), "the scan finds all: {found}");
        let of_other = other.counted(&rows);

        // What runs out by itself has not yet, when the rows go.
        gone.life.ask_to_be_erased(&node).await;
        node.clock.pass(10);
        erasure::run_due(&node.running().server).await.unwrap();
        settled(async || {
            let mut there = gone.counted(&raw::rows(&node, mode).await);
            // Letters come a moment late, and go in the next step.
            there.retain(|table, _| held(mode).contains(&table.as_str()) && table != "mail_tasks");
            if there.is_empty() { Ok(()) } else { Err(format!("left at once: {there:?}")) }
        })
        .await;
        finish(&node, gone.life.account()).await;
        assert_all_forgotten(&node, &[&gone.life]).await;
        // Logins that were begun are over after a minute, and their rows go in a sweep.
        let server = &node.running().server;
        server.credentials.sweep(server.clock.now(), Micros(0)).await.unwrap();
        assert_nothing_left(&node, mode, &gone).await;
        assert_eq!(left(&node, mode, &gone.words()).await, [] as [String; 0]);
        let kept = other.counted(&raw::rows(&node, mode).await);
        for table in LASTING {
            assert_eq!(kept[table], of_other[table], "{table} of somebody else");
        }
        let log = log.0.lock().unwrap().clone();
        assert!(has(&log, "a step of an erasure is done"), "the log was written");
        for word in gone.words().into_iter().chain(gone.names().map(|id| id.to_string())) {
            assert!(!has(&log, &word), "{word} is in the log");
        }
        if let Some(heard) = heard {
            let heard = heard.lock().await;
            let account = gone.life.account();
            assert!(heard.windows(16).any(|id| id == account.as_bytes()), "the bus was overheard");
            // Short ciphertexts go over the bus once, and nothing there keeps them.
            let open = gone.words().into_iter().filter(|word| *word != gone.life.secrets[1]);
            open.for_each(|word| assert!(!has(&heard, &word), "{word} went over the bus"));
        }
    }
}
