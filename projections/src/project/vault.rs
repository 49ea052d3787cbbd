//! Vault streams → vaults, entries, versions.

use lockstep_events::{
    BlobHash, EntryId, Recorded, VaultId,
    attached::Attached,
    event::{ContentPruned, EntryPurged, VaultCreated, VersionAdded},
    graph::Heads,
};

use super::{Group, Key, Needs, Unfit, VaultEvent, Working};
use crate::{
    key::Projection,
    rows::{EntryRow, Row, VaultRow, VersionRow},
};

const NO_VAULT: Unfit = "the vault was not created";
const NO_ENTRY: Unfit = "the entry has no version";
const NO_VERSION: Unfit = "a version that it names was not accepted";

pub(super) fn needs(recorded: &Recorded, event: &VaultEvent) -> Needs {
    let vault: VaultId = recorded.stream.into();
    match event {
        VaultEvent::Created(_) => Needs::default(),
        VaultEvent::VersionAdded(body) => {
            Needs { keys: vec![Key::Vault(vault), Key::Entry(vault, body.header.entry)], groups: Vec::new() }
        }
        VaultEvent::ContentPruned(body) => {
            let mut keys = vec![Key::Vault(vault), Key::Entry(vault, body.entry)];
            keys.extend(body.versions.iter().map(|version| Key::Version(vault, *version)));
            Needs { keys, groups: Vec::new() }
        }
        VaultEvent::Purged(body) => Needs {
            keys: vec![Key::Vault(vault), Key::Entry(vault, body.entry)],
            groups: vec![Group::VersionsOf(vault, body.entry)],
        },
        VaultEvent::Erased(_) => Needs { keys: vec![Key::Vault(vault)], groups: Vec::new() },
    }
}

pub(super) fn project(working: &mut Working, recorded: &Recorded, event: &VaultEvent) -> Result<(), Unfit> {
    let key = Key::Vault(recorded.stream.into());
    if matches!(working.get(&key), Some(Row::Vault(row)) if row.erased_at.is_some()) {
        // Somebody was still at work when the vault was erased.
        return Ok(());
    }
    match event {
        VaultEvent::Created(body) => created(working, recorded, body),
        VaultEvent::VersionAdded(body) => version_added(working, recorded, body),
        VaultEvent::ContentPruned(body) => content_pruned(working, recorded, body),
        VaultEvent::Purged(body) => purged(working, recorded, body),
        VaultEvent::Erased(_) => erased(working, recorded),
    }
}

fn created(working: &mut Working, recorded: &Recorded, body: &VaultCreated) -> Result<(), Unfit> {
    if body.vault != VaultId::from(recorded.stream) {
        return Err("it names another vault than its stream");
    }
    working.put(Row::Vault(VaultRow {
        vault: body.vault,
        account: body.account,
        live_entries: 0,
        divergent_entries: 0,
        versions: 0,
        content_bytes: 0,
        seq: recorded.seq,
        created_at: recorded.recorded_at,
        erased_at: None,
    }));
    Ok(())
}

/// Of the vault a stone is left, of its entries and versions nothing.
fn erased(working: &mut Working, recorded: &Recorded) -> Result<(), Unfit> {
    let row = vault(working, recorded)?;
    let id = row.vault;
    *row = VaultRow {
        vault: id,
        account: row.account,
        live_entries: 0,
        divergent_entries: 0,
        versions: 0,
        content_bytes: 0,
        seq: recorded.seq,
        created_at: row.created_at,
        erased_at: Some(recorded.recorded_at),
    };
    working.clear_vault(id);
    Ok(())
}

fn vault<'w>(working: &'w mut Working, recorded: &Recorded) -> Result<&'w mut VaultRow, Unfit> {
    working.vault(Key::Vault(recorded.stream.into())).ok_or(NO_VAULT)
}

/// What an entry counts for in its vault.
#[derive(Clone, Copy)]
struct Counted {
    live: bool,
    divergent: bool,
}

impl Counted {
    fn of(heads: &Heads) -> Self {
        Self { live: !heads.heads.is_empty() && !heads.is_deleted(), divergent: heads.is_divergent() }
    }

    fn recount(self, after: Self, vault: &mut VaultRow) {
        vault.live_entries = vault.live_entries + u64::from(after.live) - u64::from(self.live);
        vault.divergent_entries =
            vault.divergent_entries + u64::from(after.divergent) - u64::from(self.divergent);
    }
}

fn refresh(entry: &mut EntryRow, recorded: &Recorded) {
    entry.winner = entry.heads.winner().map(|head| head.version);
    entry.conflict = entry.heads.is_divergent();
    entry.changed_at = recorded.recorded_at;
}

