//! `completions`, `man`, `help`: what the program says about itself.

use std::{fmt::Write as _, fs, path::PathBuf};

use clap::{Args, CommandFactory};

use crate::cli::{
    app::App,
    args::Cli,
    failure::{CODES, Done, Exit, Failure},
};

/// For which shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep completions bash > ~/.local/share/bash-completion/completions/lockstep
  lockstep completions zsh > ~/.zfunc/_lockstep
  lockstep completions fish > ~/.config/fish/completions/lockstep.fish")]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

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

/// About what.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep help
  lockstep help resolve
  lockstep help exit-codes")]
pub struct Help {
    /// A verb, or: exit-codes
    topic: Vec<String>,
}

/// Prints a completion script.
///
/// # Errors
/// If standard output is gone.
pub fn completions(args: &Completions, app: &App) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lockstep", &mut script);
    app.ui.raw(&script)
}

/// Prints the manual page, or writes all of them.
///
/// # Errors
/// If the directory cannot be written.
pub fn man(args: &Man, app: &App) -> Done {
    let command = Cli::command();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let command = command.after_long_help(format!("{after}\n\nExit codes:\n{}", codes()));
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return app.ui.raw(&page);
    };
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir));
    written.map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("{}: {error}", dir.display()),
            "name a directory that can be written",
        )
    })?;
    app.ui.done(format!("Manual pages written to {}.", dir.display()));
    Ok(())
}

/// Prints help about a verb or topic.
///
/// # Errors
/// No such topic.
pub fn help(args: &Help, app: &App) -> Done {
    if args.topic == ["exit-codes"] {
        if app.ui.json {
            let list: Vec<serde_json::Value> = CODES
                .iter()
                .map(|(code, word, meaning)| serde_json::json!({ "exit": code, "code": word, "meaning": meaning }))
                .collect();
            return app.ui.document(&list);
        }
        return app.ui.raw(codes().as_bytes());
    }
    let mut command = Cli::command();
    command.build();
    let mut wanted = &mut command;
    for word in &args.topic {
        wanted = wanted.find_subcommand_mut(word).ok_or_else(|| {
            let message = format!("there is no verb or topic \"{}\"", crate::cli::ui::printable(word));
            Failure::new(Exit::Usage, message, "see: lockstep help")
        })?;
    }
    let help = wanted.render_long_help();
    let text = if console::colors_enabled() { help.ansi().to_string() } else { help.to_string() };
    app.ui.raw(text.as_bytes())
}

fn codes() -> String {
    CODES.iter().fold(String::new(), |mut text, (code, word, meaning)| {
        let _ = writeln!(text, "{code:>4}  {word:<12} {meaning}");
        text
    })
}
