//! Which versions only one side has: asked by hash ranges, then by ids; and versions by id.

use lockstep_events::{SetDigest, VersionId, ids::Hash32};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::sync::SnapshotVersion;

/// `POST /v1/vaults/{vault}/reconcile`: what the client holds, by the first byte of the version id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "by")]
pub enum Reconcile {
    /// First round: 256 buckets.
    Buckets {
        /// Count and set digest of each bucket, by first byte of the version id.
        #[schema(min_items = 256, max_items = 256)]
        buckets: Vec<Bucket>,
    },
    /// Second round: the ids of some buckets.
    Ids {
        /// The buckets that are asked about.
        buckets: Vec<u8>,
        /// All ids that the client holds in them.
        ids: Vec<VersionId>,
    },
}

/// A bucket of version ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// How many.
    pub count: u64,
    /// Sum mod 2^256 of SHA-256(version id).
    pub digest: Hash32,
}

impl Bucket {
    /// The 256 buckets of some versions, by the first byte of their ids.
    pub fn all(versions: impl IntoIterator<Item = VersionId>) -> Vec<Self> {
        let mut sums = vec![(0, SetDigest::ZERO); 256];
        for id in versions {
            let (count, digest) = &mut sums[usize::from(id.0[0])];
            *count += 1;
            digest.add(&id);
        }
        sums.into_iter().map(|(count, digest)| Self { count, digest: Hash32(digest.0) }).collect()
    }
}

/// Answer to [`Reconcile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reconciled {
    /// First round: the buckets that differ.
    pub differ: Vec<u8>,
    /// Second round: what only the server has; fetch it with [`GetVersions`].
    pub server_only: Vec<VersionId>,
    /// Second round: what only the client has; offer it again.
    pub client_only: Vec<VersionId>,
}

/// `POST /v1/vaults/{vault}/versions/get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GetVersions {
    /// At most 200.
    #[schema(min_items = 1, max_items = 200)]
    pub versions: Vec<VersionId>,
}

/// Answer to [`GetVersions`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// In order of seq, with short ciphertexts. Those that the vault does not have are left out.
    pub versions: Vec<SnapshotVersion>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_counted_and_summed_by_the_first_byte_of_their_ids() {
        let mut third = [0; 32];
        third[0] = 2;
        let buckets = Bucket::all([[1; 32], [2; 32], third].map(VersionId));
        assert_eq!(buckets.len(), 256);
        let alone: SetDigest = [VersionId([1; 32])].into_iter().collect();
        assert_eq!(buckets[1], Bucket { count: 1, digest: Hash32(alone.0) });
        assert_eq!(buckets[2].count, 2);
        assert_eq!(buckets[3], Bucket { count: 0, digest: Hash32::ZERO });
    }
}
