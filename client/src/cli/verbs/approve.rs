//! `devices approve`.

use lockstep_api::Code;
use lockstep_client::{Client, Error, crypto::password::Password};
use lockstep_events::DeviceId;
use serde_json::json;

use super::{second_factor::ask_factor, watch::short_device};
use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    prompt,
};

/// A request may end while a person compares.
fn no_more(device: DeviceId, error: Error) -> Failure {
    match &error {
        Error::Refused { problem, .. } if problem.code == Code::PreconditionFailed => {
            let device = short_device(device);
            let message = format!(
                "device {device} withdrew its request as it was approved: it is one of yours now, and nobody has its key"
            );
            Failure::new(Exit::Refused, message, format!("lockstep devices revoke {device}"))
                .fact("problem", problem.code.as_str())
        }
        Error::Refused { problem, .. } if problem.code == Code::NotFound => {
            let message = match &problem.detail {
                Some(_) => "nothing was approved: the device has withdrawn its request",
                None => "nothing was approved: the request is older than ten minutes",
            };
            Failure::new(Exit::NotFound, message, "on the new one: lockstep login --approve")
                .fact("problem", problem.code.as_str())
        }
        _ => error.into(),
    }
}

/// Approves a device after its words were compared: by a person, or with `--words` by what was read from its screen.
///
/// # Errors
/// Nobody asks, other words, wrong password.
pub async fn run(client: &Client, words: Option<&str>, app: &App) -> Done {
    let waiting = client.approvals().await?;
    if waiting.is_empty() {
        let message = "no device asks to be approved";
        return Err(Failure::new(Exit::NotFound, message, "on the new one: lockstep login --approve"));
    }
    let given: Option<Vec<&str>> = words.map(|words| words.split_whitespace().collect());
    for one in &waiting {
        let same = match &given {
            Some(given) => *given == one.words,
            None => {
                app.ui.needed(format!(
                    "Device {} asks to be approved. Its words:",
                    short_device(one.approval.device)
                ));
                app.ui.needed(format!("\n  {}\n", one.words.join(" ")));
                prompt::confirm(app.ui, "Are they the same on its screen, and is it yours?")?
            }
        };
        if !same {
            continue;
        }
        let password = Password::new(app.passwords.current(app.ui)?.as_str().to_owned());
        let approved = client.approve(one, &password, &mut |demanded| ask_factor(app, demanded)).await;
        approved.map_err(|error| no_more(one.approval.device, error))?;
        if app.ui.json {
            return app.ui.document(&json!({ "approved": one.approval.device }));
        }
        app.ui.done(format!("Device {} is approved.", short_device(one.approval.device)));
        return Ok(());
    }
    let message = "no device was approved";
    if given.is_none() && !prompt::can_ask(app.ui) {
        let advice = "without a terminal to ask at, compare them and say --words 'WORD WORD …'";
        return Err(Failure::usage(message, advice));
    }
    Err(Failure::new(Exit::Refused, message, "other words mean another device: never approve it"))
}

#[cfg(test)]
mod tests {
    use lockstep_api::problem::Problem;

    use super::*;

    #[test]
    fn whoever_approved_a_device_that_gave_up_meanwhile_is_told_to_revoke_it() {
        let device = DeviceId(uuid::Uuid::from_u128(7));
        let problem = Box::new(Problem::new(Code::PreconditionFailed));
        let told = no_more(device, Error::Refused { problem, retry_after: None });
        assert_eq!(told.exit, Exit::Refused);
        assert_eq!(told.advice, format!("lockstep devices revoke {}", short_device(device)));
    }
}
