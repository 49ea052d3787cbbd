//! Rows, checkpoints and generations.

use std::{collections::BTreeMap, sync::Arc};

use lockstep_events::{
    AccountId, BlobHash, Chain, DeviceId, EntryId, Header, Micros, Position, Seq, SessionId, VaultId,
    VersionKind,
    attached::Attached,
    event::Method,
    graph::{Head, Heads},
    ids::{PublicKey, Signature},
    standing::Standing,
};
use uuid::Uuid;

use super::live;
use crate::{
    Family, Generation, Key, Projection, ReadError, ReadStore,
    key::Group,
    rows::{AccountRow, DeviceRow, EntryRow, Row, SessionRow, VaultRow, VersionRow},
    store::{Advance, Write},
};

const FIRST: Generation = Generation(1);

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn step(family: Family, generation: Generation, from: u64) -> Advance {
    Advance { family, generation, from: Position(from), must_be_live: false }
}

fn vault_id(n: u128) -> VaultId {
    VaultId(uuid(0xa000 + n))
}

fn entry_id(n: u128) -> EntryId {
    EntryId(uuid(0xe000 + n))
}

fn entry_row(vault: VaultId, n: u128) -> EntryRow {
    let version = version_row(vault, n, 1).version;
    let mut attached = Attached::default();
    attached.name([(BlobHash([4; 32]), 5)]);
    let head = Head { version, branch: 0, kind: VersionKind::Edit, seq: Seq(3) };
    EntryRow {
        vault,
        entry: entry_id(n),
        heads: Heads { heads: vec![head], next_branch: 1, last_seq: Seq(3), purged: false },
        winner: Some(version),
        conflict: false,
        versions: 1,
        changed_at: Micros(17),
        attached,
    }
}

fn version_row(vault: VaultId, entry: u128, seq: u64) -> VersionRow {
    let header = Header {
        format: 1,
        account: AccountId(uuid(1)),
        vault,
        entry: entry_id(entry),
        kind: VersionKind::Edit,
        parents: Vec::new(),
        content_of: None,
        key_id: uuid(2),
        content_hash: Some(BlobHash([3; 32])),
        content_len: 10,
        author_device: DeviceId(uuid(4)),
        observed_seq: Seq(seq),
        observed_chain: Chain([5; 32]),
        client_time: 6,
    };
    VersionRow {
        version: header.version_id(),
        header,
        signer: DeviceId(uuid(4)),
        signature: Signature([8; 64]),
        wrapped_key: Some("c0ffee".into()),
        seq: Seq(seq),
        branch: 0,
        accepted_at: Micros(18),
        parent_inferred: false,
        inferred_parents: Vec::new(),
        content_gone: false,
        attachments: vec![BlobHash([4; 32])],
    }
}

fn device_row(account: AccountId, n: u128, added_at: i64) -> DeviceRow {
    DeviceRow {
        device: DeviceId(uuid(0xd000 + n)),
        account,
        public_key: PublicKey([1; 32]),
        added_at: Micros(added_at),
        added_seq: Seq(2),
        revoked: Some((Micros(9), Position(4))),
    }
}

fn session_row(account: AccountId, n: u128, opened_at: i64) -> SessionRow {
    SessionRow {
        session: SessionId(uuid(0x5000 + n)),
        account,
        device: DeviceId(uuid(0xd001)),
        method: Method::Password,
        opened_at: Micros(opened_at),
        refreshed_at: Micros(opened_at),
        generation: 0,
        revoked: None,
    }
}

fn account_row(account: AccountId) -> AccountRow {
    AccountRow {
        account,
        roster: Vec::new(),
        vaults: vec![vault_id(1)],
        credentials: BTreeMap::from([("opaque".into(), 1)]),
        auth_epoch: 3,
        created_at: Micros(1),
        standing: Standing { disabled: true, ..Standing::default() },
        erasure_due: None,
        erased_at: None,
    }
}

