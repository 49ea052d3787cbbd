//! The files of a KeePass database: in one pool that entries refer to by number, or in the entry itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use quick_xml::events::BytesStart;

use super::super::{
    files::{MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL, safe_name},
    held::{Held, Packed, Unfit},
    item::{AttachmentRef, Item},
};

/// What the attributes of an element say.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Its own number, or that of what it refers to.
    pub number: Option<String>,
    pub compressed: bool,
    /// Still encrypted.
    pub locked: bool,
    /// To be masked.
    pub hidden: bool,
}

impl Marks {
    pub(super) fn of(tag: &BytesStart<'_>) -> Result<Self, &'static str> {
        let mut marks = Self::default();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|_| "is not well-formed XML")?;
            let is_true = attribute.value.trim().eq_ignore_ascii_case("true");
            match attribute.key.as_ref() {
                "ID" | "Ref" => marks.number = Some(attribute.value.trim().to_owned()),
                "Compressed" => marks.compressed = is_true,
                "Protected" => marks.locked = is_true,
                "ProtectInMemory" => marks.hidden = is_true,
                _ => {}
            }
        }
        Ok(marks)
    }
}

/// Where the bytes of a file are.
pub(super) enum Source {
    Pool(String),
    Here(Packed),
    Locked,
}

/// A file of an entry.
pub(super) struct Named {
    pub name: String,
    pub source: Source,
}

/// A file of the pool.
enum Pooled {
    Unseen(Source),
    Seen(Result<Arc<Held>, Unfit>),
}

/// All files of a database, and what became of them.
#[derive(Default)]
pub(super) struct Files {
    /// None is looked at.
    leave_out: bool,
    /// How many entries did not get then.
    left_out: u64,
    /// How long one may be, and all together.
    most: u64,
    most_together: u64,
    pool: BTreeMap<String, Pooled>,
    /// Numbers that an entry has, be it one in the bin.
    used: BTreeSet<String>,
    /// Files that an earlier state of an entry has and the entry has not: whose, as it is said; and the number in the
    /// pool.
    earlier: BTreeMap<(usize, String), Option<String>>,
    /// Bytes that entries were given, or that were unpacked in vain.
    total: u64,
}

impl Files {
    pub(super) fn new(leave_out: bool) -> Self {
        Self { leave_out, most: MAX_FILE_BYTES, most_together: MAX_TOTAL, ..Self::default() }
    }

