//! `identities`.

use clap::{Args, Subcommand};
use lockstep_client::Client;
use serde_json::json;

use super::{
    entrance::{is_known, open_browser},
    second_factor::proven,
    watch::clock,
};
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    ui::printable,
};

/// What about them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep identities list
  lockstep identities link google         # then: lockstep login --oidc google
  lockstep identities unlink 5b0c1c9e

An identity elsewhere proves who you are and opens nothing by itself: a session needs this device's key as well.")]
pub struct Identities {
    /// What to do; nothing: list them
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the identities and the providers of the server
    List,
    /// Link an identity of a provider
    Link {
        /// The provider, as `lockstep identities` names it
        provider: String,
        /// Do not open a browser; only print the address
        #[arg(long)]
        no_browser: bool,
    },
    /// Unlink an identity
    Unlink {
        /// Beginning of its id
        identity: String,
    },
}

/// Lists, links or unlinks.
///
/// # Errors
/// Offline, not found, wrong password, refused by the provider.
pub async fn run(args: Identities, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("identities needs the server", "leave --offline away"));
    }
    let client = app.open().await?;
    match args.action {
        None | Some(Action::List) => list(app, &client.identities().await?),
        Some(Action::Link { provider, no_browser }) => {
            // Before the password is asked for.
            is_known(&Client::profile(&app.home)?.server, &provider).await?;
            let flow = proven(app, &client, async || client.link_identity(&provider).await).await?;
            open_browser(app, "Sign in", flow.url(), no_browser);
            let linked = flow.wait_and_link().await?;
            if app.ui.json {
                return app.ui.document(&linked);
            }
            app.ui.done(format!("An identity of {} is linked.", printable(&linked.provider)));
            Ok(())
        }
        Some(Action::Unlink { identity }) => {
            let all = client.identities().await?.identities;
            let fits = |id: &uuid::Uuid| identity.len() >= 4 && id.to_string().starts_with(&identity);
            let mut hits = all.iter().filter(|linked| fits(&linked.identity));
            let (Some(linked), None) = (hits.next(), hits.next()) else {
                let message = format!("no single identity begins with \"{}\"", printable(&identity));
                return Err(Failure::new(Exit::NotFound, message, "see: lockstep identities --json"));
            };
            proven(app, &client, async || client.unlink_identity(linked.identity).await).await?;
            if app.ui.json {
                return app.ui.document(&json!({ "unlinked": linked.identity }));
            }
            app.ui.done(format!("The identity of {} is unlinked.", printable(&linked.provider)));
            Ok(())
        }
    }
}

fn list(app: &App, all: &lockstep_api::ways::Identities) -> Done {
    if app.ui.json {
        return app.ui.document(all);
    }
    let rows: Vec<Vec<String>> = all
        .identities
        .iter()
        .map(|linked| {
            let id = linked.identity.to_string()[..8].to_owned();
            vec![id, printable(&linked.provider), clock(linked.linked_at.seconds())]
        })
        .collect();
    if rows.is_empty() {
        app.ui.say("No identity elsewhere is linked.");
    } else {
        app.ui.table(&["IDENTITY", "PROVIDER", "LINKED (UTC)"], &rows)?;
    }
    app.ui.hint(match all.providers.len() {
        0 => "This server knows no identity providers.".to_owned(),
        _ => format!("Providers: {} (lockstep identities link NAME)", printable(&all.providers.join(", "))),
    });
    Ok(())
}
