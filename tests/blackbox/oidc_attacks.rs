//! A hostile identity provider, a hostile browser, a hostile fellow user: every trick is refused, and nothing is written
//! down but the refusal.

use std::collections::BTreeMap;

use lockstep_api::{
    Code, Problem,
    ways::{Identified, OidcFinish, OidcStart, OidcStarted},
};
use lockstep_events::{
    Position,
    log::{Contents, Filter},
};
use lockstepd::config::{Layer, Provider, Providers};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    Mode, Node, Person, body,
    idp::{CLIENT, Idp, Tricks, hs256, unsigned},
    ways::Initiator,
};

in_both_modes! {
    oidc_attack_suite_tokens, oidc_attack_suite_flows, oidc_attack_suite_links, oidc_attack_suite_discovery,
    oidc_attack_suite_redirects,
}

const VICTIM: &str = "248289761001";
const SECRET: &str = "a secret of the client";

fn provider(idp: &Idp) -> Provider {
    Provider {
        preset: None,
        issuer: Some(idp.url().to_owned()),
        tenant: None,
        client_id: CLIENT.to_owned(),
        client_secret: Some(SECRET.into()),
        apple: None,
        redirect: None,
    }
}

pub async fn node_with(mode: Mode, idps: &[(&str, &Idp)]) -> Node {
    let providers: BTreeMap<_, _> =
        idps.iter().map(|(name, idp)| ((*name).to_owned(), provider(idp))).collect();
    Node::start_with(mode, Layer { oidc: Some(Providers(providers)), ..Layer::default() }).await
}

/// A sign-in that was begun.
pub struct Flow {
    pub client: Initiator,
    pub url: String,
}

impl Flow {
    pub async fn start(node: &Node, provider: &str) -> Response {
        Self::ask(node, provider, &Initiator::new()).await
    }

    async fn ask(node: &Node, provider: &str, client: &Initiator) -> Response {
        let body = OidcStart { initiator: client.hash(), port: 49_152 };
        node.post(&format!("/v1/oidc/{provider}/start"), &body).send().await.unwrap()
    }

    pub async fn begin(node: &Node, provider: &str) -> Self {
        let client = Initiator::new();
        let started: OidcStarted = body(Self::ask(node, provider, &client).await, StatusCode::OK).await;
        Self { client, url: started.url }
    }

    pub async fn link(node: &Node, person: &Person, provider: &str) -> Self {
        let client = Initiator::new();
        let request = OidcStart { initiator: client.hash(), port: 49_152 };
        let answer = person.post(node, &format!("/v1/account/identities/{provider}/start"), &request).await;
        let started: OidcStarted = body(answer, StatusCode::OK).await;
        Self { client, url: started.url }
    }

    pub fn parameter(&self, name: &str) -> String {
        let url = url::Url::parse(&self.url).unwrap();
        url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
    }

    /// What comes back with a code.
    pub fn answer(&self, code: &str, iss: Option<&str>) -> OidcFinish {
        OidcFinish {
            secret: self.client.0.to_vec().into(),
            code: code.to_owned(),
            state: self.parameter("state"),
            iss: iss.map(str::to_owned),
        }
    }
}

pub async fn finish(node: &Node, answer: &OidcFinish) -> Response {
    node.post("/v1/oidc/finish", answer).send().await.unwrap()
}

/// What was written, besides what a server does whenever it is due.
pub async fn kinds(node: &Node) -> Vec<String> {
    let log = &node.running().server.log;
    let all = log.read_all(Position(0), 1000, &Filter::default(), Contents::No).await.unwrap();
    let own = ["system.signing_key_rotated", "admin.bootstrap_opened"];
    all.into_iter().map(|event| event.kind).filter(|kind| !own.contains(&kind.as_str())).collect()
}

/// A victim whose identity is linked, at a server that knows this provider.
struct Scene {
    node: Node,
    idp: Idp,
    victim: Person,
}

