//! Files that only the server's own user may read.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

/// Makes a folder that only its owner may enter, with all above it.
///
/// # Errors
/// What the system says.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// A new file that only its owner may read, to be written.
///
/// # Errors
/// What the system says; also if it exists.
pub fn create(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes a file that only its owner may read: whole or not at all, replacing what was there.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::rename(beside(path, bytes)?, path)
}

/// Writes a file that only its owner may read, unless it exists; whether it was written.
///
/// Of two that race, one wins, and the other sees the winner's whole file.
///
/// # Errors
/// What the system says.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let written = beside(path, bytes)?;
    let linked = fs::hard_link(&written, path);
    fs::remove_file(&written)?;
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes a file, if it is there.
pub fn forget(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(cause = %error, "a file that is of no use any more cannot be deleted");
    }
}

fn beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", uuid::Uuid::new_v4()));
    let mut file = create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(temporary)
}
