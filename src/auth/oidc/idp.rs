//! One identity provider: the code flow with PKCE, state and nonce, as far as it is between the provider and this
//! server.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use lockstep_events::Micros;
use openidconnect::{
    AdditionalProviderMetadata, AuthType, AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret,
    CsrfToken, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata, RedirectUrl,
    TokenResponse,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType,
        CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
        CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
    },
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{Answered, FlowSecrets, IdpsError, OidcError, Somebody, apple, guard::Guard, kept::Kept};
use crate::config::{Provider, Redirect};

/// What a provider says about itself is asked for again after so long.
const KEPT: Duration = Duration::from_mins(10);
/// With a key that is not known it is asked for again, but not more often than this.
const AGAIN: Duration = Duration::from_secs(5);
/// Clocks of a provider and this server may differ by so much, in seconds.
const LEEWAY: i64 = 60;
/// Signatures that prove something to everybody. Never `none`, and nothing with a shared secret.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 6] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Whether the provider names itself in its answer (RFC 9207).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NamesItself {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for NamesItself {}

type Metadata = ProviderMetadata<
    NamesItself,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// One provider.
pub struct Idp {
    provider: Provider,
    issuer: String,
    guard: Guard,
    about: Kept<Metadata>,
}

impl Idp {
    /// The provider of the options.
    ///
    /// # Errors
    /// [`IdpsError`], for an issuer or an authority that cannot be used.
    pub fn new(provider: &Provider, authority: Option<&Path>) -> Result<Self, IdpsError> {
        let issuer = provider.issuer().ok_or(IdpsError::Address)?;
        let guard = Guard::new(&issuer, authority)?;
        if let Some(apple) = &provider.apple {
            apple::key(apple).map_err(|_| IdpsError::AppleKey)?;
        }
        Ok(Self { provider: provider.clone(), issuer, guard, about: Kept::default() })
    }

    /// Where the provider sends the browser: exactly this, word for word.
    pub fn redirect_uri(&self, base: &str, port: u16) -> String {
        match self.provider.redirect() {
            Redirect::Loopback => format!("http://127.0.0.1:{port}/callback"),
            Redirect::Server => format!("{base}/v1/oidc/callback"),
        }
    }

    /// Where a person begins.
    ///
    /// # Errors
    /// [`OidcError::Discovery`]
    pub async fn authorize(&self, secrets: &FlowSecrets, redirect_uri: String) -> Result<String, OidcError> {
        let about = self.about(KEPT).await?;
        let client = CoreClient::from_provider_metadata(
            Metadata::clone(&about),
            ClientId::new(self.provider.client_id.clone()),
            None,
        )
        .set_redirect_uri(RedirectUrl::new(redirect_uri).map_err(|_| OidcError::Discovery)?);
        let (state, nonce) = (secrets.state.clone(), secrets.nonce.clone());
        let verifier = PkceCodeVerifier::new(secrets.verifier.clone());
        let mut request = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                || CsrfToken::new(state),
                || Nonce::new(nonce),
            )
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        if self.provider.form_post() {
            request = request.add_extra_param("response_mode", "form_post");
        }
        Ok(request.url().0.to_string())
    }

    /// Whom the answer proves.
    ///
    /// # Errors
    /// [`OidcError`]
    pub async fn verify(
        &self,
        answered: &Answered<'_>,
        secrets: &FlowSecrets,
        redirect_uri: String,
        now: Micros,
    ) -> Result<Somebody, OidcError> {
        let about = self.about(KEPT).await?;
        self.check_issuer(&about, answered.iss)?;
        let token = self.exchange(&about, answered.code, secrets, redirect_uri, now).await?;
        match self.read(&about, &token, secrets, now) {
            // The provider may have a new key since it was asked.
            Err(OidcError::Token) => {
                let about = self.about(AGAIN).await?;
                self.read(&about, &token, secrets, now)
            }
            read => read,
        }
    }

    fn check_issuer(&self, about: &Metadata, iss: Option<&str>) -> Result<(), OidcError> {
        let named = about.additional_metadata().authorization_response_iss_parameter_supported;
        match iss {
            Some(iss) if iss == self.issuer => Ok(()),
            None if !named => Ok(()),
            _ => Err(OidcError::Issuer),
        }
    }

    async fn exchange(
        &self,
        about: &Metadata,
        code: &str,
        secrets: &FlowSecrets,
        redirect_uri: String,
        now: Micros,
    ) -> Result<IdToken, OidcError> {
        let client = CoreClient::from_provider_metadata(
            about.clone(),
            ClientId::new(self.provider.client_id.clone()),
            self.client_secret(now)?.map(ClientSecret::new),
        )
        .set_redirect_uri(RedirectUrl::new(redirect_uri).map_err(|_| OidcError::Exchange)?)
        .set_auth_type(auth_type(about));
        let answer = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| OidcError::Discovery)?
            .set_pkce_verifier(PkceCodeVerifier::new(secrets.verifier.clone()))
            .request_async(&self.guard)
            .await
            .map_err(|_| OidcError::Exchange)?;
        answer.id_token().cloned().ok_or(OidcError::Token)
    }

    fn read(
        &self,
        about: &Metadata,
        token: &IdToken,
        secrets: &FlowSecrets,
        now: Micros,
    ) -> Result<Somebody, OidcError> {
        let client = CoreClient::from_provider_metadata(
            about.clone(),
            ClientId::new(self.provider.client_id.clone()),
            None,
        );
        let seconds = now.seconds();
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || SystemTime::into(at(seconds - LEEWAY)))
            .set_issue_time_verifier_fn(move |issued| {
                let fits = issued.timestamp() <= seconds + LEEWAY;
                if fits { Ok(()) } else { Err("issued in the future".to_owned()) }
            });
        let expected = &secrets.nonce;
        let same = |nonce: Option<&Nonce>| {
            let right = nonce.is_some_and(|n| n.secret().as_bytes().ct_eq(expected.as_bytes()).into());
            if right { Ok(()) } else { Err("another nonce".to_owned()) }
        };
        let claims = token.claims(&verifier, same).map_err(|_| OidcError::Token)?;
        Ok(Somebody { issuer: self.issuer.clone(), subject: claims.subject().to_string() })
    }

    fn client_secret(&self, now: Micros) -> Result<Option<String>, OidcError> {
        if let Some(apple) = &self.provider.apple {
            return Ok(Some(apple::client_secret(apple, &self.provider.client_id, now)?));
        }
        Ok(self.provider.client_secret.as_ref().map(|secret| secret.expose().to_owned()))
    }

    /// What the provider says about itself, with its keys, not older than this; or what it said before, while it is
    /// away.
    async fn about(&self, not_older: Duration) -> Result<Arc<Metadata>, OidcError> {
        let ask = async || {
            let issuer = IssuerUrl::new(self.issuer.clone()).map_err(|_| OidcError::Discovery)?;
            Metadata::discover_async(issuer, &self.guard).await.map_err(|_| OidcError::Discovery)
        };
        self.about.get((not_older, Instant::now()), || OidcError::Discovery, ask).await
    }
}

type IdToken = openidconnect::core::CoreIdToken;

/// How the provider wants the secret: in a header unless it says that it takes it in the body only.
fn auth_type(about: &Metadata) -> AuthType {
    let methods = about.token_endpoint_auth_methods_supported();
    match methods {
        Some(methods) if !methods.contains(&CoreClientAuthMethod::ClientSecretBasic) => AuthType::RequestBody,
        _ => AuthType::BasicAuth,
    }
}
