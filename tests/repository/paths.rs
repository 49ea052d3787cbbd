//! Finds the paths that Rust code names (`crate::http::Caller`, also inside braces and behind `super`), well enough for
//! rules about rooms.

/// All paths in `code` of the file at `file`, as segments from the crate's root: `crate::a::{b, c::d}` gives `[a, b]`
/// and `[a, c, d]`.
pub fn named_in(file: &str, code: &str) -> Vec<Vec<String>> {
    let home = module_of(file);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| starts_a_word(code, *at)) {
        tree(&code[at + "crate::".len()..], &[], &mut found);
    }
    for (at, _) in code.match_indices("super::").filter(|(at, _)| starts_a_word(code, *at)) {
        if code[..at].ends_with("super::") {
            continue;
        }
        let mut rest = &code[at..];
        let mut base = home.clone();
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        tree(rest, &base, &mut found);
    }
    found
}

/// `src/adapters/nats.rs` is the module `adapters::nats`.
fn module_of(file: &str) -> Vec<String> {
    let inside = file.split_once("src/").map_or(file, |(_, inside)| inside);
    let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
    inside.split('/').filter(|part| !matches!(*part, "lib" | "main")).map(str::to_owned).collect()
}

fn starts_a_word(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
}

/// Reads one use tree, or a plain path, that begins at `text`; returns what is left after it.
fn tree<'a>(text: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if rest.is_empty() {
                return rest;
            }
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let before = rest.len();
            rest = tree(rest, base, found);
            if rest.len() == before {
                // Not a tree after all (a block of code): nothing more to learn here.
                return rest;
            }
        }
    }
    let end = text.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word.is_empty() {
        return rest.strip_prefix('*').unwrap_or(rest);
    }
    let mut path = base.to_vec();
    path.push(word.to_owned());
    match rest.strip_prefix("::") {
        Some(deeper)
            if deeper.starts_with(|next: char| next.is_alphabetic() || next == '{' || next == '_') =>
        {
            tree(deeper, &path, found)
        }
        _ => {
            found.push(path);
            let renamed = rest.strip_prefix(" as ");
            renamed.map_or(rest, |name| name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
        }
    }
}

#[cfg(test)]
mod proof {
    use super::named_in;

    fn joined(file: &str, code: &str) -> Vec<String> {
        named_in(file, code).into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn nested_braces_renames_and_inline_paths_are_seen() {
        let code =
            "use crate::{bus::Bus as _, http::{self, caller::Caller}};\nlet x = crate::adapters::s3::open();";
        let expected = ["bus::Bus", "http::self", "http::caller::Caller", "adapters::s3::open"];
        assert_eq!(joined("src/feed.rs", code), expected);
    }

    #[test]
    fn super_is_followed_to_the_room_it_means() {
        assert_eq!(joined("src/adapters/nats.rs", "use super::s3::Store;"), ["adapters::s3::Store"]);
        assert_eq!(joined("src/commands/push/unit.rs", "use super::super::super::http::x;"), ["http::x"]);
        assert_eq!(joined("src/http/mod.rs", "use super::adapters;"), ["adapters"]);
    }

    #[test]
    fn another_word_that_ends_alike_is_not_a_path_of_ours() {
        assert!(joined("src/app.rs", "use sub_crate::adapters;").is_empty());
    }
}
