//! Bitwarden's ZIP with attachments: `data.json`, which is its JSON, and `attachments/ID OF THE ITEM/NAME`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    super::{
        files::{MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL, safe_name},
        held::Unfit,
        import::{ImportError, Imported, Options, Place},
        item::{AttachmentRef, Item},
        zip::{self, Member},
    },
    KEY, NOT_HELD, parse,
};

/// What opens as JSON is no longer than this.
const MAX_DATA: u64 = 256 * 1024 * 1024;
const DATA: &str = "data.json";
const FOLDER: &str = "attachments/";
const AGAIN: &str = "export again from Bitwarden, or leave the files out with --without-attachments";

/// Reads an export with attachments.
///
/// # Errors
/// As [`parse`]; if it is another archive, or a file in it is not whole.
pub fn parse_zip(archive: &[u8], options: Options) -> Result<Imported, ImportError> {
    let strange = |problem: &str| {
        let advice = "unpack it and import the .json or .csv file in it";
        ImportError::new(Place::File, problem, advice)
    };
    let members = zip::members(archive).ok_or_else(|| strange("is a ZIP archive that is not whole"))?;
    let data = members.iter().find(|member| member.name == DATA);
    let data = data.ok_or_else(|| strange("is a ZIP archive that is not Bitwarden's"))?;
    let text = data.held(archive, MAX_DATA).ok().and_then(|held| held.content());
    let text = text.ok_or_else(|| strange("is a ZIP archive with a data.json that is not whole"))?;
    let text = str::from_utf8(&text).map_err(|_| strange("has a data.json that is not UTF-8 text"))?;
    let mut imported = parse(text, options)?;
    imported.source = "Bitwarden ZIP".into();
    imported.notes.retain(|note| !note.ends_with(NOT_HELD));
    give(&mut imported, archive, &members, options)?;
    Ok(imported)
}

/// Gives each item its files.
fn give(
    imported: &mut Imported,
    archive: &[u8],
    members: &[Member],
    options: Options,
) -> Result<(), ImportError> {
    let mut files: BTreeMap<&str, Vec<(&str, &Member)>> = BTreeMap::new();
    for member in members {
        if let Some((id, name)) = member.name.strip_prefix(FOLDER).and_then(|rest| rest.split_once('/')) {
            files.entry(id).or_default().push((name, member));
        }
    }
    let (mut total, mut notes, mut left_out) = (0, Vec::new(), 0);
    for (item, nth) in imported.all_mut().zip(1_u64..) {
        let Some(own) = id(item).and_then(|id| files.remove(id.as_str())) else { continue };
        if options.without_attachments {
            left_out += own.len();
            continue;
        }
        for (name, member) in own {
            let name = safe_name(name);
            let refuse = |problem: String| ImportError::new(Place::Record(nth), problem, AGAIN);
            let held = match item.attachments.len() {
                MAX_FILES => Err(Unfit::LeftOut("an entry has at most 32 files")),
                _ => member.held(archive, MAX_FILE_BYTES),
            };
            match held {
                Err(Unfit::Broken(why)) => return Err(refuse(why.to_owned())),
                Err(Unfit::LeftOut(why)) => {
                    notes.push(format!("item {nth}: the file \"{name}\" is left out: {why}"));
                }
                Ok(held) => {
                    total += held.size();
                    let name = item.free_file_name(&name).into();
                    item.attachments.push(AttachmentRef::held(name, Arc::new(held)));
                }
            }
            if total > MAX_TOTAL {
                return Err(refuse("holds files of more than 1 GiB".to_owned()));
            }
        }
    }
    let lost = files.values().map(Vec::len).sum::<usize>();
    for (n, whose) in [(left_out, "of entries"), (lost, "that no imported entry has")] {
        if n > 0 {
            let (files, are) = if n == 1 { ("file", "is") } else { ("files", "are") };
            notes.push(format!("{n} {files} {whose} {are} left out"));
        }
    }
    imported.notes.append(&mut notes);
    Ok(())
}

