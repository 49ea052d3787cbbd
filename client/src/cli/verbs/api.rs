//! `api`: the server as it is.

use std::io::Read;

use clap::Args;

use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
};

/// A request.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lockstep api GET /v1/streams
  lockstep api GET '/v1/streams/STREAM/changes?limit=5' | jq .
  lockstep api POST /v1/live/ticket
  lockstep api POST /v1/vaults/VAULT/versions --body @push.json
  curl -H \"Authorization: Bearer $(lockstep api --print-token)\" …

Prints the body of the answer, whatever its status; a status of 400 and above ends with exit code 8 (404: 3).")]
pub struct Api {
    /// GET, POST, PUT, DELETE …
    #[arg(required_unless_present = "print_token")]
    method: Option<String>,
    /// Path on the server, with its query
    #[arg(required_unless_present = "print_token")]
    path: Option<String>,
    /// JSON body; @FILE reads a file, - reads standard input
    #[arg(long, value_name = "JSON")]
    body: Option<String>,
    /// Print the access token that requests carry, for another program; it is valid for two minutes at least
    #[arg(long, conflicts_with_all = ["method", "path", "body"])]
    print_token: bool,
}

/// Calls the server.
///
/// # Errors
/// Offline, or a status of 400 and above.
pub async fn run(args: Api, app: &App) -> Done {
    if app.offline {
        return Err(Failure::usage("api needs the server", "leave --offline away"));
    }
    let (Some(method), Some(path)) = (&args.method, &args.path) else {
        let token = app.open().await?.access_token().await?;
        if app.ui.json {
            return app.ui.document(&serde_json::json!({ "access_token": token.as_str() }));
        }
        return app.ui.data(token.as_str());
    };
    if !path.starts_with('/') {
        return Err(Failure::usage(
            "the path must begin with /",
            "for example: lockstep api GET /v1/streams",
        ));
    }
    let body = args.body.as_deref().map(json).transpose()?;
    let client = app.open().await?;
    let (status, text) = client.api(&method.to_uppercase(), path, body.as_ref()).await?;
    if !text.is_empty() {
        app.ui.data(text.trim_end_matches('\n'))?;
    }
    if status < 400 {
        return Ok(());
    }
    let exit = match status {
        401 => Exit::Locked,
        404 => Exit::NotFound,
        500.. => Exit::Offline,
        _ => Exit::Refused,
    };
    Err(Failure::new(exit, format!("the server answered {status}"), "").fact("status", status))
}

fn json(text: &str) -> Done<serde_json::Value> {
    let text = match text {
        "-" => {
            let mut all = String::new();
            std::io::stdin().read_to_string(&mut all)?;
            all
        }
        text => match text.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                Failure::new(Exit::NotFound, format!("{file}: {error}"), "check the path")
            })?,
            None => text.to_owned(),
        },
    };
    serde_json::from_str(&text)
        .map_err(|_| Failure::usage("the body is not JSON", "for example: --body '{}'"))
}
