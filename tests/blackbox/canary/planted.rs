//! What was planted, and the search for it.

use std::collections::{BTreeSet, HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use rand::{Rng, RngCore, distributions::Alphanumeric};
use serde_json::Value;
use uuid::Uuid;

/// Every form of what is planted is at least so long.
const START: usize = 8;

/// Things that must not be found, each with where it was put.
#[derive(Debug, Default)]
pub struct Planted {
    prefix: String,
    all: Vec<(String, Vec<String>)>,
}

impl Planted {
    /// Texts that begin with `prefix`.
    pub fn of_form(prefix: String) -> Self {
        Self { prefix, all: Vec::new() }
    }

    /// Nothing planted yet, of the same form.
    pub fn like(&self) -> Self {
        Self::of_form(self.prefix.clone())
    }

    pub fn extend(&mut self, other: Self) {
        self.all.extend(other.all);
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Plants a given text.
    pub fn plant(&mut self, what: &str, text: String) {
        let simple = Uuid::parse_str(&text).ok().map(|id| id.simple().to_string());
        let bytes = text.as_bytes().to_vec();
        let mut forms = vec![text];
        forms.extend(simple);
        forms.extend(of_bytes(&bytes));
        assert!(bytes.len() >= START, "{what}: that may stand anywhere");
        self.all.push((what.to_owned(), forms));
    }

    /// Plants given bytes.
    pub fn bytes(&mut self, what: &str, bytes: &[u8]) {
        self.all.push((what.to_owned(), of_bytes(bytes)));
    }

    /// Plants a new text of 16 characters, which is a word wherever the API asks for one.
    pub fn text(&mut self, what: &str) -> String {
        let text: String = rand::thread_rng().sample_iter(Alphanumeric).take(16).map(char::from).collect();
        let text = text.to_ascii_lowercase();
        self.plant(what, text.clone());
        format!("{}{text}", self.prefix)
    }

    /// Plants a new value of the kind that a schema asks for.
    pub fn value(&mut self, what: &str, schema: &Value) -> Value {
        let form = (schema["format"].as_str(), schema["pattern"].as_str());
        match (kind(schema), form) {
            ("string", (Some("uuid"), _)) => {
                let id = Uuid::new_v4();
                self.plant(what, id.to_string());
                id.to_string().into()
            }
            ("string", (Some("byte"), _)) => {
                let text = self.text(what);
                base64::engine::general_purpose::STANDARD.encode(text).into()
            }
            ("string", (_, Some(pattern))) if pattern.starts_with("^(ark/password|") => {
                let id = Uuid::new_v4().to_string();
                self.plant(what, id.clone());
                format!("vault/{id}").into()
            }
            ("string", (_, Some(pattern))) if hexadecimal(pattern).is_some() => {
                let mut bytes = vec![0; hexadecimal(pattern).unwrap_or_default()];
                rand::thread_rng().fill_bytes(&mut bytes);
                self.bytes(what, &bytes);
                hex::encode(bytes).into()
            }
            ("string", _) if schema["enum"].is_array() => schema["enum"][0].clone(),
            ("string", _) => self.text(what).into(),
            ("boolean", _) => true.into(),
            ("null", _) => Value::Null,
            _ => 1.into(),
        }
    }

    /// What can be found in a text: where it was put.
    pub fn found_in(&self, text: &str) -> Vec<String> {
        // There are many times ten thousand things, and megabytes to search: each of both is looked at once.
        let mut starts: HashMap<&[u8], Vec<(usize, &str)>> = HashMap::new();
        for (number, (_, forms)) in self.all.iter().enumerate() {
            for form in forms {
                starts.entry(&form.as_bytes()[..START]).or_default().push((number, form));
            }
        }
        let text = text.as_bytes();
        let mut hits = BTreeSet::new();
        for (at, start) in text.windows(START).enumerate() {
            let begun = starts.get(start).into_iter().flatten();
            hits.extend(begun.filter(|(_, form)| text[at..].starts_with(form.as_bytes())).map(|hit| hit.0));
        }
        hits.into_iter().map(|number| self.all[number].0.clone()).collect()
    }
}

/// How many bytes a pattern of hexadecimal digits stands for, if it is one.
fn hexadecimal(pattern: &str) -> Option<usize> {
    match pattern.strip_prefix("^[0-9a-f]{").and_then(|rest| rest.strip_suffix("}$")) {
        Some(digits) => Some(digits.parse::<usize>().unwrap() / 2),
        // As many as there are.
        None => (pattern == "^([0-9a-f]{2})+$").then_some(32),
    }
}

/// The name of a schema's type; of several, the first that is one.
fn kind(schema: &Value) -> &str {
    let one = schema["type"].as_str();
    let first = || schema["type"].as_array()?.iter().filter_map(Value::as_str).find(|kind| *kind != "null");
    one.or_else(first).unwrap_or("string")
}

/// Bytes as programs write them: in hexadecimal, base64, and as a list of numbers.
fn of_bytes(bytes: &[u8]) -> Vec<String> {
    let numbers = bytes.iter().take(8).map(u8::to_string).collect::<Vec<_>>().join(", ");
    vec![hex::encode(bytes), hex::encode_upper(bytes), STANDARD_NO_PAD.encode(bytes), numbers]
}

#[test]
fn a_planted_leak_is_found_in_every_form() {
    let mut planted = Planted::default();
    let text = planted.text("text");
    let id = planted.value("id", &serde_json::json!({"type": "string", "format": "uuid"}));
    planted.bytes("bytes", &[200, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(planted.found_in("nothing of it").is_empty());
    let id = Uuid::parse_str(id.as_str().unwrap()).unwrap();
    let hash = planted.value("hash", &serde_json::json!({"type": "string", "pattern": "^[0-9a-f]{64}$"}));
    assert_eq!(planted.found_in(&format!("x {} y", hash.as_str().unwrap())), ["hash"]);
    for leak in [
        format!("x{text}y"),
        hex::encode(&text),
        STANDARD_NO_PAD.encode(&text),
        format!("{:?}", text.as_bytes()),
    ] {
        assert_eq!(planted.found_in(&leak), ["text"], "{leak}");
    }
    for leak in [id.to_string(), id.simple().to_string()] {
        assert_eq!(planted.found_in(&leak), ["id"], "{leak}");
    }
    assert_eq!(planted.found_in(&format!("{:?}", [200_u8, 1, 2, 3, 4, 5, 6, 7, 8])), ["bytes"]);
    assert_eq!(planted.found_in("c80102030405060708"), ["bytes"]);
}
