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
    /// Ask the blob store for every object that long ciphertexts and attachments lie in: none is missing or too short.
    /// Exit code 1 if one is. The server may run.
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
    let shelf = app::shelf_alone(config).await?;
    let bar = bar("{spinner} {pos} objects, {per_sec}");
    let found = verify(&shelf, &mut |objects| bar.set_position(objects)).await;
    bar.finish_and_clear();
    let found = found?;
    if json {
        print_json(out, &found)?;
    } else {
        print(&found, out)?;
    }
    if found.missing == 0 {
        Ok(())
    } else {
        Err(format!("the blob store has lost {} of {} objects", found.missing, found.objects).into())
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
    Ok(())
}
