//! Letters by SMTP: over TLS from the first byte, or by STARTTLS that must succeed.
//!
//! Every letter has a connection of its own, which ends with it: one that was given up in the middle of a letter must
//! never carry another, whose commands would be answered with what the first one still had to hear.

use std::{io::ErrorKind, path::Path, time::Duration};

use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::Mailbox,
    transport::smtp::{
        client::{Certificate, Tls, TlsParameters},
        response::{Category, Code, Severity},
    },
};
use tokio::time::timeout;
use url::Url;

use super::mime::{message, sender};
use crate::mail::{Letter, MailError, Mailer, PATIENCE};

/// Hands letters to an SMTP server.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    /// A letter takes no longer, from the connection to the last answer: a server that takes a connection and then says
    /// nothing is as good as away.
    patience: Duration,
}

impl Smtp {
    /// A mailer for `smtp://`, `smtps://` or `smtp+plain://`, from this sender. An authority in a PEM file is trusted
    /// besides the public ones.
    ///
    /// # Errors
    /// [`MailError::Options`], without a word of the URL, which may hold a password.
    pub fn new(url: &str, from: &str, authority: Option<&Path>) -> Result<Self, MailError> {
        let from = sender(from)?;
        let parsed = Url::parse(url).map_err(|_| MailError::Options("mail: not a URL"))?;
        let host = parsed.host_str().ok_or(MailError::Options("mail: the URL names no host"))?;
        let (tls, port) = match parsed.scheme() {
            "smtp" => (Tls::Required(parameters(host, authority)?), 587),
            "smtps" => (Tls::Wrapper(parameters(host, authority)?), 465),
            "smtp+plain" if parsed.password().is_some() => {
                return Err(MailError::Options("mail: a password is never sent without TLS"));
            }
            "smtp+plain" => (Tls::None, 25),
            _ => {
                return Err(MailError::Options("mail: folder, smtp://, smtps:// or smtp+plain:// is needed"));
            }
        };
        let (_, rest) = url.split_once("://").unwrap_or_default();
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&format!("smtp://{rest}"))
            .map_err(|_| MailError::Options("mail: the URL cannot be used"))?;
        let transport = builder
            .port(parsed.port().unwrap_or(port))
            .tls(tls)
            // This is for the connection alone, once for each address of the host.
            .timeout(Some(PATIENCE))
            .build();
        Ok(Self { transport, from, patience: PATIENCE })
    }
}

fn parameters(host: &str, authority: Option<&Path>) -> Result<TlsParameters, MailError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(file) = authority {
        let unusable = |source| MailError::File { what: "mail_ca: not a readable PEM file", source };
        let pem = std::fs::read(file).map_err(unusable)?;
        let certificate = Certificate::from_pem(&pem).map_err(|_| unusable(ErrorKind::InvalidData.into()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|_| MailError::Options("mail: TLS cannot be set up for this host"))
}

#[async_trait]
impl Mailer for Smtp {
    async fn send(&self, letter: &Letter) -> Result<(), MailError> {
        let message = message(&self.from, letter)?;
        let answer = timeout(self.patience, self.transport.send(message)).await;
        let answer = answer.map_err(|_| MailError::Passing("the mail server took too long".into()))?;
        answer.map(|_| ()).map_err(|error| {
            let what = why(&error);
            if error.status().is_some_and(about_the_letter) {
                MailError::Refused(what.into())
            } else {
                MailError::Passing(what.into())
            }
        })
    }
}

/// What is in the way, and where to look. An answer of the server may repeat the address; its code says enough.
fn why(error: &lettre::transport::smtp::Error) -> String {
    if let Some(code) = error.status() {
        return code.to_string();
    }
    let what = match refused_tls(error) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "its certificate is not trusted: mail_ca names the authority that made it"
        }
        Some(_) => "no TLS can be agreed on",
        None if error.is_client() => {
            "it offers no STARTTLS, or no way to log in that is known here: smtps:// is TLS from the first byte"
        }
        None if error.is_timeout() => "it took too long",
        None => "no connection",
    };
    what.to_owned()
}

/// What TLS says among the causes of an error, if it does.
fn refused_tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error does not name what it wraps as its source.
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

/// Whether an answer refuses this letter for good. A refused password is no fault of the letter: somebody corrects it.
fn about_the_letter(code: Code) -> bool {
    code.severity == Severity::PermanentNegativeCompletion && code.category == Category::MailSystem
}

#[cfg(test)]
mod tests {
    use lockstep_events::AccountId;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::mail::letter::farewell;

    #[test]
    fn a_password_never_goes_over_a_plain_connection_and_errors_do_not_show_it() {
        let refused = [
            "smtp+plain://ada:hunter2@mail.example",
            "ftp://ada:hunter2@mail.example",
            "ada:hunter2",
            "smtp:hunter2",
        ];
        for url in refused {
            let error = Smtp::new(url, "a@b.example", None).err().unwrap().to_string();
            assert!(error.starts_with("mail: ") && !error.contains("hunter2"), "{error}");
        }
        assert!(Smtp::new("smtps://mail.example", "nobody", None).is_err());
    }

    #[tokio::test]
    async fn a_server_that_takes_the_connection_and_says_nothing_is_away_and_its_connection_ends() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp+plain://{}", silent.local_addr().unwrap());
        let smtp =
            Smtp { patience: Duration::from_millis(200), ..Smtp::new(&url, "a@b.example", None).unwrap() };
        let letter = farewell((AccountId::NIL, "one"), "ada@example.org");
        let (sent, taken) = tokio::join!(smtp.send(&letter), silent.accept());
        assert!(matches!(sent, Err(MailError::Passing(_))), "{sent:?}");
        let (mut taken, _) = taken.unwrap();
        assert_eq!(taken.read(&mut [0; 64]).await.unwrap(), 0, "the connection is kept");
    }
}
