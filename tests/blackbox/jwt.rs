//! Access tokens that must be refused: more than forty ways to be wrong, each one a change of a token that is right.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use lockstep_api::Code;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Mode, Node, Person, assert_problem};

in_both_modes! {
    many threads:
    every_token_that_is_not_exactly_ours_is_refused,
    a_token_expires_after_five_minutes_and_says_so,
    a_token_of_another_server_is_refused,
    an_enrolment_token_opens_nothing_but_the_enrolment,
}

/// What a right token is made of.
struct Forge {
    header: Value,
    claims: Value,
    key: SigningKey,
}

impl Forge {
    fn of(node: &Node, token: &str) -> Self {
        let part = |n: usize| -> Value {
            let text = token.split('.').nth(n).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
        };
        let (header, claims) = (part(0), part(1));
        let key = node.running().server.keys.signing_key(header["kid"].as_str().unwrap());
        Self { header, claims, key }
    }

    /// Signed text of exactly these two parts.
    fn signed(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(message.as_bytes()).to_bytes();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self) -> String {
        self.signed(&self.header.to_string(), &self.claims.to_string())
    }

    fn header(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[name] = value;
        self.signed(&header.to_string(), &self.claims.to_string())
    }

    fn claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.signed(&self.header.to_string(), &claims.to_string())
    }

    fn without(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        self.signed(&self.header.to_string(), &claims.to_string())
    }
}

/// Tokens whose header is wrong.
fn wrong_headers(forge: &Forge) -> Vec<(String, String)> {
    let mut wrong: Vec<(String, String)> = Vec::new();
    for alg in ["none", "None", "HS256", "HS512", "RS256", "ES256", "PS256", "EdDSA ", "Ed448", ""] {
        wrong.push((format!("alg {alg}"), forge.header("alg", json!(alg))));
    }
    let kids =
        [json!("unknown"), json!("../../etc/passwd"), json!("' OR 1=1 --"), json!(7), Value::Null, json!("")];
    for kid in kids {
        wrong.push((format!("kid {kid}"), forge.header("kid", kid)));
    }
    for typ in [json!("JWT"), json!("id+jwt"), json!("AT+JWT"), json!("application/at+jwt"), Value::Null] {
        wrong.push((format!("typ {typ}"), forge.header("typ", typ)));
    }
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(forge.key.verifying_key())});
    let extra = [
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert")),
        ("jwk", jwk),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
        ("cty", json!("JWT")),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ];
    wrong
        .extend(extra.into_iter().map(|(name, value)| (format!("header {name}"), forge.header(name, value))));
    wrong
}

/// Tokens whose claims are wrong.
fn wrong_claims(forge: &Forge) -> Vec<(String, String)> {
    let mut wrong: Vec<(String, String)> = Vec::new();
    let all: Vec<String> = forge.claims.as_object().unwrap().keys().cloned().collect();
    wrong.extend(all.iter().map(|name| (format!("without {name}"), forge.without(name))));
    let exp = forge.claims["exp"].as_i64().unwrap();
    let times = [
        json!(exp.to_string()),
        json!(0.5),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        Value::Null,
        json!([exp]),
    ];
    for name in ["exp", "nbf", "iat"] {
        wrong.extend(times.iter().map(|time| (format!("{name} {time}"), forge.claim(name, time.clone()))));
    }
    let values = [
        ("nbf", json!(exp + 1)),
        ("nbf", json!(exp - 200)),
        ("iat", json!(exp - 200)),
        ("iss", json!("urn:lockstep:other")),
        ("iss", json!(["urn:lockstep:server"])),
        ("aud", json!("urn:lockstep:other")),
        ("aud", json!(["urn:lockstep:api", "urn:other"])),
        ("aud", json!([])),
        ("sub", json!("not a uuid")),
        ("sid", json!(7)),
        ("scope", json!("admin")),
        ("scope", json!("vault enrol")),
        ("scope", json!("identity vault")),
        ("scope", json!(["vault"])),
        ("scope", json!("Vault")),
        ("acr", json!("none")),
        ("acr", json!(["password"])),
        ("auth_time", json!("now")),
        ("aep", json!(-1)),
        ("aep", json!("0")),
        ("admin", json!(true)),
        ("nonce", json!("of an id token")),
    ];
    wrong.extend(
        values.into_iter().map(|(name, value)| (format!("{name} {value}"), forge.claim(name, value))),
    );
    wrong
}

