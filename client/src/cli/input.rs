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
    let failed = |error: std::io::Error| {
        Failure::new(Exit::NotFound, format!("{}: {error}", path.display()), "check the path")
    };
    let mut content = Zeroizing::new(Vec::new());
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(fs::File::open(path).map_err(failed)?)
    };
    reader.take(most + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > most {
        let message = format!("{} is larger than {shown}", path.display());
        return Err(Failure::new(Exit::Refused, message, hint));
    }
    Ok(content)
}
