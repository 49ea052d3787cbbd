//! What heads adopt and this device does not hold: one that began with a snapshot never had what was superseded then,
//! and a head may go back to it.

use std::collections::BTreeSet;

use lockstep_events::{EntryId, VaultId, VersionId, VersionKind};
use sqlx::SqliteConnection;

use super::{entries, fixed};
use crate::error::Error;

/// What is shown by heads, also through adoptions of adoptions, and is not here.
macro_rules! not_here {
    ($heads:literal) => {
        concat!(
            "WITH RECURSIVE shown(id) AS (",
            $heads,
            " UNION \
             SELECT unhex(json_extract(versions.header, '$.content_of')) \
             FROM shown JOIN versions ON versions.id = shown.id \
             WHERE json_extract(versions.header, '$.content_of') IS NOT NULL) \
             SELECT shown.id FROM shown \
             WHERE NOT EXISTS (SELECT 1 FROM versions WHERE versions.id = shown.id) LIMIT ?"
        )
    };
}

/// The versions whose content a head of the vault shows, also through adoptions of adoptions, and which are not here.
/// Looks at all heads and at headers; at no ciphertext.
pub(crate) async fn not_here(
    db: &mut SqliteConnection,
    vault: VaultId,
    limit: usize,
) -> Result<Vec<VersionId>, Error> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(not_here!(
        "SELECT unhex(json_extract(head.value, '$.version')) FROM entries, json_each(entries.heads, '$.heads') AS head \
         WHERE entries.vault = ? AND instr(entries.heads, '\"adopt\"') > 0 \
         AND json_extract(head.value, '$.kind') = 'adopt'"
    ))
    .bind(vault.as_bytes().as_slice())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await?;
    rows.iter().map(|(id,)| fixed(id).map(VersionId)).collect()
}

/// Whether a head of some entries shows what is not here. Looks at these entries alone.
pub(crate) async fn misses(
    db: &mut SqliteConnection,
    vault: VaultId,
    some: &BTreeSet<EntryId>,
) -> Result<bool, Error> {
    let mut adopting = Vec::new();
    for entry in some {
        let heads = entries::accepted(db, vault, *entry).await?.heads.heads;
        adopting.extend(heads.iter().filter(|head| head.kind == VersionKind::Adopt).map(|head| head.version));
    }
    if adopting.is_empty() {
        return Ok(false);
    }
    let adopting = serde_json::to_string(&adopting).map_err(|_| super::damaged())?;
    let found: Option<(Vec<u8>,)> = sqlx::query_as(not_here!("SELECT unhex(value) FROM json_each(?)"))
        .bind(adopting)
        .bind(1)
        .fetch_optional(db)
        .await?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{account::testing::two_devices, store::versions};

    /// What a profile looks like that was left so: the adoption is a head, and what it adopts was never here.
    #[tokio::test]
    async fn what_a_head_adopts_is_missed_until_it_is_here_through_adoptions_of_adoptions() {
        let (a, b, _, mut vault) = two_devices().await;
        let entry = a.add(b"first").await.unwrap();
        let first = a.entry(entry).await.unwrap().head_ids()[0];
        let second = a.edit(entry, &[first], b"second").await.unwrap();
        let adopted = a.restore(entry, first).await.unwrap();
        let third = a.edit(entry, &[adopted], b"third").await.unwrap();
        let again = a.restore(entry, adopted).await.unwrap();
        vault.accept_all(&a).await;
        b.apply(&vault.page(0)).await.unwrap();
        let mut tx = b.store.begin().await.unwrap();
        assert_eq!(not_here(&mut tx, b.vault(), 9).await.unwrap(), []);
        // This client adopts what is at the end of such a line; another may not.
        sqlx::query("UPDATE versions SET header = json_set(header, '$.content_of', ?) WHERE id = ?")
            .bind(adopted.to_string())
            .bind(again.as_bytes().as_slice())
            .execute(&mut *tx)
            .await
            .unwrap();
        let kept = versions::get_many(&mut tx, &[first, adopted]).await.unwrap();
        for id in [first, second, adopted, third] {
            let query = sqlx::query("DELETE FROM versions WHERE id = ?").bind(id.as_bytes().as_slice());
            query.execute(&mut *tx).await.unwrap();
        }
        assert_eq!(not_here(&mut tx, b.vault(), 9).await.unwrap(), [adopted]);
        let (vault, of) = (b.vault(), BTreeSet::from([entry]));
        assert!(misses(&mut tx, vault, &of).await.unwrap());
        assert!(!misses(&mut tx, vault, &BTreeSet::new()).await.unwrap());
        let back = |id| kept.iter().find(|version| version.id == id).unwrap();
        versions::insert(&mut tx, back(adopted)).await.unwrap();
        assert_eq!(not_here(&mut tx, b.vault(), 9).await.unwrap(), [first]);
        assert!(misses(&mut tx, vault, &of).await.unwrap());
        versions::insert(&mut tx, back(first)).await.unwrap();
        assert_eq!(not_here(&mut tx, b.vault(), 9).await.unwrap(), []);
        assert!(!misses(&mut tx, vault, &of).await.unwrap());
        tx.commit().await.unwrap();
        let shown = b.entry(entry).await.unwrap();
        assert_eq!(shown.head_ids(), [again]);
        assert_eq!(shown.heads[0].content.bytes(), Some(&b"first"[..]));
    }
}
