//! The line of a long ciphertext. It may have a hundred megabytes, so it is never whole in memory: it is written as its
//! bytes are read.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::BoxStream};
use lockstep_api::{Bytes64, privacy::ExportLine};
use lockstep_events::{BlobHash, VaultId};

use super::{ExportError, Lines};
use crate::blobs::BlobError;

/// Bytes that become four letters.
const GROUP: usize = 3;

/// Writes the line of one blob, whose pieces these are; false, and nothing written, if the store has lost it.
pub(super) async fn write(
    mut pieces: BoxStream<'_, Result<Bytes, BlobError>>,
    (vault, hash): (VaultId, BlobHash),
    lines: &mut Lines,
) -> Result<bool, ExportError> {
    let mut next = match pieces.next().await.transpose() {
        Err(BlobError::Missing) => return Ok(false),
        first => first?,
    };
    let (before, after) = around(vault, hash)?;
    lines.piece(before.into()).await?;
    let mut rest = BytesMut::new();
    while let Some(piece) = next {
        rest.extend_from_slice(&piece);
        let whole = rest.split_to(rest.len() / GROUP * GROUP);
        lines.piece(STANDARD.encode(whole).into()).await?;
        next = pieces.next().await.transpose()?;
    }
    lines.piece((STANDARD.encode(rest) + &after).into()).await?;
    lines.count += 1;
    Ok(true)
}

/// What stands before and after the letters of the bytes in a line.
fn around(vault: VaultId, hash: BlobHash) -> Result<(String, String), ExportError> {
    let empty = serde_json::to_string(&ExportLine::Blob { vault, hash, bytes: Bytes64(Vec::new()) })?;
    let at = empty.rfind("\"\"").map_or(empty.len(), |at| at + 1);
    Ok((empty[..at].to_owned(), format!("{}\n", &empty[at..])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use sha2::Digest;
    use tokio::sync::mpsc;

    const VAULT: VaultId = VaultId(uuid::Uuid::from_u128(1));
    const HASH: BlobHash = BlobHash([7; 32]);

    /// The reader takes one piece at a time; the pieces of the store are no multiples of three.
    #[tokio::test]
    async fn the_line_of_a_long_blob_is_what_it_would_be_as_a_whole_and_waits_in_small_pieces() {
        for length in [0, 1, 2, 3, 1023, 1024, 3 * 1024 + 17] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let pieces: Vec<_> = bytes.chunks(1024).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let (out, mut read) = mpsc::channel(1);
            let writing = tokio::spawn(async move {
                let mut lines = Lines::into(out);
                let written = write(stream::iter(pieces).boxed(), (VAULT, HASH), &mut lines).await;
                (written.unwrap(), lines.count, lines.hash.finalize())
            });
            let mut line = Vec::new();
            while let Some(piece) = read.recv().await {
                assert!(piece.len() <= 2048, "{}", piece.len());
                line.extend_from_slice(&piece);
            }
            let whole = ExportLine::Blob { vault: VAULT, hash: HASH, bytes: Bytes64(bytes) };
            let whole = serde_json::to_string(&whole).unwrap() + "\n";
            assert_eq!(String::from_utf8(line).unwrap(), whole);
            assert_eq!(writing.await.unwrap(), (true, 1, sha2::Sha256::digest(whole)));
        }
    }

    #[tokio::test]
    async fn of_a_blob_that_is_lost_nothing_is_written_and_one_that_breaks_off_ends_the_export() {
        let (out, mut read) = mpsc::channel(8);
        let mut lines = Lines::into(out);
        let lost = stream::iter([Err(BlobError::Missing)]).boxed();
        assert!(!write(lost, (VAULT, HASH), &mut lines).await.unwrap());
        assert!(read.try_recv().is_err() && lines.count == 0);
        let broken = stream::iter([Ok(Bytes::from_static(b"four")), Err(BlobError::Missing)]).boxed();
        assert!(write(broken, (VAULT, HASH), &mut lines).await.is_err());
    }
}
