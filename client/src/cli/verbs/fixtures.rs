//! `fixtures`: made-up exports, the same for the same seed.

use std::path::PathBuf;

use clap::Args;
use lockstep_client::porting::fixtures::{Style, items, logins, write};

use crate::cli::{app::App, failure::Done, output};

/// What is made.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep fixtures --items 3000 --seed 1 > vault.json
  lockstep fixtures --format keepass --out vault.xml")]
pub struct Fixtures {
    /// How many items
    #[arg(long, value_name = "N", default_value = "3000")]
    items: usize,
    /// The same seed gives the same bytes
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// bitwarden, csv, firefox or keepass
    #[arg(long, value_name = "FORMAT", default_value = "bitwarden")]
    format: Style,
    /// File to write instead of standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes one.
///
/// # Errors
/// If the file cannot be written.
pub fn run(args: &Fixtures, app: &App) -> Done {
    // Firefox keeps nothing else.
    let make = if args.format == Style::Firefox { logins } else { items };
    let text = write(&make(args.items, args.seed), args.format);
    match &args.out {
        None => app.ui.raw(text.as_bytes()),
        Some(path) => output::write(path, text.as_bytes(), true),
    }
}
