//! What several commands show in the same way.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::AnyError;

/// A bar of this look, whose length is not known yet.
pub fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// A result, for scripts.
pub fn print_json(out: &mut impl Write, what: &impl Serialize) -> Result<(), AnyError> {
    Ok(writeln!(out, "{}", serde_json::to_string_pretty(what)?)?)
}

/// A time, for people.
pub fn at(seconds: i64) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    let time = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| seconds.to_string())
}
