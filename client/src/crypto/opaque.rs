//! The client's side of OPAQUE: register and login, every message as raw bytes.
//!
//! The suite is `lockstep_api::opaque`'s, with Argon2id S1 as the key-stretching function (salt of 16 zero
//! bytes: its input is already an OPRF output that no other account shares).

use lockstep_api::opaque::{CONTEXT, KeyExchange, Oprf};
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientRegistration,
    ClientRegistrationFinishParameters, CredentialResponse, Identifiers, RegistrationResponse,
    errors::InternalError,
    generic_array::{ArrayLength, GenericArray},
    ksf::Ksf,
};
use rand::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::{Rejected, keys::ExportKey, local::suite_s1, password::Password};

struct ClientSuite;

impl CipherSuite for ClientSuite {
    type OprfCs = Oprf;
    type KeyExchange = KeyExchange;
    type Ksf = StretchS1;
}

/// Suite S1 as a key-stretching function.
#[derive(Default)]
struct StretchS1;

impl Ksf for StretchS1 {
    fn hash<L: ArrayLength<u8>>(
        &self,
        input: GenericArray<u8, L>,
    ) -> Result<GenericArray<u8, L>, InternalError> {
        let mut output = GenericArray::default();
        suite_s1()
            .map_err(|Rejected| InternalError::KsfError)?
            .hash_password_into(&input, &[0; 16], &mut output)
            .map_err(|_| InternalError::KsfError)?;
        Ok(output)
    }
}

/// A registration that waits for the server's answer.
pub struct Registration {
    state: ClientRegistration<ClientSuite>,
    input: Zeroizing<Vec<u8>>,
}

/// A finished registration.
pub struct Registered {
    /// The 192 bytes for the server to keep.
    pub upload: Vec<u8>,
    /// The key behind the password.
    pub export_key: ExportKey,
    /// The server's static key, to be pinned.
    pub server_key: Vec<u8>,
}

impl Registration {
    /// Starts: this, and the 32 bytes for the server.
    ///
    /// # Errors
    /// [`Rejected`] if the password's length is out of its limits.
    pub fn start(
        password: &Password,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<(Self, Vec<u8>), Rejected> {
        password.check_len().map_err(|_| Rejected)?;
        let input = password.input(b"");
        let start = ClientRegistration::start(rng, &input).map_err(|_| Rejected)?;
        Ok((Self { state: start.state, input }, start.message.serialize().to_vec()))
    }

    /// Finishes with the server's answer; stretches the password (about half a second, 64 MiB).
    ///
    /// # Errors
    /// [`Rejected`] for an answer that is none.
    pub fn finish(
        self,
        response: &[u8],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Registered, Rejected> {
        let response = RegistrationResponse::deserialize(response).map_err(|_| Rejected)?;
        let params = ClientRegistrationFinishParameters::default();
        let done = self.state.finish(rng, &self.input, response, params).map_err(|_| Rejected)?;
        Ok(Registered {
            upload: done.message.serialize().to_vec(),
            export_key: ExportKey::new(done.export_key.into()),
            server_key: done.server_s_pk.serialize().to_vec(),
        })
    }
}

/// A login that waits for the server's answer.
pub struct Login {
    state: ClientLogin<ClientSuite>,
    input: Zeroizing<Vec<u8>>,
}

/// A finished login: the server has proven that it holds the record, and KE3 proves the password to it.
pub struct LoggedIn {
    /// KE3, 64 bytes for the server.
    pub finalization: Vec<u8>,
    /// The key behind the password.
    pub export_key: ExportKey,
    /// The server's static key, to be compared with the pinned one.
    pub server_key: Vec<u8>,
}

impl Login {
    /// Starts: this, and KE1, 96 bytes for the server.
    ///
    /// # Errors
    /// [`Rejected`] if the password's length is out of its limits.
    pub fn start(
        password: &Password,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<(Self, Vec<u8>), Rejected> {
        password.check_len().map_err(|_| Rejected)?;
        let input = password.input(b"");
        let start = ClientLogin::start(rng, &input).map_err(|_| Rejected)?;
        Ok((Self { state: start.state, input }, start.message.serialize().to_vec()))
    }

    /// Finishes with KE2; stretches the password (about half a second, 64 MiB).
    ///
    /// # Errors
    /// [`Rejected`] for a wrong password, an unknown name or a server that is not the one: by design alike.
    pub fn finish(self, ke2: &[u8], rng: &mut (impl RngCore + CryptoRng)) -> Result<LoggedIn, Rejected> {
        let response = CredentialResponse::deserialize(ke2).map_err(|_| Rejected)?;
        let params = ClientLoginFinishParameters::new(Some(CONTEXT), Identifiers::default(), None);
        let done = self.state.finish(rng, &self.input, response, params).map_err(|_| Rejected)?;
        Ok(LoggedIn {
            finalization: done.message.serialize().to_vec(),
            export_key: ExportKey::new(done.export_key.into()),
            server_key: done.server_s_pk.serialize().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_api::opaque::{ServerSuite, login_parameters};
    use opaque_ke::{
        CredentialFinalization, CredentialRequest, RegistrationRequest, RegistrationUpload, ServerLogin,
        ServerRegistration, ServerSetup,
    };
    use rand::rngs::OsRng;

    #[test]
    fn register_and_login_against_the_servers_suite_give_the_same_export_key_and_a_wrong_password_none() {
        let setup = ServerSetup::<ServerSuite>::new(&mut OsRng);
        let password = Password::new("violet anchor mumbles".to_owned());
        let (registration, request) = Registration::start(&password, &mut OsRng).unwrap();
        let request = RegistrationRequest::deserialize(&request).unwrap();
        let answer = ServerRegistration::start(&setup, request, b"id").unwrap().message.serialize();
        let registered = registration.finish(&answer, &mut OsRng).unwrap();
        let record = RegistrationUpload::<ServerSuite>::deserialize(&registered.upload).unwrap();

        let attempt = |password: &Password| {
            let (login, ke1) = Login::start(password, &mut OsRng).unwrap();
            let record = Some(ServerRegistration::finish(record.clone()));
            let ke1 = CredentialRequest::deserialize(&ke1).unwrap();
            let answer =
                ServerLogin::start(&mut OsRng, &setup, record, ke1, b"id", login_parameters()).unwrap();
            let done = login.finish(&answer.message.serialize(), &mut OsRng)?;
            let ke3 = CredentialFinalization::deserialize(&done.finalization).unwrap();
            answer.state.finish(ke3, login_parameters()).unwrap();
            Ok::<_, Rejected>(done)
        };
        let done = attempt(&password).unwrap();
        assert_eq!(done.export_key.bytes(), registered.export_key.bytes());
        assert_eq!(done.server_key, registered.server_key);
        assert!(attempt(&Password::new("violet anchor mumbled".to_owned())).is_err());
    }

    #[test]
    fn a_password_out_of_its_limits_is_refused_before_anything_is_sent() {
        assert!(Login::start(&Password::new("short".to_owned()), &mut OsRng).is_err());
        assert!(Registration::start(&Password::new("x".repeat(1025)), &mut OsRng).is_err());
    }
}
