//! One file per verb, or per pair of verbs that belong together.

pub mod about_me;
pub mod account;
pub mod activity;
pub mod add;
pub mod admin;
mod alarms;
pub mod api;
pub mod approve;
pub mod attachment;
pub mod changes;
pub mod conflicts;
pub mod devices;
pub mod edit;
pub mod email;
pub mod entrance;
pub mod export;
pub mod factors;
pub mod file;
mod file_versions;
pub mod fixtures;
pub mod generate;
pub mod get;
pub mod help;
pub mod history;
pub mod identities;
pub mod import;
pub mod list;
pub mod lock;
pub mod man;
pub mod mv;
pub mod passwd;
pub mod plan;
pub mod purge;
pub mod recovery;
pub mod resolve;
pub mod rm;
pub mod second_factor;
pub mod sessions;
pub mod status;
pub mod sync;
mod topics;
pub mod vault;
pub mod watch;

use super::{app::App, args::Verb, failure::Done};

/// Runs one verb.
///
/// # Errors
/// What the verb says.
pub async fn run(verb: Verb, app: &App) -> Done {
    match verb {
        Verb::Register(args) => account::register(args, app).await,
        Verb::Login(args) => account::login(args, app).await,
        Verb::Logout(args) => account::logout(args, app).await,
        Verb::Lock => lock::lock(app).await,
        Verb::Unlock(args) => lock::unlock(args, app).await,
        Verb::Status(args) => status::run(args, app).await,
        Verb::Sync(args) => sync::run(args, app).await,
        Verb::Watch(args) => watch::run(args, app).await,
        Verb::Add(args) => add::run(args, app).await,
        Verb::Get(args) => get::run(args, app).await,
        Verb::Edit(args) => edit::run(args, app).await,
        Verb::Rm(args) => rm::run(args, app).await,
        Verb::Mv(args) => mv::run(args, app).await,
        Verb::Purge(args) => purge::run(args, app).await,
        Verb::List(args) => list::list(args, app).await,
        Verb::Search(args) => list::search(args, app).await,
        Verb::History(args) => history::history(args, app).await,
        Verb::Restore(args) => history::restore(args, app).await,
        Verb::Conflicts => conflicts::run(app).await,
        Verb::Resolve(args) => resolve::run(args, app).await,
        Verb::Vault(args) => vault::run(args, app).await,
        Verb::Devices(args) => devices::run(args, app).await,
        Verb::Email(args) => email::run(args, app).await,
        Verb::Identities(args) => identities::run(args, app).await,
        Verb::Plan => plan::run(app).await,
        Verb::Activity(args) => activity::run(args, app).await,
        Verb::Admin(args) => admin::run(args, app).await,
        Verb::Sessions(args) => sessions::run(args, app).await,
        Verb::Factors(args) => factors::run(args, app).await,
        Verb::Passwd(args) => passwd::run(args, app).await,
        Verb::Recovery(args) => recovery::run(args, app).await,
        Verb::Generate(args) => generate::run(&args, app),
        Verb::Import(args) => import::run(args, app).await,
        Verb::Export(args) => export::run(args, app).await,
        Verb::Attachment(args) => attachment::run(args, app).await,
        Verb::File(args) => file::run(args, app).await,
        Verb::Account(args) => about_me::run(args, app).await,
        Verb::Api(args) => api::run(args, app).await,
        Verb::Completions(args) => help::completions(&args, app),
        Verb::Man(args) => man::run(&args, app),
        Verb::Help(args) => help::help(&args, app),
        Verb::Fixtures(args) => fixtures::run(&args, app),
        Verb::Agent => Ok(super::agent::server::run(&app.home).await?),
    }
}
