//! Names that no option has, and what may have been meant; and what else is wrong with a file, without its values.

use super::{ConfigError, DEFAULTS};

/// Variables of this process that look like options and are none, nor of the client or the tests. Services that run
/// beside the server may have such names (Kubernetes makes `LOCKSTEP_PORT` of a service called so).
///
/// # Errors
/// [`ConfigError::Misspelt`] if an option has nearly the name of one.
pub fn unknown_variables() -> Result<Vec<String>, ConfigError> {
    unknown_of(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

fn unknown_of(names: impl Iterator<Item = String>) -> Result<Vec<String>, ConfigError> {
    const OTHERS: [&str; 7] = ["ADMIN_URL", "CONFIG", "EMAIL", "HOME", "INVITATION", "SERVER", "VAULT"];
    let options = options();
    let is_known = |word: &str| {
        options.contains_key(&word.to_lowercase())
            || OTHERS.contains(&word)
            || ["TEST_", "ERASE_", "EVIL_", "KILL_"].iter().any(|start| word.starts_with(start))
            || ["PASSWORD", "CODE"].iter().any(|end| word.ends_with(end))
    };
    let mut unknown = Vec::new();
    for variable in names {
        let Some(word) = variable.strip_prefix("LOCKSTEP_").filter(|word| !is_known(word)) else { continue };
        if let Some(option) = meant(&options, &word.to_lowercase()) {
            return Err(ConfigError::Misspelt {
                meant: format!("LOCKSTEP_{}", option.to_uppercase()),
                variable,
            });
        }
        unknown.push(variable);
    }
    Ok(unknown)
}

fn options() -> toml::Table {
    toml::from_str(DEFAULTS).unwrap_or_default()
}

/// The option with the nearest name, if a slip or two of the hand lie between them.
fn meant<'a>(options: &'a toml::Table, word: &str) -> Option<&'a str> {
    let near = if word.len() < 6 { 1 } else { 2 };
    let far = options.keys().map(|name| (distance(word, name), name.as_str()));
    far.filter(|(letters, _)| *letters <= near).min().map(|(_, name)| name)
}

/// How many letters have to be put in, left out or exchanged (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, left) in one.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], n + 1);
        for (m, right) in other.bytes().enumerate() {
            let best = (row[m] + 1).min(row[m + 1] + 1).min(corner + usize::from(left != right));
            corner = std::mem::replace(&mut row[m + 1], best);
        }
    }
    row[other.len()]
}

/// What is wrong with a TOML text, and where; without the line itself, which may have a secret in it.
pub fn said(error: &toml::de::Error, text: &str) -> String {
    let options = options();
    let message = error.message();
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected "));
    let message = match (unknown, message.split_once(", expected ")) {
        // The fields of a plan or a provider are few; the options are not.
        (Some((name, all)), _) if all.contains("`listen`") => {
            let meant = meant(&options, name).map(|option| format!(": did you mean {option}?"));
            format!(
                "there is no option {name}{} (`lockstepd config show` prints all)",
                meant.unwrap_or_default()
            )
        }
        // What is invalid is named in it.
        (None, Some((invalid, expected))) if invalid.starts_with("invalid ") => {
            format!("expected {expected}")
        }
        _ => message.to_owned(),
    };
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return message };
    let begun = before.rsplit('\n').next().unwrap_or_default();
    // Only what is an option's name is repeated.
    let option =
        begun.split_once('=').map(|(name, _)| name.trim()).filter(|name| options.contains_key(*name));
    let option = option.map(|name| format!("{name}: ")).unwrap_or_default();
    let (line, column) = (before.matches('\n').count() + 1, begun.chars().count() + 1);
    format!("line {line}, column {column}: {option}{message}")
}

#[cfg(test)]
mod tests {
    use super::{super::Layer, *};

    fn unknown(names: &[&str]) -> Result<Vec<String>, ConfigError> {
        unknown_of(names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn a_variable_that_is_nearly_an_option_is_refused_and_one_of_somebody_else_is_told() {
        for (wrong, right) in [
            ("LOCKSTEP_LISTENN", "LOCKSTEP_LISTEN?"),
            ("LOCKSTEP_RETENTON_DAYS", "LOCKSTEP_RETENTION_DAYS?"),
            ("LOCKSTEP_BLOB", "LOCKSTEP_BLOBS?"),
        ] {
            let said = unknown(&["PATH", wrong]).unwrap_err().to_string();
            assert!(said.contains(wrong) && said.ends_with(right), "{said}");
        }
        let others = ["LOCKSTEP_LISTEN", "LOCKSTEP_NEW_PASSWORD", "LOCKSTEP_SERVER", "LOCKSTEP_TEST_S3"];
        assert_eq!(unknown(&others).unwrap(), [] as [&str; 0]);
        let services = ["LOCKSTEP_PORT", "LOCKSTEP_SERVICE_HOST", "LOCKSTEP_PORT_8443_TCP"];
        assert_eq!(unknown(&services).unwrap(), services);
    }

    fn refused(text: &str) -> String {
        Layer::from_toml(text, "my.toml").unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_option_is_refused_with_its_line_and_the_nearest_name_and_not_with_all_names() {
        let said = refused("data = \"x\"\nlissten = \"y\"\n");
        assert!(said.contains("my.toml") && said.contains("line 2"), "{said}");
        assert!(said.contains("no option lissten: did you mean listen?"), "{said}");
        assert!(said.contains("config show") && said.len() < 160, "{said}");
        let said = refused("zzzzzzzz = 1");
        assert!(said.contains("no option zzzzzzzz (`") && said.len() < 160, "{said}");
        assert!(refused("[plans.free]\nentires = 1").contains("`entries`"));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_what_stands_there() {
        for text in ["billing_secret = 77889911", "s3_secret_key = \"77889911", "x = 1\nmail = [77889911]"] {
            let said = refused(text);
            assert!(said.contains("line") && !said.contains("7788"), "{said}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_names_its_option() {
        let said = refused("data = \"x\"\nretention_days = \"three\"");
        assert!(said.contains("line 2") && said.contains("retention_days: expected"), "{said}");
    }
}
