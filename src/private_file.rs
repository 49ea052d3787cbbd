//! Files that only the server's own user may read.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

/// Whoever writes a file still works on what is younger.
const LEFT: Duration = Duration::from_mins(1);

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

/// Writes a file that only its owner may read: whole or not at all, replacing what was there, and durable when this
/// returns.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    sweep(path);
    let written = beside(path, bytes)?;
    fs::rename(&written, path).inspect_err(|_| forget(&written))?;
    sync_folder(path)
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
        Ok(()) => sync_folder(path).map(|()| true),
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

/// The bytes in a file of their own beside their place; none of it is left if they cannot be written.
fn beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let temporary = path.with_file_name(format!("{}{}", begun(path), uuid::Uuid::new_v4()));
    let mut file = create(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.inspect_err(|_| forget(&temporary))?;
    Ok(temporary)
}

/// How the names of what is written beside a file begin.
fn begun(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Deletes what was begun beside a file by a process that died meanwhile: it may hold keys. What another one has only
/// just begun stays.
pub fn sweep(path: &Path) {
    let begun = begun(path);
    let is_of_it = |name: &str| name.strip_prefix(&begun).is_some_and(|id| uuid::Uuid::parse_str(id).is_ok());
    let is_left = |file: &fs::DirEntry| {
        let changed = file.metadata().and_then(|data| data.modified());
        let old = changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT));
        old && file.file_name().to_str().is_some_and(is_of_it)
    };
    let Ok(beside) = fs::read_dir(folder(path)) else { return };
    beside.flatten().filter(is_left).for_each(|file| forget(&file.path()));
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(folder(path))?.sync_all()
}

/// There a folder cannot be opened for this.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let all = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = all.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_file_that_cannot_take_its_place_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        // A folder that is not empty takes the place of no file, for root neither.
        let path = folder.path().join("keys.json");
        fs::create_dir_all(path.join("in the way")).unwrap();
        write(&path, b"secret").unwrap_err();
        assert_eq!(names(folder.path()), ["keys.json"]);
        assert!(!write_new(&path, b"secret").unwrap());
        assert_eq!(names(folder.path()), ["keys.json"]);
    }

    #[test]
    fn what_a_process_that_died_had_begun_is_deleted_by_the_next_one_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let (left, working) = (beside(&path, b"secret").unwrap(), beside(&path, b"soon").unwrap());
        let long_ago = fs::FileTimes::new().set_modified(std::time::SystemTime::now() - 2 * LEFT);
        fs::File::options().write(true).open(&left).unwrap().set_times(long_ago).unwrap();
        for other in
            [".keys.json.backup", ".other.json.ef7a6bd0-6dff-4b0f-9a39-1f0c41cd5f22", "keys.json.old"]
        {
            fs::write(folder.path().join(other), b"kept").unwrap();
            let file = fs::File::options().write(true).open(folder.path().join(other)).unwrap();
            file.set_times(long_ago).unwrap();
        }
        write(&path, b"new").unwrap();
        assert!(!left.exists() && working.exists());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()).len(), 5);
    }
}
