//! `generate`.

use clap::Args;
use lockstep_client::{
    crypto::os_random,
    porting::generate::{Recipe, passphrase, password},
};
use serde_json::json;

use crate::cli::{
    app::App,
    failure::{Done, Failure},
};

/// What is made.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep generate
  lockstep generate --length 32 --no-symbols
  lockstep generate --words 6
  lockstep generate --readable --count 5

Needs no account. To change an entry's password at once: lockstep edit ENTRY --generate")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Generate {
    /// Number of characters
    #[arg(long, short, value_name = "N", default_value = "20", conflicts_with = "words")]
    length: usize,
    /// A passphrase of so many words instead
    #[arg(long, short, value_name = "N", num_args = 0..=1, default_missing_value = "6")]
    words: Option<usize>,
    /// What stands between words
    #[arg(long, value_name = "TEXT", default_value = "-", requires = "words")]
    separator: String,
    /// No capital letters
    #[arg(long, conflicts_with = "words")]
    no_upper: bool,
    /// No digits
    #[arg(long, conflicts_with = "words")]
    no_digits: bool,
    /// No punctuation
    #[arg(long, conflicts_with = "words")]
    no_symbols: bool,
    /// No characters that look alike
    #[arg(long, conflicts_with = "words")]
    readable: bool,
    /// How many to choose from
    #[arg(long, short, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
}

/// Prints one or more.
///
/// # Errors
/// A length out of range.
pub fn run(args: &Generate, app: &App) -> Done {
    let recipe = Recipe {
        length: args.length,
        upper: !args.no_upper,
        digits: !args.no_digits,
        symbols: !args.no_symbols,
        readable: args.readable,
    };
    let mut rng = os_random();
    for _ in 0..args.count {
        let made = match args.words {
            Some(words) => passphrase(&mut rng, words, &args.separator),
            None => password(&mut rng, recipe),
        };
        let made = made.map_err(|error| Failure::usage(error.to_string(), ""))?;
        if app.ui.json {
            app.ui.document_line(&json!({ "password": made.secret, "bits": made.bits.floor() }))?;
        } else {
            app.ui.data(made.secret.as_str())?;
        }
        if app.ui.out_is_terminal && args.count == 1 {
            app.ui.hint(format!("{:.0} bits of chance", made.bits.floor()));
        }
    }
    Ok(())
}
