//! The command line: parse, run one verb, end with the right code.

mod advice;
mod agent;
mod alerts;
mod app;
mod args;
mod editor;
mod examples;
mod failure;
mod find;
mod input;
mod output;
mod private;
mod prompt;
mod ui;
mod usage;
mod verbs;

use std::{io::Write, sync::Arc, time::Duration};

use tokio::sync::watch;

use failure::{Done, Exit, Failure};
use ui::Ui;

/// Runs the command line of this process, and ends it.
pub fn main() -> ! {
    private::keep_memory_private();
    let code = match examples::parse() {
        Ok(cli) => command(cli),
        Err(error) => parse_error(&error),
    };
    end(code)
}

fn command(cli: args::Cli) -> u8 {
    let ui = Ui::new(cli.global.json, cli.global.quiet, cli.global.color);
    match run(cli, ui) {
        Ok(()) => 0,
        Err(failure) if failure.message == BROKEN_PIPE => 0,
        // Whoever pressed Ctrl-C knows why it ended.
        Err(failure) if failure.exit == Exit::Interrupted => Exit::Interrupted as u8,
        Err(failure) => {
            ui.error(&failure);
            failure.exit as u8
        }
    }
}

/// Ends the process at once. No exit handler runs: those of the libraries inside free what a thread that is cut off
/// in the middle of its work may still hold.
fn end(code: u8) -> ! {
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    output::give_up();
    signal_hook::low_level::exit(code.into())
}

/// So long a verb may go on after Ctrl-C, until it next waits for anything.
const UNTIL_STOPPED: Duration = Duration::from_millis(300);

/// What `std` says when the reader of our output has left, which is no failure of ours (`lockstep list | head -1`).
const BROKEN_PIPE: &str = "Broken pipe (os error 32)";

/// clap prints help and errors itself, on the right channel; under `--json` an error is a document like others. Its code
/// for wrong usage is ours.
fn parse_error(error: &clap::Error) -> u8 {
    if error.use_stderr() && usage::wants_json(std::env::args_os()) {
        let failure = usage::failure_of(error);
        Ui::new(true, false, ui::When::Auto).error(&failure);
        return failure.exit as u8;
    }
    if let Some(help) = usage::help_instead(error) {
        let _ = write!(std::io::stderr(), "{help}");
    } else if let Err(lost) = error.print()
        && !error.use_stderr()
        && lost.kind() != std::io::ErrorKind::BrokenPipe
    {
        let failure = Failure::new(Exit::Failure, format!("standard output: {lost}"), "");
        Ui::new(false, false, ui::When::Auto).error(&failure);
        return failure.exit as u8;
    }
    u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8)
}

fn run(cli: args::Cli, ui: Ui) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let app = Arc::new(app::App::new(&cli.global, ui)?);
    // On a thread of its own: a prompt blocks the one that runs the verb.
    let (stop, mut stopped) = watch::channel(false);
    runtime.spawn(end_when_interrupted(app.clone(), stop));
    let cut_off = async move {
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            // Nobody listens for Ctrl-C.
            std::future::pending::<()>().await;
        }
    };
    let work = async {
        let done = tokio::select! {
            biased;
            // What is cut off says no more: it would report what only the interruption broke.
            () = cut_off => std::future::pending().await,
            done = verbs::run(cli.verb, &app) => app.ended(done),
        };
        app.close().await;
        done
    };
    let done = runtime.block_on(work);
    // A blocked read of a terminal must not keep the process.
    runtime.shutdown_background();
    done
}

async fn end_when_interrupted(app: Arc<app::App>, stop: watch::Sender<bool>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        // The editor has been told, too: it knows what is to be done with the text.
        if editor::is_open() {
            continue;
        }
        stop.send_replace(true);
        // Until the verb is at rest; one that is in a prompt does not notice.
        let _ = tokio::time::timeout(UNTIL_STOPPED, stop.closed()).await;
        app.was_cut_off();
        app.close().await;
        if app.ui.err_is_terminal {
            // A bar may have hidden it.
            let _ = console::Term::stderr().show_cursor();
        }
        end(Exit::Interrupted as u8);
    }
}

impl From<lockstep_client::Error> for Failure {
    fn from(error: lockstep_client::Error) -> Self {
        advice::failure_of(&error)
    }
}
