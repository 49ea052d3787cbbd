//! Words that stand nowhere else, and the search for them in everything that a server leaves behind.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::Rng;

/// A word of 24 letters that nobody else writes.
pub fn canary() -> String {
    canary_of("")
}

/// A word that nobody else writes, of a family of words that begin alike: whoever looks for the beginning finds all.
pub fn canary_of(family: &str) -> String {
    let mut rng = rand::thread_rng();
    let own = (0..24).map(|_| char::from(rng.gen_range(b'a'..=b'z')));
    family.chars().chain(own).collect()
}

/// Bytes as a list of numbers in JSON, without its brackets.
fn numbers(text: &str) -> String {
    text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(",")
}

/// Whether a text has a word: as it is, in capitals, in hexadecimal, in base64, or as a list of numbers.
pub fn has(text: &[u8], word: &str) -> bool {
    // Inside of a longer base64 text the word begins at any of three places; its middle is the same for each.
    let shifted = (0..3).map(|shift| {
        let encoded = STANDARD.encode([vec![b'x'; shift].as_slice(), word.as_bytes()].concat());
        encoded[4..encoded.len() - 4].to_owned()
    });
    let mut forms = vec![word.to_owned(), word.to_uppercase(), hex::encode(word), hex::encode_upper(word)];
    forms.push(numbers(word));
    forms.extend(shifted);
    forms.iter().any(|form| text.windows(form.len()).any(|window| window == form.as_bytes()))
}

/// The files below a folder that have one of these words.
pub fn files_with(folder: &Path, words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // Something that is deleted meanwhile has nothing any more.
            let Ok(bytes) = std::fs::read(&path) else { continue };
            let named = words.iter().filter(|word| has(&bytes, word));
            found.extend(named.map(|word| format!("{} has {word}", path.display())));
        }
    }
    found
}

#[test]
fn a_word_is_found_in_every_form() {
    let word = canary();
    for shift in 0..3 {
        let text = format!("{}{word}--", "y".repeat(shift));
        let forms =
            [text.clone(), hex::encode(&text), STANDARD.encode(&text), text.to_uppercase(), numbers(&text)];
        for form in forms {
            assert!(has(form.as_bytes(), &word), "{form}");
        }
    }
    assert!(!has(canary().as_bytes(), &word));
}
