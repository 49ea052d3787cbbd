//! Pages of short lists.

use lockstep_api::Code;
use lockstep_events::Seq;

use crate::http::{Answer, Failure};

/// A page has at most so many items.
const MAX_PAGE: usize = 100;

/// How long a page usually is.
pub fn usual() -> usize {
    50
}

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// What is on it.
    pub shown: Vec<T>,
    /// After which the next one begins; none: this is the last.
    pub after: Option<Seq>,
}

/// Whether a place in the log or in a list may be meant: places are numbers of 63 bits, in stores and in the API's document.
///
/// # Errors
/// `invalid_parameter`
pub fn in_reach(after: u64) -> Answer<()> {
    match i64::try_from(after) {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::from(Code::InvalidParameter).detail("after: there is no place so high")),
    }
}

/// The page of a list that begins after a place.
///
/// # Errors
/// `invalid_parameter`
pub fn part<T>(list: Vec<T>, (after, limit): (u64, usize), place: impl Fn(&T) -> Seq) -> Answer<Part<T>> {
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Failure::from(Code::InvalidParameter).detail("limit: 1 to 100"));
    }
    in_reach(after)?;
    let mut rest = list.into_iter().filter(|item| place(item).0 > after);
    let shown: Vec<T> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    Ok(Part { after: shown.last().map(&place).filter(|_| more), shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_and_the_last_one_says_so() {
        let list = || (1..=5).map(Seq).collect::<Vec<_>>();
        let page = |after| part(list(), (after, 2), |seq| *seq).unwrap_or_else(|_| panic!("a page"));
        assert_eq!(page(0), Part { shown: vec![Seq(1), Seq(2)], after: Some(Seq(2)) });
        assert_eq!(page(4), Part { shown: vec![Seq(5)], after: None });
        assert_eq!(page(3), Part { shown: vec![Seq(4), Seq(5)], after: None });
        assert!(part(list(), (0, 0), |seq| *seq).is_err() && part(list(), (0, 101), |seq| *seq).is_err());
    }
}
