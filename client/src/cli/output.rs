//! A file that a command writes.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::failure::{Done, Exit, Failure};

/// Writes where only its owner reads, whole or not at all, and not over anything unless told to. What is replaced stays
/// until the new file is whole.
///
/// # Errors
/// If it is there and not to be replaced, or cannot be written.
pub fn write(path: &Path, content: &[u8], force: bool) -> Done {
    let failed = |error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::AlreadyExists => "--force replaces it",
            io::ErrorKind::StorageFull => "make room there; nothing was written",
            _ => "check the path; nothing was written",
        };
        Failure::new(Exit::Failure, format!("{}: {error}", path.display()), advice)
    };
    let there = path.symlink_metadata().is_ok();
    if !force || !there {
        return filled(path, content).map_err(failed);
    }
    // Through a link the file behind it is replaced, and what is no file is written into.
    let path = path.canonicalize().map_err(failed)?;
    if !path.is_file() {
        let mut device = fs::OpenOptions::new().write(true).open(&path).map_err(failed)?;
        return device.write_all(content).map_err(failed);
    }
    let mut beside = path.clone().into_os_string();
    beside.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    let beside = PathBuf::from(beside);
    filled(&beside, content).and_then(|()| fs::rename(&beside, &path)).map_err(|error| {
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

/// A new file with this in it; half of one is taken away.
fn filled(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
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
        write(Path::new("/dev/null"), b"gone", true).unwrap();
        assert!(!Path::new("/dev/null").is_file());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn where_there_is_no_room_it_says_so_and_keeps_what_was_there() {
        let refused = write(Path::new("/dev/full"), b"much", true).unwrap_err();
        assert!(refused.to_string().contains("make room there; nothing was written"), "{refused}");
    }
}