impl Scene {
    async fn set(mode: Mode) -> Self {
        let idp = Idp::start(Tricks::default()).await;
        let node = node_with(mode, &[("idp", &idp)]).await;
        let victim = Person::register(&node).await;
        let flow = Flow::link(&node, &victim, "idp").await;
        let answer = flow.answer(&idp.code(&flow.url, VICTIM), Some(idp.url()));
        let linked = victim.post(&node, "/v1/account/identities", &answer).await;
        assert_eq!(linked.status(), StatusCode::CREATED, "{}", linked.text().await.unwrap());
        Self { node, idp, victim }
    }

    async fn kinds(&self) -> Vec<String> {
        kinds(&self.node).await
    }

    /// Signs in with a provider that does this.
    async fn try_with(&self, tricks: Tricks) -> Response {
        self.idp.now(tricks);
        let flow = Flow::begin(&self.node, "idp").await;
        finish(&self.node, &flow.answer(&self.idp.code(&flow.url, VICTIM), Some(self.idp.url()))).await
    }

    /// Asserts that nothing came of an attack: no token, and no event but the refusal, if `written`.
    async fn refused(&self, name: &str, before: &[String], response: Response, written: bool) {
        let status = response.status();
        let problem: Problem =
            response.json().await.unwrap_or_else(|error| panic!("{name}: {status} {error}"));
        let refusals =
            [Code::LoginFailed, Code::AttemptExpired, Code::ProviderUnavailable, Code::InvalidField];
        assert!(refusals.contains(&problem.code), "{name}: {problem:?}");
        let after = self.kinds().await;
        let new = &after[before.len()..];
        let expected = vec!["system.oidc_rejected"; usize::from(written)];
        assert_eq!(new, expected, "{name}");
    }
}

fn claims(change: fn(&mut Value)) -> Tricks {
    Tricks { claims: Some(change), ..Tricks::default() }
}

fn sign(sign: fn(&crate::support::idp::Keys, Value, Value) -> String) -> Tricks {
    Tricks { sign: Some(sign), ..Tricks::default() }
}

/// Tokens that are wrong.
fn wrong_tokens() -> Vec<(&'static str, Tricks)> {
    vec![
        ("wrong nonce", claims(|c| c["nonce"] = json!("another"))),
        ("no nonce", claims(|c| c["nonce"] = Value::Null)),
        ("audience of another client", claims(|c| c["aud"] = json!("another"))),
        ("a further audience", claims(|c| c["aud"] = json!([CLIENT, "another"]))),
        ("another issuer in the token", claims(|c| c["iss"] = json!("https://evil.example"))),
        ("expired", claims(|c| c["exp"] = json!(1_000_000_000))),
        ("issued in the future", claims(|c| c["iat"] = json!(c["iat"].as_u64().unwrap() + 3600))),
        ("no expiry", claims(|c| c["exp"] = Value::Null)),
        ("alg none", sign(|_, _, claims| unsigned(&claims))),
        (
            "HS256 with the public key",
            sign(|keys, mut header, claims| {
                header["alg"] = json!("HS256");
                hs256(keys.public(), &header, &claims)
            }),
        ),
        (
            "HS256 with the client secret",
            sign(|_, mut header, claims| {
                header["alg"] = json!("HS256");
                hs256(SECRET.as_bytes(), &header, &claims)
            }),
        ),
        ("a key that is not in the set", sign(|keys, header, claims| keys.forged(&header, &claims))),
        (
            "a key that the token names itself",
            sign(|keys, mut header, claims| {
                header["jwk"] = json!({ "kty": "EC" });
                header["kid"] = json!("two");
                keys.forged(&header, &claims)
            }),
        ),
        (
            "a critical header",
            sign(|keys, mut header, claims| {
                header["crit"] = json!(["exp"]);
                keys.es256(&header, &claims)
            }),
        ),
        (
            "a changed signature",
            sign(|keys, header, claims| {
                let token = keys.es256(&header, &claims);
                format!("{}AAAA", &token[..token.len() - 4])
            }),
        ),
        ("no token at all", sign(|_, _, _| String::new())),
        (
            "the victim's address, verified",
            claims(|c| {
                c["sub"] = json!("666");
                c["email"] = json!("victim@example.org");
                c["email_verified"] = json!(true);
            }),
        ),
        (
            "the victim's address, not verified",
            claims(|c| {
                c["sub"] = json!("666");
                c["email"] = json!("victim@example.org");
                c["email_verified"] = json!(false);
            }),
        ),
    ]
}

