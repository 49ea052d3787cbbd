//! Personal data never stands in the public part of an event, which is kept for ever and read by auditors.
//!
//! The compiler sees to it (`events/src/public.rs`). Here is what it cannot see: that nobody goes around it, and that
//! what is a word by its type looks like one.

use crate::sources::{Source, ending_with, expect_none, lines_where, rust};

/// Where the trait is implemented: by hand for what everything is made of, by `public!` for the rest.
const TRUSTED: &str = "events/src/public.rs";

fn vouched_for(source: &Source) -> Vec<String> {
    lines_where(&source.path, &source.text, |line| {
        let line = line.trim();
        let by_hand = line.contains("Public for ") && line.starts_with("impl");
        let unchecked = line.contains("@of ") && line.contains("public!");
        by_hand || unchecked
    })
}

#[test]
fn nobody_vouches_for_a_type_but_the_compiler() {
    let others = |source: &&Source| source.path != TRUSTED && !source.is_in("tests/repository");
    let found: Vec<_> = rust().iter().filter(others).flat_map(vouched_for).collect();
    expect_none(&format!("`Public` is implemented in {TRUSTED} alone"), &found);
    let forged = |line: &str| Source { path: "e.rs".to_owned(), text: line.to_owned() };
    for line in [
        "impl lockstep_events::public::Public for Note {}",
        "    impl<T> Public for Note<T> {",
        "lockstep_events::public! { @of Note: }",
    ] {
        assert_eq!(vouched_for(&forged(line)).len(), 1, "{line}");
    }
    assert_eq!(vouched_for(&forged("public! {")).len(), 0);
}

/// Where a server makes a whole event, its public part comes from the encoder, which takes only what is public.
fn unencoded(source: &Source) -> Vec<String> {
    let code = source.shipped();
    if !code.contains("NewEvent {") {
        return Vec::new();
    }
    lines_where(&source.path, &code, |line| {
        let line = line.trim();
        let set = line.starts_with("public:") || line.starts_with("public,") || line.contains(".public =");
        set && line != "public: encoded.public,"
    })
}

#[test]
fn the_public_part_of_an_event_is_written_by_its_encoder_alone() {
    let server = rust().into_iter().filter(|source| source.path.starts_with("src/") && !source.is_test());
    let found: Vec<_> = server.flat_map(|source| unencoded(&source)).collect();
    expect_none("the public part of an event is `encoded.public`", &found);
    let made = |public: &str| Source {
        path: "e.rs".to_owned(),
        text: format!("let event = NewEvent {{\n    {public}\n}};\n"),
    };
    assert_eq!(unencoded(&made("public: format!(\"{name}\"),")).len(), 1);
    assert_eq!(unencoded(&made("public,")).len(), 1);
    assert_eq!(unencoded(&made("public: encoded.public,")).len(), 0);
}

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
