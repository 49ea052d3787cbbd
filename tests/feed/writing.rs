//! Versions made by hand.

use lockstep_api::sync::{Changes, Push, PushItem, Pushed};
use lockstep_events::{
    BatchId, BlobHash, Chain, DeviceId, EntryId, Epoch, Header, Seq, StreamId, VersionId, VersionKind,
    canonical::sha256,
    header::{FORMAT, sign_version},
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{Node, Person, body};

impl Person {
    #[allow(dead_code, reason = "some suites that share this delete nothing")]
    /// A tombstone over the heads of an entry.
    pub fn deletion(&self, entry: EntryId, parents: Vec<VersionId>) -> PushItem {
        let item = self.entry(b"");
        let mut header = item.header.clone();
        (header.entry, header.kind, header.parents) = (entry, VersionKind::Tombstone, parents);
        (header.content_hash, header.content_len, header.client_time) = (None, 0, 0);
        (header.key_id, header.author_device) = (Uuid::nil(), DeviceId::NIL);
        let signature = sign_version(&self.device_key, &header.version_id());
        PushItem { header, signature, wrapped_key: None, inline: None, ..item }
    }

    /// A new entry with this ciphertext.
    pub fn entry(&self, ciphertext: &[u8]) -> PushItem {
        let header = Header {
            format: FORMAT,
            account: self.account,
            vault: self.vault,
            entry: EntryId(Uuid::new_v4()),
            kind: VersionKind::Edit,
            parents: Vec::new(),
            content_of: None,
            key_id: Uuid::new_v4(),
            content_hash: Some(BlobHash(sha256(ciphertext))),
            content_len: u32::try_from(ciphertext.len()).unwrap(),
            author_device: self.device,
            observed_seq: Seq::ZERO,
            observed_chain: Chain::ZERO,
            client_time: 1,
        };
        let signature = sign_version(&self.device_key, &header.version_id());
        PushItem {
            header,
            signer: self.device,
            signature,
            wrapped_key: Some(format!("00000001{}", "00".repeat(104))),
            inline: Some(ciphertext.to_vec().into()),
            expect_heads: None,
            infer_parents: false,
            attachments: Vec::new(),
        }
    }

    /// The life of the vault's stream.
    pub async fn epoch(&self, node: &Node) -> Epoch {
        self.changes(node, "?limit=1").await.epoch
    }

    /// A page of the vault's stream.
    pub async fn changes(&self, node: &Node, query: &str) -> Changes {
        let path = format!("/v1/streams/{}/changes{query}", StreamId::from(self.vault));
        body(self.get(node, &path).await, StatusCode::OK).await
    }

    /// Pushes new entries; all of them are accepted.
    pub async fn write(&self, node: &Node, epoch: Epoch, ciphertexts: &[Vec<u8>]) -> Pushed {
        let items = ciphertexts.iter().map(|ciphertext| self.entry(ciphertext)).collect();
        let push =
            Push { epoch, batch_id: BatchId(Uuid::new_v4()), items, groups: Vec::new(), reoffer: false };
        let path = format!("/v1/vaults/{}/versions", self.vault);
        let pushed: Pushed = body(self.post(node, &path, &push).await, StatusCode::OK).await;
        assert!(pushed.results.iter().all(|result| result.outcome.stands()), "{:?}", pushed.results);
        pushed
    }
}
