//! The OPAQUE suite (RFC 9807) that server and client share: ristretto255-SHA512, 3DH with SHA-512.
//!
//! The key-stretching function is not part of what the two sides must agree on in types: it runs on the client
//! only, between the OPRF output and the envelope, and no message carries it. So the server names
//! [`ServerSuite`], whose function is the identity and is never called, and cannot be made to spend memory on
//! anybody's password. The client names a suite of its own with the same OPRF and key exchange and Argon2id.
//! The messages of both have the same bytes; the test below proves it.
//!
//! How the server uses it, every message as its raw bytes:
//!
//! ```text
//! let setup = ServerSetup::<ServerSuite>::new(&mut OsRng);            // once; keep setup.serialize() with an id
//! // register, start:  RegistrationRequest::<ServerSuite>::deserialize(bytes)?  (32 bytes)
//! //   ServerRegistration::<ServerSuite>::start(&setup, request, account.as_bytes())?.message.serialize()
//! // register, finish: RegistrationUpload::<ServerSuite>::deserialize(bytes)?   (192 bytes)
//! //   record = ServerRegistration::<ServerSuite>::finish(upload).serialize()
//! // login, start:     CredentialRequest::<ServerSuite>::deserialize(bytes)?    (96 bytes)
//! //   ServerLogin::<ServerSuite>::start(&mut OsRng, &setup, Option<record>, request, id.as_bytes(), login_parameters())?
//! //   answer start.message.serialize(), keep start.state.serialize() for 60 s
//! // login, finish:    CredentialFinalization::<ServerSuite>::deserialize(bytes)?  (64 bytes)
//! //   ServerLogin::<ServerSuite>::deserialize(&state)?.finish(finalization, login_parameters())?
//! ```
//!
//! The credential identifier is the 16 bytes of the account id; for an unknown name the 16 bytes of the stable
//! fake id. `record = None` makes the answer that cannot be told from a real one.

use opaque_ke::{CipherSuite, Identifiers, Ristretto255, ServerLoginParameters, TripleDh, ksf::Identity};
use sha2::Sha512;

/// What both sides bind a login to, so that a transcript of another protocol or suite proves nothing here.
pub const CONTEXT: &[u8] = b"lockstep/v1/opaque/ristretto255-sha512-3dh/S1";

/// Length in bytes of the client's first registration message.
pub const REGISTRATION_REQUEST_LEN: usize = 32;
/// Length in bytes of the server's answer to it.
pub const REGISTRATION_RESPONSE_LEN: usize = 64;
/// Length in bytes of the client's second registration message, and of the record the server keeps.
pub const REGISTRATION_UPLOAD_LEN: usize = 192;
/// Length in bytes of KE1, the client's first login message.
pub const CREDENTIAL_REQUEST_LEN: usize = 96;
/// Length in bytes of KE2, the server's answer to it.
pub const CREDENTIAL_RESPONSE_LEN: usize = 320;
/// Length in bytes of KE3, the client's second login message.
pub const CREDENTIAL_FINALIZATION_LEN: usize = 64;

/// The OPRF of the suite.
pub type Oprf = Ristretto255;
/// The key exchange of the suite.
pub type KeyExchange = TripleDh<Ristretto255, Sha512>;

/// The suite as the server names it. Its key-stretching function is never called.
pub struct ServerSuite;

impl CipherSuite for ServerSuite {
    type OprfCs = Oprf;
    type KeyExchange = KeyExchange;
    type Ksf = Identity;
}

