//! Reading an export of another program: which format it is, and one kind of error for all of them.
//!
//! An import is all or nothing: a file that cannot be read to its end imports nothing.

use std::{fmt, fs, io::Read, path::Path, str::FromStr};

use super::{
    archive, bitwarden, csv,
    item::{Item, MAX_ITEM_BYTES},
    keepass,
    portion::Portion,
};
use crate::crypto::wipe::Plaintext;

/// A file larger than this is refused before it is read.
pub const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// How a KeePass database begins, which people take for an export.
const DATABASE: &[u8] = &[0x03, 0xd9, 0xa2, 0x9a];
/// How a ZIP archive begins: of the programs whose exports are read here, Bitwarden makes them.
const ZIP: &[u8] = b"PK\x03\x04";

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Bitwarden's unencrypted JSON.
    Bitwarden,
    /// Comma-separated values: Chrome, Firefox, Safari, Bitwarden, KeePass 1, or any with a header line.
    Csv,
    /// KeePass 2 XML.
    Keepass,
}

impl Format {
    /// Every format with its word.
    pub const ALL: &[(&str, Self)] =
        &[("bitwarden", Self::Bitwarden), ("csv", Self::Csv), ("keepass", Self::Keepass)];

    /// The format that a text seems to be in, by how it begins.
    pub fn guess(text: &str) -> Self {
        match text.trim_start_matches('\u{feff}').trim_start().chars().next() {
            Some('{' | '[') => Self::Bitwarden,
            Some('<') => Self::Keepass,
            _ => Self::Csv,
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == word);
        found.map(|(_, format)| *format).ok_or_else(|| "expected bitwarden, csv or keepass".to_owned())
    }
}

/// What an export held.
#[derive(Debug, Default)]
pub struct Imported {
    /// The items of which it does not say in which vault they were, in the order of the file.
    pub items: Vec<Item>,
    /// Our own exports also have vaults.
    pub vaults: Vec<Portion>,
    /// And our archives the one file of the account.
    pub file: Option<Plaintext>,
    /// What was left out or changed, each in one sentence. Empty if everything came over.
    pub notes: Vec<String>,
    /// What the file was recognised as, for example `Firefox CSV`.
    pub source: String,
}

impl Imported {
    /// All items, of no vault and of each.
    pub fn all(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().chain(self.vaults.iter().flat_map(|portion| &portion.items))
    }

    /// The same, to change them.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.items.iter_mut().chain(self.vaults.iter_mut().flat_map(|portion| &mut portion.items))
    }
}

/// Where in a file something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line, from 1.
    Line(u64),
    /// A record, from 1.
    Record(u64),
    /// The file as a whole.
    File,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(n) => write!(f, ", line {n}"),
            Self::Record(n) => write!(f, ", item {n}"),
            Self::File => Ok(()),
        }
    }
}

/// Why nothing was imported. Shows no value of any item.
#[derive(Debug, thiserror::Error)]
#[error("{file}{place}: {problem}; {advice}. Nothing was imported")]
pub struct ImportError {
    /// The file as the person named it; empty until [`read`] fills it in.
    pub file: String,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub advice: String,
}

impl ImportError {
    /// An error without the file's name.
    pub fn new(place: Place, problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { file: String::new(), place, problem: problem.into(), advice: advice.into() }
    }

    /// The same with the name of the file.
    #[must_use]
    pub fn of(self, path: &Path) -> Self {
        Self { file: path.display().to_string(), ..self }
    }
}

/// What to take along.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Also items that lie in the other program's bin.
    pub with_trash: bool,
    /// None of the files that the items have.
    pub without_attachments: bool,
}

/// Reads a file, `-` for standard input.
///
/// # Errors
/// If it cannot be read, is not of the format, or holds an item that does not fit an entry.
pub fn read(path: &Path, format: Option<Format>, options: Options) -> Result<Imported, ImportError> {
    parse_bytes(load(path)?, format, options).map_err(|error| error.of(path))
}

