//! The command line: what it says, and which function does it.

mod admin;
mod blobs;
mod ended;
mod examples;
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
    time::Duration,
};

use clap::{Parser, Subcommand};
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
    config::{Config, LogFormat, Registration, unknown_variables},
    http,
};

/// Any error, for `main` to show with its causes.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Sync engine for zero-knowledge password vaults.
#[derive(Debug, Parser)]
#[command(name = "lockstepd", version, propagate_version = true, max_term_width = 118)]
#[command(after_help = "\
Examples:
  lockstepd                                          # serves at 127.0.0.1:8443, its data in ./lockstep-data
  lockstepd serve --listen localhost:0 --data /srv/lockstep
  lockstepd config show                              # every option, as it is in effect

Exit codes: 0, it worked; 1, it did not, or what was asked for is not so; 2, the command line, the environment or the file \
of options is not right, and nothing was done.")]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default).
    #[command(after_help = "\
Examples:
  lockstepd serve --data /srv/lockstep
  lockstepd serve --listen localhost:0               # a port that is free; the first line says which
  lockstepd serve --config /etc/lockstep.toml --log-format json")]
    Serve,
    /// Ask a running server whether it serves; exit code 1 if it does not.
    #[command(after_help = "\
Examples:
  lockstepd health --data /srv/lockstep
  lockstepd health --url https://127.0.0.1:8443")]
    Health(health::Ask),
    /// Administrators.
    #[command(after_help = "\
Examples:
  lockstepd admin bootstrap                          # then, as the first: lockstep admin bootstrap TOKEN")]
    Admin {
        #[command(subcommand)]
        command: admin::AdminCommand,
    },
    /// The keys that sign access tokens.
    #[command(after_help = "\
Examples:
  lockstepd keys list
  lockstepd keys rotate
  lockstepd keys revoke KID                          # as `list` shows it: whoever has a token of it renews it")]
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// Look after long ciphertexts.
    #[command(after_help = "\
Examples:
  lockstepd blobs verify --data /srv/lockstep")]
    Blobs {
        #[command(subcommand)]
        command: blobs::BlobsCommand,
    },
    /// Look after the log.
    #[command(after_help = "\
Examples:
  lockstepd log verify --data /srv/lockstep
  lockstepd log verify --json > audit.json           # and later:
  lockstepd log verify --since audit.json --quiet
  lockstepd log export --out log.jsonl
  lockstepd log verify --file log.jsonl              # anywhere, without the server
  lockstepd log restored                             # after a backup was put back, before the first start")]
    Log {
        #[command(subcommand)]
        command: log::LogCommand,
    },
    /// Carry the whole server to other stores: between SQLite and Postgres, a folder and S3, one machine and another. It is
    /// stopped meanwhile, and served there afterwards.
    #[command(after_help = "\
Examples:
  lockstepd move --data ./lockstep-data --to new.toml
  lockstepd serve --config new.toml                  # afterwards
  lockstepd move --data ./lockstep-data --take-back")]
    Move(moving::MoveArgs),
    /// Look after the read models.
    #[command(after_help = "\
Examples:
  lockstepd projections list
  lockstepd projections rebuild entries --dry-run
  lockstepd projections rebuild --all")]
    Projections {
        #[command(subcommand)]
        what: projections::Projections,
    },
    /// What there is about a person, and its end.
    #[command(after_help = "\
Examples:
  lockstepd subject export ada@example.org --reason letter --out ada.jsonl
  lockstepd subject erase ada@example.org --reason 'letter of 3 May' --dry-run
  lockstepd subject erase ada@example.org --reason 'letter of 3 May'")]
    Subject {
        #[command(subcommand)]
        command: subject::SubjectCommand,
    },
    /// Print the OpenAPI document.
    #[command(after_help = "Examples:\n  lockstepd openapi > openapi.json")]
    Openapi,
    /// Print the AsyncAPI document of the live feed.
    #[command(after_help = "Examples:\n  lockstepd asyncapi > asyncapi.json")]
    Asyncapi,
    /// Print the completions of a shell.
    #[command(after_help = "\
Examples:
  lockstepd completions bash > /etc/bash_completion.d/lockstepd
  lockstepd completions zsh > ~/.zfunc/_lockstepd")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    #[command(after_help = "Examples:\n  lockstepd man | man -l -")]
    Man,
    /// Show the options.
    #[command(after_help = "\
Examples:
  lockstepd config show
  lockstepd config show --config /etc/lockstep.toml")]
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

/// What still blocks a thread when a command has ended may do so this long.
const LEAVING: Duration = Duration::from_secs(5);

/// The program: runs what the command line asks for, and prints to the terminal.
pub fn main() -> ExitCode {
    process::keep_memory_private();
    let cli = examples::parse();
    let run = || -> Result<(), AnyError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ended = runtime.block_on(run(cli, &mut io::stdout()));
        // Whoever reads a file of another machine that does not answer is not waited for.
        runtime.shutdown_timeout(LEAVING);
        ended
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lockstepd: {}", with_causes(&*error));
            ExitCode::from(ended::code(&*error))
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
            clap_complete::generate(shell, &mut examples::command(), "lockstepd", &mut script);
            Ok(out.write_all(&script)?)
        }
        Command::Man => Ok(clap_mangen::Man::new(examples::command()).render(out)?),
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
    let (server, invitation) = (reached_at(&running), invitation(&running));
    writeln!(out, "Next: lockstep register --server {server} --email you@example.org{invitation}{pin}")?;
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

/// What a registration needs where not everybody may register: of the first one, the token that names the first
/// administrator.
fn invitation(running: &app::Running) -> String {
    match (running.server.config.registration, &running.bootstrap) {
        (Registration::Open, _) => String::new(),
        (Registration::Invited, Some(opened)) => format!(" --invitation {}", opened.token),
        (Registration::Invited, None) => " --invitation TOKEN".to_owned(),
    }
}

/// The address that a client on this machine takes: one without TLS is its proxy's to reach, and of all addresses at once
/// none can be named.
fn reached_at(running: &app::Running) -> String {
    let config = &running.server.config;
    match config.plain_http {
        false if running.addr.ip().is_unspecified() => format!("https://localhost:{}", running.addr.port()),
        false => running.url.clone(),
        true if config.public_url.is_empty() => "https://YOUR-PROXY".to_owned(),
        true => config.public_url.clone(),
    }
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
/// one of NATS has lines for every attempt to reach it, as the one of Postgres has for every connection that cannot begin,
/// where the adapter says what changed.
pub fn may_be_logged(about: &Metadata<'_>) -> bool {
    let target = about.target();
    let is_told = target.starts_with("async_nats")
        || target == "sqlx_core::pool::inner" && *about.level() == Level::ERROR;
    target.starts_with("lockstep") || *about.level() <= Level::INFO && !is_told
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
        examples::command().debug_assert();
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
