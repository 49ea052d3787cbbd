//! `lockstepd blobs`: the words and the bar; `operate::blobs` does the work.

use std::io::Write;

use clap::Subcommand;

use super::{
    AnyError,
    shown::{bar, print_json},
};
use crate::{
    app,
    config::Config,
    operate::blobs::{VerifiedBlobs, verify},
};

#[derive(Debug, Subcommand)]
pub enum BlobsCommand {
    /// Ask the blob store for every object that long ciphertexts and attachments lie in: none is missing or too short, and of
    /// all that versions keep it is known where it lies. Exit code 1 otherwise. The server may run.
    Verify {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// Whatever it meets; objects that are missing.
pub async fn run(
    command: BlobsCommand,
    config: &Config,
    out: &mut (impl Write + Send),
) -> Result<(), AnyError> {
    let BlobsCommand::Verify { json } = command;
    let (shelf, log) = app::shelf_and_log(config).await?;
    let bar = bar("{spinner} {pos} objects, {per_sec}");
    let found = verify(&shelf, &*log, &mut |objects| bar.set_position(objects)).await;
    bar.finish_and_clear();
    let found = found?;
    if json {
        print_json(out, &found)?;
    } else {
        print(&found, out)?;
    }
    verdict(&found)
}

fn verdict(found: &VerifiedBlobs) -> Result<(), AnyError> {
    let lost = format!("the blob store has lost {} of {} objects", found.missing, found.objects);
    let unplaced = format!(
        "of {} ciphertexts that versions keep nothing says where they lie: the index is older than the log, or they were \
         never offered again after a restore",
        found.unplaced
    );
    match (found.missing, found.unplaced) {
        (0, 0) => Ok(()),
        (_, 0) => Err(lost.into()),
        (0, _) => Err(unplaced.into()),
        _ => Err(format!("{lost}; {unplaced}").into()),
    }
}

fn print(found: &VerifiedBlobs, out: &mut impl Write) -> Result<(), AnyError> {
    for one in &found.first {
        writeln!(out, "{}: {} ({} ciphertexts, {} bytes)", one.object, one.what, one.blobs, one.bytes)?;
    }
    let VerifiedBlobs { objects, blobs, bytes, missing, missing_blobs, .. } = found;
    writeln!(out, "{objects} objects with {blobs} ciphertexts of {bytes} bytes")?;
    if *missing > 0 {
        writeln!(out, "{missing} objects with {missing_blobs} ciphertexts are missing")?;
    }
    for one in &found.first_unplaced {
        writeln!(out, "{}/{}: a version keeps it, and the index has no place for it", one.vault, one.hash)?;
    }
    Ok(())
}