fn vault_row(vault: VaultId, versions: u64) -> VaultRow {
    VaultRow {
        vault,
        account: AccountId(uuid(1)),
        live_entries: 1,
        divergent_entries: 0,
        versions,
        content_bytes: 10,
        seq: Seq(3),
        created_at: Micros(2),
        erased_at: None,
    }
}

fn puts(rows: impl IntoIterator<Item = Row>) -> Vec<Write> {
    rows.into_iter().map(Write::Put).collect()
}

async fn keep(reads: &dyn ReadStore, family: Family, from: u64, rows: Vec<Row>) {
    let to = Position(from + 1);
    reads.commit(&[step(family, FIRST, from)], to, &puts(rows)).await.unwrap();
}

/// Generation 1 at position 0, no rows.
pub async fn a_new_store_is_empty_at_position_zero(reads: Arc<dyn ReadStore>) {
    for projection in Projection::ALL {
        assert_eq!(live(&*reads, projection).await, (FIRST, Position::ZERO));
        assert_eq!(reads.rows(projection, FIRST).await.unwrap(), 0);
        assert_eq!(reads.generations(projection).await.unwrap(), [(FIRST, Position::ZERO)]);
    }
}

/// By key and by the typed questions.
pub async fn rows_of_every_kind_come_back_as_they_were_written(reads: Arc<dyn ReadStore>) {
    let (account, vault) = (AccountId(uuid(1)), vault_id(1));
    let (account_row, vault_row) = (account_row(account), vault_row(vault, 1));
    let (device, session) = (device_row(account, 1, 5), session_row(account, 1, 6));
    let (entry, version) = (entry_row(vault, 1), version_row(vault, 1, 1));
    let rows = vec![
        Row::Account(account_row.clone()),
        Row::Device(device.clone()),
        Row::Session(session.clone()),
        Row::Vault(vault_row.clone()),
        Row::Entry(entry.clone()),
        Row::Version(Box::new(version.clone())),
    ];
    let both = [step(Family::Account, FIRST, 0), step(Family::Vault, FIRST, 0)];
    reads.commit(&both, Position(1), &puts(rows.clone())).await.unwrap();
    for row in rows {
        assert_eq!(reads.load(FIRST, &[row.key()]).await.unwrap(), [row]);
    }
    assert_eq!(reads.account(account).await.unwrap(), Some(account_row));
    assert_eq!(reads.device(account, device.device).await.unwrap(), Some(device.clone()));
    assert_eq!(reads.devices(account).await.unwrap(), [device]);
    assert_eq!(reads.session(session.session).await.unwrap(), Some(session.clone()));
    assert_eq!(reads.sessions(account).await.unwrap(), std::slice::from_ref(&session));
    let group = reads.load_group(FIRST, Group::SessionsOf(account)).await.unwrap();
    assert_eq!(group, [Row::Session(session)]);
    assert_eq!(reads.vault(vault).await.unwrap(), Some(vault_row));
    let unknown = entry_id(99);
    assert_eq!(reads.entries_by_id(vault, &[unknown, entry.entry]).await.unwrap(), [entry]);
    let document = Row::Version(Box::new(version.clone())).document().unwrap();
    assert_eq!(reads.version_documents(vault, &[version.version]).await.unwrap(), [document]);
    assert_eq!(reads.versions_by_id(vault, &[version.version]).await.unwrap(), [version]);
    assert_eq!(reads.account(AccountId(uuid(77))).await.unwrap(), None);
}

/// Both members of a family, and both families.
pub async fn rows_and_checkpoint_move_together(reads: Arc<dyn ReadStore>) {
    keep(&*reads, Family::Vault, 0, vec![Row::Vault(vault_row(vault_id(1), 1))]).await;
    for member in Family::Vault.members() {
        assert_eq!(live(&*reads, *member).await, (FIRST, Position(1)));
    }
    assert_eq!(live(&*reads, Projection::Accounts).await, (FIRST, Position::ZERO));
}

