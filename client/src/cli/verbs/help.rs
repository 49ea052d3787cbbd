//! `completions`, `help`: what the program says about itself.

use std::fmt::Write as _;

use clap::{Args, Command, builder::PossibleValuesParser};
use clap_complete::Shell;

use super::topics;
use crate::cli::{
    app::App,
    examples,
    failure::{CODES, Done, Exit, Failure},
};

/// The topic that is not a text of its own.
const EXIT_CODES: &str = "exit-codes";

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
    shell: Shell,
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
    app.ui.raw(&script(args.shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let command = examples::command();
    clap_complete::generate(shell, &mut shown(&command), "lockstep", &mut script);
    if shell == Shell::Fish {
        // The generator for fish knows no values but those of options.
        let topics = topics(&command).collect::<Vec<_>>().join(" ");
        let line =
            format!("complete -c lockstep -n \"__fish_seen_subcommand_from help\" -f -a \"{topics}\"\n");
        script.extend_from_slice(line.as_bytes());
    }
    script
}

/// What there is help about.
fn topics(command: &Command) -> impl Iterator<Item = &str> {
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(Command::get_name);
    verbs.chain([EXIT_CODES]).chain(topics::ALL.iter().map(|(name, _)| *name))
}

/// A command without what it hides: generators of completions list that as well.
fn shown(command: &Command) -> Command {
    Command::new("lockstep")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args(command.get_arguments())
        .subcommands(command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(with_topics(command)))
}

/// `help` with what there is help about. It takes any word all the same, and says what it does not know.
fn with_topics(command: &Command) -> impl Fn(&Command) -> Command {
    // A name lives as long as the command, and a possible value for ever; this process ends after it has printed them.
    let names: Vec<&'static str> =
        topics(command).map(|name| &*Box::leak(name.to_owned().into_boxed_str())).collect();
    move |verb| match verb.get_name() {
        "help" => verb
            .clone()
            .mut_arg("topic", |topic| topic.value_parser(PossibleValuesParser::new(names.iter().copied()))),
        _ => verb.clone(),
    }
}

/// Prints help about a verb or topic.
///
/// # Errors
/// No such topic.
pub fn help(args: &Help, app: &App) -> Done {
    if args.topic == [EXIT_CODES] {
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
    let mut command = examples::command();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_completed_by_verbs_and_topics_in_every_shell() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            // One after the other they stand nowhere else.
            let listed = ["file account api completions man help exit-codes json environment"];
            assert!(listed.iter().all(|listed| script.contains(listed)), "{shell}");
        }
        let command = shown(&examples::command());
        let help = command.find_subcommand("help").unwrap();
        let topic = help.get_arguments().find(|argument| argument.get_id() == "topic").unwrap();
        let names: Vec<_> =
            topic.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        assert!(names.contains(&"resolve".to_owned()) && names.contains(&"json".to_owned()), "{names:?}");
        assert!(!names.contains(&"fixtures".to_owned()), "what is hidden stays hidden: {names:?}");
    }
}
