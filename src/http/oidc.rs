//! `/v1/oidc`: signing in with an identity elsewhere. The answer of the provider comes to the asking program itself, on
//! the machine of the person, and only who holds the flow's secret can end the flow with it.

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lockstep_api::{
    Code,
    ways::{Identified, OidcFinish, OidcProviders, OidcStart, OidcStarted},
};
use lockstep_events::{canonical::sha256, event::Method};
use url::form_urlencoded;

use super::{
    Answer, Failure, Path, Routes,
    extract::{Json, check_content_type},
    openapi::problems,
    routes::routes,
    sign_in::{checked_secret, identified},
};
use crate::{
    auth::oidc::Answered,
    commands::{
        identities::{BeginFlow, EndFlow, FLOW_S, IdentityError, account_of},
        prove_identity::ProveIdentity,
    },
    state::{Server, Shared},
};

/// What a provider says is at most so long.
const MAX_VALUE: usize = 4096;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(providers))
        .routes(routes!(start))
        .routes(routes!(finish))
        .routes(routes!(relay, relay_form))
}

problems! {
    /// What the begin of a flow meets.
    StartProblems: NotFound, AttemptExpired, ProviderUnavailable;
    /// What the end of a flow meets.
    FinishProblems: LoginFailed, AttemptExpired, AccountDisabled;
    /// What a provider's answer meets.
    RelayProblems: NotFound;
}

/// The identity providers that this server knows.
#[utoipa::path(get, path = "/v1/oidc", operation_id = "list_providers", tag = "sign-in",
    responses((status = 200, description = "Their names", body = OidcProviders)))]
async fn providers(State(server): State<Shared>) -> Json<OidcProviders> {
    Json(OidcProviders { providers: server.idps.names() })
}

/// Begins a sign-in with an identity provider.
#[utoipa::path(post, path = "/v1/oidc/{provider}/start", operation_id = "start_oidc", tag = "sign-in", request_body = OidcStart,
    params(("provider" = String, Path, description = "Its name")),
    responses((status = 200, description = "Where the browser has to go", body = OidcStarted), StartProblems))]
async fn start(
    State(server): State<Shared>,
    Path(provider): Path<String>,
    Json(body): Json<OidcStart>,
) -> Answer<Json<OidcStarted>> {
    begin(&server, BeginFlow { provider, owner: body.initiator.0, port: body.port, link: None }).await
}

/// Begins a flow.
///
/// # Errors
/// `not_found` for an unknown provider, `invalid_field` for a port that is none.
pub async fn begin(server: &Server, flow: BeginFlow) -> Answer<Json<OidcStarted>> {
    if flow.port < 1024 {
        return Err(Failure::from(Code::InvalidField).detail("port: 1024 to 65535"));
    }
    let url = flow.run(server).await?;
    Ok(Json(OidcStarted { url, expires_in: u32::try_from(FLOW_S).unwrap_or_default() }))
}

/// Ends a sign-in: the client brings what came back, and its secret.
#[utoipa::path(post, path = "/v1/oidc/finish", operation_id = "finish_oidc", tag = "sign-in", request_body = OidcFinish,
    responses((status = 200, description = "A token of scope `identity`", body = Identified), FinishProblems))]
async fn finish(State(server): State<Shared>, Json(body): Json<OidcFinish>) -> Answer<Json<Identified>> {
    let owner = sha256(checked_secret(&body.secret.0)?);
    let (somebody, _) = EndFlow { owner, answered: answered(&body)?, caller: None }.run(&server).await?;
    let account = account_of(&server, &owner, &somebody).await?;
    Ok(Json(identified(&server, ProveIdentity { account, method: Method::Oidc }).await?))
}

/// What the provider answered.
///
/// # Errors
/// `invalid_field` for values that are too long.
pub fn answered(body: &OidcFinish) -> Answer<Answered<'_>> {
    let all = [Some(&body.code), Some(&body.state), body.iss.as_ref()];
    if all.iter().flatten().any(|value| value.len() > MAX_VALUE) {
        return Err(Failure::from(Code::InvalidField).detail("code, state, iss: at most 4096 bytes"));
    }
    Ok(Answered { code: &body.code, state: &body.state, iss: body.iss.as_deref() })
}

/// Where a provider that knows no native applications sends the browser: it is sent on to the asking program, on the
/// machine where the browser runs.
#[utoipa::path(get, path = "/v1/oidc/callback", operation_id = "relay_oidc", tag = "sign-in",
    responses((status = 303, description = "To the asking program"), RelayProblems))]
async fn relay(State(server): State<Shared>, uri: axum::http::Uri) -> Answer<Response> {
    send_on(&server, uri.query().unwrap_or_default().as_bytes()).await
}

/// The same for a provider that answers with a form.
#[utoipa::path(post, path = "/v1/oidc/callback", operation_id = "relay_oidc_form", tag = "sign-in",
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "To the asking program"), RelayProblems))]
async fn relay_form(State(server): State<Shared>, headers: HeaderMap, body: Bytes) -> Answer<Response> {
    check_content_type(&headers, "application/x-www-form-urlencoded")?;
    send_on(&server, &body).await
}

async fn send_on(server: &Server, pairs: &[u8]) -> Answer<Response> {
    let pairs: Vec<_> = form_urlencoded::parse(pairs).collect();
    let single = |name: &str| {
        let mut all = pairs.iter().filter(|(key, value)| key == name && value.len() <= MAX_VALUE);
        match (all.next(), all.next()) {
            (Some((_, value)), None) => Some(value.as_ref()),
            _ => None,
        }
    };
    let state = single("state").ok_or(Code::NotFound)?;
    let port = server.ways.flow_port(sha256(state.as_bytes()), server.clock.now()).await?;
    let port = port.ok_or(Code::NotFound)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["code", "state", "iss", "error"] {
        if let Some(value) = single(name) {
            query.append_pair(name, value);
        }
    }
    let place = format!("http://127.0.0.1:{port}/callback?{}", query.finish());
    let place = HeaderValue::try_from(place).map_err(|_| Code::NotFound)?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response())
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        use lockstep_events::event::OidcRefusal::Flow;
        match error {
            IdentityError::NoProvider | IdentityError::NoIdentity | IdentityError::NoAccount => {
                Code::NotFound.into()
            }
            IdentityError::Refused(Flow) => Code::AttemptExpired.into(),
            IdentityError::Refused(reason) => Self::from(Code::LoginFailed).facts(reason),
            IdentityError::Provider(error) => Self::caused(Code::ProviderUnavailable, error),
            IdentityError::LastWay => {
                Self::from(Code::PreconditionFailed).detail("it is the only way into the account")
            }
            IdentityError::TooMany => Self::from(Code::QuotaExceeded).detail("at most 16 identities"),
            IdentityError::Log(error) => error.into(),
            IdentityError::Credentials(error) => error.into(),
            IdentityError::Subject(error) => Self::caused(Code::CredentialsUnavailable, error),
        }
    }
}
