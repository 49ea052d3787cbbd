use std::path::PathBuf;

use lockstep_events::{
    AccountId, BlobHash, Chain, DeviceId, EntryId, Epoch, Header, Micros, Seq, StreamId, StreamKind, VaultId,
    VersionId, VersionKind, ids::Signature,
};
use uuid::Uuid;

use super::{
    Store, alarms, entries, keys, outbox, streams,
    versions::{self, ContentState, Kept},
};
use crate::{crypto::keys::LocalKey, error::Error, model::AlarmKind};

const VAULT: VaultId = VaultId(Uuid::from_u128(2));
const ENTRY: EntryId = EntryId(Uuid::from_u128(3));

fn key(digit: &str) -> LocalKey {
    LocalKey::from_token(&digit.repeat(64)).unwrap()
}

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("vault.db")
    }

    async fn open(&self) -> Store {
        Store::open(&self.file(), &key("a"), true).await.unwrap()
    }
}

fn version(n: u8, parents: &[&Kept], kind: VersionKind) -> Kept {
    let mut ids: Vec<VersionId> = parents.iter().map(|p| p.id).collect();
    ids.sort_unstable();
    let header = Header {
        format: 1,
        account: AccountId(Uuid::from_u128(1)),
        vault: VAULT,
        entry: ENTRY,
        kind,
        parents: ids.clone(),
        content_of: None,
        key_id: Uuid::from_u128(u128::from(n)),
        content_hash: Some(BlobHash([n; 32])),
        content_len: 4,
        author_device: DeviceId(Uuid::from_u128(4)),
        observed_seq: Seq(0),
        observed_chain: Chain::ZERO,
        client_time: 0,
    };
    Kept {
        n: 0,
        id: header.version_id(),
        header,
        parents: ids,
        signer: DeviceId(Uuid::from_u128(4)),
        signature: Signature([n; 64]),
        wrapped_key: Some(vec![n; 8]),
        ciphertext: Some(b"\x01\x02\x03\x04".to_vec()),
        content: ContentState::Here,
        seq: None,
        accepted_at: None,
    }
}

#[tokio::test]
async fn the_file_is_not_readable_as_plain_sqlite_and_holds_no_word_in_the_open() {
    let home = Home::new();
    let store = home.open().await;
    let mut db = store.begin().await.unwrap();
    keys::set(&mut db, "canary-name", b"canary-value-0123456789").await.unwrap();
    db.commit().await.unwrap();
    store.close().await;
    for entry in std::fs::read_dir(home.dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.starts_with(b"SQLite format 3"));
        for word in [b"canary".as_slice(), b"CREATE TABLE", b"versions"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word));
        }
    }
}

#[tokio::test]
async fn another_key_does_not_open_the_file_and_changes_nothing_in_it() {
    let home = Home::new();
    home.open().await.close().await;
    let before = std::fs::read(home.file()).unwrap();
    let refused = Store::open(&home.file(), &key("b"), false).await;
    assert!(matches!(refused, Err(Error::WrongPassword)), "{refused:?}");
    assert_eq!(std::fs::read(home.file()).unwrap(), before);
    assert!(Store::open(&home.file(), &key("a"), false).await.is_ok());
}

