//! What may enter a log line: fields of a closed list, each with a reason; sentences without anything put in.

use crate::sources::{Source, expect_none, rust};

/// Every field of a log line, and why it tells nothing about anybody.
const FIELDS: [(&str, &str); 38] = [
    ("account", "a pseudonym of this month"),
    ("action", "the name of a limit"),
    ("blobs", "a number"),
    ("bytes", "a number"),
    ("cause", "an error of ours or of a port; a test looks for what callers sent in them"),
    ("claimed", "a place in a stream, or in the log"),
    ("streams", "a number"),
    ("code", "a problem code"),
    ("entries", "a number"),
    ("error", "like cause"),
    ("from", "a network of 256 addresses, or of 48 bits"),
    ("head", "a place in a stream"),
    ("incident", "a word of ours"),
    ("method", "of HTTP"),
    ("ms", "a number"),
    ("objects", "a number"),
    ("open", "a number"),
    ("people", "a number"),
    ("place", "a line of the source"),
    ("position", "a place in the log"),
    ("port", "the name of a port"),
    ("provider", "the name of an identity provider in the options"),
    ("received", "a number"),
    ("repacked", "a number"),
    ("request", "an id that the server made up for it"),
    ("route", "a template"),
    ("sent", "a number"),
    ("session", "a pseudonym of this month"),
    ("status", "of HTTP"),
    ("step", "a number"),
    ("stream", "an id, without whom it belongs to: an operator must find a stream that lost data"),
    ("target", "of the line itself"),
    ("task", "an id that the server made up for a letter"),
    ("units", "a number"),
    ("uploads", "a number"),
    ("variable", "the name of an environment variable of the server"),
    ("versions", "a number"),
    ("wanted", "a number"),
];

/// The macros that log.
const MACROS: [&str; 7] = ["trace", "debug", "info", "warn", "error", "event", "span"];

/// The arguments of every call of a macro of `tracing`, with the line it stands on.
fn calls(source: &Source) -> Vec<(usize, Vec<String>)> {
    let text = source.shipped();
    let mut found = Vec::new();
    for level in MACROS {
        let name = format!("tracing::{level}!(");
        for (at, _) in text.match_indices(&name) {
            let line = text[..at].lines().count();
            found.push((line, arguments(&text[at + name.len()..])));
        }
    }
    found
}

/// What stands between commas until the parenthesis closes.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut all = vec![String::new()];
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().unwrap().push(letter);
    }
    all.into_iter()
        .map(|argument| argument.trim().to_owned())
        .filter(|argument| !argument.is_empty())
        .collect()
}

/// What is wrong with an argument, if anything.
fn fault(argument: &str) -> Option<String> {
    if argument.starts_with('"') {
        return argument.contains('{').then(|| format!("{argument} has something put in"));
    }
    let (name, value) = argument.split_once('=').unwrap_or((argument, argument));
    let name = name.trim().trim_start_matches(['%', '?']);
    if value.trim().starts_with('?') {
        return Some(format!("{argument} shows everything that is in it"));
    }
    let known = FIELDS.iter().any(|(field, _)| *field == name);
    (!known).then(|| format!("{name} is not among the fields that may be logged"))
}

#[test]
fn only_fields_of_the_list_are_logged() {
    let mut found = Vec::new();
    let mut seen = 0;
    for source in rust().iter().filter(|source| source.path.starts_with("src/") && !source.is_test()) {
        for (line, arguments) in calls(source) {
            seen += 1;
            let faults = arguments.iter().filter_map(|argument| fault(argument));
            found.extend(faults.map(|fault| format!("{}:{line}: {fault}", source.path)));
        }
    }
    assert!(seen > 10, "{seen}");
    expect_none("a log line has fields of tests/repository/logging.rs only", &found);
}

/// How often something is logged in a way that [`calls`] does not see.
fn hidden(text: &str) -> usize {
    let others = ["_span!", "instrument]", "instrument("].map(|way| text.matches(way).count());
    let bare = MACROS.map(|name| {
        let called = format!("{name}!");
        let places = text.match_indices(&called).filter(|(at, _)| {
            let (before, after) = (&text[..*at], &text[at + called.len()..]);
            let longer = before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
            let seen = before.ends_with("tracing::") && after.starts_with('(');
            !(longer || seen)
        });
        places.count()
    });
    others.iter().chain(&bare).sum()
}

#[test]
fn everything_that_is_logged_is_seen_by_the_list() {
    let sources = rust();
    let ours = sources.iter().filter(|source| source.path.starts_with("src/") && !source.is_test());
    let found: Vec<String> =
        ours.filter(|source| hidden(&source.shipped()) > 0).map(|s| s.path.clone()).collect();
    expect_none("macros of tracing are called with `tracing::` before them and a parenthesis after", &found);
    assert_eq!(hidden("use tracing::info; info!(name)"), 1);
    assert_eq!(hidden("tracing::info!{name}; tracing::info_span!(\"x\"); #[tracing::instrument]"), 3);
    assert_eq!(hidden("tracing::info!(ms, \"x\"); my_error!(name)"), 0);
}

#[test]
fn a_field_of_another_name_or_shown_whole_or_a_filled_sentence_is_noticed() {
    let faulty = |call: &str| arguments(call).iter().filter_map(|argument| fault(argument)).count();
    assert_eq!(faulty(r#"%method, ms = took(1, 2), request = %id.0, "a request, answered")"#), 0);
    assert_eq!(faulty(r#"email = %name, "x")"#), 1);
    assert_eq!(faulty(r#"?body, "x")"#), 1);
    assert_eq!(faulty(r#"cause = ?error, "x")"#), 1);
    assert_eq!(faulty(r#""a request of {name}")"#), 1);
}
