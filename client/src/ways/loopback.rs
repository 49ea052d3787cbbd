//! The end of a redirect on this machine (RFC 8252): one answer is taken, with the state that was sent; everything else
//! that knocks is sent away.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::error::{Error, NotProven};

/// A request is at most so long.
const MAX_REQUEST: usize = 16 * 1024;
/// A browser that says nothing for so long is none.
const SAYS: Duration = Duration::from_secs(5);

const DONE: &str = "<p>You can close this page: Lockstep goes on where you started it.</p>";
const NOTHING: &str = "<p>There is nothing here.</p>";

/// Where the browser comes back to.
pub struct Loopback {
    listener: TcpListener,
    port: u16,
}

/// What the browser brought.
#[derive(Debug, PartialEq, Eq)]
pub struct Brought {
    pub code: String,
    pub state: String,
    pub iss: Option<String>,
}

impl Loopback {
    /// Listens on a free port of this machine.
    pub async fn listen() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the answer to this request.
    pub async fn answer(&self, request: &str) -> Result<Brought, Error> {
        let sent = parameter(request, "state").ok_or(Error::Protocol("a sign-in without a state"))?;
        self.take(|target| brought(target, &sent)).await
    }

    /// Waits for a request whose target brings what is waited for.
    pub async fn take<T>(&self, brought: impl Fn(&str) -> Option<Result<T, Error>>) -> Result<T, Error> {
        loop {
            let (mut browser, _) = self.listener.accept().await?;
            let target = tokio::time::timeout(SAYS, target(&mut browser)).await.ok().flatten();
            match target.and_then(|target| brought(&target)) {
                Some(result) => {
                    reply(&mut browser, "200 OK", DONE).await;
                    return result;
                }
                None => reply(&mut browser, "404 Not Found", NOTHING).await,
            }
        }
    }
}

/// The target of a `GET`; none for anything else.
async fn target(browser: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut piece = [0; 2048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = browser.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&piece[..read]);
        if request.len() > MAX_REQUEST {
            return None;
        }
    }
    let text = String::from_utf8(request).ok()?;
    let mut words = text.lines().next()?.split(' ');
    (words.next()? == "GET").then(|| words.next().map(str::to_owned))?
}

/// What a request to the callback brings, if it is the answer to what was sent.
fn brought(target: &str, sent: &str) -> Option<Result<Brought, Error>> {
    let url = format!("http://127.0.0.1{target}");
    if !target.starts_with("/callback?") || parameter(&url, "state")? != sent {
        return None;
    }
    let Some(code) = parameter(&url, "code") else { return Some(Err(Error::NotProven(NotProven::Provider))) };
    Some(Ok(Brought { code, state: sent.to_owned(), iss: parameter(&url, "iss") }))
}

/// A parameter of a URL that stands there once.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).ok()?;
    let mut all = url.query_pairs().filter(|(key, _)| key == name);
    match (all.next(), all.next()) {
        (Some((_, value)), None) => Some(value.into_owned()),
        _ => None,
    }
}

async fn reply(browser: &mut TcpStream, status: &str, body: &str) {
    let html = format!("<!doctype html><meta charset=\"utf-8\"><title>Lockstep</title>{body}");
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\n\
         content-security-policy: default-src 'none'\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{html}",
        html.len()
    );
    // The browser may have left; its answer is here all the same.
    let _ = browser.write_all(text.as_bytes()).await;
    let _ = browser.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_with_the_state_that_was_sent_counts() {
        let right = brought("/callback?code=a%20b&state=s&iss=https%3A%2F%2Fi", "s").unwrap().unwrap();
        let iss = Some("https://i".to_owned());
        assert_eq!(right, Brought { code: "a b".into(), state: "s".into(), iss });
        let ignored = [
            "/callback?code=a&state=t",
            "/callback?code=a",
            "/favicon.ico",
            "/callback/x?code=a&state=s",
            "/callback?code=a&state=s&state=s",
            "/callback",
        ];
        for target in ignored {
            assert!(brought(target, "s").is_none(), "{target}");
        }
        assert!(brought("/callback?error=access_denied&state=s", "s").unwrap().is_err());
    }

    #[tokio::test]
    async fn whoever_knocks_without_the_state_is_sent_away_and_the_answer_still_arrives() {
        let loopback = Loopback::listen().await.unwrap();
        let port = loopback.port();
        let knock = move |target: &'static str| async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let browser = async {
            assert!(knock("/callback?code=evil&state=other").await.starts_with("HTTP/1.1 404"));
            assert!(knock("/callback?code=good&state=mine").await.starts_with("HTTP/1.1 200"));
        };
        let (answer, ()) = tokio::join!(loopback.answer("https://idp/authorize?state=mine"), browser);
        assert_eq!(answer.unwrap().code, "good");
    }
}
