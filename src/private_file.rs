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
    Begun::with(path, bytes)?.replace()
}

/// Writes a file that only its owner may read, unless it exists; whether it was written.
///
/// Of two that race, one wins, and the other sees the winner's whole file.
///
/// # Errors
/// What the system says.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    Begun::with(path, bytes)?.take()
}

/// A file that only its owner may read, which is written beside its place and takes it when it is whole. Deleted with this
/// value, unless it did.
#[derive(Debug)]
pub struct Begun {
    path: PathBuf,
    temporary: PathBuf,
    file: fs::File,
}

impl Begun {
    /// Begins one.
    ///
    /// # Errors
    /// What the system says.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let temporary = path.with_file_name(format!("{}{}", begun(path), uuid::Uuid::new_v4()));
        let file = create(&temporary)?;
        // As long as this process lives, the file is not taken for one that was left. A system without locks goes by its age.
        let _ = file.try_lock();
        Ok(Self { path: path.to_owned(), temporary, file })
    }

    /// Begins one, and writes all that goes into it.
    ///
    /// # Errors
    /// What the system says.
    pub fn with(path: &Path, bytes: &[u8]) -> io::Result<Self> {
        let mut begun = Self::beside(path)?;
        begun.file.write_all(bytes)?;
        begun.file.sync_all()?;
        Ok(begun)
    }

    /// It takes its place, whatever was there, and is durable when this returns.
    ///
    /// # Errors
    /// What the system says.
    pub fn replace(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        sync_folder(&self.path)
    }

    /// It takes its place, unless something is there; whether it did.
    ///
    /// # Errors
    /// What the system says.
    pub fn take(self) -> io::Result<bool> {
        self.file.sync_all()?;
        match fs::hard_link(&self.temporary, &self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            // There are file systems without links, as on a stick: there the place is taken by an empty file first.
            Err(_) => match create(&self.path) {
                Ok(_) => fs::rename(&self.temporary, &self.path).inspect_err(|_| forget(&self.path))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
                Err(error) => return Err(error),
            },
        }
        sync_folder(&self.path).map(|()| true)
    }
}

impl Write for Begun {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        forget(&self.temporary);
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

/// How the names of what is written beside a file begin.
fn begun(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Deletes what was begun beside a file by a process that died meanwhile: it may hold keys. What another one has only
/// just begun stays.
pub fn sweep(path: &Path) {
    sweep_where(path, |file| {
        let changed = file.metadata().and_then(|data| data.modified());
        changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT))
    });
}

/// The same at once: for a file that nobody writes twice at the same moment, and that may be large.
pub fn sweep_at_once(path: &Path) {
    sweep_where(path, |file| {
        let is_file = file.file_type().is_ok_and(|kind| kind.is_file());
        is_file && fs::File::open(file.path()).is_ok_and(|file| file.try_lock().is_ok())
    });
}

fn sweep_where(path: &Path, is_left: impl Fn(&fs::DirEntry) -> bool) {
    let begun = begun(path);
    let is_of_it = |name: &str| name.strip_prefix(&begun).is_some_and(|id| uuid::Uuid::parse_str(id).is_ok());
    let is_left = |file: &fs::DirEntry| file.file_name().to_str().is_some_and(is_of_it) && is_left(file);
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
        let (left, working) = (Begun::with(&path, b"secret").unwrap(), Begun::with(&path, b"soon").unwrap());
        let (left, working) = (&left.temporary, &working.temporary);
        let long_ago = fs::FileTimes::new().set_modified(std::time::SystemTime::now() - 2 * LEFT);
        fs::File::options().write(true).open(left).unwrap().set_times(long_ago).unwrap();
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
    #[test]
    fn what_a_process_that_died_had_begun_can_be_deleted_at_once_and_what_one_works_on_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.jsonl");
        let working = Begun::with(&path, b"soon").unwrap();
        let left = working.temporary.with_file_name(format!("{}{}", begun(&path), uuid::Uuid::new_v4()));
        fs::write(&left, b"half").unwrap();
        sweep_at_once(&path);
        assert!(!left.exists() && working.temporary.exists());
        assert!(working.take().unwrap());
        assert_eq!(names(folder.path()), ["export.jsonl"]);
        assert!(!Begun::with(&path, b"another").unwrap().take().unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"soon");
        assert_eq!(names(folder.path()), ["export.jsonl"]);
    }
}