/// Compare-and-set.
pub async fn a_commit_from_another_position_is_refused_and_writes_nothing(reads: Arc<dyn ReadStore>) {
    let row = || puts([Row::Vault(vault_row(vault_id(1), 1))]);
    for wrong in [step(Family::Vault, FIRST, 4), step(Family::Vault, Generation(9), 0)] {
        let steps = [step(Family::Account, FIRST, 0), wrong];
        let refused = reads.commit(&steps, Position(5), &row()).await;
        assert!(matches!(refused, Err(ReadError::Moved(_))), "{refused:?}");
    }
    assert_eq!(reads.vault(vault_id(1)).await.unwrap(), None);
    assert_eq!(live(&*reads, Projection::Vaults).await, (FIRST, Position::ZERO));
    assert_eq!(live(&*reads, Projection::Accounts).await, (FIRST, Position::ZERO));
}

/// A stopped family does not hold the other.
pub async fn a_commit_may_advance_one_family_alone(reads: Arc<dyn ReadStore>) {
    keep(&*reads, Family::Account, 0, Vec::new()).await;
    keep(&*reads, Family::Account, 1, Vec::new()).await;
    assert_eq!(live(&*reads, Projection::Sessions).await, (FIRST, Position(2)));
    assert_eq!(live(&*reads, Projection::Entries).await, (FIRST, Position::ZERO));
}

/// Row by row.
pub async fn a_put_replaces_and_a_delete_removes(reads: Arc<dyn ReadStore>) {
    let vault = vault_id(1);
    keep(&*reads, Family::Vault, 0, vec![Row::Vault(vault_row(vault, 1)), Row::Entry(entry_row(vault, 1))])
        .await;
    keep(&*reads, Family::Vault, 1, vec![Row::Vault(vault_row(vault, 2))]).await;
    assert_eq!(reads.vault(vault).await.unwrap().unwrap().versions, 2);
    let gone = [Write::Delete(Key::Entry(vault, entry_id(1)))];
    reads.commit(&[step(Family::Vault, FIRST, 2)], Position(3), &gone).await.unwrap();
    assert_eq!(reads.entries(vault, None, 10).await.unwrap(), []);
    assert_eq!(reads.rows(Projection::Entries, FIRST).await.unwrap(), 0);
}

/// That a row is new is a hint, and many that are new come another way than a few.
pub async fn rows_that_are_called_new_replace_what_stands(reads: Arc<dyn ReadStore>) {
    let vault = vault_id(1);
    let row = |seq, branch| Row::Version(Box::new(VersionRow { branch, ..version_row(vault, 1, seq) }));
    for round in 0..2 {
        let mut writes: Vec<_> = (1..=600).map(|seq| Write::New(row(seq, round))).collect();
        writes.push(Write::Put(row(1_000, round)));
        let (from, to) = (u64::from(round), Position(u64::from(round) + 1));
        reads.commit(&[step(Family::Vault, FIRST, from)], to, &writes).await.unwrap();
        let stand = reads.versions_of(vault, entry_id(1), Seq::ZERO, 1_000).await.unwrap();
        assert!(stand.len() == 601 && stand.iter().all(|row| row.branch == round), "round {round}");
        assert_eq!(live(&*reads, Projection::Versions).await, (FIRST, to));
    }
}

