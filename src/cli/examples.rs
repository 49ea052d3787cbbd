//! The command line with the examples of every part of it: those of a group stand once, and each of its commands shows
//! the ones that are its own.

use clap::{Command, CommandFactory, FromArgMatches};

use super::Cli;

const HEAD: &str = "Examples:\n";

/// The command line as it is parsed, shown and printed.
pub fn command() -> Command {
    with_examples(Cli::command(), "lockstepd", "")
}

/// What this process was told. If that is not right, or asks for help, it is said, and the process ends.
pub fn parse() -> Cli {
    let mut command = command();
    let mut matches = command.get_matches_mut();
    Cli::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// `named` is all its words, and `above` the examples of what it is a part of.
fn with_examples(mut command: Command, named: &str, above: &str) -> Command {
    let own: Vec<&str> = above.lines().filter(|line| shows(line, named)).collect();
    if command.get_after_help().is_none() && !own.is_empty() {
        command = command.after_help(format!("{HEAD}{}", own.join("\n")));
    }
    let own = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let own = own.strip_prefix(HEAD).unwrap_or_default().to_owned();
    command.mut_subcommands(|part| {
        let named = format!("{named} {}", part.get_name());
        with_examples(part, &named, &own)
    })
}

/// Options may stand before the command as well as behind it; examples have them behind.
fn shows(line: &str, named: &str) -> bool {
    let typed = line.split(" #").next().unwrap_or_default();
    typed.split(named).nth(1).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(command: &Command, named: &str, check: &mut impl FnMut(&Command, &str)) {
        for part in command.get_subcommands() {
            let named = format!("{named} {}", part.get_name());
            check(part, &named);
            each(part, &named, check);
        }
    }

    #[test]
    fn every_command_shows_an_example_of_itself_and_each_line_can_be_copied() {
        let mut seen = 0;
        each(&command(), "lockstepd", &mut |command, named| {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = after.strip_prefix(HEAD).unwrap_or_else(|| panic!("{named} has no examples"));
            let mut lines = examples.lines().take_while(|line| !line.is_empty());
            assert!(lines.clone().any(|line| line.contains(named)), "{named}: {after}");
            let fits = |line: &str| line.split("  #").next().unwrap_or_default().chars().count() <= 80;
            assert!(lines.all(fits), "{named}: {after}");
            seen += 1;
        });
        assert!(seen > 20, "{seen}");
    }
}
