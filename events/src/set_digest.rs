//! The digest of a set of versions: what [`chain`](crate::ids::Chain) is to their order.

use crate::{
    canonical::sha256,
    ids::{SetDigest, VersionId},
};

impl SetDigest {
    /// Takes a version in.
    pub fn add(&mut self, version: &VersionId) {
        let mut carry = 0_u16;
        for (digit, other) in self.0.iter_mut().zip(sha256(&version.0)).rev() {
            let sum = u16::from(*digit) + u16::from(other) + carry;
            *digit = sum.to_be_bytes()[1];
            carry = sum >> 8;
        }
    }

    /// Takes a version out.
    pub fn remove(&mut self, version: &VersionId) {
        let mut borrow = 0_i16;
        for (digit, other) in self.0.iter_mut().zip(sha256(&version.0)).rev() {
            let rest = i16::from(*digit) - i16::from(other) - borrow;
            borrow = i16::from(rest < 0);
            *digit = rest.rem_euclid(256).to_be_bytes()[1];
        }
    }
}

impl FromIterator<VersionId> for SetDigest {
    fn from_iter<I: IntoIterator<Item = VersionId>>(versions: I) -> Self {
        let mut all = Self::ZERO;
        versions.into_iter().for_each(|version| all.add(&version));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: u8) -> impl Iterator<Item = VersionId> {
        (0..n).map(|n| VersionId([n; 32]))
    }

    #[test]
    fn the_order_in_which_versions_come_does_not_matter() {
        let backwards: SetDigest = ids(100).collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(ids(100).collect::<SetDigest>(), backwards);
        assert_ne!(backwards, ids(99).collect());
    }

    #[test]
    fn what_is_taken_out_leaves_what_was_before_whatever_carries_and_wraps_around() {
        let mut digest: SetDigest = ids(200).collect();
        for id in ids(200) {
            digest.remove(&id);
        }
        assert_eq!(digest, SetDigest::ZERO);
        digest.remove(&VersionId([7; 32]));
        assert_ne!(digest, SetDigest::ZERO);
        digest.add(&VersionId([7; 32]));
        assert_eq!(digest, SetDigest::ZERO);
    }

    #[test]
    fn a_set_of_one_is_the_hash_of_its_version() {
        let one = VersionId([3; 32]);
        assert_eq!([one].into_iter().collect::<SetDigest>().0, sha256(&one.0));
    }
}
