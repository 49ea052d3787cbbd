//! The files of an item: what it says of each, under which names, and what a merge makes of them.
//!
//! The sealed files lie beside the entry; the item holds the name, and what opens the file.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    held::Held,
    item::{AttachmentRef, Item},
    secret::Secret,
};
use crate::crypto::attachment::Attachment;

/// A version names at most so many.
pub const MAX_FILES: usize = 32;
/// The most that one file holds.
pub const MAX_FILE_BYTES: u64 = 90 * 1024 * 1024;
/// So many bytes the files of one import have together, each counted for every entry that has it: what an import puts on
/// the disk, and how long it takes, is bounded however small the export is.
pub(super) const MAX_TOTAL: u64 = 1024 * 1024 * 1024;
/// So many bytes an item's word of a file grows by when the file is sealed, at most: its id, hash and key.
const SEALED_BYTES: usize = 320;

/// Under which a file's bytes stand in an archive.
const CONTENT: &str = "content";

/// The name of the row under which a comparison shows the files of each side.
pub const ROW: &str = "attachments";

impl AttachmentRef {
    /// What an item keeps of a sealed file.
    pub fn new(name: impl Into<Secret>, attachment: &Attachment) -> Self {
        let mut fields = serde_json::to_value(attachment).unwrap_or_default();
        let fields = fields.as_object_mut().map(std::mem::take).unwrap_or_default();
        let mut made = Self { name: name.into(), size: attachment.size, ..Self::default() };
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("id", Value::String(id)) => made.id = id,
                ("size", _) => {}
                (_, value) => {
                    made.extra.0.insert(key, value);
                }
            }
        }
        made
    }

    /// What opens the sealed file; none if another program wrote this.
    pub fn sealed(&self) -> Option<Attachment> {
        serde_json::to_value(self).and_then(serde_json::from_value).ok()
    }

    /// A file that another program's export holds.
    pub fn held(name: Secret, held: Arc<Held>) -> Self {
        Self { name, size: held.size(), held: Some(held), ..Self::default() }
    }

    /// The same for an archive, which holds the file itself: its key and place mean nothing elsewhere.
    #[must_use]
    pub fn with_content(&self, content: &[u8]) -> Self {
        let mut whole =
            Self { id: self.id.clone(), name: self.name.clone(), size: self.size, ..Self::default() };
        whole.extra.0.insert(CONTENT.to_owned(), BASE64_STANDARD.encode(content).into());
        whole
    }

    /// Whether an archive or export holds its bytes.
    pub fn has_content(&self) -> bool {
        self.held.is_some() || self.extra.0.contains_key(CONTENT)
    }

    /// The bytes that an archive or export holds; none if it holds none, or not all of them.
    pub fn content(&self) -> Option<Zeroizing<Vec<u8>>> {
        if let Some(held) = &self.held {
            return held.content();
        }
        let Some(Value::String(text)) = self.extra.0.get(CONTENT) else { return None };
        let content = Zeroizing::new(BASE64_STANDARD.decode(text).ok()?);
        (content.len() as u64 == self.size).then_some(content)
    }

    /// The same, once: they are not held any longer.
    pub fn take_content(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let content = self.content();
        self.held = None;
        if let Some(Value::String(text)) = self.extra.0.remove(CONTENT) {
            drop(Zeroizing::new(text));
        }
        content
    }
}

impl Item {
    /// How long its JSON is at most once its files are sealed, whose bytes do not count: they lie beside the entry.
    pub(super) fn sealed_length(&self) -> usize {
        let mut bare = self.clone();
        bare.attachments.iter_mut().for_each(|file| file.extra.0.clear());
        let length = serde_json::to_vec(&bare).map_or(usize::MAX, |json| json.len());
        length.saturating_add(self.attachments.len() * SEALED_BYTES)
    }

    /// What opens the sealed files of this item.
    pub fn sealed_files(&self) -> Vec<Attachment> {
        self.attachments.iter().filter_map(AttachmentRef::sealed).collect()
    }

    /// A name that no file of this item has: the wanted one, or with a number before its ending.
    pub fn free_file_name(&self, wanted: &str) -> String {
        let taken = |name: &str| self.attachments.iter().any(|file| file.name.as_str() == name);
        let (stem, ending) = match wanted.rfind('.') {
            Some(at) if at > 0 => wanted.split_at(at),
            _ => (wanted, ""),
        };
        let numbered = (2..).map(|n| format!("{stem} ({n}){ending}"));
        std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }
}

/// The files of a side in one line, by which sides are compared: names, lengths and the beginnings of their ids.
pub(super) fn described(item: &Item) -> Option<Secret> {
    let one = |file: &AttachmentRef| {
        let id: String = file.id.chars().take(4).collect();
        format!("{} ({} bytes, {id})", file.name.as_str(), file.size)
    };
    let all: Vec<String> = item.attachments.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join(", ").into())
}

/// The files of a merge: those of every side, but for those that a side took away since the common ancestor.
pub(super) fn merge(item: &mut Item, base: Option<&Item>, sides: &[Option<&Item>]) {
    let sides: Vec<&Item> = sides.iter().copied().flatten().collect();
    let has = |side: &Item, id: &str| side.attachments.iter().any(|file| file.id == id);
    let was_there = |id: &str| base.is_some_and(|base| has(base, id));
    let mut merged = Item::default();
    for file in sides.iter().flat_map(|side| &side.attachments) {
        let taken_away = was_there(&file.id) && !sides.iter().all(|side| has(side, &file.id));
        if taken_away || has(&merged, &file.id) {
            continue;
        }
        let name = merged.free_file_name(file.name.as_str()).into();
        merged.attachments.push(AttachmentRef { name, ..file.clone() });
    }
    item.attachments = merged.attachments;
}

