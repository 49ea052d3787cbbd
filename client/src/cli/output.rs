//! Where a command writes what was asked for: a file, whole or not at all, or whatever a path names that is none.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::failure::{Done, Exit, Failure};

/// The file that is being written, beside its place: an interruption takes it away.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Takes away what is half written, before the process ends.
pub fn give_up() {
    if let Some(half) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = fs::remove_file(half);
    }
}

/// Whether a path means standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdout")
}

/// Writes where only its owner reads, whole or not at all, and not over a file unless told to. What is replaced stays
/// until the new file is whole.
///
/// # Errors
/// As [`Out::open`], and if it cannot be written.
pub fn write(path: &Path, content: &[u8], force: bool) -> Done {
    let mut out = Out::open(path, force)?;
    match out.write_all(content) {
        Ok(()) => out.finish(),
        Err(error) => Err(out.broke().unwrap_or_else(|| error.into())),
    }
}

/// Fails where [`write()`] would, before a person is asked for anything. A pipe or a device is not opened for that.
///
/// # Errors
/// As [`Out::open`].
pub fn is_free(path: &Path, force: bool) -> Done {
    let takes_all = fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir());
    if takes_all { Ok(()) } else { Out::open(path, force).map(drop) }
}

/// What is written in pieces.
pub struct Out {
    path: PathBuf,
    to: To,
    broke: Option<io::Error>,
}

enum To {
    /// Standard output, a pipe or a device: nothing of it can be taken back.
    Stream(Box<dyn Write + Send>),
    File(Draft),
}

/// A file beside the one that it becomes; gone with this value unless it became it.
struct Draft {
    file: File,
    beside: PathBuf,
    place: PathBuf,
    replaces: bool,
}

impl Out {
    /// Begins. A pipe or a device is written into: there is nothing that it could lose.
    ///
    /// # Errors
    /// If a file is there and not to be replaced, or it cannot be written.
    pub fn open(path: &Path, force: bool) -> Done<Self> {
        let made = |to| Self { path: path.to_owned(), to, broke: None };
        if is_stdout(path) {
            return Ok(made(To::Stream(Box::new(io::stdout()))));
        }
        let to = match fs::metadata(path) {
            Ok(there) if there.is_dir() => {
                let message = format!("{} is a folder", path.display());
                return Err(Failure::new(Exit::Failure, message, "name a file in it; nothing was written"));
            }
            Ok(there) if !there.is_file() => {
                OpenOptions::new().write(true).open(path).map(|to| To::Stream(Box::new(to)))
            }
            _ if path.symlink_metadata().is_err() => Draft::begin(path.to_owned(), false).map(To::File),
            _ if !force => Err(io::ErrorKind::AlreadyExists.into()),
            // Through a link the file behind it is replaced.
            _ => path.canonicalize().and_then(|place| Draft::begin(place, true)).map(To::File),
        };
        to.map(made).map_err(|error| failed(path, error, NOTHING))
    }

    /// The file is there, whole.
    ///
    /// # Errors
    /// If the disk fails, or a file came to be there meanwhile.
    pub fn finish(self) -> Done {
        let Self { path, to, .. } = self;
        match to {
            To::Stream(mut to) => to.flush().map_err(|error| failed(&path, error, CUT)),
            To::File(draft) => draft.publish().map_err(|error| failed(&path, error, NOTHING)),
        }
    }

    /// Why it could not be written, for who was told only that it could not.
    pub fn broke(&mut self) -> Option<Failure> {
        let left = if matches!(self.to, To::File(_)) { NOTHING } else { CUT };
        self.broke.take().map(|error| failed(&self.path, error, left))
    }
}

/// What is said of a file that is not there, or as it was.
const NOTHING: &str = "nothing was written";
/// What is said of a pipe or a device that took a part.
const CUT: &str = "what arrived there may not be all";

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.to {
            To::Stream(to) => to.write(bytes),
            To::File(draft) => draft.file.write(bytes),
        };
        written.map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            self.broke = Some(error);
            told
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Stream(to) => to.flush(),
            To::File(draft) => draft.file.flush(),
        }
    }
}

impl Draft {
    fn begin(place: PathBuf, replaces: bool) -> io::Result<Self> {
        let beside = place.with_file_name(format!("lockstep-{}.new", uuid::Uuid::new_v4().simple()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(beside.clone());
        Ok(Self { file, beside, place, replaces })
    }

    fn publish(self) -> io::Result<()> {
        self.file.sync_all()?;
        if !self.replaces {
            match fs::hard_link(&self.beside, &self.place) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) if self.place.symlink_metadata().is_ok() => {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                // Where a file has one name only.
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
        fs::rename(&self.beside, &self.place)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Its own: another one may be under way.
        let _ = fs::remove_file(&self.beside);
        let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        if unfinished.as_ref() == Some(&self.beside) {
            *unfinished = None;
        }
    }
}

fn failed(path: &Path, error: io::Error, left: &str) -> Failure {
    let name = if is_stdout(path) { "standard output".into() } else { path.to_string_lossy() };
    let advice = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!("{name} is there already");
            return Failure::new(Exit::Failure, message, "--force replaces it");
        }
        io::ErrorKind::StorageFull => format!("make room there; {left}"),
        // Whoever read has left: no failure of ours, and known by its words.
        io::ErrorKind::BrokenPipe => return error.into(),
        _ => format!("check the path; {left}"),
    };
    Failure::new(Exit::Failure, format!("{name}: {error}"), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_only_when_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vault");
        write(&file, b"one", false).unwrap();
        let refused = write(&file, b"two", false).unwrap_err();
        assert!(refused.to_string().contains("--force replaces it"), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), b"one");
        write(&file, b"two", true).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link_and_a_device_a_device() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "one").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, b"two", true).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        write(Path::new("/dev/null"), b"gone", false).unwrap();
        assert!(!Path::new("/dev/null").is_file());
    }

    #[test]
    fn what_is_begun_and_not_finished_leaves_nothing_and_takes_no_place_that_was_taken_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vault");
        let mut begun = Out::open(&file, false).unwrap();
        begun.write_all(b"half").unwrap();
        assert!(!file.exists());
        drop(begun);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut late = Out::open(&file, false).unwrap();
        late.write_all(b"late").unwrap();
        fs::write(&file, "first").unwrap();
        let refused = late.finish().unwrap_err();
        assert!(refused.to_string().contains("--force replaces it"), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_named_as_one() {
        let folder = tempfile::tempdir().unwrap();
        for force in [false, true] {
            let refused = write(folder.path(), b"x", force).unwrap_err();
            assert!(refused.to_string().contains("is a folder; name a file in it"), "{refused}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn where_there_is_no_room_it_says_so() {
        let refused = write(Path::new("/dev/full"), b"much", false).unwrap_err();
        assert!(refused.to_string().contains("make room there; what arrived there"), "{refused}");
    }
}
