//! A passkey, in a browser on this machine: the server's page asks the browser for it, and brings the answer back to this
//! program (RFC 8252). What is asked stands in the fragment of the address, which no browser sends to a server.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_api::{
    Bytes64, Code, Problem,
    factor::{Demanded, MadePasskey, NewPasskey, Shown},
};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::loopback::{Loopback, parameter};
use crate::{crypto::os_random, error::Error};

/// The server waits for an answer so long.
const LIFE: Duration = Duration::from_mins(5);

/// What the page is told.
#[derive(Serialize)]
struct Asked<'a> {
    /// Where this program listens.
    port: u16,
    /// Comes back with the answer.
    state: &'a str,
    challenge: &'a Bytes64,
    relying_party: &'a str,
    /// Those that may be shown, or of which none may be made again.
    passkeys: &'a [Bytes64],
    /// For a new one: whose it is, and what the authenticator may call them.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a Bytes64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithms: Option<&'a [i64]>,
}

/// What the page brings: the whole of one of the two, or the name of the browser's error.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Brought {
    error: Option<String>,
    client_data: Option<Bytes64>,
    attestation: Option<Bytes64>,
    credential: Option<Bytes64>,
    authenticator_data: Option<Bytes64>,
    signature: Option<Bytes64>,
}

/// A passkey that is being asked for.
pub struct AskingPasskey {
    loopback: Loopback,
    state: String,
    url: String,
    attempt: Uuid,
}

impl AskingPasskey {
    /// Asks for a new one; the authenticator may call the account by `name`.
    ///
    /// # Errors
    /// If the server names a page of somebody else, or this program cannot listen.
    pub async fn make(new: &NewPasskey, name: &str) -> Result<Self, Error> {
        let (user, algorithms) = (Some(&new.user), Some(&new.algorithms[..]));
        let asked = Asked {
            port: 0,
            state: "",
            challenge: &new.challenge,
            relying_party: &new.relying_party,
            passkeys: &new.exclude,
            user,
            name: Some(name),
            algorithms,
        };
        Self::ask(&new.page, asked, new.attempt).await
    }

    /// Asks for one that the server demands.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub async fn show(demanded: &Demanded) -> Result<Self, Error> {
        let asked = Asked {
            port: 0,
            state: "",
            challenge: &demanded.challenge,
            relying_party: &demanded.relying_party,
            passkeys: &demanded.passkeys,
            user: None,
            name: None,
            algorithms: None,
        };
        Self::ask(&demanded.page, asked, demanded.attempt).await
    }

    async fn ask(page: &str, asked: Asked<'_>, attempt: Uuid) -> Result<Self, Error> {
        check_page(page, asked.relying_party)?;
        let loopback = Loopback::listen().await?;
        let mut secret = [0; 32];
        os_random().fill_bytes(&mut secret);
        let state = URL_SAFE_NO_PAD.encode(secret);
        let asked = Asked { port: loopback.port(), state: &state, ..asked };
        let text = serde_json::to_string(&asked).map_err(|_| Error::Invalid("not to be written as JSON"))?;
        let mut url = reqwest::Url::parse(page).map_err(|_| Error::Protocol("a page without an address"))?;
        url.set_fragment(Some(&encoded(&text)));
        Ok(Self { loopback, state, url: url.into(), attempt })
    }

    /// What a browser on this machine has to open.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits for the new passkey.
    ///
    /// # Errors
    /// If nobody came within five minutes, or the browser cannot make one.
    pub async fn made(self) -> Result<MadePasskey, Error> {
        let attempt = self.attempt;
        let Brought { client_data: Some(client_data), attestation: Some(attestation), .. } =
            self.answer().await?
        else {
            return Err(INCOMPLETE);
        };
        Ok(MadePasskey { attempt, client_data, attestation })
    }

    /// Waits for the passkey that is shown.
    ///
    /// # Errors
    /// As [`Self::made`].
    pub async fn shown(self) -> Result<Shown, Error> {
        let Brought {
            credential: Some(credential),
            client_data: Some(client_data),
            authenticator_data: Some(authenticator_data),
            signature: Some(signature),
            ..
        } = self.answer().await?
        else {
            return Err(INCOMPLETE);
        };
        Ok(Shown::Passkey { credential, client_data, authenticator_data, signature })
    }

    async fn answer(self) -> Result<Brought, Error> {
        let took = self.loopback.take(|target| brought(target, &self.state));
        let expired =
            || Error::Refused { problem: Box::new(Problem::new(Code::AttemptExpired)), retry_after: None };
        let answer = tokio::time::timeout(LIFE, took).await.map_err(|_| expired())??;
        match answer.error.as_deref() {
            None => Ok(answer),
            Some("InvalidStateError") => {
                Err(Error::Invalid("this authenticator has a passkey of the account already"))
            }
            Some("SecurityError") => Err(Error::Invalid(
                "the browser asks for no passkey on that page: the server's passkey_domain and passkey_origins do not \
                 fit its address, or its certificate is not one that the browser trusts",
            )),
            Some(_) => Err(Error::Invalid("the browser cannot ask for a passkey")),
        }
    }
}

