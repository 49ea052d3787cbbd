//! What is read into memory whole: a file, or standard input.

use std::{fs, io::Read, path::Path};

use zeroize::Zeroizing;

use super::failure::{Done, Exit, Failure};

/// The bytes of a file, or of standard input for `-`, at most `most`; `shown` is that as a person reads it, `hint` what
/// is said beside the refusal of more.
///
/// # Errors
/// If it cannot be read, or is longer.
pub fn read(path: &Path, most: u64, (shown, hint): (&str, &str)) -> Done<Zeroizing<Vec<u8>>> {
    let failed = |error| not_read(path, &error);
    let mut content = Zeroizing::new(Vec::new());
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(fs::File::open(path).map_err(failed)?)
    };
    reader.take(most + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > most {
        return Err(too_long(path, shown, hint));
    }
    Ok(content)
}

/// Fails where [`read`] would, as far as can be told without reading: before a person is asked for anything.
///
/// # Errors
/// If there is nothing to be read, or a file is longer.
pub fn is_there(path: &Path, most: u64, (shown, hint): (&str, &str)) -> Done {
    if path == Path::new("-") {
        return Ok(());
    }
    let there = fs::metadata(path).map_err(|error| not_read(path, &error))?;
    if there.is_dir() {
        return Err(not_read(path, &std::io::ErrorKind::IsADirectory.into()));
    }
    // A pipe is opened once, by whoever reads it.
    if there.is_file() {
        fs::File::open(path).map_err(|error| not_read(path, &error))?;
    }
    if there.len() > most { Err(too_long(path, shown, hint)) } else { Ok(()) }
}

fn not_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::NotFound, format!("{}: {error}", path.display()), "check the path")
}

fn too_long(path: &Path, shown: &str, hint: &str) -> Failure {
    Failure::new(Exit::Refused, format!("{} is larger than {shown}", path.display()), hint)
}
