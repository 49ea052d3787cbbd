//! An item as a text that a person edits.
//!
//! One `name = "value"` per field, in TOML, because it has readable multi-line strings. Fields that the text does
//! not show (old passwords, what other programs stored) stay as they are.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use lockstep_client::porting::{Item, changes::Change, fields::SetError};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    app::App,
    failure::{Done, Exit, Failure},
    prompt,
};

/// Whether an editor has the terminal.
static OPEN: AtomicBool = AtomicBool::new(false);
/// The folder of the text that is being edited.
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Whether an editor has the terminal: Ctrl-C is its affair then.
pub fn is_open() -> bool {
    OPEN.load(Ordering::SeqCst)
}

/// The text in clear must not outlive this process, whatever ends it while a person edits: a terminal that is closed, or
/// a request to end. From then on these signals end the process here, as they would without this.
fn remove_when_ended() -> Done {
    static ONCE: Once = Once::new();
    let (mut hangup, mut terminate) = (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?);
    ONCE.call_once(|| {
        tokio::spawn(async move {
            let number = tokio::select! {
                _ = hangup.recv() => SignalKind::hangup(),
                _ = terminate.recv() => SignalKind::terminate(),
            };
            remove_folder();
            super::end(128 + u8::try_from(number.as_raw_value()).unwrap_or_default());
        });
    });
    Ok(())
}

fn remove_folder() {
    if let Some(folder) = FOLDER.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Opens the item in `$VISUAL` or `$EDITOR`; none if it comes back unchanged or empty. A text that does not fit is opened
/// again if the person wants that: what was typed is not lost by a slip.
///
/// # Errors
/// If there is no editor, it fails, or its text is not TOML.
pub fn edit(app: &App, item: &Item, note: &str) -> Done<Option<Item>> {
    let text = to_text(item, note);
    remove_when_ended()?;
    let file = Temporary::new(&app.home, &text)?;
    loop {
        OPEN.store(true, Ordering::SeqCst);
        let ran = run_editor(&file.path);
        OPEN.store(false, Ordering::SeqCst);
        ran?;
        let edited = fs::read_to_string(&file.path)?;
        if edited == text || edited.trim().is_empty() {
            return Ok(None);
        }
        match apply(item, &edited) {
            Ok(item) => return Ok(Some(item)),
            Err(slip) if prompt::can_ask(app.ui) => {
                app.ui.warn(&slip.message);
                if !prompt::confirm(app.ui, "Open the text again?")? {
                    return Err(slip);
                }
            }
            Err(slip) => return Err(slip),
        }
    }
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
    let mut wanted = BTreeMap::new();
    for (name, value) in table {
        let value = match value {
            toml::Value::String(text) => text,
            // A number is read as one: 007 and 1.10 would come back as other texts.
            _ => return Err(wrong(format!("the value of the field {name} must stand in quotes"))),
        };
        wanted.insert(name, value);
    }
    changed(item, &wanted).map_err(|error| wrong(error.to_string()))
}

/// The item with these fields and no others. What is new comes after the rest: its names are those of the item without
/// what went.
fn changed(item: &Item, wanted: &BTreeMap<String, String>) -> Result<Item, SetError> {
    let before = item.all();
    let kept = before
        .iter()
        .map(|field| Change::new(&field.name, wanted.get(&field.name).cloned().unwrap_or_default()));
    let is_new = |name: &String| before.iter().all(|field| field.name != *name);
    let new = wanted.iter().filter(|(name, _)| is_new(name));
    let mut changed = item.clone();
    changed.set_all(&kept.collect::<Vec<_>>())?;
    changed.set_all(&new.map(|(name, value)| Change::new(name, value.as_str())).collect::<Vec<_>>())?;
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
    command.args(words).arg(path);
    prompt::keep_secrets_from(&mut command);
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
        *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(dir.clone());
        let temporary = Self { path: dir.join("entry.toml") };
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary.path)?;
        file.write_all(text.as_bytes())?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        remove_folder();
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
        let text = "name = \"post\"\npassword = \"new\"\nPIN = \"007\"\n";
        let changed = apply(&item(), text).unwrap();
        assert_eq!(changed.name.as_str(), "post");
        assert_eq!(changed.get("PIN").unwrap().value.as_str(), "007");
        assert!(changed.notes.is_empty() && changed.get("Recovery code").is_none());
        assert_eq!(changed.history[0].password.as_str(), "a\"b");
    }

    #[test]
    fn whichever_of_several_addresses_is_removed_the_others_stay() {
        let mut item = item();
        for (name, value) in [("uri", "a"), ("uri2", "b"), ("uri3", "c")] {
            item.set(name, value.into()).unwrap();
        }
        let all = ["uri = \"a\"", "uri2 = \"b\"", "uri3 = \"c\""];
        for kept in [&[0][..], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[]] {
            let lines: Vec<&str> = kept.iter().map(|at| all[*at]).collect();
            let changed = apply(&item, &format!("name = \"mail\"\n{}\n", lines.join("\n"))).unwrap();
            let left: Vec<&str> = changed.uris().iter().map(|uri| uri.uri.as_str()).collect();
            assert_eq!(left, kept.iter().map(|at| ["a", "b", "c"][*at]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_text_that_is_not_toml_is_refused_with_its_line_and_without_its_words() {
        let failure = apply(&item(), "name = \"a\"\npassword = hunter2\n").unwrap_err();
        assert!(failure.message.contains("line 2") && !failure.message.contains("hunter2"), "{failure}");
    }

    #[test]
    fn a_value_without_quotes_is_refused_since_it_would_come_back_as_another_text() {
        for value in ["1.10", "0x10", "1_000", "7", "true", "2026-01-01", "[\"a\"]", "{ a = \"b\" }"] {
            let failure = apply(&item(), &format!("name = \"a\"\nPIN = {value}\n")).unwrap_err();
            assert!(failure.message.contains("PIN must stand in quotes"), "{value}: {failure}");
        }
    }
}
