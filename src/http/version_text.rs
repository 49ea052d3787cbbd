//! A version as a snapshot shows it: the document of the read model, handed on field by field as it is stored.
//!
//! A first sync is every version of a vault. What the fields say is for the client; the server looks at no more of
//! them than it needs to find the ciphertext.

use std::collections::HashMap;

use lockstep_api::Bytes64;
use lockstep_events::{BlobHash, VersionId};
use lockstep_projections::{Projection, store::ReadError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Versions by id.
pub type Shown<'a> = HashMap<VersionId, VersionText<'a>>;

/// Read from the JSON of a `VersionRow`, written as the JSON of a `SnapshotVersion`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VersionText<'a> {
    #[serde(skip_serializing)]
    version: VersionId,
    #[serde(borrow)]
    header: &'a RawValue,
    #[serde(borrow)]
    signer: &'a RawValue,
    #[serde(borrow)]
    signature: &'a RawValue,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    wrapped_key: Option<&'a RawValue>,
    #[serde(borrow)]
    seq: &'a RawValue,
    #[serde(borrow)]
    branch: &'a RawValue,
    #[serde(borrow)]
    accepted_at: &'a RawValue,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    parent_inferred: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    inferred_parents: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_gone: bool,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    content: Option<&'a Bytes64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    attachments: Option<&'a RawValue>,
    #[serde(skip)]
    of: ContentOf,
}

/// What a header says about content.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct ContentOf {
    content_hash: Option<BlobHash>,
    content_of: Option<VersionId>,
}

impl<'a> VersionText<'a> {
    /// Reads documents of the read model.
    ///
    /// # Errors
    /// If one is not of the shape of this program's rows.
    pub fn all(documents: &'a [String]) -> Result<Shown<'a>, ReadError> {
        let shape = |source| ReadError::Shape { projection: Projection::Versions.name(), source };
        documents.iter().map(|document| Self::read(document).map_err(shape)).collect()
    }

    fn read(document: &'a str) -> Result<(VersionId, Self), serde_json::Error> {
        let mut text: Self = serde_json::from_str(document)?;
        text.of = serde_json::from_str(text.header.get())?;
        Ok((text.version, text))
    }

    /// The version whose content it keeps.
    pub const fn content_of(&self) -> Option<VersionId> {
        self.of.content_of
    }

    /// The hash of its ciphertext, if it has one that is still kept.
    pub fn content_hash(&self) -> Option<BlobHash> {
        self.of.content_hash.filter(|_| !self.content_gone)
    }

    /// With its ciphertext, if that is among some.
    pub fn with(self, contents: &'a HashMap<BlobHash, Bytes64>) -> Self {
        let content = self.content_hash().and_then(|hash| contents.get(&hash));
        Self { content, ..self }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::{
        AccountId, Chain, DeviceId, EntryId, Micros, Seq, VaultId,
        header::{Header, VersionKind},
        ids::Signature,
    };
    use lockstep_projections::rows::{Row, VersionRow};
    use uuid::Uuid;

    use super::*;
    use crate::http::version_view::view;

    const CONTENT: BlobHash = BlobHash([3; 32]);

    fn edit() -> VersionRow {
        let header = Header {
            format: 1,
            account: AccountId(Uuid::from_u128(1)),
            vault: VaultId(Uuid::from_u128(2)),
            entry: EntryId(Uuid::from_u128(3)),
            kind: VersionKind::Edit,
            parents: vec![VersionId([4; 32]), VersionId([5; 32])],
            content_of: None,
            key_id: Uuid::from_u128(6),
            content_hash: Some(CONTENT),
            content_len: 3,
            author_device: DeviceId(Uuid::from_u128(7)),
            observed_seq: Seq(8),
            observed_chain: Chain([9; 32]),
            client_time: -10,
        };
        VersionRow {
            version: header.version_id(),
            header,
            signer: DeviceId(Uuid::from_u128(7)),
            signature: Signature([11; 64]),
            wrapped_key: Some("0c".to_owned()),
            seq: Seq(13),
            branch: 14,
            accepted_at: Micros(15),
            parent_inferred: true,
            inferred_parents: vec![VersionId([16; 32])],
            content_gone: false,
            attachments: vec![BlobHash([17; 32])],
        }
    }

    fn adopt() -> VersionRow {
        let (edit, content_of) = (edit(), Some(VersionId([18; 32])));
        let header = Header { kind: VersionKind::Adopt, content_of, content_hash: None, ..edit.header };
        let (inferred_parents, attachments) = (Vec::new(), Vec::new());
        VersionRow {
            header,
            wrapped_key: None,
            parent_inferred: false,
            inferred_parents,
            attachments,
            ..edit
        }
    }

    #[test]
    fn a_document_is_shown_as_the_row_that_it_stands_for() {
        let gone = VersionRow { content_gone: true, ..edit() };
        let bytes = vec![1, 2, 3];
        for row in [edit(), adopt(), gone] {
            let documents = [Row::Version(Box::new(row.clone())).document().unwrap()];
            let contents = HashMap::from([(CONTENT, Bytes64(bytes.clone()))]);
            let text = VersionText::all(&documents).unwrap().remove(&row.version).unwrap();
            assert_eq!(text.content_of(), row.header.content_of);
            let shown = serde_json::to_value(text.with(&contents)).unwrap();
            let expected = view(row, &HashMap::from([(CONTENT, bytes.clone())]));
            assert_eq!(shown, serde_json::to_value(expected).unwrap());
        }
    }

    #[test]
    fn a_document_of_another_shape_is_an_error_and_not_sent() {
        let other = Row::Version(Box::new(edit())).document().unwrap().replace("\"seq\"", "\"sequence\"");
        assert!(matches!(VersionText::all(&[other]), Err(ReadError::Shape { .. })));
    }
}