const INCOMPLETE: Error = Error::Invalid("the browser brought half an answer");

/// A page of the domain that the passkey is for, and of nobody else, over TLS unless it is this machine's own.
fn check_page(page: &str, relying_party: &str) -> Result<(), Error> {
    let foreign = Error::Protocol("a page of another domain than the passkey's");
    let Ok(url) = reqwest::Url::parse(page) else { return Err(foreign) };
    let Some(host) = url.host_str() else { return Err(foreign) };
    let own = host == relying_party || host.ends_with(&format!(".{relying_party}"));
    let safe = url.scheme() == "https" || (url.scheme() == "http" && host == "localhost");
    let plain = url.username().is_empty() && url.fragment().is_none() && !relying_party.is_empty();
    if own && safe && plain { Ok(()) } else { Err(foreign) }
}

/// As `decodeURIComponent` reads it.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let letter = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(letter).collect()
}

/// What a request brings, if it is the answer to what was asked.
fn brought(target: &str, sent: &str) -> Option<Result<Brought, Error>> {
    let url = format!("http://127.0.0.1{target}");
    if !target.starts_with("/passkey?") || parameter(&url, "state")? != sent {
        return None;
    }
    let answer = parameter(&url, "answer").and_then(|text| serde_json::from_str(&text).ok());
    Some(answer.ok_or(Error::Invalid("the browser brought no answer")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demanded(page: &str) -> Demanded {
        Demanded {
            attempt: Uuid::from_u128(7),
            kinds: Vec::new(),
            challenge: Bytes64(vec![255; 32]),
            relying_party: "vault.example.org".to_owned(),
            passkeys: vec![Bytes64(vec![1])],
            page: page.to_owned(),
        }
    }

    #[tokio::test]
    async fn the_page_is_told_what_to_ask_and_not_what_the_answer_is_for() {
        let asking = AskingPasskey::show(&demanded("https://vault.example.org/passkey")).await.unwrap();
        let url = reqwest::Url::parse(asking.url()).unwrap();
        assert_eq!((url.path(), url.query()), ("/passkey", None));
        let text = format!("?{}", url.fragment().unwrap());
        let told: String =
            reqwest::Url::parse(&format!("http://x/{text}")).unwrap().query_pairs().next().unwrap().0.into();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["relying_party"], "vault.example.org");
        assert_eq!(told["state"].as_str().unwrap().len(), 43);
        assert!(!told.to_string().contains(&asking.attempt.to_string()), "{told}");
    }

    #[tokio::test]
    async fn a_page_of_somebody_else_or_in_the_open_is_not_opened() {
        let wrong = [
            "https://evil.example/passkey",
            "https://vault.example.org.evil.example/passkey",
            "https://evilvault.example.org/passkey",
            "http://vault.example.org/passkey",
            "https://vault.example.org@evil.example/passkey",
            "file:///etc/passwd",
            "",
        ];
        for page in wrong {
            assert!(matches!(AskingPasskey::show(&demanded(page)).await, Err(Error::Protocol(_))), "{page}");
        }
        for page in ["https://vault.example.org:8443/passkey", "https://login.vault.example.org/passkey"] {
            assert!(AskingPasskey::show(&demanded(page)).await.is_ok(), "{page}");
        }
    }

    #[test]
    fn only_an_answer_with_the_state_that_was_sent_counts() {
        for target in
            ["/passkey?answer={}&state=other", "/passkey?answer={}", "/callback?state=s&answer={}", "/"]
        {
            assert!(brought(target, "s").is_none(), "{target}");
        }
        let right =
            brought("/passkey?state=s&answer=%7B%22client_data%22:%22AQ==%22%7D", "s").unwrap().unwrap();
        assert_eq!(right.client_data, Some(Bytes64(vec![1])));
        for answer in ["", "7", "%7B%22more%22:1%7D"] {
            assert!(brought(&format!("/passkey?state=s&answer={answer}"), "s").unwrap().is_err(), "{answer}");
        }
    }
}
