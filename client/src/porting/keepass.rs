//! KeePass 2 XML, read as a stream.
//!
//! No document type is accepted, so there is no entity to expand but the five of XML itself and numbered
//! characters; and nesting has a limit. Both together make a small file a small job.

mod entry;
mod files;
mod left_out;

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use super::{
    import::{ImportError, Imported, Options, Place},
    item::OldPassword,
};
use entry::{Open, Text};
use files::{Files, Marks, Named, Source};
use left_out::LeftOut;

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
    left_out: LeftOut,
    imported: Imported,
}

impl State {
    fn inside(&self, name: &str) -> bool {
        self.path.last().is_some_and(|open| open == name)
    }

    /// Whether the open element is an item of what programs and plugins say of an entry; groups and the database have
    /// such items too.
    fn inside_data(&self) -> bool {
        self.path.ends_with(&["Entry", "CustomData", "Item"].map(str::to_owned))
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
            "String" | "Item" => self.key.clear(),
            "Value" | "Binary" => {
                if name == "Binary" {
                    self.key.clear();
                }
                self.marks = Marks::of(tag)?;
                if self.marks.locked && (self.inside("String") || self.inside_data()) {
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
            ("Group", "Notes" | "Tags") if !text.trim().is_empty() && !self.is_left_in_bin() => {
                self.left_out.said_of_groups += 1;
            }
            ("String" | "Binary" | "Item", "Key") => self.key = text,
            ("String", "Value") => {
                let value = self.value(text);
                self.slot().strings.push(value);
            }
            ("Item", "Value") if self.inside_data() => {
                let value = self.value(text);
                self.slot().more.push(value);
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
            ("Entry", name) if !text.trim().is_empty() => self.slot().say(name, text),
            ("Times", name) if self.entry.is_some() => self.slot().happened(name, &text),
            ("AutoType", "DefaultSequence") | ("Association", "Window") if !text.trim().is_empty() => {
                self.slot().auto_type = true;
            }
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

    fn value(&mut self, text: String) -> Text {
        Text { key: std::mem::take(&mut self.key), value: text.into(), hidden: self.marks.hidden }
    }

    fn slot(&mut self) -> &mut Open {
        match &mut self.old {
            Some(old) => old,
            None => self.entry.get_or_insert_default(),
        }
    }

    /// Of an old state its password is kept, and the user name and address that it was for; KeePass writes the oldest
    /// first.
    fn keep_old_password(&mut self) {
        let (Some(mut old), Some(entry)) = (self.old.take(), &mut self.entry) else { return };
        entry.earlier_files.append(&mut old.files);
        if let Some(password) = old.take_password()
            && entry.history.first().is_none_or(|last| last.password != password)
        {
            old.kept = true;
            let used_until = (!old.modified.is_empty()).then(|| old.modified.clone());
            let mut kept = OldPassword { password, used_until, ..OldPassword::default() };
            kept.extra.0.extend(old.kept_beside().map(|(word, value)| (word.to_owned(), value.into())));
            entry.history.insert(0, kept);
        }
        entry.earlier.push(old);
    }

    fn is_left_in_bin(&self) -> bool {
        let in_bin = !self.bin.is_empty() && self.groups.iter().any(|(uuid, _)| *uuid == self.bin);
        in_bin && !self.options.with_trash
    }

    fn keep_entry(&mut self) {
        let Some(mut entry) = self.entry.take() else { return };
        let (files, earlier) = (std::mem::take(&mut entry.files), std::mem::take(&mut entry.earlier_files));
        if self.is_left_in_bin() {
            self.trashed += 1;
            self.files.pass_over(files);
            self.files.pass_over(earlier);
            return;
        }
        // The outermost group is the database itself.
        let folder: Vec<&str> = self.groups.iter().skip(1).map(|(_, name)| name.as_str()).collect();
        let folder = folder.join("/");
        self.left_out.count(&entry);
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
        // First, because of many notes not all are shown.
        notes.splice(0..0, self.left_out.notes());
        if self.trashed > 0 {
            let (items, them) = match self.trashed {
                1 => ("item in the recycle bin was", "it"),
                _ => ("items in the recycle bin were", "them"),
            };
            let note = format!("{} {items} left out; --with-trash takes {them} along", self.trashed);
            self.imported.notes.push(note);
        }
        self.imported.source = "KeePass 2 XML".into();
        Ok(self.imported)
    }
}

#[cfg(test)]
mod tests;
