//! Passwords and passphrases.
//!
//! Every choice is `gen_range` of `rand`, which rejects instead of folding, so no character or word is likelier than
//! another. A password that misses a class that was asked for is thrown away whole and made again: what remains is
//! uniform over all passwords that have every class.

use lockstep_api::words::WORDS;
use rand::Rng;

use super::secret::Secret;

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
const SYMBOLS: &str = "!#$%&*+-./:;<=>?@_~";
/// Characters that are taken for each other on paper.
const ALIKE: &str = "0O1lI|";

/// What a password is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one box that a person ticks")]
pub struct Recipe {
    /// Number of characters, 4–512.
    pub length: usize,
    /// A–Z.
    pub upper: bool,
    /// 0–9.
    pub digits: bool,
    /// Punctuation that every form accepts.
    pub symbols: bool,
    /// Leave out characters that look alike.
    pub readable: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { length: 20, upper: true, digits: true, symbols: true, readable: false }
    }
}

/// Why nothing was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// The length is out of range.
    #[error("a password has between 4 and 512 characters")]
    Length,
    /// The number of words is out of range.
    #[error("a passphrase has between 3 and 64 words")]
    Words,
}

/// A password or passphrase, with how much chance is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The text.
    pub secret: Secret,
    /// Bits of entropy: how many times a guesser must double the work.
    pub bits: f64,
}

/// A password.
///
/// # Errors
/// If the recipe's length is out of range.
pub fn password(rng: &mut impl Rng, recipe: Recipe) -> Result<Generated, RecipeError> {
    if !(4..=512).contains(&recipe.length) {
        return Err(RecipeError::Length);
    }
    let classes = classes(recipe);
    let all: Vec<char> = classes.iter().flatten().copied().collect();
    loop {
        let made: String = (0..recipe.length).map(|_| all[rng.gen_range(0..all.len())]).collect();
        if classes.iter().all(|class| made.contains(class.as_slice())) {
            #[expect(clippy::cast_precision_loss, reason = "both numbers are small")]
            let bits = (all.len() as f64).log2() * recipe.length as f64;
            return Ok(Generated { secret: made.into(), bits });
        }
    }
}

fn classes(recipe: Recipe) -> Vec<Vec<char>> {
    let wanted = [(true, LOWER), (recipe.upper, UPPER), (recipe.digits, DIGITS), (recipe.symbols, SYMBOLS)];
    let readable = |c: &char| !recipe.readable || !ALIKE.contains(*c);
    wanted.iter().filter(|(on, _)| *on).map(|(_, class)| class.chars().filter(readable).collect()).collect()
}

/// Our own list of words, for what people compare.
pub(crate) fn word_list() -> [&'static str; 1024] {
    let mut words = WORDS.split_ascii_whitespace();
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

/// A passphrase of words from our own list of 1,024, joined by a separator: ten bits a word.
///
/// # Errors
/// If the number of words is out of range.
pub fn passphrase(rng: &mut impl Rng, words: usize, separator: &str) -> Result<Generated, RecipeError> {
    if !(3..=64).contains(&words) {
        return Err(RecipeError::Words);
    }
    let list: Vec<&str> = WORDS.split_ascii_whitespace().collect();
    let chosen: Vec<&str> = (0..words).map(|_| list[rng.gen_range(0..list.len())]).collect();
    #[expect(clippy::cast_precision_loss, reason = "both numbers are small")]
    let bits = (list.len() as f64).log2() * words as f64;
    Ok(Generated { secret: chosen.join(separator).into(), bits })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_password_has_its_length_and_every_class_that_was_asked_for() {
        let mut rng = StdRng::seed_from_u64(1);
        for length in [4, 5, 20, 512] {
            let made = password(&mut rng, Recipe { length, ..Recipe::default() }).unwrap().secret;
            assert_eq!(made.as_str().chars().count(), length);
            for class in [LOWER, UPPER, DIGITS, SYMBOLS] {
                assert!(made.as_str().contains(|c| class.contains(c)), "{length}");
            }
        }
        assert_eq!(password(&mut rng, Recipe { length: 3, ..Recipe::default() }), Err(RecipeError::Length));
    }

    #[test]
    fn no_character_is_likelier_than_another() {
        let mut rng = StdRng::seed_from_u64(2);
        let recipe = Recipe { length: 500, upper: false, digits: false, symbols: false, readable: false };
        let mut counts = std::collections::BTreeMap::<char, f64>::new();
        for _ in 0..200 {
            for c in password(&mut rng, recipe).unwrap().secret.as_str().chars() {
                *counts.entry(c).or_default() += 1.0;
            }
        }
        let expected = 100_000.0 / 26.0;
        let chi_squared: f64 = counts.values().map(|n| (n - expected).powi(2) / expected).sum();
        assert_eq!(counts.len(), 26);
        // 25 degrees of freedom: 52.6 is passed by chance once in a thousand seeds, and the seed is fixed.
        assert!(chi_squared < 52.6, "{chi_squared}");
    }

    #[test]
    fn readable_passwords_have_no_look_alikes() {
        let mut rng = StdRng::seed_from_u64(3);
        let recipe = Recipe { length: 512, readable: true, ..Recipe::default() };
        assert!(!password(&mut rng, recipe).unwrap().secret.as_str().contains(|c| ALIKE.contains(c)));
    }

    #[test]
    fn the_word_list_has_1024_different_words_so_that_each_is_worth_ten_bits() {
        let words: BTreeSet<&str> = WORDS.split_ascii_whitespace().collect();
        assert_eq!(words.len(), 1024);
        assert_eq!(WORDS.split_ascii_whitespace().count(), 1024);
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase()) && word.len() <= 7));
        let made = passphrase(&mut StdRng::seed_from_u64(4), 6, "-").unwrap();
        assert_eq!(made.secret.as_str().split('-').count(), 6);
        assert!((made.bits - 60.0).abs() < 1e-9);
    }
}
