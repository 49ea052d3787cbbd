//! Whether the disk has room for what is about to be built and written: better said now than by a linker in half an hour.

use crate::process::{self, Doing, Failure, Result, fail};
use std::path::{Path, PathBuf};
use std::process::Command;

const GIB: u64 = 1 << 30;

/// What a whole run leaves in an empty target folder: measured 7.8 GB, and about half as much again for the next build.
const TARGET: u64 = 9 * GIB;
const TARGET_INCREMENTAL: u64 = 14 * GIB;
/// What its services write until they are stopped: databases, objects, journals. Measured a little over 4 GB.
const SERVICES: u64 = 5 * GIB;

/// Refuses to begin a whole run for which there is no room.
pub fn ensure() -> Result<()> {
    let target = nearest(process::target());
    let built = used(&target)?;
    let mut needs = vec![(target, leaves().saturating_sub(built)), (std::env::temp_dir(), SERVICES)];
    if disk(&needs[0].0)?.name == disk(&needs[1].0)?.name {
        needs[0].1 += SERVICES;
        needs.truncate(1);
    }
    for (folder, need) in needs {
        enough(&folder, disk(&folder)?.free, need)?;
    }
    Ok(())
}

fn leaves() -> u64 {
    let kept_for_the_next = std::env::var_os("CARGO_INCREMENTAL").is_none_or(|set| set != "0");
    if kept_for_the_next { TARGET_INCREMENTAL } else { TARGET }
}

fn enough(folder: &Path, free: u64, need: u64) -> Result<()> {
    if free >= need {
        return Ok(());
    }
    let gib = |bytes: u64| bytes.div_ceil(GIB);
    fail(format!(
        "{} has {} GB free, and a run of all steps needs about {}: `cargo clean` makes room where much was built before, and \
         CARGO_TARGET_DIR and TMPDIR name other disks",
        folder.display(),
        free / GIB,
        gib(need),
    ))
}

/// The folder, or what is there of the path to it.
fn nearest(mut folder: PathBuf) -> PathBuf {
    while !folder.exists() && folder.pop() {}
    folder
}

/// A file system.
#[derive(Debug, PartialEq)]
struct Disk {
    name: String,
    free: u64,
}

/// The one that a folder lies on, by `df` as POSIX has it.
fn disk(folder: &Path) -> Result<Disk> {
    let said = process::answer(Command::new("df").arg("-Pk").arg(folder))?;
    disk_in(&said).ok_or_else(|| Failure(format!("df does not say how much room {} has", folder.display())))
}

fn disk_in(said: &str) -> Option<Disk> {
    let mut words = said.lines().nth(1)?.split_whitespace();
    let name = words.next()?.to_owned();
    Some(Disk { name, free: words.nth(2)?.parse::<u64>().ok()?.checked_mul(1024)? })
}

/// How much a folder holds.
fn used(folder: &Path) -> Result<u64> {
    let said = process::answer(Command::new("du").arg("-sk").arg(folder))?;
    let kib = said.split_whitespace().next().unwrap_or_default();
    Ok(kib.parse::<u64>().doing("read what du says")?.saturating_mul(1024))
}

#[cfg(test)]
mod proof {
    use super::*;

    #[test]
    fn what_df_says_is_read() {
        let said = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                    /dev/vda         263940716 77070740  17825792      82% /\n";
        assert_eq!(disk_in(said), Some(Disk { name: "/dev/vda".to_owned(), free: 17 * GIB }));
        assert_eq!(disk_in("df: no such file"), None);
    }

    #[test]
    fn a_disk_without_room_is_named_with_what_to_do() {
        assert!(enough(Path::new("/tmp"), 6 * GIB, 6 * GIB).is_ok());
        let refused = enough(Path::new("/tmp"), 6 * GIB - 1, 6 * GIB).unwrap_err().to_string();
        assert!(refused.starts_with("/tmp has 5 GB free") && refused.contains("cargo clean"), "{refused}");
    }
}