/// Tokens whose text is wrong.
fn wrong_texts(forge: &Forge, right: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = right.split('.').collect();
    let (header, claims) = (forge.header.to_string(), forge.claims.to_string());
    let twice =
        |text: &str, name: &str, value: &str| text.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    let mut flipped = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    flipped[0] ^= 1;
    // The same signature with the group's order added to its second half: valid for a lax verifier.
    let malleated = malleated(parts[2]);
    let other = Forge { key: SigningKey::from_bytes(&[5; 32]), header: json!({}), claims: json!({}) };
    vec![
        ("nothing".to_owned(), String::new()),
        ("two parts".to_owned(), format!("{}.{}", parts[0], parts[1])),
        ("four parts".to_owned(), format!("{right}.AAAA")),
        ("five parts".to_owned(), "a.b.c.d.e".to_owned()),
        ("no signature".to_owned(), format!("{}.{}.", parts[0], parts[1])),
        ("padded".to_owned(), format!("{right}=")),
        ("not base64".to_owned(), format!("{}.{}.%%%", parts[0], parts[1])),
        (
            "flipped signature".to_owned(),
            format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode(&flipped)),
        ),
        ("malleated signature".to_owned(), format!("{}.{}.{malleated}", parts[0], parts[1])),
        ("short signature".to_owned(), format!("{}.{}.{}", parts[0], parts[1], &parts[2][..40])),
        ("another key".to_owned(), other.signed(&header, &claims)),
        ("duplicate claim".to_owned(), forge.signed(&header, &twice(&claims, "sub", "\"x\""))),
        ("duplicate exp".to_owned(), forge.signed(&header, &twice(&claims, "exp", "99999999999"))),
        ("duplicate header".to_owned(), forge.signed(&twice(&header, "alg", "\"none\""), &claims)),
        ("nested".to_owned(), forge.signed(&header, &format!("\"{right}\""))),
        ("claims are no object".to_owned(), forge.signed(&header, "[]")),
        ("claims are no JSON".to_owned(), forge.signed(&header, "{")),
        ("11 KiB".to_owned(), forge.claim("acr", json!("a".repeat(8000)))),
        ("a space before".to_owned(), format!(" {right}")),
        ("header of another token".to_owned(), format!("{}.{}.{}", parts[1], parts[1], parts[2])),
    ]
}

fn malleated(signature: &str) -> String {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0;
    for (byte, add) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

async fn every_token_that_is_not_exactly_ours_is_refused(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let forge = Forge::of(&node, &person.tokens.access_token);
    let ask = async |token: &str| node.get("/v1/account").bearer_auth(token).send().await;
    // Positive control: the forge makes right tokens, so what is refused below is refused for what was changed.
    assert_eq!(ask(&forge.token()).await.unwrap().status(), StatusCode::OK);
    let mut wrong = wrong_headers(&forge);
    wrong.extend(wrong_claims(&forge));
    wrong.extend(wrong_texts(&forge, &person.tokens.access_token));
    wrong.push(("a refresh token".to_owned(), person.tokens.refresh_token.clone()));
    assert!(wrong.len() >= 40, "{}", wrong.len());
    for (what, token) in wrong {
        // What cannot even be sent as a header cannot arrive.
        let Ok(answer) = ask(&token).await else { continue };
        // An audience list that names us among others is a token for us too, but not one that we made.
        let problem = crate::support::problem(answer).await;
        assert_eq!(problem.code, Code::Unauthenticated, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_64_kib_is_refused_with_the_head_that_it_is_too_large_for() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let forge = Forge::of(&node, &person.tokens.access_token);
    let ask = async |token: &str| node.get("/v1/account").bearer_auth(token).send().await.unwrap();
    let long = |bytes: usize| forge.claim("acr", json!("a".repeat(bytes)));
    // What is signed well and is not too long is read, and is no token of ours.
    assert_problem(ask(&long(11 * 1024)).await, Code::Unauthenticated).await;
    assert_problem(ask(&long(12 * 1024)).await, Code::HeadTooLarge).await;
    let token = long(48 * 1024);
    assert!(token.len() >= 64 * 1024, "{}", token.len());
    // So much of a head is not even read, so the answer has no body.
    assert_eq!(ask(&token).await.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorization_header_is_one_bearer_token() {
    let node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let token = &person.tokens.access_token;
    let wrong = [
        None,
        Some(token.clone()),
        Some(format!("Basic {token}")),
        Some(format!("Bearer  {token}")),
        Some("Bearer".to_owned()),
        Some(String::new()),
    ];
    for value in wrong {
        let request = node.get("/v1/account");
        let request = value.iter().fold(request, |request, value| request.header("authorization", value));
        assert_problem(request.send().await.unwrap(), Code::Unauthenticated).await;
    }
    let twice = node.get("/v1/account").bearer_auth(token).header("authorization", format!("Bearer {token}"));
    assert_problem(twice.send().await.unwrap(), Code::Unauthenticated).await;
}

async fn a_token_expires_after_five_minutes_and_says_so(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    node.clock.pass(300);
    assert_eq!(person.get(&node, "/v1/account").await.status(), StatusCode::OK);
    node.clock.pass(6);
    assert_problem(person.get(&node, "/v1/account").await, Code::TokenExpired).await;
}

async fn a_token_of_another_server_is_refused(mode: Mode) {
    let (node, other) = (Node::start(mode).await, Node::start(mode).await);
    let person = Person::register(&other).await;
    assert_problem(person.get(&node, "/v1/account").await, Code::Unauthenticated).await;
}

async fn an_enrolment_token_opens_nothing_but_the_enrolment(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let answer = person.login(&node, &person.password, false).await;
    let login: lockstep_api::account::LoggedIn = crate::support::body(answer, StatusCode::OK).await;
    let token = login.enrol_token.unwrap();
    for path in ["/v1/account", "/v1/devices", "/v1/sessions", "/v1/streams"] {
        let answer = node.get(path).bearer_auth(&token).send().await.unwrap();
        assert_problem(answer, Code::VaultProofRequired).await;
    }
    let claim = lockstep_events::roster::Claim::DeviceRevoked { device: person.device };
    let body = lockstep_api::account::EnrolDevice { statement: person.state(&login.account, claim) };
    let vault = node.post("/v1/devices", &body).bearer_auth(&person.tokens.access_token);
    assert_problem(vault.send().await.unwrap(), Code::Forbidden).await;
    let wrong = node.post("/v1/devices", &body).bearer_auth(&token).send().await.unwrap();
    assert_problem(wrong, Code::InvalidField).await;
}
