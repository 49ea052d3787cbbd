//! An identity provider that does what a test tells it: honest, until it is told otherwise.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_events::canonical::sha256;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

pub const CLIENT: &str = "lockstep";

/// Changes the document that describes a provider.
type About = Box<dyn Fn(&str, &mut Value) + Send + Sync>;

/// What it does differently.
#[derive(Default)]
pub struct Tricks {
    /// Changes the document that describes it; gets its own URL.
    pub about: Option<About>,
    /// Changes the claims of a token.
    pub claims: Option<fn(&mut Value)>,
    /// Changes header and signing of a token.
    pub sign: Option<fn(&Keys, Value, Value) -> String>,
    /// Does not care which verifier belongs to a code, or whether it was used.
    pub careless: bool,
    /// The document is so long.
    pub padding: usize,
    /// Answers the document with a redirect.
    pub moved: bool,
    /// Does not answer for the document.
    pub silent: bool,
}

/// Its keys, and one that is not in its set.
pub struct Keys {
    own: EcdsaKeyPair,
    foreign: EcdsaKeyPair,
}

struct Code {
    nonce: String,
    challenge: String,
    redirect: String,
    subject: String,
    used: bool,
}

struct Inside {
    url: String,
    keys: Keys,
    tricks: Mutex<Tricks>,
    codes: Mutex<HashMap<String, Code>>,
    asked: Mutex<Vec<String>>,
}

/// The provider.
#[derive(Clone)]
pub struct Idp {
    inside: Arc<Inside>,
}

fn new_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl Keys {
    pub fn es256(&self, header: &Value, claims: &Value) -> String {
        signed(&self.own, header, claims)
    }

    /// As if it were its own key, by one that is not.
    pub fn forged(&self, header: &Value, claims: &Value) -> String {
        signed(&self.foreign, header, claims)
    }

    /// The public key's bytes, as a careless verifier might take them for a shared secret.
    pub fn public(&self) -> &[u8] {
        self.own.public_key().as_ref()
    }
}

fn signed(key: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token with an HMAC under this secret.
pub fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes())))
}

/// A token without a signature.
pub fn unsigned(claims: &Value) -> String {
    format!("{}.{}.", part(&json!({ "alg": "none" })), part(claims))
}

impl Idp {
    pub async fn start(tricks: Tricks) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inside = Arc::new(Inside {
            url,
            keys: Keys { own: new_key(), foreign: new_key() },
            tricks: Mutex::new(tricks),
            codes: Mutex::default(),
            asked: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(about))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .fallback(async |State(inside): State<Arc<Inside>>, uri: axum::http::Uri| {
                inside.asked.lock().unwrap().push(uri.path().to_owned());
                StatusCode::NOT_FOUND
            })
            .with_state(Arc::clone(&inside));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inside }
    }

    pub fn url(&self) -> &str {
        &self.inside.url
    }

    /// From now on it does this.
    pub fn now(&self, tricks: Tricks) {
        *self.inside.tricks.lock().unwrap() = tricks;
    }

    /// What it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.inside.asked.lock().unwrap().clone()
    }

    /// A person signs in there, in a browser that was sent to this URL: the code that comes back.
    pub fn code(&self, url: &str, subject: &str) -> String {
        let url = url::Url::parse(url).unwrap();
        let all: HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!((all["client_id"].as_str(), all["response_type"].as_str()), (CLIENT, "code"));
        assert_eq!(all["code_challenge_method"], "S256");
        let code = uuid::Uuid::new_v4().to_string();
        let issued = Code {
            nonce: all["nonce"].clone(),
            challenge: all["code_challenge"].clone(),
            redirect: all["redirect_uri"].clone(),
            subject: subject.to_owned(),
            used: false,
        };
        self.inside.codes.lock().unwrap().insert(code.clone(), issued);
        code
    }
}

type Shared = State<Arc<Inside>>;

async fn about(State(inside): Shared) -> Response {
    inside.asked.lock().unwrap().push("about".to_owned());
    let (silent, moved, padding) = {
        let tricks = inside.tricks.lock().unwrap();
        (tricks.silent, tricks.moved, tricks.padding)
    };
    if silent {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    if moved {
        let place = format!("{}/elsewhere", inside.url);
        return (StatusCode::FOUND, [(header::LOCATION, place)]).into_response();
    }
    let url = inside.url.as_str();
    let mut document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "none", "HS256"],
        "authorization_response_iss_parameter_supported": true,
        "padding": "x".repeat(padding),
    });
    if let Some(change) = &inside.tricks.lock().unwrap().about {
        change(url, &mut document);
    }
    axum::Json(document).into_response()
}

async fn jwks(State(inside): Shared) -> Response {
    inside.asked.lock().unwrap().push("jwks".to_owned());
    let point = inside.keys.own.public_key().as_ref();
    let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    axum::Json(json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "one",
        "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
    }] }))
    .into_response()
}

async fn token(State(inside): Shared, body: String) -> Response {
    inside.asked.lock().unwrap().push("token".to_owned());
    let form: HashMap<_, _> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let mut codes = inside.codes.lock().unwrap();
    let tricks = inside.tricks.lock().unwrap();
    let refused =
        || (StatusCode::BAD_REQUEST, axum::Json(json!({ "error": "invalid_grant" }))).into_response();
    let Some(code) = codes.get_mut(&form["code"]) else { return refused() };
    let challenge = URL_SAFE_NO_PAD.encode(sha256(form["code_verifier"].as_bytes()));
    let right = challenge == code.challenge && form["redirect_uri"] == code.redirect && !code.used;
    if !right && !tricks.careless {
        return refused();
    }
    code.used = true;
    let mut claims = json!({
        "iss": inside.url, "aud": CLIENT, "sub": code.subject, "nonce": code.nonce,
        "iat": now(), "exp": now() + 300,
    });
    if let Some(change) = tricks.claims {
        change(&mut claims);
    }
    let header = json!({ "alg": "ES256", "kid": "one", "typ": "JWT" });
    let id_token = match tricks.sign {
        Some(sign) => sign(&inside.keys, header, claims),
        None => inside.keys.es256(&header, &claims),
    };
    axum::Json(json!({ "access_token": "a", "token_type": "Bearer", "id_token": id_token })).into_response()
}
