//! A row of `subject_keys`, the same in both databases.

use uuid::Uuid;

use crate::subjects::{
    Purpose,
    keys::{KeyName, KeyStoreError, Standing, StoredKey},
};

use super::named_row::named_row;

/// The period of a tombstone that stands for all periods of its purpose.
pub const EVERY_PERIOD: &str = "*";

named_row! {
    pub struct SubjectKeyRow {
        subject: Uuid,
        purpose: String,
        period: String,
        id: Uuid,
        epoch: i64,
        bytes: Option<Vec<u8>>,
    }
}

impl SubjectKeyRow {
    /// What stands there: a tombstone has no bytes.
    pub fn standing(self) -> Result<Standing, KeyStoreError> {
        let damaged = || KeyStoreError::Other("a stored subject key is not of its shape".into());
        let Some(bytes) = self.bytes else { return Ok(Standing::Destroyed) };
        let purpose = Purpose::from_name(&self.purpose).ok_or_else(damaged)?;
        Ok(Standing::Key(StoredKey {
            name: KeyName { subject: self.subject.into(), purpose, period: self.period },
            id: self.id,
            epoch: u32::try_from(self.epoch).map_err(|_| damaged())?,
            bytes,
        }))
    }

    /// What the rows under a name come to: a tombstone counts more than a key.
    pub fn all_standing(rows: Vec<Self>) -> Result<Standing, KeyStoreError> {
        let mut found = Standing::None;
        for row in rows {
            match row.standing()? {
                Standing::Destroyed => return Ok(Standing::Destroyed),
                standing => found = standing,
            }
        }
        Ok(found)
    }

    /// The living keys among rows.
    pub fn keys(rows: Vec<Self>) -> Result<Vec<StoredKey>, KeyStoreError> {
        let living = |row: Self| match row.standing() {
            Ok(Standing::Key(key)) => Some(Ok(key)),
            Ok(Standing::None | Standing::Destroyed) => None,
            Err(error) => Some(Err(error)),
        };
        rows.into_iter().filter_map(living).collect()
    }
}
