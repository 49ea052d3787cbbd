//! What a command says, and where: data on standard output, everything else on standard error.
//!
//! On a terminal data comes as aligned columns with a header; in a pipe as tab-separated lines without one; with
//! `--json` as JSON. Colours follow `--color`, `NO_COLOR` and whether there is a terminal.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use console::{Style, measure_text_width, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::failure::Done;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The two channels of a command.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about the terminal and the flags")]
pub struct Ui {
    /// Data as JSON.
    pub json: bool,
    /// Only data and errors.
    pub quiet: bool,
    /// Standard output is a terminal.
    pub out_is_terminal: bool,
    /// Standard error is a terminal, so there is a person to ask.
    pub err_is_terminal: bool,
}

impl Ui {
    /// Looks at the terminal once.
    pub fn new(json: bool, quiet: bool, color: When) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let on = |terminal: bool| match color {
            When::Auto => terminal && !no_color,
            When::Always => true,
            When::Never => false,
        };
        console::set_colors_enabled(on(out));
        console::set_colors_enabled_stderr(on(err));
        Self { json, quiet, out_is_terminal: out, err_is_terminal: err }
    }

    /// One line of data.
    pub fn data(self, line: &str) -> Done {
        self.raw(&[line.as_bytes(), b"\n"].concat())
    }

    /// Data as it is, without a line end.
    pub fn raw(self, bytes: &[u8]) -> Done {
        super::output::write(Path::new("-"), bytes, false)
    }

    /// One JSON document: indented on a terminal, one line in a pipe.
    pub fn document(self, value: &impl Serialize) -> Done {
        let text = if self.out_is_terminal {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        self.data(&text.map_err(io::Error::other)?)
    }

    /// One JSON document on one line, for streams of them.
    pub fn document_line(self, value: &impl Serialize) -> Done {
        self.data(&serde_json::to_string(value).map_err(io::Error::other)?)
    }

    /// Talk: what was done.
    pub fn say(self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{}", harmless(text.as_ref()));
        }
    }

    /// Talk that a question or a wait depends on: `--quiet` does not silence it.
    pub fn needed(self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr(), "{}", harmless(text.as_ref()));
    }

    /// Talk that ends with a word of ours, coloured.
    pub fn say_styled(self, text: &str, style: &Style, word: &str) {
        if !self.quiet {
            let word = style.clone().for_stderr().apply_to(word);
            let _ = writeln!(io::stderr(), "{}  {word}", harmless(text));
        }
    }

    /// Talk: it worked.
    pub fn done(self, text: impl AsRef<str>) {
        if !self.quiet {
            let tick = Style::new().green().for_stderr().apply_to("✓");
            let _ = writeln!(io::stderr(), "{tick} {}", harmless(text.as_ref()));
        }
    }

    /// Talk that `--quiet` does not silence.
    pub fn warn(self, text: impl AsRef<str>) {
        let word = Style::new().yellow().bold().for_stderr().apply_to("warning:");
        let _ = writeln!(io::stderr(), "{word} {}", harmless(text.as_ref()));
    }

    /// Talk: what one could type next.
    pub fn hint(self, text: impl AsRef<str>) {
        if self.err_is_terminal && !self.quiet {
            let text = harmless(text.as_ref());
            let _ = writeln!(io::stderr(), "{}", Style::new().dim().for_stderr().apply_to(text));
        }
    }

    /// The last line of a command that failed.
    pub fn error(self, failure: &super::failure::Failure) {
        let mut err = io::stderr();
        let _ = if self.json {
            writeln!(err, "{}", failure.json())
        } else {
            let word = Style::new().red().bold().for_stderr().apply_to("error:");
            writeln!(err, "{word} {}", harmless(&failure.to_string()))
        };
    }

    /// Rows under a header on a terminal, cut to its width; tab-separated without a header in a pipe.
    pub fn table(self, header: &[&str], rows: &[Vec<String>]) -> Done {
        self.columns(header, rows, terminal_width())
    }

    /// The same where nothing may be cut: the terminal continues a line that is too long.
    pub fn whole_table(self, header: &[&str], rows: &[Vec<String>]) -> Done {
        self.columns(header, rows, usize::MAX)
    }

    fn columns(self, header: &[&str], rows: &[Vec<String>], limit: usize) -> Done {
        let clean: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
        if !self.out_is_terminal {
            return clean.iter().try_for_each(|row| self.data(&row.join("\t")));
        }
        let widths = widths(header, &clean, limit);
        let bold = Style::new().bold();
        self.data(&bold.apply_to(line(&widths, header)).to_string())?;
        clean.iter().try_for_each(|row| self.data(&line(&widths, row)))
    }

    /// A bar for long work; nothing is drawn unless a person watches.
    pub fn progress(self, length: u64, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg} {wide_bar:.cyan/dim} {pos}/{len} {eta}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─");
        ProgressBar::with_draw_target(Some(length), self.target())
            .with_style(style)
            .with_message(what.to_owned())
    }

    /// The same for bytes.
    pub fn bytes(self, length: u64, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar:.cyan/dim} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        );
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─");
        self.progress(length, what).with_style(style)
    }

    /// A turning wheel for work of unknown length.
    pub fn wheel(self, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{spinner:.cyan} {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let wheel = ProgressBar::with_draw_target(None, self.target()).with_style(style);
        wheel.set_message(what.to_owned());
        wheel.enable_steady_tick(Duration::from_millis(100));
        wheel
    }

    fn target(self) -> ProgressDrawTarget {
        if self.err_is_terminal && !self.quiet && !self.json {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        }
    }
}

