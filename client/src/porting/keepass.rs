//! KeePass 2 XML, read as a stream.
//!
//! No document type is accepted, so there is no entity to expand but the five of XML itself and numbered
//! characters; and nesting has a limit. Both together make a small file a small job.

mod files;

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use super::{
    import::{ImportError, Imported, Options, Place},
    item::{Body, Custom, CustomKind, Item, Login, OldPassword, Uri},
    secret::Secret,
};
use files::{Files, Marks, Named, Source};

const AGAIN: &str = "export again from KeePass (File → Export → KeePass XML (2.x))";
/// What helps if it is about a file of an entry.
const FILES: &str = "export again from KeePass, or leave the files out with --without-attachments";
/// Groups in groups, and elements in them.
const MAX_DEPTH: usize = 200;

/// Reads an export.
///
/// # Errors
/// If it is not well-formed, holds a document type, values that are still encrypted, or files that are not whole.
pub fn parse(text: &str, options: Options) -> Result<Imported, ImportError> {
    parse_with(text, options, Files::new(options.without_attachments))
}

fn parse_with(text: &str, options: Options, files: Files) -> Result<Imported, ImportError> {
    let mut state = State { options, files, ..State::default() };
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    loop {
        let event = reader.read_event();
        let at = usize::try_from(reader.buffer_position()).unwrap_or(text.len()).min(text.len());
        let place = || Place::Line(text.as_bytes()[..at].split(|byte| *byte == b'\n').count() as u64);
        let refuse = |problem: &str| ImportError::new(place(), problem, AGAIN);
        let refuse_file = |problem: &str| ImportError::new(place(), problem, FILES);
        match event.map_err(|_| refuse("is not well-formed XML"))? {
            Event::Start(tag) => {
                let name = tag.local_name();
                state.open(name.as_ref(), &tag).map_err(refuse)?;
            }
            Event::Empty(tag) => {
                let name = tag.local_name();
                state.open(name.as_ref(), &tag).map_err(refuse)?;
                state.close().map_err(refuse_file)?;
            }
            Event::End(_) => state.close().map_err(refuse_file)?,
            Event::Text(words) => state.text.push_str(&words.xml10_content()),
            Event::CData(words) => state.text.push_str(&words.xml10_content()),
            Event::GeneralRef(entity) => {
                let character =
                    match entity.resolve_char_ref().map_err(|_| refuse("has a wrong character reference"))? {
                        Some(character) => character.to_string(),
                        None => predefined(&entity.xml10_content())
                            .ok_or_else(|| refuse("uses an entity that XML does not define"))?
                            .to_owned(),
                    };
                state.text.push_str(&character);
            }
            Event::DocType(_) => return Err(refuse("has a document type, which no KeePass export has")),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Eof => break,
        }
    }
    state.finish()
}

fn predefined(entity: &str) -> Option<&'static str> {
    Some(match entity {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => return None,
    })
}

/// An entry while its element is open.
#[derive(Default)]
struct Open {
    uuid: String,
    tags: String,
    modified: String,
    strings: Vec<(String, Secret, bool)>,
    history: Vec<OldPassword>,
    files: Vec<Named>,
    /// What its earlier states have.
    earlier: Vec<Named>,
}

#[derive(Default)]
struct State {
    options: Options,
    /// Names of the open elements.
    path: Vec<String>,
    /// Text since the last start or end.
    text: String,
    /// Uuid and name of each open group.
    groups: Vec<(String, String)>,
    entry: Option<Open>,
    /// An old state of `entry`, while inside its `History`.
    old: Option<Open>,
    key: String,
    /// Of the value, or file of the pool, that was opened last.
    marks: Marks,
    files: Files,
    /// The files of each item, until all of the pool was read.
    entries_files: Vec<Vec<Named>>,
    bin: String,
    seen_root: bool,
    trashed: u64,
    imported: Imported,
}

impl State {
    fn inside(&self, name: &str) -> bool {
        self.path.last().is_some_and(|open| open == name)
    }

