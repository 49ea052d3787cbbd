//! What a caller is told whose body is JSON and not what the route takes: which field, and never a word of what it wrote.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// Where in the text; nothing for what is read twice, like one of several kinds of object.
pub fn place(error: &serde_json::Error) -> String {
    match error.line() {
        0 => String::new(),
        line => format!(" at line {line} column {}", error.column()),
    }
}

/// The field in which an error was met, with all that it stands in. Reads the text once more, so that what is right is read
/// without a thought of this.
pub fn path<T: DeserializeOwned>(text: &str, error: &serde_json::Error) -> String {
    let mut reader = serde_json::Deserializer::from_str(text);
    let Err(met) = serde_path_to_error::deserialize::<_, T>(&mut reader) else { return String::new() };
    let mut segments: Vec<&Segment> = met.path().iter().collect();
    // The name of a field that is not ours: the caller may have written anything.
    let unknown = |key: &str| error.to_string().starts_with(&format!("unknown field `{key}`"));
    segments.pop_if(|last| matches!(last, Segment::Map { key } if unknown(key)));
    let mut path = String::new();
    for segment in segments {
        match segment {
            Segment::Seq { index } => path.push_str(&["[", &index.to_string(), "]"].concat()),
            Segment::Map { key } if path.is_empty() => path.push_str(key),
            Segment::Map { key } => {
                path.push('.');
                path.push_str(key);
            }
            // A variant may be the caller's word, and below what has no name nothing has one.
            Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    path
}

/// What serde met, in our words: names of fields are ours where the body was to have them.
pub fn of_body(error: &serde_json::Error, path: &str) -> String {
    let (text, place) = (error.to_string(), place(error));
    let within = if path.is_empty() { String::new() } else { format!("{path}: ") };
    for what in ["missing field", "duplicate field"] {
        if let Some(field) = text.strip_prefix(what).and_then(|rest| rest.split('`').nth(1)) {
            let dot = if path.is_empty() { "" } else { "." };
            return format!("{what} {path}{dot}{field}{place}");
        }
    }
    for what in ["unknown field", "unknown variant"] {
        if text.starts_with(what) {
            return format!("{within}{what}{place}{}", known(&text));
        }
    }
    format!("{within}wrong type or value{place}")
}

/// The names that serde had expected. They stand at the end: what the caller wrote comes before the last of these words.
fn known(text: &str) -> String {
    let Some((_, ours)) = text.rsplit_once(", expected ") else { return String::new() };
    let names: Vec<&str> = ours.split('`').skip(1).step_by(2).collect();
    format!("; known are {}", names.join(", "))
}