/// The bytes of a file, `-` for standard input.
///
/// # Errors
/// If it cannot be read, or is too long.
pub fn load(path: &Path) -> Result<Vec<u8>, ImportError> {
    bytes_of(path).map_err(|error| error.of(path))
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, ImportError> {
    let failed = |error: std::io::Error| {
        ImportError::new(
            Place::File,
            format!("cannot be read ({error})"),
            "check the path and its permissions",
        )
    };
    let too_long =
        || ImportError::new(Place::File, "is larger than 512 MiB", "split it, or export without attachments");
    let mut bytes = Vec::new();
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let file = fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > MAX_FILE_BYTES {
            return Err(too_long());
        }
        Box::new(file)
    };
    reader.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_long());
    }
    Ok(bytes)
}

/// Reads the bytes of a file.
///
/// # Errors
/// As [`read`].
pub fn parse_bytes(
    bytes: Vec<u8>,
    format: Option<Format>,
    options: Options,
) -> Result<Imported, ImportError> {
    if archive::is_archive(&bytes) {
        let problem = "is a Lockstep archive";
        return Err(ImportError::new(Place::File, problem, "open it with its password"));
    }
    if bytes.starts_with(DATABASE) {
        let problem = "is a KeePass database, which only KeePass opens";
        let advice =
            "in KeePass export it (File → Export → KeePass XML (2.x)), import that, then delete the file";
        return Err(ImportError::new(Place::File, problem, advice));
    }
    if bytes.starts_with(ZIP) {
        return bitwarden::parse_zip(&bytes, options).and_then(fitting);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(ImportError::new(Place::File, "is UTF-16 text", "save it as UTF-8 and try again"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ImportError::new(
            Place::Line(line_of(before)),
            "is not UTF-8 text",
            "save the file as UTF-8 and try again",
        )
    })?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(ImportError::new(Place::File, "is empty", "export again from the other program"));
    }
    let imported = match format.unwrap_or_else(|| Format::guess(text)) {
        Format::Bitwarden => bitwarden::parse(text, options),
        Format::Csv => csv::parse(text),
        Format::Keepass => keepass::parse(text, options),
    }?;
    fitting(imported)
}

fn fitting(imported: Imported) -> Result<Imported, ImportError> {
    imported.all().zip(1..).try_for_each(|(item, nth)| check_size(item, nth))?;
    Ok(imported)
}

fn line_of(before: &[u8]) -> u64 {
    before.split(|byte| *byte == b'\n').count() as u64
}

/// An item has to fit one sealed entry; finding out at item 2,900 of an import would be too late.
fn check_size(item: &Item, nth: u64) -> Result<(), ImportError> {
    let bytes = item.sealed_length();
    if bytes <= MAX_ITEM_BYTES {
        return Ok(());
    }
    Err(ImportError::new(
        Place::Record(nth),
        format!("holds {bytes} bytes and an entry holds at most {MAX_ITEM_BYTES}"),
        "shorten its notes or move them to an attachment",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(bytes: &[u8]) -> String {
        let error = parse_bytes(bytes.to_vec(), None, Options::default()).unwrap_err();
        ImportError { file: "x.dat".into(), ..error }.to_string()
    }

    #[test]
    fn a_file_that_is_not_text_is_refused_with_the_line_and_what_to_do() {
        let shown = error_of(b"name,password\nok,1\n\xff\xff,2\n");
        assert_eq!(
            shown,
            "x.dat, line 3: is not UTF-8 text; save the file as UTF-8 and try again. Nothing was imported"
        );
        assert!(error_of(b"\xff\xfen\0a\0").contains("UTF-16"));
        assert!(error_of(b" \n").contains("is empty"));
    }

    #[test]
    fn a_database_or_an_archive_of_another_program_is_called_what_it_is() {
        assert!(error_of(b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5").contains("is a KeePass database"));
        assert!(error_of(b"PK\x03\x04").contains("unpack it"));
    }

    #[test]
    fn an_item_that_cannot_fit_an_entry_is_named_before_anything_is_imported() {
        let long = format!("name,password,notes\na,1,\nb,2,{}\n", "x".repeat(MAX_ITEM_BYTES));
        assert!(error_of(long.as_bytes()).contains("x.dat, item 2: holds"));
    }

    #[test]
    fn a_file_that_is_too_long_is_refused_before_it_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_FILE_BYTES + 1).unwrap();
        let error = load(file.path()).unwrap_err();
        assert!(error.to_string().contains("is larger than 512 MiB"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nowhere/vault.json"), None, Options::default()).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/vault.json: cannot be read"));
    }
}