    fn open(&mut self, name: &str, tag: &BytesStart<'_>) -> Result<(), &'static str> {
        if self.path.len() >= MAX_DEPTH {
            return Err("is nested deeper than any real export");
        }
        if self.path.is_empty() && name != "KeePassFile" {
            return Err("is not a KeePass 2 file");
        }
        match name {
            "Group" => self.groups.push(Default::default()),
            "Entry" if self.inside("History") => self.old = Some(Open::default()),
            "Entry" => self.entry = Some(Open::default()),
            "String" => self.key.clear(),
            "Value" | "Binary" => {
                if name == "Binary" {
                    self.key.clear();
                }
                self.marks = Marks::of(tag)?;
                if self.marks.locked && self.inside("String") {
                    return Err("holds values that are still encrypted (Protected=\"True\")");
                }
            }
            "Root" => self.seen_root = true,
            _ => {}
        }
        self.path.push(name.to_owned());
        self.text.clear();
        Ok(())
    }

    fn close(&mut self) -> Result<(), &'static str> {
        let Some(name) = self.path.pop() else { return Ok(()) };
        let text = std::mem::take(&mut self.text);
        let parent = self.path.last().map_or("", String::as_str);
        match (parent, name.as_str()) {
            ("Meta", "RecycleBinUUID") => self.bin = text,
            ("Group", "UUID") => self.group().0 = text,
            ("Group", "Name") => self.group().1 = text,
            (_, "Group") => {
                self.groups.pop();
            }
            ("String" | "Binary", "Key") => self.key = text,
            ("String", "Value") => {
                let (key, hidden) = (std::mem::take(&mut self.key), self.marks.hidden);
                self.slot().strings.push((key, text.into(), hidden));
            }
            ("Binaries", "Binary") => {
                let marks = std::mem::take(&mut self.marks);
                self.files.add(marks, text)?;
            }
            ("Binary", "Value") => {
                let (name, mut marks) = (std::mem::take(&mut self.key), std::mem::take(&mut self.marks));
                let source = match marks.number.take() {
                    Some(number) => Source::Pool(number),
                    None => self.files.source(&marks, text)?,
                };
                self.slot().files.push(Named { name, source });
            }
            ("Entry", "Binary") if !self.key.is_empty() => return Err("names a file and does not hold it"),
            ("Entry", "UUID") => self.slot().uuid = text,
            ("Entry", "Tags") => self.slot().tags = text,
            ("Times", "LastModificationTime") if self.entry.is_some() => self.slot().modified = text,
            ("History", "Entry") => self.keep_old_password(),
            (_, "Entry") => self.keep_entry(),
            _ => {}
        }
        Ok(())
    }

