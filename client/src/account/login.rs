//! Logging in: with the password, the key of the device that is here, and a second factor if one is demanded.

use std::{path::Path, sync::Arc};

use lockstep_api::account::{DeviceProof, LoggedIn, LoginFinish, LoginStart, LoginStarted, proof_message};

use super::{
    enrol_device, heavy, open,
    password::{Asked, ShowingFactor},
    post, write_profile,
};
use crate::{
    crypto::{
        opaque::{self, Login},
        os_random,
        password::Password,
    },
    engine::Engine,
    error::Error,
    profile::{Profile, claim},
    server::Server,
    sync::offer::Offer,
    transport::Transport,
};

/// Logs in: a new session for the device that is here, or a new device. `local` opens the profile that is here, if
/// another password than the account's still does.
pub(crate) async fn login(
    home: &Path,
    server: &Server,
    name: &str,
    (password, local): (&Password, Option<&Password>),
    factor: ShowingFactor<'_>,
) -> Result<Arc<Engine>, Error> {
    log_in(home, server, name, (password, local), (factor, false)).await
}

/// A server that was restored to a time before this device joined gets the roster back from it.
async fn give_back(
    engine: &Engine,
    transport: &Transport,
    name: &str,
    password: &Password,
    factor: ShowingFactor<'_>,
) -> Result<(), Error> {
    let (answer, _) = prove(transport, name, password, (Some(engine), false), factor).await?;
    let token = answer.enrol_token.filter(|_| answer.account.account == engine.account());
    let token = token.ok_or(Error::LoginFailed)?;
    let offer = Offer::load(&mut *engine.store.pool().acquire().await?).await?;
    crate::sync::offer::roster(transport, &token, &offer).await
}

/// Proves the password, the key of the device that is here if it `signs`, and a second factor if one is demanded. To a
/// server that this device knows as another, nothing is proven.
async fn prove(
    transport: &Transport,
    name: &str,
    password: &Password,
    (here, signs): (Option<&Engine>, bool),
    factor: ShowingFactor<'_>,
) -> Result<(LoggedIn, opaque::LoggedIn), Error> {
    let (login, request) = Login::start(password, &mut os_random())?;
    let proof = |about: &[u8]| {
        here.filter(|_| signs).map(|engine| DeviceProof {
            device: engine.device(),
            signature: engine.keys.device_key.sign(&proof_message(about)),
        })
    };
    let device = proof(&request);
    let start = LoginStart { name: name.to_owned(), request: request.into(), device };
    let started: LoginStarted = post(transport, "/v1/sessions/start", None, &start).await?;
    let response = started.response.0;
    let done =
        heavy(move || login.finish(&response, &mut os_random())).await.map_err(|error| match error {
            Error::Rejected(_) => Error::WrongPassword,
            other => other,
        })?;
    if let Some(engine) = here {
        engine.same_server(&done.server_key).await?;
    }
    let device = proof(started.attempt.as_bytes());
    let finish =
        LoginFinish { attempt: started.attempt, finalization: done.finalization.clone().into(), device };
    let answer: Result<LoggedIn, Error> = post(transport, "/v1/sessions/finish", None, &finish).await;
    let answer = match Asked::of(answer, factor)? {
        Asked::Answered(answer) => answer,
        Asked::Show(show) => post(transport, "/v1/sessions/second-factor", None, &show).await?,
    };
    Ok((answer, done))
}

/// From now on the account has this name for the profile, and its server this address and trust; `another` password opens
/// it, if there is one.
pub(crate) async fn remember(
    engine: Arc<Engine>,
    (server, name): (&Server, &str),
    another: Option<&Password>,
) -> Result<Arc<Engine>, Error> {
    if another.is_none() && name == engine.profile.name && *server == engine.profile.server {
        return Ok(engine);
    }
    let lock = match another {
        Some(password) => Some(engine.locked_under(password).await?),
        None => None,
    };
    let (home, vault, key) = (engine.home.clone(), engine.vault(), engine.keys.local.to_token());
    Profile::change(&home, |profile| {
        name.clone_into(&mut profile.name);
        profile.server = server.clone();
        profile.lock = lock.or_else(|| profile.lock.take());
    })?;
    engine.store.close().await;
    drop(engine);
    let engine = open(&home, &crate::client::Unlock::Token(key)).await?;
    Ok(Arc::new(engine.at(vault)))
}

async fn log_in(
    home: &Path,
    server: &Server,
    name: &str,
    (password, local): (&Password, Option<&Password>),
    (factor, again): (ShowingFactor<'_>, bool),
) -> Result<Arc<Engine>, Error> {
    password.check_len()?;
    let here = if Profile::exists(home) {
        Some(open(home, &crate::client::Unlock::Password(local.unwrap_or(password).clone())).await?)
    } else {
        claim(home)?;
        None
    };
    let transport = Transport::new(server)?;
    let proven = prove(&transport, name, password, (here.as_deref(), true), factor).await;
    let (answer, done) = match proven {
        // The password was right: it opened the server's answer. So it is this device that the server does not know.
        Err(Error::LoginFailed) if here.is_some() && !again => {
            if let Some(engine) = &here {
                give_back(engine, &transport, name, password, factor).await?;
                engine.store.close().await;
            }
            drop(here);
            return Box::pin(log_in(home, server, name, (password, local), (factor, true))).await;
        }
        Err(Error::WrongPassword) => return Err(Error::LoginFailed),
        Err(error @ Error::Revoked(_)) => {
            if let Some(engine) = &here {
                engine.device_is_revoked().await?;
            }
            return Err(error);
        }
        other => other?,
    };
    match (here, answer.tokens, answer.enrol_token) {
        (Some(engine), Some(tokens), _) => {
            if answer.account.account != engine.account() {
                return Err(Error::ProfileExists(home.to_owned()));
            }
            engine.same_roster(&answer.account).await?;
            engine.keep_tokens(tokens).await?;
            engine.forget_store().await?;
            remember(engine, (server, name), local.map(|_| password)).await
        }
        (None, None, Some(enrol)) => {
            let new = enrol_device(&transport, &answer.account, &done, &enrol).await?;
            write_profile(home, server, name, password, new).await
        }
        (Some(_), None, _) => Err(Error::ProfileExists(home.to_owned())),
        _ => Err(Error::Protocol("neither tokens nor an enrolment")),
    }
}