async fn oidc_attack_suite_tokens(mode: Mode) {
    let scene = Scene::set(mode).await;
    // The control: the same without a trick is let in.
    let proof: Identified = body(scene.try_with(Tricks::default()).await, StatusCode::OK).await;
    assert_eq!(proof.account, scene.victim.account);
    let tokens = wrong_tokens();
    assert!(tokens.len() >= 17);
    for (name, tricks) in tokens {
        let before = scene.kinds().await;
        let response = scene.try_with(tricks).await;
        scene.refused(name, &before, response, true).await;
    }
    assert!(scene.try_with(Tricks::default()).await.status().is_success(), "the control at the end");
}

/// A hostile browser, or a fellow user, with the right provider.
async fn oidc_attack_suite_flows(mode: Mode) {
    let scene = Scene::set(mode).await;
    let (node, idp) = (&scene.node, &scene.idp);
    let iss = Some(idp.url());
    let evil = Some("https://evil.example");
    let careless = || idp.now(Tricks { careless: true, ..Tricks::default() });

    let (before, flow) = (scene.kinds().await, Flow::begin(node, "idp").await);
    let response = finish(node, &flow.answer(&idp.code(&flow.url, VICTIM), evil)).await;
    scene.refused("mixed-up issuer", &before, response, true).await;

    let (before, flow) = (scene.kinds().await, Flow::begin(node, "idp").await);
    let response = finish(node, &flow.answer(&idp.code(&flow.url, VICTIM), None)).await;
    scene.refused("issuer not named although it has to be", &before, response, true).await;

    let (flow, code) = {
        let flow = Flow::begin(node, "idp").await;
        let code = idp.code(&flow.url, VICTIM);
        (flow, code)
    };
    let answer = flow.answer(&code, iss);
    assert_eq!(finish(node, &answer).await.status(), StatusCode::OK);
    let before = scene.kinds().await;
    scene.refused("replayed answer", &before, finish(node, &answer).await, false).await;
    let again = Flow::begin(node, "idp").await;
    scene.refused("replayed code", &before, finish(node, &again.answer(&code, iss)).await, true).await;
    careless();
    let (before, again) = (scene.kinds().await, Flow::begin(node, "idp").await);
    let response = finish(node, &again.answer(&code, iss)).await;
    scene.refused("replayed code at a careless provider", &before, response, true).await;

    // The victim's code, brought to a flow of the attacker's.
    let (before, victims, attackers) =
        (scene.kinds().await, Flow::begin(node, "idp").await, Flow::begin(node, "idp").await);
    let stolen = idp.code(&victims.url, VICTIM);
    let response = finish(node, &attackers.answer(&stolen, iss)).await;
    scene.refused("code injection at a careless provider", &before, response, true).await;
    idp.now(Tricks::default());
    let (before, attackers) = (scene.kinds().await, Flow::begin(node, "idp").await);
    let response = finish(node, &attackers.answer(&stolen, iss)).await;
    scene.refused("code injection", &before, response, true).await;

    // The victim's whole answer, without the victim's secret.
    let (before, flow) = (scene.kinds().await, Flow::begin(node, "idp").await);
    let mut answer = flow.answer(&idp.code(&flow.url, VICTIM), iss);
    answer.secret = Initiator::new().0.to_vec().into();
    scene.refused("an answer without its owner's secret", &before, finish(node, &answer).await, false).await;

    let (before, mine, other) =
        (scene.kinds().await, Flow::begin(node, "idp").await, Flow::begin(node, "idp").await);
    let mut answer = mine.answer(&idp.code(&mine.url, VICTIM), iss);
    answer.state = other.parameter("state");
    scene.refused("state of another browser", &before, finish(node, &answer).await, true).await;

    let (before, flow) = (scene.kinds().await, Flow::begin(node, "idp").await);
    node.clock.pass(601);
    let response = finish(node, &flow.answer(&idp.code(&flow.url, VICTIM), iss)).await;
    scene.refused("after ten minutes", &before, response, false).await;

    let (before, answer) = (scene.kinds().await, flow.answer(&"x".repeat(5000), iss));
    scene.refused("a code that is none", &before, finish(node, &answer).await, false).await;
}

