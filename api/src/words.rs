//! Words that people compare: the same few on two screens say that both are about the same request.

/// 1,024 short words: ten bits each.
pub const WORDS: &str = include_str!("words.txt");

/// The words that stand for a 32-byte value: `count` of them, at most 25, ten bits each.
pub fn of(value: &[u8; 32], count: usize) -> String {
    let list: Vec<&str> = WORDS.split_ascii_whitespace().collect();
    let word = |at: usize| {
        let bits = (0..10).fold(0, |bits, n| (bits << 1) | usize::from(bit(value, at * 10 + n)));
        list.get(bits).copied().unwrap_or_default()
    };
    (0..count.min(25)).map(word).collect::<Vec<_>>().join(" ")
}

fn bit(value: &[u8; 32], at: usize) -> bool {
    value[at / 8] >> (7 - at % 8) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_1024_different_words() {
        let all: std::collections::BTreeSet<&str> = WORDS.split_ascii_whitespace().collect();
        assert_eq!((all.len(), WORDS.split_ascii_whitespace().count()), (1024, 1024));
    }

    #[test]
    fn every_ten_bits_choose_a_word() {
        let list: Vec<&str> = WORDS.split_ascii_whitespace().collect();
        assert_eq!(of(&[0; 32], 2), format!("{0} {0}", list[0]));
        assert_eq!(of(&[255; 32], 25), vec![list[1023]; 25].join(" "));
        let mut value = [0; 32];
        (value[0], value[1]) = (0b0000_0000, 0b1100_0000);
        assert_eq!(of(&value, 1), list[3]);
    }
}