fn terminal_width() -> usize {
    usize::from(console::Term::stdout().size().1).max(40)
}

/// How wide an id is.
const ID: usize = 36;

/// The widest cell of each column; where the whole is too wide, the widest column gives way first. The first does not
/// unless it is longer than an id: it names what is in the line, and is typed in the next command.
fn widths(header: &[&str], rows: &[Vec<String>], limit: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = header.iter().map(|cell| measure_text_width(cell)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(cell));
        }
    }
    let gaps = 2 * widths.len().saturating_sub(1);
    let fixed = usize::from(widths.first().is_some_and(|first| *first <= ID));
    while widths.iter().sum::<usize>() + gaps > limit {
        match widths[fixed..].iter_mut().max() {
            Some(widest) if *widest > 8 => *widest -= 1,
            _ => break,
        }
    }
    widths
}

fn line(widths: &[usize], cells: &[impl AsRef<str>]) -> String {
    let mut out = String::new();
    for (nth, (width, cell)) in widths.iter().zip(cells).enumerate() {
        let cell = truncate_str(cell.as_ref(), *width, "…");
        out.push_str(&cell);
        if nth + 1 < widths.len() {
            out.push_str(&" ".repeat(width.saturating_sub(measure_text_width(&cell)) + 2));
        }
    }
    out.trim_end().to_owned()
}

/// A value as one harmless line: what is in a vault may come from an import, and what a server says from anybody. Neither
/// must be able to move the cursor, recolour the terminal or turn the reading direction of what follows, nor begin a line
/// that looks like one of ours.
pub fn printable(text: &str) -> String {
    harmless(text).replace('\n', "⏎")
}

/// The same of talk, which may have several lines.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}' => {}
            '\n' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_talk_cannot_steer_the_terminal() {
        let hostile = "a\x1b[2Jb\nc\u{202e}d\u{200f}\u{061c}\r";
        assert_eq!(printable(hostile), "a\u{fffd}[2Jb⏎cd\u{fffd}");
        assert_eq!(harmless(hostile), "a\u{fffd}[2Jb\ncd\u{fffd}");
    }

    #[test]
    fn a_table_fits_the_terminal_and_keeps_short_columns_whole() {
        let rows = vec![vec!["x".repeat(200), "yes".into()]];
        let widths = widths(&["NAME", "OK"], &rows, 60);
        assert_eq!(widths, [55, 3]);
        assert!(measure_text_width(&line(&widths, &rows[0])) <= 60);
    }

    #[test]
    fn an_id_that_has_to_be_typed_is_whole_however_narrow_the_terminal_is() {
        let id = "3f1c0a52-7e1d-4c0b-9a53-6d2b8f04c1e7";
        let rows =
            vec![vec![id.into(), "2026-11-27 22:52:09".into(), "2026-11-30 22:52:09".into(), "free".into()]];
        let widths = widths(&["INVITATION", "MADE (UTC)", "UNTIL (UTC)", "PLAN"], &rows, 80);
        assert_eq!(widths[0], 36);
        let line = line(&widths, &rows[0]);
        assert!(line.starts_with(id) && measure_text_width(&line) <= 80, "{line}");
    }

    #[test]
    fn wide_characters_are_padded_by_columns_not_by_characters() {
        assert_eq!(line(&[6, 1], &["銀行", "x"]), "銀行    x");
    }
}
