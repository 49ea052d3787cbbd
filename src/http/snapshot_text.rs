//! The JSON of a page of a snapshot, made entry by entry while their documents are at hand.

use lockstep_api::{Code, sync::Snapshot};
use lockstep_events::EntryId;
use serde::Serialize;

use super::{Answer, Failure, version_text::VersionText};

/// Where entries stand in the JSON of a page that has none.
const PLACE: &str = "\"entries\":[";

/// Written as the JSON of a `SnapshotEntry`.
#[derive(Debug, Serialize)]
pub struct EntryText<'a> {
    pub entry: EntryId,
    pub next_branch: u32,
    /// How many of `versions` are heads: the first ones.
    pub heads: usize,
    pub versions: Vec<VersionText<'a>>,
}

/// The entries of a page, as JSON with commas between them.
#[derive(Debug, Default)]
pub struct PageText(Vec<u8>);

impl PageText {
    /// Adds an entry.
    ///
    /// # Errors
    /// `internal`, which no entry's type allows.
    pub fn add(&mut self, entry: &EntryText<'_>) -> Answer<()> {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        serde_json::to_writer(&mut self.0, entry).map_err(|error| Failure::caused(Code::Internal, error))
    }

    /// Whether nothing was added.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries alone; of one entry, its JSON.
    pub fn into_entries(self) -> Vec<u8> {
        self.0
    }

    /// The JSON of a page: everything else of it is given, without entries.
    ///
    /// # Errors
    /// `internal`, which the page's type does not allow.
    pub fn finish(self, page: &Snapshot) -> Answer<Vec<u8>> {
        let around = serde_json::to_string(page).map_err(|error| Failure::caused(Code::Internal, error))?;
        let (before, after) = around.split_once(PLACE).ok_or(Code::Internal)?;
        Ok([before.as_bytes(), PLACE.as_bytes(), &self.0, after.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use lockstep_api::sync::SnapshotEntry;
    use lockstep_events::{Chain, Epoch, Seq, VaultId};
    use uuid::Uuid;

    use super::*;

    fn page(entries: Vec<SnapshotEntry>) -> Snapshot {
        Snapshot {
            vault: VaultId(Uuid::from_u128(1)),
            epoch: Epoch([2; 16]),
            position: Seq(3),
            chain: Chain([4; 32]),
            set_digest: None,
            entries,
            next: Some("\"entries\":[".to_owned()),
        }
    }

    #[test]
    fn a_page_is_the_json_of_its_type_with_any_number_of_entries() {
        for entries in [0, 1, 3] {
            let id = |n: u128| EntryId(Uuid::from_u128(n));
            let mut text = PageText::default();
            let mut typed = Vec::new();
            for n in 0..entries {
                text.add(&EntryText { entry: id(n), next_branch: 5, heads: 0, versions: Vec::new() })
                    .unwrap();
                typed.push(SnapshotEntry { entry: id(n), next_branch: 5, heads: 0, versions: Vec::new() });
            }
            assert_eq!(text.is_empty(), entries == 0);
            let body = text.finish(&page(Vec::new())).unwrap();
            assert_eq!(String::from_utf8(body).unwrap(), serde_json::to_string(&page(typed)).unwrap());
        }
    }
}