    fn group(&mut self) -> &mut (String, String) {
        if self.groups.is_empty() {
            self.groups.push(Default::default());
        }
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    fn slot(&mut self) -> &mut Open {
        match &mut self.old {
            Some(old) => old,
            None => self.entry.get_or_insert_default(),
        }
    }

    /// Of an old state only its password is kept; KeePass writes the oldest first.
    fn keep_old_password(&mut self) {
        let (Some(mut old), Some(entry)) = (self.old.take(), &mut self.entry) else { return };
        entry.earlier.append(&mut old.files);
        let Some(at) = old.strings.iter().position(|(key, ..)| key == "Password") else { return };
        let password = old.strings.swap_remove(at).1;
        if password.is_empty() || entry.history.first().is_some_and(|last| last.password == password) {
            return;
        }
        let used_until = (!old.modified.is_empty()).then_some(old.modified);
        entry.history.insert(0, OldPassword { password, used_until, ..OldPassword::default() });
    }

    fn keep_entry(&mut self) {
        let Some(mut entry) = self.entry.take() else { return };
        let (files, earlier) = (std::mem::take(&mut entry.files), std::mem::take(&mut entry.earlier));
        let in_bin = !self.bin.is_empty() && self.groups.iter().any(|(uuid, _)| *uuid == self.bin);
        if in_bin && !self.options.with_trash {
            self.trashed += 1;
            self.files.pass_over(files);
            self.files.pass_over(earlier);
            return;
        }
        // The outermost group is the database itself.
        let folder: Vec<&str> = self.groups.iter().skip(1).map(|(_, name)| name.as_str()).collect();
        let folder = folder.join("/");
        let item = entry.into_item(folder.into());
        self.files.had(earlier, &files, (self.imported.items.len() + 1, item.name.as_str()));
        self.entries_files.push(files);
        self.imported.items.push(item);
    }

    fn finish(mut self) -> Result<Imported, ImportError> {
        if !self.path.is_empty() || !self.seen_root {
            return Err(ImportError::new(Place::File, "ends before the KeePass file does", AGAIN));
        }
        let Imported { items, notes, .. } = &mut self.imported;
        for ((item, files), nth) in items.iter_mut().zip(self.entries_files).zip(1..) {
            let given = self.files.give(item, files, notes, nth);
            given.map_err(|problem| ImportError::new(Place::Record(nth as u64), problem, FILES))?;
        }
        notes.extend(self.files.notes());
        if self.trashed > 0 {
            let note = format!(
                "{} items in the recycle bin were left out; --with-trash takes them along",
                self.trashed
            );
            self.imported.notes.push(note);
        }
        self.imported.source = "KeePass 2 XML".into();
        Ok(self.imported)
    }
}

impl Open {
    fn into_item(mut self, folder: Secret) -> Item {
        let mut login = Login::default();
        let mut item = Item::new("", Body::default());
        for (key, value, hidden) in std::mem::take(&mut self.strings) {
            match key.as_str() {
                "Title" => item.name = value,
                "UserName" => login.username = value,
                "Password" => login.password = value,
                "Notes" => item.notes = value,
                "URL" if value.is_empty() => {}
                "URL" => login.uris.insert(0, Uri { uri: value, ..Uri::default() }),
                _ if key.starts_with("KP2A_URL") => login.uris.push(Uri { uri: value, ..Uri::default() }),
                "otp" | "TimeOtp-Secret-Base32" if login.totp.is_empty() => login.totp = value,
                _ => {
                    let kind = if hidden { CustomKind::Hidden } else { CustomKind::Text };
                    item.fields.push(Custom { name: key.into(), value, kind, ..Custom::default() });
                }
            }
        }
        if item.name.is_empty() {
            item.name = "(no name)".into();
        }
        item.folder = folder;
        item.tags = self
            .tags
            .split([';', ','])
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(Secret::from)
            .collect();
        item.history = self.history;
        if !self.uuid.is_empty() {
            item.extra.0.insert("keepass".into(), serde_json::json!({ "uuid": self.uuid }));
        }
        item.body = Body::Login(login);
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"<?xml version="1.0" encoding="utf-8" standalone="yes"?>
<KeePassFile><Meta><RecycleBinUUID>BIN=</RecycleBinUUID><Binaries><Binary ID="0">c2Nhbg==</Binary></Binaries></Meta><Root><Group><UUID>R</UUID><Name>Database</Name>
<Group><UUID>W</UUID><Name>Work &amp; more</Name><Entry><UUID>E1</UUID><Tags>a;b</Tags>
<String><Key>Title</Key><Value>Caf&#233;</Value></String>
<String><Key>Password</Key><Value ProtectInMemory="True">p&lt;&quot;1</Value></String>
<String><Key>URL</Key><Value>https://a</Value></String><String><Key>KP2A_URL_1</Key><Value>https://b</Value></String>
<String><Key>PIN</Key><Value ProtectInMemory="True">1</Value></String><String><Key>Empty</Key><Value /></String>
<Binary><Key>scan.pdf</Key><Value Ref="0"/></Binary>
<History><Entry><Times><LastModificationTime>2020-01-01T00:00:00Z</LastModificationTime></Times>
<String><Key>Title</Key><Value>Old</Value></String><String><Key>Password</Key><Value>p0</Value></String></Entry></History>
</Entry></Group>
<Group><UUID>BIN=</UUID><Name>Recycle Bin</Name><Entry><UUID>E2</UUID></Entry></Group>
</Group></Root></KeePassFile>"#;

    #[test]
    fn groups_become_folders_and_nothing_of_an_entry_is_lost() {
        let imported = parse(FILE, Options::default()).unwrap();
        assert_eq!(imported.items.len(), 1);
        let item = &imported.items[0];
        let value =
            |name: &str| item.get(name).map(|field| field.value.as_str().to_owned()).unwrap_or_default();
        assert_eq!((value("name"), value("folder")), ("Café".into(), "Work & more".into()));
        assert_eq!((value("password"), value("uri2")), ("p<\"1".into(), "https://b".into()));
        assert_eq!(value("tags"), "a, b");
        assert!(item.get("PIN").unwrap().masked);
        assert_eq!(item.history[0].password.as_str(), "p0");
        assert_eq!(item.attachments[0].name.as_str(), "scan.pdf");
        assert_eq!(imported.notes.len(), 1, "{:?}", imported.notes);
    }

    #[test]
    fn the_recycle_bin_comes_along_only_when_asked() {
        assert_eq!(parse(FILE, Options { with_trash: true, ..Options::default() }).unwrap().items.len(), 2);
    }

    #[test]
    fn entity_bombs_encrypted_values_deep_nesting_and_cut_files_are_refused() {
        let problem = |text: &str| parse(text, Options::default()).unwrap_err().to_string();
        let bomb =
            "<?xml version=\"1.0\"?>\n<!DOCTYPE x [<!ENTITY a \"aaaa\">]><KeePassFile>&a;</KeePassFile>";
        assert!(problem(bomb).contains("line 2: has a document type"));
        assert!(problem("<KeePassFile>&a;</KeePassFile>").contains("entity"));
        let locked = FILE.replace("ProtectInMemory=\"True\"", "Protected=\"True\"");
        assert!(problem(&locked).contains("still encrypted"));
        let deep = format!("<KeePassFile>{}", "<Group>".repeat(100_000));
        assert!(problem(&deep).contains("nested deeper"));
        assert!(problem(&FILE[..FILE.len() - 30]).contains("Nothing was imported"));
        assert!(problem("<html></html>").contains("not a KeePass 2 file"));
    }
}
