//! The command line: what it says, and which function does it.

mod admin;
mod blobs;
mod health;
mod keys;
mod log;
mod moving;
mod options;
mod process;
mod projections;
mod shown;
mod stop;
mod subject;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use tracing::{Level, Metadata};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub use options::Options;

use crate::{
    app,
    causes::with_causes,
    config::{Config, LogFormat, unknown_variables},
    http,
};

/// Any error, for `main` to show with its causes.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Sync engine for zero-knowledge password vaults.
#[derive(Debug, Parser)]
#[command(name = "lockstepd", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default).
    Serve,
    /// Ask a running server whether it serves; exit code 1 if it does not.
    Health(health::Ask),
    /// Administrators.
    Admin {
        #[command(subcommand)]
        command: admin::AdminCommand,
    },
    /// The keys that sign access tokens.
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// Look after long ciphertexts.
    Blobs {
        #[command(subcommand)]
        command: blobs::BlobsCommand,
    },
    /// Look after the log.
    Log {
        #[command(subcommand)]
        command: log::LogCommand,
    },
    /// Carry the whole server to other stores: between SQLite and Postgres, a folder and S3, one machine and another. It is
    /// stopped meanwhile, and served there afterwards.
    Move(moving::MoveArgs),
    /// Look after the read models.
    Projections {
        #[command(subcommand)]
        what: projections::Projections,
    },
    /// What there is about a person, and its end.
    Subject {
        #[command(subcommand)]
        command: subject::SubjectCommand,
    },
    /// Print the OpenAPI document.
    Openapi,
    /// Print the AsyncAPI document of the live feed.
    Asyncapi,
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
    /// Show the options.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the options as they are in effect, secrets left out.
    Show,
}

/// The program: runs what the command line asks for, and prints to the terminal.
pub fn main() -> ExitCode {
    process::keep_memory_private();
    let cli = Cli::parse();
    let run = || -> Result<(), AnyError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run(cli, &mut io::stdout()))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lockstepd: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Runs a command; what it has to say goes to `out`.
///
/// # Errors
/// Whatever the command meets.
pub async fn run(cli: Cli, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(cli.options.config()?, out).await,
        Command::Health(ask) => health::ask(ask, &cli.options.config()?, out).await,
        Command::Admin { command } => admin::run(command, &cli.options.config()?, out).await,
        Command::Keys { command } => keys::run(command, &cli.options.config()?, out).await,
        Command::Blobs { command } => blobs::run(command, &cli.options.config()?, out).await,
        Command::Log { command } => log::run(command, &cli.options.config()?, out).await,
        Command::Move(args) => moving::run(args, &cli.options.config()?, out).await,
        Command::Projections { what } => projections::run(what, &cli.options.config()?, out).await,
        Command::Subject { command } => subject::run(command, &cli.options.config()?, out).await,
        Command::Openapi => {
            Ok(writeln!(out, "{}", http::openapi::plain(&http::document().to_pretty_json()?))?)
        }
        Command::Asyncapi => {
            let text = serde_json::to_string_pretty(&http::live::document())?;
            Ok(writeln!(out, "{}", http::openapi::plain(&text))?)
        }
        Command::Completions { shell } => {
            // What writes it takes a reader that goes away for a defect.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lockstepd", &mut script);
            Ok(out.write_all(&script)?)
        }
        Command::Man => Ok(clap_mangen::Man::new(Cli::command()).render(out)?),
        Command::Config { command: ConfigCommand::Show } => {
            Ok(write!(out, "{}", toml::to_string(&cli.options.config()?)?)?)
        }
    }
}

async fn serve(config: Config, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    start_logging(&config)?;
    for variable in unknown_variables()? {
        tracing::warn!(variable, "no option of lockstepd has this name: it is ignored");
    }
    process::prepare(config.max_connections);
    // Asked for before anything is said or made: a polite stop is one from the first moment.
    let mut stop = stop::Asked::listen()?;
    let mut running = tokio::select! {
        running = app::start(config) => running?,
        () = stop.came() => return Ok(()),
    };
    writeln!(out, "Lockstep serves at {}", running.url)?;
    if let Some(url) = &running.admin_url {
        writeln!(out, "Metrics: {url}/metrics")?;
    }
    let apart = running.admin_url.as_deref().filter(|_| running.server.config.admin_apart);
    let pin = running.fingerprint.as_ref().map(|f| format!(" --fingerprint {f}")).unwrap_or_default();
    if let Some(fingerprint) = &running.fingerprint {
        writeln!(out, "Certificate, SHA-256: {fingerprint}")?;
    }
    if let Some(opened) = &running.bootstrap {
        admin::print(opened, apart, out)?;
    } else if let Some(until) = running.bootstrap_waits {
        admin::print_earlier(until, out)?;
    }
    if running.server.config.mail.expose() == "folder" {
        writeln!(out, "Letters: {}", running.server.config.mail_folder().display())?;
    }
    writeln!(out, "Next: lockstep register --server {} --email you@example.org{pin}", running.url)?;
    out.flush()?;
    tokio::select! {
        () = stop.came() => {}
        part = running.broken() => {
            tracing::error!(cause = part, "a part of the server has ended by a defect: the server ends, to be started again");
            return Err(format!("{part} has ended by a defect").into());
        }
    }
    tracing::info!("stopping");
    running.shutdown().await;
    Ok(())
}

fn start_logging(config: &Config) -> Result<(), AnyError> {
    let filter = config.log_filter.parse::<Targets>()?.and(filter_fn(may_be_logged));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let registry = tracing_subscriber::registry();
    match config.log_format {
        LogFormat::Text => registry.with(lines.with_filter(filter)).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_filter(filter)).init(),
    }
    keep_panics_quiet();
    Ok(())
}

/// Whatever the filter asks for: what libraries say below `info` may hold anything, for example whole requests, and the
/// one of NATS has lines for every attempt to reach it, where the adapter says what changed.
pub fn may_be_logged(about: &Metadata<'_>) -> bool {
    let target = about.target();
    target.starts_with("lockstep") || *about.level() <= Level::INFO && !target.starts_with("async_nats")
}

/// From now on a panic is logged with its place, but without its message, which may hold what a caller sent.
pub fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a defect of the server");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[tokio::test]
    async fn options_may_stand_before_and_after_the_command_and_flags_win() {
        for words in [["--data", "x", "config", "show"], ["config", "show", "--data", "x"]] {
            let cli = Cli::parse_from(["lockstepd"].into_iter().chain(words));
            let mut out = Vec::new();
            run(cli, &mut out).await.unwrap();
            assert!(String::from_utf8(out).unwrap().contains("data = \"x\""));
        }
    }
}