/// Erasing a vault does not name its rows one by one.
pub async fn clearing_a_vault_removes_its_entries_and_versions_in_this_generation_alone(
    reads: Arc<dyn ReadStore>,
) {
    let rows = |vault| {
        vec![
            Row::Vault(vault_row(vault, 1)),
            Row::Entry(entry_row(vault, 1)),
            Row::Version(Box::new(version_row(vault, 1, 1))),
        ]
    };
    let (gone, kept) = (vault_id(1), vault_id(2));
    keep(&*reads, Family::Vault, 0, [rows(gone), rows(kept)].concat()).await;
    let beside = reads.start_generation(Family::Vault).await.unwrap();
    reads.commit(&[step(Family::Vault, beside, 0)], Position(1), &puts(rows(gone))).await.unwrap();
    let clear = [Write::Put(Row::Vault(vault_row(gone, 0))), Write::Clear(gone)];
    reads.commit(&[step(Family::Vault, FIRST, 1)], Position(2), &clear).await.unwrap();
    assert_eq!(reads.vault(gone).await.unwrap().unwrap().versions, 0);
    assert_eq!(reads.entries(gone, None, 10).await.unwrap(), []);
    assert_eq!(reads.version_ids(gone, None, 10).await.unwrap(), []);
    assert_eq!(reads.entries(kept, None, 10).await.unwrap().len(), 1);
    assert_eq!(reads.version_ids(kept, None, 10).await.unwrap().len(), 1);
    assert_eq!(reads.rows(Projection::Entries, beside).await.unwrap(), 1);
}

/// More values than a database takes variables in one statement.
pub async fn thousands_of_rows_fit_into_one_commit_and_one_load(reads: Arc<dyn ReadStore>) {
    let vault = vault_id(1);
    let rows: Vec<_> = (1..=6_001).map(|seq| Row::Version(Box::new(version_row(vault, 1, seq)))).collect();
    let keys: Vec<_> = rows.iter().map(Row::key).collect();
    keep(&*reads, Family::Vault, 0, rows).await;
    assert_eq!(reads.load(FIRST, &keys).await.unwrap().len(), 6_001);
    assert_eq!(reads.rows(Projection::Versions, FIRST).await.unwrap(), 6_001);
    let ids: Vec<_> =
        keys.iter().filter_map(|k| if let Key::Version(_, id) = k { Some(*id) } else { None }).collect();
    assert_eq!(reads.versions_by_id(vault, &ids).await.unwrap().len(), 6_001);
}

/// Page size + 1, page by page.
pub async fn lists_are_in_order_and_pages_join_without_gap_or_repetition(reads: Arc<dyn ReadStore>) {
    let (vault, account) = (vault_id(1), AccountId(uuid(1)));
    let entries = (0..11).rev().map(|n| Row::Entry(entry_row(vault, n)));
    let versions = (1..=11).rev().map(|seq| Row::Version(Box::new(version_row(vault, 1, seq))));
    keep(&*reads, Family::Vault, 0, entries.chain(versions).collect()).await;
    let mut seen = Vec::new();
    loop {
        let page = reads.entries(vault, seen.last().copied(), 5).await.unwrap();
        assert!(page.len() <= 5);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|row| row.entry));
    }
    assert_eq!(seen, (0..11).map(entry_id).collect::<Vec<_>>());

    let mut seqs = Vec::new();
    while let page = reads.versions_of(vault, entry_id(1), Seq(seqs.len() as u64), 5).await.unwrap()
        && !page.is_empty()
    {
        seqs.extend(page.into_iter().map(|row| row.seq.0));
    }
    assert_eq!(seqs, (1..=11).collect::<Vec<_>>());

    let mut ids = Vec::new();
    while let page = reads.version_ids(vault, ids.last().copied(), 10).await.unwrap()
        && !page.is_empty()
    {
        ids.extend(page);
    }
    assert_eq!(ids.len(), 11);
    assert!(ids.is_sorted());

    let devices = [3, 1, 2].map(|n| Row::Device(device_row(account, n, i64::try_from(n).unwrap())));
    let sessions = [3, 1, 2].map(|n| Row::Session(session_row(account, n, i64::try_from(n).unwrap())));
    keep(&*reads, Family::Account, 0, devices.into_iter().chain(sessions).collect()).await;
    let added: Vec<_> = reads.devices(account).await.unwrap().iter().map(|row| row.added_at.0).collect();
    let opened: Vec<_> = reads.sessions(account).await.unwrap().iter().map(|row| row.opened_at.0).collect();
    assert_eq!((added, opened), (vec![1, 2, 3], vec![1, 2, 3]));
}

