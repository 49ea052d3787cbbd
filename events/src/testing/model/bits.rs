//! A set of small numbers.

/// Versions of one run, by their number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Whether a number is in it.
    pub fn has(&self, n: usize) -> bool {
        self.0.get(n / 64).is_some_and(|word| word >> (n % 64) & 1 == 1)
    }

    /// Adds a number; whether it was not there.
    pub fn add(&mut self, n: usize) -> bool {
        if self.0.len() <= n / 64 {
            self.0.resize(n / 64 + 1, 0);
        }
        let fresh = !self.has(n);
        self.0[n / 64] |= 1 << (n % 64);
        fresh
    }

    /// Takes a number away.
    pub fn remove(&mut self, n: usize) {
        if let Some(word) = self.0.get_mut(n / 64) {
            *word &= !(1 << (n % 64));
        }
    }

    /// The smallest number that is in this set and in none of the others.
    pub fn first_outside(&self, others: &[&Self]) -> Option<usize> {
        self.0.iter().enumerate().find_map(|(at, word)| {
            let covered = others.iter().fold(0, |all, other| all | other.0.get(at).copied().unwrap_or(0));
            let left = word & !covered;
            (left != 0).then(|| at * 64 + left.trailing_zeros() as usize)
        })
    }

    /// Adds all numbers of another set.
    pub fn extend(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let n = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                (n < 64).then_some(at * 64 + n)
            })
        })
    }
}