/// The id that Bitwarden gave an item. What it says of the files is said by the files now.
fn id(item: &mut Item) -> Option<String> {
    let kept = item.extra.0.get_mut(KEY)?.as_object_mut()?;
    kept.remove("attachments");
    kept.get("id").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &[u8] = br#"{ "items": [
        { "id": "i1", "type": 2, "name": "passport", "attachments": [{ "fileName": "scan.pdf" }] },
        { "id": "i2", "type": 2, "name": "gone", "deletedDate": "2026-01-01" },
        { "id": "i3", "type": 2, "name": "mail" } ] }"#;

    fn read(files: &[(&str, &[u8], bool)]) -> Result<Imported, ImportError> {
        parse_zip(&zip::archive_of(files), Options::default())
    }

    #[test]
    fn items_get_the_files_that_stand_in_folders_of_their_ids_under_safe_names() {
        let mut imported = read(&[
            ("attachments/i1/scan.pdf", b"a scan", true),
            ("data.json", JSON, true),
            ("attachments/i1/../../scan.pdf", b"another", false),
            ("attachments/i2/old.txt", b"", false),
            ("attachments/i9/", b"", false),
        ])
        .unwrap();
        let files: Vec<(String, Vec<u8>)> = imported.items[0]
            .attachments
            .iter_mut()
            .map(|file| (file.name.as_str().to_owned(), file.take_content().unwrap().to_vec()))
            .collect();
        let wanted = [("scan.pdf", &b"a scan"[..]), ("scan (2).pdf", b"another")];
        assert_eq!(files, wanted.map(|(name, content)| (name.to_owned(), content.to_vec())));
        assert_eq!((imported.items.len(), imported.items[1].attachments.len()), (2, 0));
        assert_eq!(imported.items[0].extra.0[KEY], serde_json::json!({ "id": "i1" }));
        let notes = [
            "1 item in the bin was left out; --with-trash takes it along",
            "1 file that no imported entry has is left out",
        ];
        assert_eq!(imported.notes, notes);
        let without = Options { without_attachments: true, ..Options::default() };
        let archive = zip::archive_of(&[("data.json", JSON, true), ("attachments/i3/a", b"a", true)]);
        let imported = parse_zip(&archive, without).unwrap();
        assert!(imported.items.iter().all(|item| item.attachments.is_empty()));
        assert!(imported.notes.contains(&"1 file of entries is left out".to_owned()), "{:?}", imported.notes);
    }

    #[test]
    fn another_archive_and_one_that_is_not_whole_import_nothing() {
        let problem = |archive: &[u8]| parse_zip(archive, Options::default()).unwrap_err().to_string();
        assert!(problem(b"PK\x03\x04").contains("is not whole; unpack it"));
        let other = zip::archive_of(&[("export.csv", b"name,password\n", true)]);
        assert!(problem(&other).contains("is not Bitwarden's; unpack it"));
        let mut broken = zip::archive_of(&[("data.json", JSON, true), ("attachments/i3/a", b"abc", false)]);
        let at = broken.windows(4).position(|bytes| bytes == b"aabc").unwrap() + 1;
        broken[at] = b'x';
        let problem = problem(&broken);
        assert!(problem.contains("item 2: holds a file that is not whole"), "{problem}");
        assert!(problem.contains("--without-attachments"), "{problem}");
    }

    #[test]
    fn what_does_not_fit_an_entry_is_left_out_and_named() {
        let many: Vec<String> = (0..=MAX_FILES).map(|n| format!("attachments/i3/{n:02}")).collect();
        let mut files: Vec<(&str, &[u8], bool)> = vec![("data.json", JSON, true)];
        files.extend(many.iter().map(|name| (name.as_str(), &b"x"[..], false)));
        let imported = read(&files).unwrap();
        assert_eq!(imported.items[1].attachments.len(), MAX_FILES);
        let note = "item 2: the file \"32\" is left out: an entry has at most 32 files";
        assert!(imported.notes.contains(&note.to_owned()), "{:?}", imported.notes);
    }
}
