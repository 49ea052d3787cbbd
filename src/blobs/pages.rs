//! The objects of a store, page by page.

use super::{BlobError, BlobStore, Listed};

/// Objects whose names are read at once.
const PAGE: usize = 500;

/// Where one is in the list of a store.
pub struct Pages<'a> {
    store: &'a dyn BlobStore,
    after: Option<String>,
    ended: bool,
}

impl<'a> Pages<'a> {
    /// All objects of a store.
    pub fn of(store: &'a dyn BlobStore) -> Self {
        Self { store, after: None, ended: false }
    }

    /// The next page; none after the last one. Of a store without objects the one page is empty.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn next(&mut self) -> Result<Option<Vec<Listed>>, BlobError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.store.list("", self.after.as_deref(), PAGE).await?;
        self.ended = page.len() < PAGE;
        self.after = page.last().map(|object| object.key.clone());
        Ok(Some(page))
    }
}
