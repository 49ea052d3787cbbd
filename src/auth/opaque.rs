//! OPAQUE's server side, every message as bytes. Password records and protocol messages are never logged.

use lockstep_api::opaque::{REGISTRATION_UPLOAD_LEN, ServerSuite, login_parameters};
use lockstep_events::AccountId;
use opaque_ke::{
    CredentialFinalization, CredentialRequest, RegistrationRequest, RegistrationUpload, ServerLogin,
    ServerRegistration, ServerSetup,
};
use rand::{CryptoRng, RngCore};
use zeroize::Zeroizing;

/// A message that is not one of the protocol, or does not prove what it should. Never says which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid OPAQUE message")]
pub struct Refused;

/// A public key has so many bytes.
const KEY_LEN: usize = 32;
/// The key that hides the rest of a record has so many bytes.
const MASKING_KEY_LEN: usize = 64;

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

/// A record that no password opens, for a name without an account: what OPAQUE makes up by itself where there is none,
/// as bytes. So it takes the same way as a real one, which has to be read.
pub fn nobodys_record(setup: &ServerSetup<ServerSuite>, rng: &mut (impl RngCore + CryptoRng)) -> Vec<u8> {
    // A public key to which nobody has the secret part is the end of every setup.
    let setup = Zeroizing::new(setup.serialize().to_vec());
    let mut record = vec![0; REGISTRATION_UPLOAD_LEN];
    let (key, rest) = record.split_at_mut(KEY_LEN);
    key.copy_from_slice(&setup[setup.len() - KEY_LEN..]);
    // Behind it stands an envelope, whose bytes are nothing but zeros.
    rng.fill_bytes(&mut rest[..MASKING_KEY_LEN]);
    record
}

/// Answers KE1 with KE2 and the state that KE3 needs. The answer to [`nobodys_record`] cannot be told from that to a
/// real one.
///
/// # Errors
/// If KE1 is not one.
pub fn login_response(
    setup: &ServerSetup<ServerSuite>,
    account: AccountId,
    record: &[u8],
    ke1: &[u8],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Vec<u8>, Vec<u8>), Refused> {
    let record = ServerRegistration::<ServerSuite>::deserialize(record).map_err(|_| Refused)?;
    let ke1 = CredentialRequest::deserialize(ke1).map_err(|_| Refused)?;
    let started = ServerLogin::start(rng, setup, Some(record), ke1, account.as_bytes(), login_parameters())
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

#[cfg(test)]
mod tests {
    use super::*;
    use opaque_ke::{ClientLogin, ClientLoginFinishParameters, CredentialResponse};
    use rand::rngs::OsRng;

    /// The answer to a login with this record, and what its client makes of it.
    fn asked(setup: &ServerSetup<ServerSuite>, record: &[u8]) -> (Vec<u8>, bool) {
        let started = ClientLogin::<ServerSuite>::start(&mut OsRng, b"guess").unwrap();
        let (account, ke1) = (AccountId(uuid::Uuid::from_u128(1)), started.message.serialize());
        let (ke2, state) = login_response(setup, account, record, &ke1, &mut OsRng).unwrap();
        assert!(login_finish(&state, &[9; 64]).is_err());
        let answer = CredentialResponse::deserialize(&ke2).unwrap();
        let finished =
            started.state.finish(&mut OsRng, b"guess", answer, ClientLoginFinishParameters::default());
        (ke2, finished.is_ok())
    }

    #[test]
    fn a_record_of_nobody_is_as_long_as_a_real_one_never_the_same_and_opens_by_no_password() {
        let setup = ServerSetup::<ServerSuite>::new(&mut OsRng);
        let (one, other) = (nobodys_record(&setup, &mut OsRng), nobodys_record(&setup, &mut OsRng));
        assert_eq!(one.len(), REGISTRATION_UPLOAD_LEN);
        assert_ne!(one, other);
        let (first, second) = (asked(&setup, &one), asked(&setup, &one));
        assert!(!first.1 && !second.1);
        assert_ne!(first.0, second.0);
    }
}