    /// The bytes of an element that may have been compressed or encrypted.
    pub(super) fn source(&self, marks: &Marks, text: String) -> Result<Source, &'static str> {
        if self.leave_out || marks.locked {
            return Ok(Source::Locked);
        }
        match Packed::decode(text, marks.compressed) {
            Ok(packed) => Ok(Source::Here(packed)),
            Err(Unfit::Broken(why) | Unfit::LeftOut(why)) => Err(why),
        }
    }

    /// A file of the pool.
    pub(super) fn add(&mut self, mut marks: Marks, text: String) -> Result<(), &'static str> {
        if self.leave_out {
            return Ok(());
        }
        let number = marks.number.take().ok_or("holds a file without a number")?;
        let source = self.source(&marks, text)?;
        match self.pool.insert(number, Pooled::Unseen(source)) {
            None => Ok(()),
            Some(_) => Err("holds two files with one number"),
        }
    }

    /// What earlier states of an entry had; `nth` and its name say which one.
    pub(super) fn had(&mut self, files: Vec<Named>, now: &[Named], (nth, entry): (usize, &str)) {
        for file in files {
            let number = match file.source {
                Source::Pool(number) => Some(number),
                Source::Here(_) | Source::Locked if now.iter().any(|other| other.name == file.name) => {
                    continue;
                }
                Source::Here(_) | Source::Locked => None,
            };
            let name = safe_name(&file.name);
            let said =
                format!("item {nth}, \"{entry}\": the file \"{name}\" of an earlier state is left out");
            self.earlier.insert((nth, said), number);
        }
    }

    /// What an entry has that is not imported.
    pub(super) fn pass_over(&mut self, files: Vec<Named>) {
        for file in files {
            if let Source::Pool(number) = file.source {
                self.used.insert(number);
            }
        }
    }

    /// Gives an item its files; a note for each that it does not get.
    pub(super) fn give(
        &mut self,
        item: &mut Item,
        files: Vec<Named>,
        notes: &mut Vec<String>,
        nth: usize,
    ) -> Result<(), &'static str> {
        if self.leave_out {
            self.left_out += files.len() as u64;
            return Ok(());
        }
        for file in files {
            let name = safe_name(&file.name);
            let held = if item.attachments.len() == MAX_FILES {
                self.pass_over(vec![file]);
                Err("an entry has at most 32 files")
            } else {
                match self.look_up(file.source) {
                    Err(Unfit::Broken(why)) => return Err(why),
                    Err(Unfit::LeftOut(why)) => Err(why),
                    Ok(held) => Ok(held),
                }
            };
            self.total += held.as_ref().map_or(0, |held| held.size());
            if self.total > self.most_together {
                return Err("holds files of more than 1 GiB");
            }
            match held {
                Err(why) => notes.push(format!("item {nth}: the file \"{name}\" is left out: {why}")),
                Ok(held) => {
                    let name = item.free_file_name(&name).into();
                    item.attachments.push(AttachmentRef::held(name, held));
                }
            }
        }
        Ok(())
    }

    fn look_up(&mut self, source: Source) -> Result<Arc<Held>, Unfit> {
        const MISSING: Unfit = Unfit::Broken("refers to a file that it does not hold");
        match source {
            Source::Locked => Err(Unfit::LeftOut("it is still encrypted")),
            Source::Here(packed) => {
                let checked = packed.checked(self.most).map(Arc::new);
                // To find that out was as much work as for one that fits.
                self.total += if matches!(checked, Err(Unfit::LeftOut(_))) { self.most } else { 0 };
                checked
            }
            Source::Pool(number) => {
                let found = match self.pool.remove(&number).ok_or(MISSING)? {
                    Pooled::Unseen(Source::Pool(_)) => Err(MISSING),
                    Pooled::Unseen(source) => self.look_up(source),
                    Pooled::Seen(found) => found,
                };
                self.used.insert(number.clone());
                self.pool.insert(number, Pooled::Seen(found.clone()));
                found
            }
        }
    }

    /// What nobody was told of yet.
    pub(super) fn notes(&self) -> Vec<String> {
        let say = |n: u64, one: &str, many: &str| match n {
            0 => None,
            1 => Some(format!("1 file {one} left out")),
            n => Some(format!("{n} files {many} left out")),
        };
        if self.leave_out {
            return say(self.left_out, "of an entry is", "of entries are").into_iter().collect();
        }
        let unused = |number: &&String| !self.used.contains(*number);
        let lost = self.earlier.iter().filter(|(_, number)| number.as_ref().is_none_or(|n| unused(&n)));
        let mut notes: Vec<String> = lost.map(|((_, said), _)| said.clone()).collect();
        let earlier: BTreeSet<&String> = self.earlier.values().flatten().collect();
        let orphans = self.pool.keys().filter(unused).filter(|number| !earlier.contains(number)).count();
        notes.extend(say(orphans as u64, "that no entry has is", "that no entry has are"));
        notes
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;
    use crate::porting::{
        Imported,
        held::gzip,
        import::Options,
        keepass::{parse, parse_with},
    };

    const PLAIN: Options = Options { with_trash: false, without_attachments: false };

    fn pooled(number: &str, attributes: &str, bytes: &[u8]) -> String {
        format!("<Binary ID=\"{number}\"{attributes}>{}</Binary>", BASE64_STANDARD.encode(bytes))
    }

    fn referring(name: &str, number: &str) -> String {
        format!("<Binary><Key>{name}</Key><Value Ref=\"{number}\" /></Binary>")
    }

    /// A database with this pool and entries with this in them.
    fn database(pool: &str, entries: &[&str]) -> String {
        let entries: String = entries.iter().map(|inner| format!("<Entry>{inner}</Entry>\n")).collect();
        format!(
            "<KeePassFile><Meta><RecycleBinUUID>BIN</RecycleBinUUID><Binaries>{pool}</Binaries></Meta>\n\
             <Root><Group><UUID>R</UUID>{entries}</Group></Root></KeePassFile>"
        )
    }

    fn read(pool: &str, entries: &[&str]) -> Imported {
        parse(&database(pool, entries), PLAIN).unwrap()
    }

    fn files(item: &mut Item) -> Vec<(String, Vec<u8>)> {
        let files = item.attachments.iter_mut();
        files.map(|file| (file.name.as_str().to_owned(), file.take_content().unwrap().to_vec())).collect()
    }

    #[test]
    fn files_come_from_the_pool_and_from_the_entry_compressed_or_not_under_safe_names_of_their_own() {
        let (scan, text) = (vec![7; 100_000], b"hello".to_vec());
        let pool = pooled("0", " Compressed=\"True\"", &gzip(&scan)) + &pooled("1", "", &text);
        let here = BASE64_STANDARD.encode(gzip(b"here"));
        let first = referring("../scan.pdf", "0")
            + &referring("scan.pdf", "1")
            + &format!("<Binary><Key>a &amp; b</Key><Value Compressed='true'>{here}</Value></Binary>")
            + "<Binary><Key>empty</Key><Value /></Binary>";
        let mut imported = read(&pool, &[&first, &referring("again", "0"), ""]);
        assert_eq!(imported.notes, Vec::<String>::new());
        let named = |name: &str, content: &[u8]| (name.to_owned(), content.to_vec());
        let wanted = [
            named("scan.pdf", &scan),
            named("scan (2).pdf", &text),
            named("a & b", b"here"),
            named("empty", b""),
        ];
        assert_eq!(imported.items[0].attachments[0].size, 100_000);
        assert_eq!(files(&mut imported.items[0]), wanted);
        assert_eq!(files(&mut imported.items[1]), [named("again", &scan)], "one file of two entries");
        assert!(imported.items[2].attachments.is_empty());
    }

    #[test]
    fn what_is_not_whole_refuses_the_file_and_says_where_and_what_to_do() {
        let refused = |pool: &str, entry: &str, part: &str| {
            let text = database(pool, &["", entry]);
            let error = parse(&text, PLAIN).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("--without-attachments"), "{error}");
            let lenient = Options { without_attachments: true, ..PLAIN };
            let imported = parse(&text, lenient).unwrap();
            assert!(imported.items[1].attachments.is_empty());
        };
        let entry = referring("a", "0");
        refused(
            "<Binary ID=\"0\">c2Nhbg</Binary>",
            &entry,
            ", line 1: holds a file that is not whole base64",
        );
        let cut = &gzip(b"scan")[..20];
        refused(
            &pooled("0", " Compressed=\"True\"", cut),
            &entry,
            ", item 2: holds a file that is not whole gzip",
        );
        refused("", &entry, ", item 2: refers to a file that it does not hold");
        let here = "<Binary><Key>a</Key><Value>*</Value></Binary>";
        refused("", here, ", line 3: holds a file that is not whole base64");
    }

    #[test]
    fn a_pool_that_contradicts_itself_and_a_file_without_bytes_are_refused() {
        let refused = |text: String| parse(&text, PLAIN).unwrap_err().to_string();
        let twice = pooled("0", "", b"a") + &pooled("0", "", b"b");
        assert!(refused(database(&twice, &[])).contains("two files with one number"));
        assert!(refused(database("<Binary>YQ==</Binary>", &[])).contains("without a number"));
        let bare = "<Binary><Key>a</Key></Binary>";
        assert!(refused(database("", &[bare])).contains("names a file and does not hold it"));
    }

    #[test]
    fn what_does_not_fit_is_left_out_by_name_and_the_rest_is_not() {
        let many: String = (0..34).map(|n| referring(&format!("{n}.txt"), "0")).collect();
        let locked = "<Binary><Key>key</Key><Value Protected=\"True\">x!</Value></Binary>";
        let pool = pooled("0", "", b"a") + "<Binary ID=\"1\" Protected=\"True\">not base64</Binary>";
        let second = locked.to_owned() + &referring("pooled", "1") + &referring("good", "0");
        let imported = read(&pool, &[&many, &second]);
        assert_eq!(imported.items[0].attachments.len(), MAX_FILES);
        assert_eq!(imported.items[1].attachments.len(), 1);
        let notes = &imported.notes;
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert_eq!(notes[0], "item 1: the file \"32.txt\" is left out: an entry has at most 32 files");
        assert_eq!(notes[2], "item 2: the file \"key\" is left out: it is still encrypted");
        assert!(notes[3].contains("pooled"), "{notes:?}");
    }

    #[test]
    fn a_bomb_is_left_out_and_many_are_too_much() {
        const MIB: u64 = 1 << 20;
        let small = || Files { most: MIB, most_together: 12 * MIB, ..Files::new(false) };
        let (bomb, fits) = (gzip(&vec![0; (MIB << 2) as usize]), gzip(&vec![0; MIB as usize]));
        let compressed = " Compressed=\"True\"";
        let entry = referring("bomb", "0");
        let many = database(&pooled("0", compressed, &bomb), &[entry.as_str(); 30]);
        let imported = parse_with(&many, PLAIN, small()).unwrap();
        assert!(imported.notes.iter().all(|note| note.contains("\"bomb\" is left out: it is longer")));
        assert_eq!(imported.notes.len(), 30, "looked at once, whoever has it");
        let refused = |text: String| parse_with(&text, PLAIN, small()).unwrap_err().to_string();
        let pool: String = (0..13).map(|n| pooled(&n.to_string(), compressed, &bomb)).collect();
        let entry: String = (0..13).map(|n| referring("bomb", &n.to_string())).collect();
        assert!(refused(database(&pool, &[&entry])).contains("item 1: holds files of more than 1 GiB"));
        // So is one that fits and that many have: each would be sealed for itself.
        let entry: String = (0..13).map(|n| referring(&n.to_string(), "0")).collect();
        assert!(refused(database(&pooled("0", compressed, &fits), &[&entry])).contains("more than 1 GiB"));
    }

    #[test]
    fn files_of_earlier_states_are_named_those_of_nobody_counted_and_those_in_the_bin_are_the_bins() {
        let pool: String = (0..5).map(|n| pooled(&n.to_string(), "", b"x")).collect();
        let old = |files: &str| format!("<History><Entry>{files}</Entry></History>");
        let here = |name: &str| format!("<Binary><Key>{name}</Key><Value>eA==</Value></Binary>");
        let entry = referring("now", "0")
            + &here("same")
            + &old(&(referring("now", "0") + &referring("before", "1") + &here("same") + &here("gone")));
        let bin =
            format!("</Entry><Group><UUID>BIN</UUID><Entry>{}</Entry></Group><Entry>", referring("b", "2"));
        let imported = read(&pool, &[&entry, &bin]);
        assert_eq!(imported.items[0].attachments.len(), 2);
        let said = imported.notes.join("; ");
        for name in ["before", "gone"] {
            let lost = format!("item 1, \"(no name)\": the file \"{name}\" of an earlier state is left out");
            assert!(imported.notes.contains(&lost), "{said}");
        }
        assert!(said.contains("2 files that no entry has are left out"), "{said}");
        assert_eq!(imported.notes.len(), 4, "and the recycle bin: {said}");
        let all = Options { with_trash: true, ..PLAIN };
        let trashed = parse(&database(&pool, &[&entry, &bin]), all).unwrap();
        assert!(
            trashed.items.iter().any(|item| item.attachments.iter().any(|file| file.name.as_str() == "b"))
        );
        let none =
            parse(&database(&pool, &[&entry]), Options { without_attachments: true, ..PLAIN }).unwrap();
        assert_eq!(none.notes, ["2 files of entries are left out"]);
    }
}
