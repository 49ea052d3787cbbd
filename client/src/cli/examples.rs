//! The command line with the examples of every part of it: those of a group stand once, and each of its commands shows
//! the ones that are its own.

use clap::{Command, CommandFactory, FromArgMatches};

use super::args::Cli;

const HEAD: &str = "Examples:\n";

/// The command line as it is parsed, shown and printed.
pub fn command() -> Command {
    with_examples(Cli::command(), "lockstep", "")
}

/// What this process was told.
///
/// # Errors
/// If it is not right, or asks for help.
pub fn parse() -> Result<Cli, clap::Error> {
    let mut command = command();
    let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// `named` is all its words, and `above` the examples of what it is a part of.
fn with_examples(mut command: Command, named: &str, above: &str) -> Command {
    let own = of(above, named);
    if command.get_after_help().is_none() && !own.is_empty() {
        command = command.after_help(format!("{HEAD}{}", own.trim_end()));
    }
    let own = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let own = own.strip_prefix(HEAD).unwrap_or_default().to_owned();
    command.mut_subcommands(|part| {
        let named = format!("{named} {}", part.get_name());
        with_examples(part, &named, &own)
    })
}

/// The examples among these that show a command, each with the lines that it goes on in.
fn of(examples: &str, named: &str) -> String {
    let (mut own, mut goes_on) = (String::new(), false);
    for line in examples.lines().take_while(|line| !line.is_empty()) {
        if goes_on || shows(line, named) {
            own.push_str(line);
            own.push('\n');
            goes_on = line.ends_with('\\');
        }
    }
    own
}

fn shows(line: &str, named: &str) -> bool {
    let typed = line.split(" #").next().unwrap_or_default();
    typed.split(named).nth(1).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(command: &Command, named: &str, check: &mut impl FnMut(&Command, &str)) {
        for part in command.get_subcommands().filter(|part| !part.is_hide_set()) {
            let named = format!("{named} {}", part.get_name());
            check(part, &named);
            each(part, &named, check);
        }
    }

    #[test]
    fn every_command_shows_an_example_of_itself_and_each_line_can_be_copied() {
        let mut seen = 0;
        each(&command(), "lockstep", &mut |command, named| {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = after.strip_prefix(HEAD).unwrap_or_else(|| panic!("{named} has no examples"));
            let (verb, mut lines) =
                (command.get_name(), examples.lines().take_while(|line| !line.is_empty()));
            assert!(
                lines.clone().any(|line| line.contains("lockstep ") && line.contains(verb)),
                "{named}: {after}"
            );
            // The rest is wrapped to the terminal.
            let fits = |line: &str| line.split("  #").next().unwrap_or_default().chars().count() <= 80;
            assert!(lines.all(fits), "{named}: {after}");
            seen += 1;
        });
        assert!(seen > 80, "{seen}");
    }

    #[test]
    fn a_command_of_a_group_shows_the_groups_examples_of_itself_alone() {
        let all = "  lockstep a b         # lockstep a c\n  lockstep a bc\n  X=1 lockstep a c --y \\\n      --z\n  lockstep a b d\n\nMore.";
        assert_eq!(of(all, "lockstep a b"), "  lockstep a b         # lockstep a c\n  lockstep a b d\n");
        assert_eq!(of(all, "lockstep a c"), "  X=1 lockstep a c --y \\\n      --z\n");
        assert_eq!(of(all, "lockstep a"), all.strip_suffix("\nMore.").unwrap());
    }
}