#[tokio::test]
async fn a_version_and_its_place_in_the_outbox_are_there_after_a_crash_or_neither_is() {
    let home = Home::new();
    let store = home.open().await;
    let (kept, lost) = (version(1, &[], VersionKind::Edit), version(2, &[], VersionKind::Edit));
    let mut tx = store.begin().await.unwrap();
    versions::insert(&mut tx, &kept).await.unwrap();
    outbox::add(&mut tx, (VAULT, kept.id), None, false).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    versions::insert(&mut tx, &lost).await.unwrap();
    outbox::add(&mut tx, (VAULT, lost.id), None, false).await.unwrap();
    // What a kill leaves behind: the files as they are, in the middle of a transaction.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["vault.db", "vault.db-wal"] {
        std::fs::copy(home.dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    drop(tx);
    let after = Store::open(&crashed.path().join("vault.db"), &key("a"), false).await.unwrap();
    let mut db = after.begin().await.unwrap();
    let waiting = outbox::first(&mut db, VAULT, 10).await.unwrap();
    assert_eq!(waiting.iter().map(|w| w.version).collect::<Vec<_>>(), [kept.id]);
    assert!(versions::get(&mut db, kept.id).await.unwrap().is_some());
    assert!(versions::get(&mut db, lost.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_version_comes_back_as_it_was_kept() {
    let home = Home::new();
    let store = home.open().await;
    let root = version(1, &[], VersionKind::Edit);
    let child =
        Kept { seq: Some(Seq(7)), accepted_at: Some(Micros(9)), ..version(2, &[&root], VersionKind::Edit) };
    let mut tx = store.begin().await.unwrap();
    for v in [&root, &child] {
        versions::insert(&mut tx, v).await.unwrap();
    }
    let back = versions::get(&mut tx, child.id).await.unwrap().unwrap();
    assert_eq!(Kept { n: 0, ..back }, child);
    assert_eq!(versions::of_entry(&mut tx, ENTRY).await.unwrap().len(), 2);
    assert_eq!(versions::ids_up_to(&mut tx, VAULT, Seq(9)).await.unwrap(), [child.id]);
}

#[tokio::test]
async fn shown_heads_are_those_of_accepted_and_waiting_versions_together() {
    let home = Home::new();
    let store = home.open().await;
    let mut tx = store.begin().await.unwrap();
    let root = Kept { seq: Some(Seq(1)), ..version(1, &[], VersionKind::Edit) };
    let theirs = Kept { seq: Some(Seq(2)), ..version(2, &[&root], VersionKind::Edit) };
    let mine = version(3, &[&root], VersionKind::Edit);
    let mut row = entries::accepted(&mut tx, VAULT, ENTRY).await.unwrap();
    for v in [&root, &theirs] {
        row.heads.accept(v.id, v.header.kind, &v.parents, v.seq.unwrap());
        versions::insert(&mut tx, v).await.unwrap();
    }
    entries::put(&mut tx, &row).await.unwrap();
    versions::insert(&mut tx, &mine).await.unwrap();

    let shown = entries::shown(&mut tx, ENTRY).await.unwrap().unwrap().heads;
    assert!(shown.is_divergent());
    assert_eq!(
        shown.heads.iter().map(|h| (h.version, h.branch)).collect::<Vec<_>>(),
        [(theirs.id, 0), (mine.id, 1)]
    );

    let merged = version(4, &[&theirs, &mine], VersionKind::Merge);
    versions::insert(&mut tx, &merged).await.unwrap();
    let shown = entries::shown(&mut tx, ENTRY).await.unwrap().unwrap().heads;
    assert_eq!(shown.ids(), [merged.id]);
    // What is in quarantine is not shown, and what it built on is a head again.
    outbox::quarantine(&mut tx, merged.id, "forbidden", Micros(1)).await.unwrap();
    let all = entries::all_shown(&mut tx, VAULT).await.unwrap();
    assert_eq!(all.len(), 1);
    assert!(all[0].heads.is_divergent());
}

#[tokio::test]
async fn after_a_reset_nothing_is_lost_and_the_same_heads_are_shown() {
    let home = Home::new();
    let store = home.open().await;
    let mut tx = store.begin().await.unwrap();
    let root = Kept { seq: Some(Seq(1)), ..version(1, &[], VersionKind::Edit) };
    let child = Kept { seq: Some(Seq(2)), ..version(2, &[&root], VersionKind::Edit) };
    let mut row = entries::accepted(&mut tx, VAULT, ENTRY).await.unwrap();
    for v in [&root, &child] {
        row.heads.accept(v.id, v.header.kind, &v.parents, v.seq.unwrap());
        versions::insert(&mut tx, v).await.unwrap();
    }
    entries::put(&mut tx, &row).await.unwrap();
    let before = entries::shown(&mut tx, ENTRY).await.unwrap().unwrap().heads.ids();
    entries::clear_accepted(&mut tx, VAULT).await.unwrap();
    versions::unplace_after(&mut tx, VAULT, Seq::ZERO).await.unwrap();
    assert_eq!(entries::shown(&mut tx, ENTRY).await.unwrap().unwrap().heads.ids(), before);
    assert_eq!(versions::unplaced(&mut tx, VAULT).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_child_that_has_a_place_is_found_by_its_parents_alone() {
    let home = Home::new();
    let store = home.open().await;
    let mut tx = store.begin().await.unwrap();
    let (one, two) = (version(1, &[], VersionKind::Edit), version(2, &[], VersionKind::Edit));
    let mut child = version(3, &[&one, &two], VersionKind::Merge);
    let end = Seq(4);
    versions::insert(&mut tx, &child).await.unwrap();
    assert!(!versions::has_child_before(&mut tx, (ENTRY, one.id), end).await.unwrap(), "it waits");
    versions::place(&mut tx, child.id, (Seq(3), Micros(1)), &child.parents).await.unwrap();
    for parent in [one.id, two.id] {
        assert!(versions::has_child_before(&mut tx, (ENTRY, parent), end).await.unwrap());
        assert!(
            !versions::has_child_before(&mut tx, (ENTRY, parent), Seq(3)).await.unwrap(),
            "not before it"
        );
    }
    assert!(!versions::has_child_before(&mut tx, (ENTRY, child.id), end).await.unwrap());
    // Half of one parent and half of the next are no parent.
    child.parents.sort_unstable();
    let both = [child.parents[0].0, child.parents[1].0].concat();
    let across = VersionId(both[16..48].try_into().unwrap());
    assert!(!versions::has_child_before(&mut tx, (ENTRY, across), end).await.unwrap());
}

#[tokio::test]
async fn an_alarm_is_kept_once_until_it_is_seen() {
    let home = Home::new();
    let store = home.open().await;
    let mut tx = store.begin().await.unwrap();
    assert!(alarms::raise(&mut tx, AlarmKind::Chain, Micros(1), "at 5").await.unwrap().is_some());
    assert!(alarms::raise(&mut tx, AlarmKind::Chain, Micros(2), "at 5").await.unwrap().is_none());
    assert_eq!(alarms::unseen(&mut tx).await.unwrap(), 1);
    alarms::acknowledge(&mut tx, i64::MAX).await.unwrap();
    assert_eq!(alarms::unseen(&mut tx).await.unwrap(), 0);
    assert!(alarms::raise(&mut tx, AlarmKind::Chain, Micros(3), "at 5").await.unwrap().is_some());
    assert_eq!(alarms::all(&mut tx).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_alarm_holds_the_sending_until_it_is_seen_and_again_only_if_it_says_something_else() {
    let home = Home::new();
    let store = home.open().await;
    let mut tx = store.begin().await.unwrap();
    // A restore, and a version that is withheld: what is here is offered again.
    for kind in [AlarmKind::Reset, AlarmKind::SetDigest] {
        alarms::raise(&mut tx, kind, Micros(1), "at 5").await.unwrap();
    }
    assert_eq!(alarms::holding(&mut tx).await.unwrap(), None);
    alarms::raise(&mut tx, AlarmKind::Chain, Micros(1), "at 5").await.unwrap();
    alarms::raise(&mut tx, AlarmKind::Roster, Micros(1), "statement 3").await.unwrap();
    assert_eq!(alarms::holding(&mut tx).await.unwrap(), Some(AlarmKind::Chain));
    // One that came after a person looked is still to be seen.
    let shown = alarms::all(&mut tx).await.unwrap()[1].id;
    alarms::acknowledge(&mut tx, shown).await.unwrap();
    assert_eq!(alarms::holding(&mut tx).await.unwrap(), Some(AlarmKind::Roster));
    alarms::acknowledge(&mut tx, i64::MAX).await.unwrap();
    assert_eq!(alarms::holding(&mut tx).await.unwrap(), None);
    alarms::raise(&mut tx, AlarmKind::Chain, Micros(2), "at 5").await.unwrap();
    assert_eq!(alarms::holding(&mut tx).await.unwrap(), None, "looked at, and let go");
    alarms::raise(&mut tx, AlarmKind::Chain, Micros(2), "at 6").await.unwrap();
    assert_eq!(alarms::holding(&mut tx).await.unwrap(), Some(AlarmKind::Chain));
}

#[tokio::test]
async fn a_cursor_and_the_chain_of_every_life_come_back() {
    let home = Home::new();
    let store = home.open().await;
    let mut tx = store.begin().await.unwrap();
    let place = streams::Place {
        seq: Seq(5),
        chain: Chain([5; 32]),
        digest: Some([version(1, &[], VersionKind::Edit).id].into_iter().collect()),
        recorded_at: Micros(7),
        ..streams::Place::start(StreamId(VAULT.0), StreamKind::Vault, Epoch([1; 16]))
    };
    streams::put(&mut tx, &place).await.unwrap();
    assert_eq!(streams::get(&mut tx, place.stream).await.unwrap(), Some(place));
    for life in [1, 2] {
        let at = (place.stream, Epoch([life; 16]));
        streams::note_chain(&mut tx, at, Seq(5), &Chain([life; 32])).await.unwrap();
    }
    let seen = streams::chains_at(&mut tx, place.stream, Seq(5)).await.unwrap();
    assert_eq!(seen, [1, 2].map(|life| (Epoch([life; 16]), Chain([life; 32]))));
}

#[tokio::test]
async fn a_database_of_an_older_version_is_brought_up_to_date_and_keeps_what_it_has() {
    let home = Home::new();
    let store = home.open().await;
    let mut tx = store.begin().await.unwrap();
    alarms::raise(&mut tx, AlarmKind::Chain, Micros(1), "at 5").await.unwrap();
    sqlx::raw_sql(
        "DROP TABLE attachments; ALTER TABLE streams DROP COLUMN digest; ALTER TABLE streams DROP COLUMN absent; \
         ALTER TABLE streams DROP COLUMN recorded_at; DROP INDEX versions_placed; \
         ALTER TABLE alarms DROP COLUMN about; DROP TABLE set_aside; \
         PRAGMA user_version = 1",
    ).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    let store = home.open().await;
    let mut tx = store.begin().await.unwrap();
    let version = lockstep_events::VersionId([1; 32]);
    let files = [lockstep_events::BlobHash([9; 32]), lockstep_events::BlobHash([8; 32])];
    for _ in 0..2 {
        super::attachments::put(&mut tx, version, &files).await.unwrap();
    }
    let kept = super::attachments::of(&mut tx, &[version]).await.unwrap();
    assert_eq!(kept[&version], files);
    assert_eq!(alarms::all(&mut tx).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_stands_between_two_places_is_found_by_place_whatever_else_the_vault_holds() {
    let home = Home::new();
    let store = home.open().await;
    let mut tx = store.begin().await.unwrap();
    let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", versions::BETWEEN));
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sql)
        .bind(VAULT.as_bytes().as_slice())
        .bind(1_i64)
        .bind(2_i64)
        .fetch_all(&mut *tx)
        .await
        .unwrap();
    let step = "SEARCH versions USING COVERING INDEX versions_placed (vault=? AND seq>? AND seq<?)";
    assert!(plan.iter().any(|(.., found)| found == step), "{plan:?}");
}