/// A name that is safe as the name of a file in any folder, whoever chose it: no path, no control characters, nothing
/// that turns the direction of reading, and none that a system keeps for itself.
pub fn safe_name(name: &str) -> String {
    const LONGEST: usize = 200;
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut safe = String::with_capacity(last.len());
    for c in last.chars() {
        match c {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            '<' | '>' | ':' | '"' | '|' | '?' | '*' => safe.push('_'),
            c if c.is_control() => safe.push('_'),
            c => safe.push(c),
        }
    }
    while safe.len() > LONGEST {
        safe.pop();
    }
    let safe = safe.trim().trim_end_matches(['.', ' ']);
    let stem = safe.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let device = ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str())
        || (stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && stem.ends_with(|c: char| c.is_ascii_digit()));
    match safe {
        "" => "attachment".to_owned(),
        safe if device || safe.starts_with('-') => format!("_{safe}"),
        safe => safe.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::{attachment::seal_attachment, os_random},
        porting::item::Body,
    };
    use lockstep_events::{AccountId, EntryId, VaultId};

    fn file(name: &str) -> AttachmentRef {
        let place = (AccountId::NIL, VaultId::NIL, EntryId::NIL);
        AttachmentRef::new(name, &seal_attachment(place, name.as_bytes(), &mut os_random()).unwrap().0)
    }

    fn item(files: &[&AttachmentRef]) -> Item {
        let mut item = Item::new("mail", Body::default());
        item.attachments = files.iter().copied().cloned().collect();
        item
    }

    fn names(item: &Item) -> Vec<&str> {
        item.attachments.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn what_an_item_keeps_of_a_file_opens_it_again() {
        let place = (AccountId::NIL, VaultId::NIL, EntryId::NIL);
        let (attachment, sealed) = seal_attachment(place, b"scan", &mut os_random()).unwrap();
        let kept = AttachmentRef::new("id.pdf", &attachment);
        let text = serde_json::to_string(&kept).unwrap();
        let again: AttachmentRef = serde_json::from_str(&text).unwrap();
        assert_eq!(again, kept);
        assert_eq!((kept.id, kept.size), (attachment.id.to_string(), 4));
        assert_eq!(&*again.sealed().unwrap().open(place, &sealed).unwrap(), b"scan");
        assert!(AttachmentRef::default().sealed().is_none());
    }

    #[test]
    fn an_archive_holds_the_file_and_not_its_key() {
        let kept = file("id.pdf");
        let mut whole = kept.with_content(b"id.pdf");
        assert!(whole.sealed().is_none());
        assert_eq!(whole.take_content().unwrap().as_slice(), b"id.pdf");
        assert!(whole.take_content().is_none(), "once");
        let mut short = kept.with_content(b"id");
        assert!(short.take_content().is_none(), "not all of it");
    }

    #[test]
    fn a_file_of_an_export_is_taken_once_and_its_item_fits_an_entry_before_it_is_sealed_and_after() {
        let packed = crate::porting::held::Packed::decode("aWQucGRm".to_owned(), false).ok();
        let held = packed.and_then(|packed| packed.checked(6).ok()).unwrap();
        let mut from_export = AttachmentRef::held("id.pdf".into(), Arc::new(held));
        assert!(from_export.has_content());
        let before = item(&[&from_export]).sealed_length();
        assert!(serde_json::to_vec(&item(&[&file("id.pdf")])).unwrap().len() <= before);
        assert!(before < 700, "{before}");
        assert_eq!(from_export.take_content().unwrap().as_slice(), b"id.pdf");
        assert!(from_export.take_content().is_none() && !from_export.has_content());
    }

    #[test]
    fn a_merge_has_the_files_of_every_side_but_those_that_one_took_away() {
        let (old, kept, left, right) = (file("old"), file("kept"), file("a.pdf"), file("a.pdf"));
        let base = item(&[&old, &kept]);
        let (one, two) = (item(&[&kept, &left]), item(&[&old, &kept, &right]));
        let mut merged = one.clone();
        merge(&mut merged, Some(&base), &[Some(&one), None, Some(&two)]);
        assert_eq!(names(&merged), ["kept", "a.pdf", "a (2).pdf"]);
        assert_eq!(merged.attachments[2].id, right.id);
    }

    #[test]
    fn no_name_leads_out_of_a_folder_or_steers_a_terminal() {
        for (name, safe) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ada\\id.pdf", "id.pdf"),
            ("..", "attachment"),
            ("", "attachment"),
            ("a\u{202e}fdp.exe", "afdp.exe"),
            ("a\n\x1b[2Jb", "a__[2Jb"),
            ("-rf", "_-rf"),
            ("nul.txt", "_nul.txt"),
            ("COM1", "_COM1"),
            (".env", ".env"),
            ("scan 1.pdf ", "scan 1.pdf"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
        assert!(safe_name(&"ü".repeat(300)).len() <= 200);
    }
}
