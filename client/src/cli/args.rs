//! The command line's shape. Each verb's own arguments stand in its file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{ui::When, verbs};

/// A password vault that several devices keep in step. The server sees only ciphertext.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version, disable_help_subcommand = true)]
#[command(about = "A password vault that several devices keep in step. The server sees only ciphertext.")]
#[command(arg_required_else_help = true, max_term_width = 118)]
#[command(after_help = "\
A first session:
  lockstep register --server https://127.0.0.1:8443 --email ada@example.org \\
      --fingerprint 3f1c…
  lockstep unlock                                    # ask the password once, for fifteen minutes
  lockstep import vault.json                         # from Bitwarden, a browser or KeePass
  lockstep get github password                       # one value, for people and scripts
  lockstep --home ~/second login --server … --email … # another device
  lockstep watch                                     # changes as they arrive

All that concerns entries works offline, but for mv and purge. For scripts: lockstep help exit-codes, json, environment")]
pub struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Profile directory: one device
    #[arg(long, global = true, env = "LOCKSTEP_HOME", value_name = "DIR", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// Work with this vault: its name, or the beginning of its id
    #[arg(long, global = true, value_name = "NAME")]
    pub vault: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but data, questions, warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Take the account's password from the first line of standard input
    #[arg(long, global = true)]
    pub password_stdin: bool,
    /// Do not talk to the server
    #[arg(long, global = true)]
    pub offline: bool,
    /// Colours and bold text
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub color: When,
}

/// Every verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make an account; this device is its first
    #[command(after_help = verbs::account::REGISTER)]
    Register(verbs::account::Enter),
    /// Add this device to an account, or open a new session on it
    Login(verbs::account::Login),
    /// End the session and delete the profile of this device
    Logout(verbs::account::Logout),
    /// Forget the key that `unlock` keeps
    #[command(after_help = "Examples:\n  lockstep lock")]
    Lock,
    /// Ask the password once; commands then work without it for fifteen minutes
    Unlock(verbs::lock::Unlock),
    /// Show who, where, how fresh, and what waits
    Status(verbs::status::Status),
    /// Fetch what is new and send what waits
    Sync(verbs::sync::Sync),
    /// Show changes as they arrive
    Watch(verbs::watch::Watch),
    /// Add an entry
    Add(verbs::add::Add),
    /// Print one value of an entry, or the whole entry
    #[command(visible_alias = "show")]
    Get(verbs::get::Get),
    /// Change an entry
    Edit(verbs::edit::Edit),
    /// Delete entries
    #[command(visible_alias = "delete")]
    Rm(verbs::rm::Rm),
    /// Move an entry to another vault
    #[command(visible_alias = "move")]
    Mv(verbs::mv::Mv),
    /// Erase an entry with its whole history, for good
    Purge(verbs::purge::Purge),
    /// List entries
    #[command(visible_alias = "ls")]
    List(verbs::list::List),
    /// Find entries by words in any unmasked value
    Search(verbs::list::Search),
    /// Show the versions of an entry
    History(verbs::history::History),
    /// Make an older version the present one; also undeletes
    Restore(verbs::history::Restore),
    /// List entries that were changed apart on several devices
    #[command(after_help = "Examples:\n  lockstep conflicts             # then: lockstep resolve")]
    Conflicts,
    /// Compare the sides of a conflict and choose
    Resolve(verbs::resolve::Resolve),
    /// List, create, name or choose vaults, or rotate the key of one
    #[command(visible_alias = "vaults")]
    Vault(verbs::vault::Vault),
    /// List or revoke devices
    Devices(verbs::devices::Devices),
    /// Show the account's e-mail address, or name another
    Email(verbs::email::Email),
    /// List, link or unlink identities elsewhere
    Identities(verbs::identities::Identities),
    /// Show the plan: its limits, what is used of them, its features
    #[command(after_help = "Examples:\n  lockstep plan")]
    Plan,
    /// Show all that was done to the account, by you or others
    Activity(verbs::activity::Activity),
    /// Look after accounts; for administrators and auditors
    Admin(verbs::admin::Admin),
    /// List or end sessions
    Sessions(verbs::sessions::Sessions),
    /// Change the account's password
    Passwd(verbs::passwd::Passwd),
    /// List, add or remove second factors
    Factors(verbs::factors::Factors),
    /// Make or use a recovery code
    Recovery(verbs::recovery::Recovery),
    /// Make a password or passphrase
    #[command(visible_alias = "gen")]
    Generate(verbs::generate::Generate),
    /// Take over the export of another program
    Import(verbs::import::Import),
    /// Write all vaults to one file, encrypted unless you insist
    Export(verbs::export::Export),
    /// Files beside an entry
    #[command(visible_alias = "attachments")]
    Attachment(verbs::attachment::Attachment),
    /// Keep one encrypted file
    File(verbs::file::File),
    /// All that the server holds about you, and the end of it
    Account(verbs::about_me::Account),
    /// Call the server with this device's token
    Api(verbs::api::Api),
    /// Print a completion script for a shell
    Completions(verbs::help::Completions),
    /// Print the manual page
    Man(verbs::man::Man),
    /// Print help about a verb or a topic (exit-codes, json, environment)
    Help(verbs::help::Help),
    /// Write a made-up export for tests and demonstrations
    #[command(hide = true)]
    Fixtures(verbs::fixtures::Fixtures),
    /// Hold the key of a profile; started by `unlock`
    #[command(hide = true)]
    Agent,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_has_no_contradiction() {
        Cli::command().debug_assert();
    }
}
