//! `man`: the manual, a page for each verb.

use std::{fs, path::PathBuf};

use clap::{Args, Command};
use clap_mangen::roff::{Roff, bold, roman};

use super::topics;
use crate::cli::{
    app::App,
    examples,
    failure::{CODES, Done, Exit, Failure},
};

/// Where to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep man | man -l -
  lockstep man --dir ~/.local/share/man/man1      # one page per verb")]
pub struct Man {
    /// Write one page per verb into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the first page, or writes all of them.
///
/// # Errors
/// If the directory cannot be written.
pub fn run(args: &Man, app: &App) -> Done {
    let mut command = examples::command();
    command.build();
    let Some(dir) = &args.dir else {
        return app.ui.raw(page(&command)?.as_bytes());
    };
    let written = fs::create_dir_all(dir).map_err(Failure::from).and_then(|()| pages(&command, dir));
    written.map_err(|failure| {
        let message = format!("{}: {}", dir.display(), failure.message);
        Failure::new(Exit::Failure, message, "name a directory that can be written")
    })?;
    if app.ui.json {
        return app.ui.document(&serde_json::json!({ "dir": dir }));
    }
    app.ui.done(format!("Manual pages written to {}.", dir.display()));
    Ok(())
}

fn pages(command: &Command, dir: &std::path::Path) -> Done {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    fs::write(dir.join(format!("{name}.1")), page(command)?)?;
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| pages(verb, dir))
}

/// What clap says of a command, with a title that says which program it is of, and its examples as they are typed.
fn page(command: &Command) -> Done<String> {
    let (main, mut text) = (command.get_version().is_some(), Vec::new());
    let man = clap_mangen::Man::new(command.clone());
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase();
    let program = concat!("lockstep ", env!("CARGO_PKG_VERSION"));
    // No date: the same program writes the same pages on every day.
    text.extend(format!(".TH \"{title}\" 1 \"\" \"{program}\"\n").into_bytes());
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        man.render_subcommands_section(&mut text)?;
    }
    let mut more = Roff::new();
    if let Some(after) = command.get_after_help() {
        extra(&mut more, &after.to_string());
    }
    if main {
        for (title, topic) in topics::ALL {
            more.control("SH", [title.to_uppercase().as_str()]);
            paragraphs(&mut more, topic);
        }
        more.control("SH", ["EXIT STATUS"]);
        for (code, word, meaning) in CODES {
            more.control("TP", []);
            more.text([bold(code.to_string()), roman(format!(" {word}"))]);
            more.text([roman(*meaning)]);
        }
    }
    more.to_writer(&mut text)?;
    let text = String::from_utf8(text).map_err(std::io::Error::other)?;
    // Two breaks around nothing: what clap leaves between an option and its values.
    Ok(text.replace("\n.br\n\n.br\n", "\n.sp\n"))
}

/// The examples, then what else is said.
fn extra(more: &mut Roff, after: &str) {
    let (examples, rest) = match after.strip_prefix("Examples:\n") {
        Some(rest) => rest.split_once("\n\n").unwrap_or((rest, "")),
        None => ("", after),
    };
    for (title, text) in [("EXAMPLES", examples), ("NOTES", rest)] {
        if !text.is_empty() {
            more.control("SH", [title]);
            paragraphs(more, text);
        }
    }
}

/// Paragraphs that are filled, and indented lines that are not.
fn paragraphs(more: &mut Roff, text: &str) {
    let (mut as_typed, mut gap) = (false, false);
    for line in text.lines() {
        if line.is_empty() {
            gap = true;
            continue;
        }
        let indented = line.starts_with(' ');
        if as_typed && (gap || !indented) {
            more.control("fi", []);
            as_typed = false;
        }
        if std::mem::take(&mut gap) {
            more.control("PP", []);
        }
        if indented && !as_typed {
            more.control("nf", []);
            as_typed = true;
        }
        more.text([roman(line)]);
    }
    if as_typed {
        more.control("fi", []);
    }
}
