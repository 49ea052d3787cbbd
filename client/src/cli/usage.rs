//! A command line that is not right, as a failure like others: for `--json`, which was perhaps not parsed any more.

use std::ffi::OsStr;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{examples, failure::Failure};

/// Whether somebody wants JSON, by the words of a command line that could not be parsed.
pub fn wants_json(words: impl Iterator<Item = impl AsRef<OsStr>>) -> bool {
    words.skip(1).take_while(|word| word.as_ref() != "--").any(|word| word.as_ref() == "--json")
}

/// What clap would print, on one line: what is wrong, and what else it says as the advice.
pub fn failure_of(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let paragraphs = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut paragraphs =
        paragraphs.filter(|part| !part.is_empty() && !part.starts_with("For more information"));
    let message = paragraphs.next().unwrap_or_default();
    let message = match error.kind() {
        // clap lists all verbs, hidden ones too.
        ErrorKind::MissingSubcommand => "a verb is missing",
        _ => message.strip_prefix("error: ").unwrap_or(&message),
    };
    Failure::usage(message, paragraphs.collect::<Vec<_>>().join("; "))
}

/// For who has not said which verb, the help of what was said: also where an option is set in the environment, which
/// clap takes for something said.
pub fn help_instead(error: &clap::Error) -> Option<String> {
    let (ErrorKind::MissingSubcommand, Some(ContextValue::String(said))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    else {
        return None;
    };
    let mut command = examples::command();
    command.build();
    let mut at = &mut command;
    for verb in said.split(' ').skip(1) {
        at = at.find_subcommand_mut(verb)?;
    }
    let help = at.render_help();
    Some(if console::colors_enabled_stderr() { help.ansi().to_string() } else { help.to_string() })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{args::Cli, failure::Exit};

    fn failed(words: &[&str]) -> Failure {
        failure_of(&Cli::try_parse_from(words).unwrap_err())
    }

    #[test]
    fn what_is_wrong_stands_on_one_line_and_what_would_be_right_in_the_advice() {
        let missing = failed(&["lockstep", "get"]);
        assert_eq!(missing.message, "the following required arguments were not provided: <ENTRY>");
        assert!(missing.advice.starts_with("Usage: lockstep get"), "{missing}");
        let slip = failed(&["lockstep", "sync", "--dicard", "x"]);
        assert_eq!(slip.message, "unexpected argument '--dicard' found");
        assert!(slip.advice.contains("'--discard'"), "{slip}");
        for failure in
            [missing, slip, failed(&["lockstep", "--json"]), failed(&["lockstep", "vault", "create"])]
        {
            assert_eq!(failure.exit, Exit::Usage);
            assert!(!failure.to_string().contains('\n') && !failure.message.is_empty(), "{failure}");
        }
    }

    #[test]
    fn json_is_wanted_wherever_it_stands_but_not_after_the_end_of_options() {
        let wanted = |words: &str| wants_json(words.split(' '));
        assert!(wanted("lockstep --json get") && wanted("lockstep get --nonsense --json"));
        assert!(!wanted("lockstep get") && !wanted("--json get") && !wanted("lockstep get -- --json"));
    }
}