/// All accounts, page by page, in order of id.
pub async fn accounts_are_paged_in_order_of_id(reads: Arc<dyn ReadStore>) {
    let account = |n: u128| AccountId(uuid(0xacc0 + n));
    let rows = (0..7).rev().map(|n| Row::Account(account_row(account(n))));
    keep(&*reads, Family::Account, 0, rows.collect()).await;
    let mut seen = Vec::new();
    while let page = reads.accounts(seen.last().copied(), 3).await.unwrap()
        && !page.is_empty()
    {
        assert!(page.len() <= 3);
        seen.extend(page.into_iter().map(|row| row.account));
    }
    assert_eq!(seen, (0..7).map(account).collect::<Vec<_>>());
}

/// The same entry id in two vaults stays two entries.
pub async fn nothing_of_another_vault_is_ever_listed(reads: Arc<dyn ReadStore>) {
    let (mine, other) = (vault_id(1), vault_id(2));
    let of = |vault| [Row::Entry(entry_row(vault, 1)), Row::Version(Box::new(version_row(vault, 1, 1)))];
    keep(&*reads, Family::Vault, 0, of(mine).into_iter().chain(of(other)).collect()).await;
    let foreign = version_row(other, 1, 1).version;
    assert_eq!(reads.entries(mine, None, 10).await.unwrap(), [entry_row(mine, 1)]);
    assert_eq!(reads.versions_of(mine, entry_id(1), Seq::ZERO, 10).await.unwrap(), [version_row(mine, 1, 1)]);
    assert_eq!(reads.version_ids(mine, None, 10).await.unwrap(), [version_row(mine, 1, 1).version]);
    assert_eq!(reads.versions_by_id(mine, &[foreign]).await.unwrap(), []);
    let group = reads.load_group(FIRST, Group::VersionsOf(mine, entry_id(1))).await.unwrap();
    assert_eq!(group.len(), 1);
}

/// And say at which position they were taken.
pub async fn checksums_depend_on_rows_and_not_on_the_order_of_writing(reads: Arc<dyn ReadStore>) {
    let vault = vault_id(1);
    let rows: Vec<_> = (0..20).map(|n| Row::Entry(entry_row(vault, n))).collect();
    keep(&*reads, Family::Vault, 0, rows.clone()).await;
    let second = reads.start_generation(Family::Vault).await.unwrap();
    for (n, row) in rows.into_iter().rev().enumerate() {
        let to = Position(n as u64 + 1);
        reads.commit(&[step(Family::Vault, second, n as u64)], to, &puts([row])).await.unwrap();
    }
    let (first, other) = (
        reads.checksum(Projection::Entries, FIRST).await.unwrap(),
        reads.checksum(Projection::Entries, second).await.unwrap(),
    );
    assert_eq!((first.sha256, first.rows, first.position), (other.sha256, 20, Position(1)));
    assert_eq!(other.position, Position(20));
    let changed = EntryRow { versions: 2, ..entry_row(vault, 7) };
    keep(&*reads, Family::Vault, 1, vec![Row::Entry(changed)]).await;
    assert_ne!(reads.checksum(Projection::Entries, FIRST).await.unwrap().sha256, other.sha256);
}

