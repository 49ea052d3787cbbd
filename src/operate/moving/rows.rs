//! Rows go over page by page; a hash over them says afterwards whether the same rows stand there.

use lockstep_events::canonical::sha256;
use sha2::{Digest, Sha256};

use crate::tables::{Filling, Row, Shape, Table, TableStore, Value};

use super::{MoveError, Watch};

/// Rows that are read at once.
const PAGE: usize = 250;

/// What a table has: how many rows, and one hash over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// Rows.
    pub rows: u64,
    /// Over their values in order.
    pub hash: [u8; 32],
}

impl Sum {
    /// Of a table without rows.
    pub fn nothing() -> Self {
        Self { rows: 0, hash: sha256(b"") }
    }
}

/// A table in the old place and in the new one.
pub struct Pair<'a> {
    /// The table.
    pub table: &'static Table,
    /// Where it comes from.
    pub from: &'a dyn TableStore,
    /// Where it goes to.
    pub to: &'a dyn TableStore,
}

impl Pair<'_> {
    /// What it is like in both.
    async fn shapes(&self) -> Result<(Shape, Shape), MoveError> {
        let (from, to) = (self.from.shape(self.table).await?, self.to.shape(self.table).await?);
        if from.is_like(&to) { Ok((from, to)) } else { Err(MoveError::Unlike(self.table.name)) }
    }

    /// Copies all rows, or only reads them where there is nothing to fill; what there is.
    pub async fn carry(
        &self,
        mut filling: Option<&mut Box<dyn Filling>>,
        watch: &mut Watch<'_>,
    ) -> Result<Sum, MoveError> {
        let (from, to) = self.shapes().await?;
        let of = self.from.count(self.table).await?;
        let (mut hasher, mut rows) = (Sha256::new(), 0);
        let mut after: Option<Row> = None;
        loop {
            let page = self.from.page(&from, after.as_ref(), PAGE).await?;
            for row in &page {
                add(&mut hasher, row);
            }
            if let Some(filling) = filling.as_mut()
                && !page.is_empty()
            {
                filling.put(&to, &page).await?;
            }
            rows += page.len() as u64;
            watch(self.table.name, rows, of);
            let full = page.len() == PAGE;
            after = page.into_iter().next_back();
            if !full {
                return Ok(Sum { rows, hash: hasher.finalize().into() });
            }
        }
    }

    /// What stands in the new place.
    pub async fn arrived(&self, watch: &mut Watch<'_>) -> Result<Sum, MoveError> {
        let back = Pair { table: self.table, from: self.to, to: self.from };
        back.carry(None, watch).await
    }
}

fn add(hasher: &mut Sha256, row: &Row) {
    for value in row {
        let (tag, bytes): (u8, &[u8]) = match value {
            Value::Null => (0, b""),
            Value::Bytes(bytes) => (1, bytes),
            Value::Int(number) => (2, &number.to_be_bytes()),
            Value::Text(text) => (3, text.as_bytes()),
        };
        hasher.update([tag]);
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[Row]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        rows.iter().for_each(|row| add(&mut hasher, row));
        hasher.finalize().into()
    }

    #[test]
    fn a_hash_tells_rows_apart_that_read_alike() {
        let text = |text: &str| Value::Text(text.to_owned());
        let rows: [&[Row]; 6] = [
            &[],
            &[vec![Value::Null]],
            &[vec![text("ab"), text("c")]],
            &[vec![text("a"), text("bc")]],
            &[vec![Value::Bytes(b"a".to_vec()), text("bc")]],
            &[vec![Value::Int(0)]],
        ];
        let sums: std::collections::HashSet<_> = rows.iter().map(|rows| sum(rows)).collect();
        assert_eq!(sums.len(), rows.len());
        assert_eq!(sum(&[]), Sum::nothing().hash);
    }
}