fn new_entry(vault: VaultId, entry: EntryId, recorded: &Recorded) -> EntryRow {
    EntryRow {
        vault,
        entry,
        heads: Heads::default(),
        winner: None,
        conflict: false,
        versions: 0,
        changed_at: recorded.recorded_at,
        attached: Attached::default(),
    }
}

fn version_added(working: &mut Working, recorded: &Recorded, body: &VersionAdded) -> Result<(), Unfit> {
    let header = &body.header;
    let vault_id: VaultId = recorded.stream.into();
    if header.vault != vault_id {
        return Err("its header names another vault than its stream");
    }
    let version = header.version_id();
    let key = Key::Entry(vault_id, header.entry);
    if working.get(&key).is_none() {
        working.put(Row::Entry(new_entry(vault_id, header.entry, recorded)));
    }
    let entry = working.entry(key).ok_or(NO_ENTRY)?;
    let before = Counted::of(&entry.heads);
    let accepted = entry.heads.accept(version, header.kind, body.parents(), recorded.seq);
    let after = Counted::of(&entry.heads);
    entry.versions += 1;
    refresh(entry, recorded);
    let bytes = if body.content_missing {
        0
    } else {
        u64::from(header.content_len) + entry.attached.name(body.sized_attachments())
    };

    let row = vault(working, recorded)?;
    before.recount(after, row);
    row.versions += 1;
    row.seq = recorded.seq;
    row.content_bytes += bytes;
    working.put(Row::Version(Box::new(VersionRow {
        version,
        header: header.clone(),
        signer: body.signer,
        signature: body.signature,
        wrapped_key: body.wrapped_key.clone().map(String::from),
        seq: recorded.seq,
        branch: accepted.branch,
        accepted_at: recorded.recorded_at,
        parent_inferred: body.parent_inferred,
        inferred_parents: body.inferred_parents.clone(),
        content_gone: body.content_missing,
        attachments: body.attachments.clone(),
    })));
    Ok(())
}

/// Marks the content of versions as gone; the bytes that went, and the attachments that they named.
fn drop_contents(
    working: &mut Working,
    versions: Vec<Key>,
    keys_too: bool,
) -> Result<(u64, Vec<BlobHash>), Unfit> {
    let (mut bytes, mut named) = (0, Vec::new());
    for key in versions {
        let row = working.version(key).ok_or(NO_VERSION)?;
        if !std::mem::replace(&mut row.content_gone, true) {
            bytes += u64::from(row.header.content_len);
            named.extend_from_slice(&row.attachments);
        }
        if keys_too {
            row.wrapped_key = None;
        }
    }
    Ok((bytes, named))
}

fn content_pruned(working: &mut Working, recorded: &Recorded, body: &ContentPruned) -> Result<(), Unfit> {
    let vault_id: VaultId = recorded.stream.into();
    let versions = body.versions.iter().map(|version| Key::Version(vault_id, *version)).collect();
    let (mut bytes, named) = drop_contents(working, versions, false)?;
    let entry = working.entry(Key::Entry(vault_id, body.entry)).ok_or(NO_ENTRY)?;
    entry.heads.last_seq = recorded.seq;
    entry.changed_at = recorded.recorded_at;
    bytes += entry.attached.let_go(named);
    let row = vault(working, recorded)?;
    row.content_bytes = row.content_bytes.saturating_sub(bytes);
    row.seq = recorded.seq;
    Ok(())
}

/// A purge takes contents, wrapped keys and heads. The version rows stay as stubs: their ids are what tells a
/// device with an old backup that it has nothing to offer.
fn purged(working: &mut Working, recorded: &Recorded, body: &EntryPurged) -> Result<(), Unfit> {
    let vault_id: VaultId = recorded.stream.into();
    let versions = working.keys_where(
        Projection::Versions,
        |row| matches!(row, Row::Version(v) if v.header.vault == vault_id && v.header.entry == body.entry),
    );
    let (mut bytes, _) = drop_contents(working, versions, true)?;
    let entry = working.entry(Key::Entry(vault_id, body.entry)).ok_or(NO_ENTRY)?;
    let before = Counted::of(&entry.heads);
    bytes += entry.attached.clear();
    entry.heads.heads.clear();
    entry.heads.purged = true;
    entry.heads.last_seq = recorded.seq;
    refresh(entry, recorded);
    let row = vault(working, recorded)?;
    before.recount(Counted { live: false, divergent: false }, row);
    row.content_bytes = row.content_bytes.saturating_sub(bytes);
    row.seq = recorded.seq;
    Ok(())
}
