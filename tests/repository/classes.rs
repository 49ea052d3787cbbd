//! Personal data never stands in the public part of an event, which is kept for ever and read by auditors.
//!
//! A text in an event has a class in its documentation: `Class: word` for a word of our own vocabulary, `Class: hex`
//! for bytes that we made. There is no class for what a person wrote or is called: that is sealed
//! (`Subjects::seal_into`), and has no field.

use crate::sources::{Source, ending_with, expect_none, rust};

const CLASSES: [&str; 2] = ["Class: word", "Class: hex"];
/// Types that hold whatever they are given.
const TEXTS: [&str; 6] = ["String", "Value", "str", "Cow", "char", "RawValue"];

fn has_text(declared: &str) -> bool {
    declared.split(|c: char| !c.is_alphanumeric()).any(|word| TEXTS.contains(&word))
}

/// Fields and payloads of a file of events that hold a text without a class.
fn unclassed(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut documented = String::new();
    for (index, line) in source.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        if let Some(words) = line.strip_prefix("///") {
            documented.push_str(words);
            continue;
        }
        if line.starts_with("#[") || line.is_empty() {
            continue;
        }
        let is_field = line.starts_with("pub ") && line.contains(": ") && !line.contains("fn ");
        let is_variant = line.ends_with("),") && line.starts_with(char::is_uppercase);
        let declared = line.split_once(if is_field { ": " } else { "(" }).map_or("", |(_, rest)| rest);
        let has_class = CLASSES.iter().any(|class| documented.contains(class));
        if (is_field || is_variant) && has_text(declared) && !has_class {
            found.push(format!("{}:{}: {line}", source.path, index + 1));
        }
        documented.clear();
    }
    found
}

#[test]
fn every_text_in_an_event_says_why_it_is_not_personal() {
    let events = rust().into_iter().filter(|source| source.path.starts_with("events/src/event/"));
    let found: Vec<_> = events.flat_map(|source| unclassed(&source)).collect();
    expect_none("a text in an event has a class, or is sealed (see tests/repository/classes.rs)", &found);
}

#[test]
fn a_text_without_a_class_is_found_wherever_it_hides() {
    let field = |declared: &str| {
        let text =
            format!("/// What it is.\npub struct E {{\n    /// A name.\n    pub name: {declared},\n}}\n");
        unclassed(&Source { path: "e.rs".to_owned(), text }).len()
    };
    for declared in ["String", "Option<String>", "Vec<String>", "BTreeMap<u8, serde_json::Value>", "Box<str>"]
    {
        assert_eq!(field(declared), 1, "{declared}");
    }
    assert_eq!(field("AccountId"), 0);
    let variant = "/// Some.\n    Named(String),\n".to_owned();
    assert_eq!(unclassed(&Source { path: "e.rs".to_owned(), text: variant }).len(), 1);
    let classed = "/// Its name. Class: word.\n    pub name: String,\n".to_owned();
    assert_eq!(unclassed(&Source { path: "e.rs".to_owned(), text: classed }).len(), 0);
}

/// Types that events take from elsewhere hide their fields from the test above: the samples show what is in them.
#[test]
fn no_sample_of_an_event_has_a_text_that_could_be_personal() {
    let mut found = Vec::new();
    for source in ending_with(&[".json"]).iter().filter(|source| source.path.starts_with("events/golden/")) {
        let sample: serde_json::Value = serde_json::from_str(&source.text).unwrap();
        let public = serde_json::from_str(sample["public"].as_str().unwrap()).unwrap();
        walk(&public, &source.path, &mut found);
    }
    expect_none("a sample has something else than words of ours, hex and ids", &found);
}

fn walk(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => {
            let is_ours = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_./ -".contains(c);
            found.extend((!text.chars().all(is_ours)).then(|| format!("{path}: {text}")));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| walk(value, path, found)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| walk(value, path, found)),
        _ => {}
    }
}