/// The links: an identity of somebody else, a flow of somebody else, a sign-in turned into a link and back.
async fn oidc_attack_suite_links(mode: Mode) {
    let scene = Scene::set(mode).await;
    let (node, idp, iss) = (&scene.node, &scene.idp, Some(scene.idp.url()));
    let attacker = Person::register(node).await;
    let link = async |flow: &Flow, subject: &str, person: &Person| {
        let answer = flow.answer(&idp.code(&flow.url, subject), iss);
        person.post(node, "/v1/account/identities", &answer).await
    };

    let (flow, before) = (Flow::link(node, &attacker, "idp").await, scene.kinds().await);
    let response = link(&flow, VICTIM, &attacker).await;
    scene.refused("an identity of somebody else", &before, response, true).await;

    // The attacker begins, the victim ends: the identity must not become the attacker's, nor the other way round.
    let (flow, before) = (Flow::link(node, &attacker, "idp").await, scene.kinds().await);
    let response = link(&flow, "777", &scene.victim).await;
    scene.refused("a link that another account began", &before, response, true).await;

    let (flow, before) = (Flow::begin(node, "idp").await, scene.kinds().await);
    let response = link(&flow, "777", &attacker).await;
    scene.refused("a sign-in that becomes a link", &before, response, true).await;

    let (flow, before) = (Flow::link(node, &attacker, "idp").await, scene.kinds().await);
    let response = finish(node, &flow.answer(&idp.code(&flow.url, VICTIM), iss)).await;
    scene.refused("a link that becomes a sign-in", &before, response, true).await;

    // The same subject at another provider is somebody else.
    let evil = Idp::start(Tricks::default()).await;
    let both = node_with(mode, &[("idp", idp), ("evil", &evil)]).await;
    let owner = Person::register(&both).await;
    let flow = Flow::link(&both, &owner, "idp").await;
    let answer = flow.answer(&idp.code(&flow.url, VICTIM), iss);
    assert_eq!(owner.post(&both, "/v1/account/identities", &answer).await.status(), StatusCode::CREATED);
    let flow = Flow::begin(&both, "evil").await;
    let response = finish(&both, &flow.answer(&evil.code(&flow.url, VICTIM), Some(evil.url()))).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

/// A provider that describes itself wrongly is asked for nothing more.
async fn oidc_attack_suite_discovery(mode: Mode) {
    fn about(field: &'static str, value: String) -> Tricks {
        let change = move |_: &str, document: &mut Value| document[field] = json!(value);
        Tricks { about: Some(Box::new(change)), ..Tricks::default() }
    }
    let inside = Idp::start(Tricks::default()).await;
    let behind = |url: &str, document: &mut Value| document["issuer"] = json!(format!("{url}/"));
    let attacks = [
        ("another issuer", about("issuer", "https://evil.example".into())),
        (
            "the issuer with something behind it",
            Tricks { about: Some(Box::new(behind)), ..Tricks::default() },
        ),
        ("keys inside the network", about("jwks_uri", format!("{}/jwks", inside.url()))),
        ("keys at the metadata service", about("jwks_uri", "https://169.254.169.254/jwks".into())),
        ("keys behind a name of this machine", about("jwks_uri", "https://localhost/jwks".into())),
        ("keys in a file", about("jwks_uri", "file:///etc/passwd".into())),
        ("ten megabytes", Tricks { padding: 10 << 20, ..Tricks::default() }),
        ("a redirect", Tricks { moved: true, ..Tricks::default() }),
        ("no answer", Tricks { silent: true, ..Tricks::default() }),
    ];
    // Where the code would be sent in the open, or inside the network: that is met with the code.
    let endpoints = ["http://tokens.example.org/token", "https://10.0.0.7/token"];
    let (mut idps, mut names) = (Vec::new(), Vec::new());
    for (name, tricks) in attacks {
        idps.push(Idp::start(tricks).await);
        names.push(name);
    }
    let met_at_once = idps.len();
    for endpoint in endpoints {
        idps.push(Idp::start(about("token_endpoint", endpoint.to_owned())).await);
        names.push(endpoint);
    }
    let called: Vec<String> = (0..idps.len()).map(|n| format!("idp{n}")).collect();
    let all: Vec<_> = called.iter().map(String::as_str).zip(&idps).collect();
    let node = node_with(mode, &all).await;
    for (name, (provider, idp)) in names.iter().zip(&all[..met_at_once]) {
        let response = Flow::start(&node, provider).await;
        let status = response.status();
        let problem: Problem = response.json().await.unwrap();
        assert_eq!(problem.code, Code::ProviderUnavailable, "{name}: {status} {problem:?}");
        assert_eq!(idp.asked(), ["about"], "{name}");
        assert!(kinds(&node).await.is_empty(), "{name}");
    }
    assert!(inside.asked().is_empty(), "somebody inside the network was asked: {:?}", inside.asked());
    for (name, (provider, idp)) in names.iter().zip(&all).skip(met_at_once) {
        let flow = Flow::begin(&node, provider).await;
        let response = finish(&node, &flow.answer(&idp.code(&flow.url, VICTIM), Some(idp.url()))).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{name}");
    }
}

/// The redirect URI is exactly one, and nothing that looks like it leads anywhere.
async fn oidc_attack_suite_redirects(mode: Mode) {
    let scene = Scene::set(mode).await;
    let flow = Flow::begin(&scene.node, "idp").await;
    assert_eq!(flow.parameter("redirect_uri"), "http://127.0.0.1:49152/callback");
    let state = flow.parameter("state");
    let right = format!("/v1/oidc/callback?state={state}&code=c");
    let url = format!("{}{right}", scene.node.running().url);
    let browser =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let sent_on = browser.get(&url).send().await.unwrap();
    assert_eq!(sent_on.status(), StatusCode::SEE_OTHER);
    let place = sent_on.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(place, format!("http://127.0.0.1:49152/callback?code=c&state={state}"));
    let tricks = [
        format!("/v1/oidc/callback/?state={state}&code=c"),
        format!("/v1/oidc/callback/..%2fcallback?state={state}&code=c"),
        format!("/v1/oidc/callback.evil.example?state={state}&code=c"),
        format!("/v1/oidc/callback%00?state={state}&code=c"),
        format!("/v1/oidc/CALLBACK?state={state}&code=c"),
        format!("/v1//oidc/callback?state={state}&code=c"),
        format!("/v1/oidc/callback@evil.example?state={state}&code=c"),
        format!("/v1/oidc/callback?state={state}&state={state}&code=c"),
        "/v1/oidc/callback?state=another&code=c".to_owned(),
        "/v1/oidc/callback?code=c&redirect_uri=https://evil.example".to_owned(),
    ];
    for trick in tricks {
        let answer = browser.get(format!("{}{trick}", scene.node.running().url)).send().await.unwrap();
        let status = answer.status().as_u16();
        assert!(
            [404, 405].contains(&status) && !answer.headers().contains_key("location"),
            "{trick}: {status}"
        );
    }
    let sneaky =
        browser.get(format!("{url}&next=https://evil.example%0d%0aset-cookie:x")).send().await.unwrap();
    assert_eq!(sneaky.headers()["location"], place.as_str());
    for body in [
        json!({ "initiator": flow.client.hash(), "port": 80 }),
        json!({ "initiator": flow.client.hash(),
        "port": 49152, "redirect_uri": "https://evil.example" }),
    ] {
        let answer = scene.node.post("/v1/oidc/idp/start", &body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}