/// Two generations do not see each other.
pub async fn a_generation_is_invisible_until_it_is_switched(reads: Arc<dyn ReadStore>) {
    let vault = vault_id(1);
    keep(&*reads, Family::Vault, 0, vec![Row::Vault(vault_row(vault, 1))]).await;
    let second = reads.start_generation(Family::Vault).await.unwrap();
    assert_eq!(reads.rows(Projection::Vaults, second).await.unwrap(), 0);
    let row = puts([Row::Vault(vault_row(vault, 7))]);
    reads.commit(&[step(Family::Vault, second, 0)], Position(1), &row).await.unwrap();
    assert_eq!(reads.vault(vault).await.unwrap().unwrap().versions, 1);
    reads.switch_generation(Family::Vault, FIRST, second).await.unwrap();
    assert_eq!(reads.vault(vault).await.unwrap().unwrap().versions, 7);
    for member in Family::Vault.members() {
        assert_eq!(live(&*reads, *member).await, (second, Position(1)));
    }
    assert_eq!(live(&*reads, Projection::Accounts).await.0, FIRST);
    assert_eq!(reads.drop_generation(Family::Vault, FIRST).await.unwrap(), 1);
    assert_eq!(reads.vault(vault).await.unwrap().unwrap().versions, 7);
}

/// Nobody ever sees rows go back in time.
pub async fn a_switch_to_a_generation_that_is_behind_is_refused(reads: Arc<dyn ReadStore>) {
    keep(&*reads, Family::Vault, 0, Vec::new()).await;
    let second = reads.start_generation(Family::Vault).await.unwrap();
    let moved = |outcome| assert!(matches!(outcome, Err(ReadError::Moved(_))), "{outcome:?}");
    moved(reads.switch_generation(Family::Vault, FIRST, second).await);
    moved(reads.switch_generation(Family::Vault, Generation(8), second).await);
    moved(reads.switch_generation(Family::Vault, FIRST, Generation(8)).await);
    assert_eq!(live(&*reads, Projection::Vaults).await, (FIRST, Position(1)));
}

/// The commit of a runner that did not see the switch.
pub async fn a_follower_meets_moved_after_a_switch(reads: Arc<dyn ReadStore>) {
    let second = reads.start_generation(Family::Vault).await.unwrap();
    reads.switch_generation(Family::Vault, FIRST, second).await.unwrap();
    let stale = Advance { must_be_live: true, ..step(Family::Vault, FIRST, 0) };
    assert!(matches!(reads.commit(&[stale], Position(1), &[]).await, Err(ReadError::Moved(_))));
    let right = Advance { must_be_live: true, ..step(Family::Vault, second, 0) };
    reads.commit(&[right], Position(1), &[]).await.unwrap();
}

/// Whatever an operator types.
pub async fn the_live_generation_cannot_be_dropped(reads: Arc<dyn ReadStore>) {
    keep(&*reads, Family::Vault, 0, vec![Row::Vault(vault_row(vault_id(1), 1))]).await;
    assert!(matches!(reads.drop_generation(Family::Vault, FIRST).await, Err(ReadError::Moved(_))));
    assert_eq!(reads.rows(Projection::Vaults, FIRST).await.unwrap(), 1);
}

/// Its rows and its checkpoint; not its number, by which the one who still writes would write into the new one.
pub async fn starting_a_generation_deletes_what_a_killed_rebuild_left(reads: Arc<dyn ReadStore>) {
    let left = reads.start_generation(Family::Vault).await.unwrap();
    let row = puts([Row::Vault(vault_row(vault_id(1), 1))]);
    reads.commit(&[step(Family::Vault, left, 0)], Position(1), &row).await.unwrap();
    let next = reads.start_generation(Family::Vault).await.unwrap();
    assert_ne!(left, next);
    let late = reads.commit(&[step(Family::Vault, left, 1)], Position(2), &[]).await;
    assert!(matches!(late, Err(ReadError::Moved(_))), "{late:?}");
    assert_eq!(reads.rows(Projection::Vaults, left).await.unwrap(), 0);
    assert_eq!(reads.rows(Projection::Vaults, next).await.unwrap(), 0);
    let generations = reads.generations(Projection::Vaults).await.unwrap();
    assert_eq!(generations, [(FIRST, Position::ZERO), (next, Position::ZERO)]);
}