/// What the server passes to the start and to the finish of a login: the [`CONTEXT`], no other identifiers than
/// the two public keys.
pub fn login_parameters() -> ServerLoginParameters<'static, 'static> {
    ServerLoginParameters { context: Some(CONTEXT), identifiers: Identifiers::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opaque_ke::{
        ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
        CredentialFinalization, CredentialRequest, CredentialResponse, RegistrationRequest,
        RegistrationResponse, RegistrationUpload, ServerLogin, ServerRegistration, ServerSetup,
        errors::InternalError,
        generic_array::{ArrayLength, GenericArray},
        ksf::Ksf,
        rand::rngs::OsRng,
    };

    /// A client's suite with a function of its own, which must run for the passwords to agree.
    struct ClientSuite;

    #[derive(Default)]
    struct Inverting;

    impl Ksf for Inverting {
        fn hash<L: ArrayLength<u8>>(
            &self,
            input: GenericArray<u8, L>,
        ) -> Result<GenericArray<u8, L>, InternalError> {
            Ok(input.into_iter().map(|byte| !byte).collect())
        }
    }

    impl CipherSuite for ClientSuite {
        type OprfCs = Oprf;
        type KeyExchange = KeyExchange;
        type Ksf = Inverting;
    }

    fn register(setup: &ServerSetup<ServerSuite>, id: &[u8], password: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let start = ClientRegistration::<ClientSuite>::start(&mut OsRng, password).unwrap();
        let request = start.message.serialize();
        assert_eq!(request.len(), REGISTRATION_REQUEST_LEN);
        let request = RegistrationRequest::<ServerSuite>::deserialize(&request).unwrap();
        let response = ServerRegistration::start(setup, request, id).unwrap().message.serialize();
        assert_eq!(response.len(), REGISTRATION_RESPONSE_LEN);
        let response = RegistrationResponse::<ClientSuite>::deserialize(&response).unwrap();
        let finish = start
            .state
            .finish(&mut OsRng, password, response, ClientRegistrationFinishParameters::default())
            .unwrap();
        let upload = finish.message.serialize();
        assert_eq!(upload.len(), REGISTRATION_UPLOAD_LEN);
        let upload = RegistrationUpload::<ServerSuite>::deserialize(&upload).unwrap();
        (ServerRegistration::finish(upload).serialize().to_vec(), finish.export_key.to_vec())
    }

    fn login(
        setup: &ServerSetup<ServerSuite>,
        record: Option<&[u8]>,
        id: &[u8],
        password: &[u8],
    ) -> Option<Vec<u8>> {
        let start = ClientLogin::<ClientSuite>::start(&mut OsRng, password).unwrap();
        let ke1 = start.message.serialize();
        assert_eq!(ke1.len(), CREDENTIAL_REQUEST_LEN);
        let record = record.map(|r| ServerRegistration::<ServerSuite>::deserialize(r).unwrap());
        let ke1 = CredentialRequest::deserialize(&ke1).unwrap();
        let answer = ServerLogin::start(&mut OsRng, setup, record, ke1, id, login_parameters()).unwrap();
        let ke2 = answer.message.serialize();
        assert_eq!(ke2.len(), CREDENTIAL_RESPONSE_LEN);
        let state = answer.state.serialize();
        let ke2 = CredentialResponse::<ClientSuite>::deserialize(&ke2).unwrap();
        let params = ClientLoginFinishParameters::new(Some(CONTEXT), Identifiers::default(), None);
        let finish = start.state.finish(&mut OsRng, password, ke2, params).ok()?;
        let ke3 = finish.message.serialize();
        assert_eq!(ke3.len(), CREDENTIAL_FINALIZATION_LEN);
        let ke3 = CredentialFinalization::<ServerSuite>::deserialize(&ke3).unwrap();
        let session =
            ServerLogin::<ServerSuite>::deserialize(&state).unwrap().finish(ke3, login_parameters()).unwrap();
        assert_eq!(session.session_key, finish.session_key);
        Some(finish.export_key.to_vec())
    }

    #[test]
    fn a_client_with_its_own_stretching_logs_in_at_a_server_that_has_none() {
        let setup = ServerSetup::<ServerSuite>::new(&mut OsRng);
        let (record, export_key) = register(&setup, b"account", b"correct horse");
        assert_eq!(login(&setup, Some(&record), b"account", b"correct horse"), Some(export_key));
    }

    #[test]
    fn a_wrong_password_another_identifier_and_a_missing_record_fail_in_the_same_way() {
        let setup = ServerSetup::<ServerSuite>::new(&mut OsRng);
        let (record, _) = register(&setup, b"account", b"correct horse");
        assert_eq!(login(&setup, Some(&record), b"account", b"wrong horse"), None);
        assert_eq!(login(&setup, Some(&record), b"another", b"correct horse"), None);
        assert_eq!(login(&setup, None, b"account", b"correct horse"), None);
    }

    #[test]
    fn a_setup_read_back_from_its_bytes_serves_the_same_records() {
        let setup = ServerSetup::<ServerSuite>::new(&mut OsRng);
        let (record, export_key) = register(&setup, b"account", b"correct horse");
        let again = ServerSetup::<ServerSuite>::deserialize(&setup.serialize()).unwrap();
        assert_eq!(login(&again, Some(&record), b"account", b"correct horse"), Some(export_key));
    }
}
