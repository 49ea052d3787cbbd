//! What is kept of much.

use std::{hash::Hash, num::NonZeroUsize};

use lru::LruCache;

/// At most so many, those that were used last. It takes memory as it fills: [`LruCache::new`] takes all of it at once.
pub fn bounded<K: Hash + Eq, V>(most: NonZeroUsize) -> LruCache<K, V> {
    let mut kept = LruCache::unbounded();
    kept.resize(most);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_is_kept_and_the_last_used_stay() {
        let mut kept = bounded(NonZeroUsize::new(2).unwrap());
        for n in [1, 2, 1, 3] {
            kept.put(n, ());
        }
        assert_eq!(kept.iter().map(|(n, ())| *n).collect::<Vec<_>>(), [3, 1]);
    }
}
