//! OPAQUE's server side, every message as bytes. Password records and protocol messages are never logged.

use lockstep_api::opaque::{ServerSuite, login_parameters};
use lockstep_events::AccountId;
use opaque_ke::{
    CredentialFinalization, CredentialRequest, RegistrationRequest, RegistrationUpload, ServerLogin,
    ServerRegistration, ServerSetup,
};
use rand::{CryptoRng, RngCore};

/// A message that is not one of the protocol, or does not prove what it should. Never says which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid OPAQUE message")]
pub struct Refused;

/// Answers the first registration message.
///
/// # Errors
/// If it is not one.
pub fn registration_response(
    setup: &ServerSetup<ServerSuite>,
    account: AccountId,
    request: &[u8],
) -> Result<Vec<u8>, Refused> {
    let request = RegistrationRequest::<ServerSuite>::deserialize(request).map_err(|_| Refused)?;
    let started = ServerRegistration::start(setup, request, account.as_bytes()).map_err(|_| Refused)?;
    Ok(started.message.serialize().to_vec())
}

/// The record to keep, from the last registration message.
///
/// # Errors
/// If it is not one.
pub fn record(upload: &[u8]) -> Result<Vec<u8>, Refused> {
    let upload = RegistrationUpload::<ServerSuite>::deserialize(upload).map_err(|_| Refused)?;
    Ok(ServerRegistration::finish(upload).serialize().to_vec())
}

/// Answers KE1 with KE2 and the state that KE3 needs. Without a record the answer cannot be told from a real one,
/// and costs the same.
///
/// # Errors
/// If KE1 is not one.
pub fn login_response(
    setup: &ServerSetup<ServerSuite>,
    account: AccountId,
    record: Option<&[u8]>,
    ke1: &[u8],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Vec<u8>, Vec<u8>), Refused> {
    let record =
        record.map(ServerRegistration::<ServerSuite>::deserialize).transpose().map_err(|_| Refused)?;
    let ke1 = CredentialRequest::deserialize(ke1).map_err(|_| Refused)?;
    let started = ServerLogin::start(rng, setup, record, ke1, account.as_bytes(), login_parameters())
        .map_err(|_| Refused)?;
    Ok((started.message.serialize().to_vec(), started.state.serialize().to_vec()))
}

/// Checks KE3 against the kept state: whether the client knew the password.
///
/// # Errors
/// If it did not.
pub fn login_finish(state: &[u8], ke3: &[u8]) -> Result<(), Refused> {
    let state = ServerLogin::<ServerSuite>::deserialize(state).map_err(|_| Refused)?;
    let ke3 = CredentialFinalization::deserialize(ke3).map_err(|_| Refused)?;
    state.finish(ke3, login_parameters()).map(|_| ()).map_err(|_| Refused)
}
