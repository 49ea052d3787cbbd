//! What needs a fresh proof of the password.

use lockstep_api::Code;
use lockstep_client::{Client, Error, crypto::password::Password};

use super::{app::App, failure::Done};

/// Asks the server; where it wants a fresh proof, asks for the password, proves it and asks again.
pub async fn proven<T>(
    app: &App,
    client: &Client,
    mut ask: impl AsyncFnMut() -> Result<T, Error>,
) -> Done<T> {
    match ask().await {
        Err(Error::Refused { problem, .. }) if problem.code == Code::StepUpRequired => {
            app.ui.say("The server wants the password to be proven again.");
            let password = Password::new(app.passwords.current(app.ui)?.as_str().to_owned());
            client.step_up(&password).await?;
            Ok(ask().await?)
        }
        other => Ok(other?),
    }
}
