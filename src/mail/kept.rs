//! Letters that lie in the data folder until somebody opens them: whose they are, and how they go.

use std::{io, path::Path};

use lockstep_events::AccountId;
use tokio::fs;

use super::Letter;

/// The file of a letter: it names the account that the letter is about, and no address.
pub fn file_name(letter: &Letter) -> String {
    format!("{}.{}.eml", letter.account, letter.id)
}

/// Also of a file that is being written: its name begins with a dot.
fn account_of(name: &str) -> Option<AccountId> {
    name.trim_start_matches('.').split('.').next()?.parse().ok()
}

/// Deletes the letters about some accounts from a folder, whatever letters leave by now; how many.
///
/// # Errors
/// If the folder cannot be read, or a letter not be deleted.
pub async fn forget(folder: &Path, of: impl Fn(AccountId) -> bool) -> io::Result<u64> {
    let mut letters = match fs::read_dir(folder).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let mut deleted = 0;
    while let Some(letter) = letters.next_entry().await? {
        if account_of(&letter.file_name().to_string_lossy()).is_some_and(&of) {
            match fs::remove_file(letter.path()).await {
                // One that was being written has its whole name by now; the last step of an erasure finds it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
            deleted += 1;
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn an_account_s_letters_go_and_nobody_else_s() {
        let place = tempfile::tempdir().unwrap();
        let (gone, other) = (AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        let names = |account| {
            [format!("{account}.a.eml"), format!(".{account}.b.eml.tmp"), format!("{account}.c.eml")]
        };
        let foreign = "notes.txt".to_owned();
        for name in names(gone).into_iter().chain(names(other)).chain([foreign.clone()]) {
            std::fs::write(place.path().join(name), b"").unwrap();
        }
        assert_eq!(forget(&place.path().join("none"), |_| true).await.unwrap(), 0);
        assert_eq!(forget(place.path(), |account| account == gone).await.unwrap(), 3);
        let left = std::fs::read_dir(place.path()).unwrap().map(|file| file.unwrap().file_name());
        let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
        left.sort();
        let mut expected: Vec<_> = names(other).into_iter().chain([foreign]).collect();
        expected.sort();
        assert_eq!(left, expected);
    }
}
