//! An item as a text that a person edits.
//!
//! One `name = "value"` per field, in TOML, because it has readable multi-line strings. Fields that the text does
//! not show (old passwords, what other programs stored) stay as they are.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use lockstep_client::porting::{Item, Secret};

use super::failure::{Done, Exit, Failure};

/// Opens the item in `$VISUAL` or `$EDITOR`; none if it comes back unchanged or empty.
///
/// # Errors
/// If there is no editor, it fails, or its text is not TOML.
pub fn edit(home: &Path, item: &Item, note: &str) -> Done<Option<Item>> {
    let text = to_text(item, note);
    let file = Temporary::new(home, &text)?;
    run_editor(&file.path)?;
    let edited = fs::read_to_string(&file.path)?;
    if edited == text || edited.trim().is_empty() {
        return Ok(None);
    }
    apply(item, &edited).map(Some)
}

fn to_text(item: &Item, note: &str) -> String {
    let mut text = String::new();
    for line in note.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    text.push_str(
        "# Remove a line to remove the field; add one to add a field. An empty file changes nothing.\n\n",
    );
    let mut table = toml::Table::new();
    for field in item.all() {
        table.insert(field.name, toml::Value::String(field.value.as_str().to_owned()));
    }
    text.push_str(&toml::to_string_pretty(&table).unwrap_or_default());
    text
}

fn apply(item: &Item, text: &str) -> Done<Item> {
    let wrong = |what: String| Failure::new(Exit::Failure, what, "nothing was changed; edit again");
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        wrong(format!("line {line} of the edited text is not TOML ({})", error.message()))
    })?;
    let mut changed = item.clone();
    for field in item.all().iter().filter(|field| !table.contains_key(&field.name)) {
        changed.set(&field.name, Secret::default()).map_err(|error| wrong(error.to_string()))?;
    }
    for (name, value) in table {
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Table(_) | toml::Value::Array(_) => {
                return Err(wrong(format!("the field {name} must be one value")));
            }
            other => other.to_string(),
        };
        if changed.get(&name).is_none_or(|field| field.value.as_str() != value) {
            changed.set(&name, value.into()).map_err(|error| wrong(error.to_string()))?;
        }
    }
    Ok(changed)
}

fn run_editor(path: &Path) -> Done {
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR")).unwrap_or_default();
    let mut words = editor.split_whitespace();
    let Some(program) = words.next() else {
        let advice = "set EDITOR, or use --set FIELD=VALUE";
        return Err(Failure::usage("there is no editor: EDITOR is not set", advice));
    };
    let failed = |why: String| {
        Failure::new(Exit::Failure, format!("the editor {program} {why}"), "nothing was changed")
    };
    let mut command = Command::new(program);
    command.args(words).arg(path).env_remove(super::prompt::PASSWORD_VARIABLE);
    let status = command.status().map_err(|error| failed(format!("cannot be started ({error})")))?;
    if status.success() { Ok(()) } else { Err(failed("gave up".into())) }
}

/// A file that only this user can read, in memory where there is a place for that, and gone afterwards.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn new(home: &Path, text: &str) -> Done<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory } else { home };
        let dir = parent.join(format!("lockstep-{}", uuid::Uuid::new_v4()));
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let temporary = Self { path: dir.join("entry.toml") };
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary.path)?;
        file.write_all(text.as_bytes())?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(dir) = self.path.parent() {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_client::porting::{Body, item::Login};

    use super::*;

    fn item() -> Item {
        let mut item = Item::new("mail", Body::Login(Login { password: "a\"b".into(), ..Login::default() }));
        item.notes = "two\nlines".into();
        item.set("Recovery code", "1".into()).unwrap();
        item
    }

    #[test]
    fn an_untouched_text_changes_nothing() {
        let item = item();
        assert_eq!(apply(&item, &to_text(&item, "note")).unwrap(), item);
    }

    #[test]
    fn lines_that_are_removed_changed_or_added_change_the_fields() {
        let text = "name = \"post\"\npassword = \"new\"\nPIN = 7\n";
        let changed = apply(&item(), text).unwrap();
        assert_eq!(changed.name.as_str(), "post");
        assert_eq!(changed.get("PIN").unwrap().value.as_str(), "7");
        assert!(changed.notes.is_empty() && changed.get("Recovery code").is_none());
        assert_eq!(changed.history[0].password.as_str(), "a\"b");
    }

    #[test]
    fn a_text_that_is_not_toml_is_refused_with_its_line_and_without_its_words() {
        let failure = apply(&item(), "name = \"a\"\npassword = hunter2\n").unwrap_err();
        assert!(failure.message.contains("line 2") && !failure.message.contains("hunter2"), "{failure}");
    }
}
