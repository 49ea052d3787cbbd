//! A version as snapshot and history show it.

use std::{collections::HashMap, time::Duration};

use lockstep_api::{Bytes64, Code, sync::SnapshotVersion};
use lockstep_events::{
    AccountId, BlobHash, Seq, VaultId,
    log::{Contents, StreamHead},
};
use lockstep_projections::{Family, rows::VersionRow};

use super::{Answer, Failure};
use crate::state::Server;

/// How long the read models may take to reach the end of the vault's stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// Short ciphertexts by hash.
pub type Shorts = HashMap<BlobHash, Vec<u8>>;

/// The short ciphertexts of some versions. Long ones are fetched as blobs.
pub async fn shorts<'a>(
    server: &Server,
    vault: VaultId,
    rows: impl Iterator<Item = &'a VersionRow>,
) -> Answer<Shorts> {
    let mut hashes: Vec<_> =
        rows.filter(|row| !row.content_gone).filter_map(|row| row.header.content_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.is_empty() {
        return Ok(Shorts::new());
    }
    Ok(server.log.contents(vault.into(), &hashes).await?.into_iter().collect())
}

/// A row as it goes out.
pub fn view(row: VersionRow, shorts: &Shorts) -> SnapshotVersion {
    let bytes = row.header.content_hash.filter(|_| !row.content_gone).and_then(|hash| shorts.get(&hash));
    SnapshotVersion {
        content: bytes.map(|bytes| Bytes64(bytes.clone())),
        header: row.header,
        signer: row.signer,
        signature: row.signature,
        wrapped_key: row.wrapped_key,
        seq: row.seq,
        branch: row.branch,
        accepted_at: row.accepted_at,
        parent_inferred: row.parent_inferred,
        inferred_parents: row.inferred_parents,
        content_gone: row.content_gone,
        attachments: row.attachments,
    }
}

/// Refuses a vault that is not the caller's exactly as one that does not exist.
pub async fn own(server: &Server, account: AccountId, vault: VaultId) -> Answer<()> {
    if server.members.owner(vault).await? == Some(account) {
        Ok(())
    } else {
        Err(Failure::from(Code::NotFound))
    }
}

/// The head of a vault's stream, once the read models have reached it.
pub async fn caught_up(server: &Server, vault: VaultId) -> Answer<StreamHead> {
    let head = server.log.stream_heads(&[vault.into()]).await?.pop().ok_or(Code::NotFound)?;
    let before = Seq(head.seq.0.saturating_sub(1));
    let last = server.log.read_stream(vault.into(), before, 1, Contents::No).await?;
    let position = last.first().map(|last| last.position).unwrap_or_default();
    server
        .progress
        .wait_for_family(Family::Vault, position, PATIENCE)
        .await
        .map_err(|error| Failure::caused(Code::ReadsUnavailable, error))?;
    Ok(head)
}
