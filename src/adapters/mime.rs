//! Letters as messages (RFC 5322), the same for every mailer.

use lettre::{
    Message,
    message::{Mailbox, MultiPart},
};

use crate::mail::{Letter, MailError};

/// A sender as the options name it.
///
/// # Errors
/// If it is not an address, with or without a name before it.
pub fn sender(from: &str) -> Result<Mailbox, MailError> {
    from.parse()
        .map_err(|_| MailError::Options("mail_from: not an address like \"Lockstep <vault@example.org>\""))
}

/// The letter as it crosses the wire.
///
/// # Errors
/// If the receiver's address cannot be written.
pub fn message(from: &Mailbox, letter: &Letter) -> Result<Message, MailError> {
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| MailError::Refused(error);
    let domain = from.email.domain();
    Message::builder()
        .from(from.clone())
        // Not the parser's own words: they repeat the address.
        .to(letter.to.parse().map_err(|_| refused("not an address".into()))?)
        .subject(letter.subject)
        .message_id(Some(format!("<{}@{domain}>", letter.id)))
        .multipart(MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone()))
        .map_err(|error| refused(Box::new(error)))
}
