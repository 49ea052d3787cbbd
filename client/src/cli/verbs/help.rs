//! `completions`, `help`: what the program says about itself.

use std::fmt::Write as _;

use clap::{Args, Command, CommandFactory};

use super::topics;
use crate::cli::{
    app::App,
    args::Cli,
    failure::{CODES, Done, Exit, Failure},
};

/// For which shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep completions bash \\
      > ~/.local/share/bash-completion/completions/lockstep
  lockstep completions zsh > ~/.zfunc/_lockstep
  lockstep completions fish > ~/.config/fish/completions/lockstep.fish")]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

/// About what.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep help
  lockstep help resolve
  lockstep help exit-codes
  lockstep help json                              # for scripts: what is printed where
  lockstep help environment")]
pub struct Help {
    /// A verb, or: exit-codes, json, environment
    topic: Vec<String>,
}

/// Prints a completion script.
///
/// # Errors
/// If standard output is gone.
pub fn completions(args: &Completions, app: &App) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(&Cli::command()), "lockstep", &mut script);
    app.ui.raw(&script)
}

/// A command without what it hides: generators of completions list that as well.
fn shown(command: &Command) -> Command {
    Command::new("lockstep")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args(command.get_arguments())
        .subcommands(command.get_subcommands().filter(|verb| !verb.is_hide_set()))
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
    let topic = |(name, _): &&(&str, &str)| args.topic == [*name];
    if let Some((_, text)) = topics::ALL.iter().find(topic) {
        return app.ui.raw(wrapped(text).as_bytes());
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

/// As clap wraps what stands below the options.
fn wrapped(text: &str) -> String {
    let template = Command::new("topic").help_template("{after-help}").max_term_width(118);
    template.after_help(text.to_owned()).render_help().to_string().trim_start().to_owned()
}

fn codes() -> String {
    CODES.iter().fold(String::new(), |mut text, (code, word, meaning)| {
        let _ = writeln!(text, "{code:>4}  {word:<12} {meaning}");
        text
    })
}
