//! Which items have to be decided and committed together.

use std::collections::HashMap;

use lockstep_events::EntryId;

use super::Ready;

/// Items that are one unit of the log: their indices, and the groups among them as places in `items`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    pub items: Vec<usize>,
    pub groups: Vec<Vec<usize>>,
}

/// Items of one entry belong together, items of one group too, and so on. A repeated item is left to its first.
pub(super) fn clusters(ready: &[Ready], groups: &[Vec<usize>]) -> Vec<Cluster> {
    let mut sets = Sets((0..ready.len()).collect());
    let mut first_of_entry: HashMap<EntryId, usize> = HashMap::new();
    for (index, item) in ready.iter().enumerate() {
        let first = *first_of_entry.entry(item.entry).or_insert(index);
        sets.join(first, index);
    }
    for pair in groups.iter().flat_map(|group| group.windows(2)) {
        sets.join(pair[0], pair[1]);
    }
    let mut clusters: Vec<Cluster> = Vec::new();
    let mut places: HashMap<usize, (usize, usize)> = HashMap::new();
    let mut cluster_of: HashMap<usize, usize> = HashMap::new();
    for (index, _) in ready.iter().enumerate().filter(|(_, item)| item.first.is_none()) {
        let at = *cluster_of.entry(sets.root(index)).or_insert_with(|| {
            clusters.push(Cluster::default());
            clusters.len() - 1
        });
        places.insert(index, (at, clusters[at].items.len()));
        clusters[at].items.push(index);
    }
    for group in groups {
        let members = group.iter().map(|index| ready[*index].first.unwrap_or(*index));
        let placed: Vec<_> = members.filter_map(|index| places.get(&index).copied()).collect();
        if let Some((at, _)) = placed.first() {
            clusters[*at].groups.push(placed.iter().map(|(_, place)| *place).collect());
        }
    }
    clusters
}

/// Disjoint sets; each element points towards the root of its set.
struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, mut of: usize) -> usize {
        while self.0[of] != of {
            self.0[of] = self.0[self.0[of]];
            of = self.0[of];
        }
        of
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
