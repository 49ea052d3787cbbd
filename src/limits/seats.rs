//! How much of something somebody has at the same time: one who takes thousands shall not leave none for the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So many seats for each. Clones share them.
#[derive(Debug, Clone)]
pub struct Seats {
    most: usize,
    taken: Arc<Mutex<HashMap<u128, usize>>>,
}

/// A seat, or some together, until this is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    whose: u128,
    number: usize,
}

impl Seats {
    /// At most so many for each.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u128, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody has one.
    #[cfg(test)]
    pub fn all_free(&self) -> bool {
        self.taken().is_empty()
    }

    /// How many somebody has.
    #[cfg(test)]
    pub fn taken_by(&self, whose: u128) -> usize {
        self.taken().get(&whose).copied().unwrap_or_default()
    }

    /// Takes a seat; none if somebody has as many as they may.
    pub fn take(&self, whose: u128) -> Option<Seat> {
        self.take_some(whose, 1)
    }

    /// Takes so many, all or none.
    pub fn take_some(&self, whose: u128, number: usize) -> Option<Seat> {
        let mut taken = self.taken();
        let all = taken.get(&whose).copied().unwrap_or_default().saturating_add(number);
        if all > self.most {
            return None;
        }
        taken.insert(whose, all);
        drop(taken);
        Some(Seat { seats: self.clone(), whose, number })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(number) = taken.get_mut(&self.whose) {
            *number -= self.number;
            if *number == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_seats_and_who_leaves_is_forgotten() {
        let seats = Seats::new(2);
        let mut mine = vec![seats.take(1).unwrap(), seats.take(1).unwrap()];
        assert!(seats.take(1).is_none() && seats.take(2).is_some());
        mine.pop();
        mine.push(seats.take(1).unwrap());
        assert!(seats.take(1).is_none());
        drop(mine);
        assert!(seats.all_free());
    }
}
