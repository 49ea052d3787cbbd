//! Letters: what is said, once, and both of its forms — plain text and HTML — made from it.

use std::fmt::{self, Write};

use lockstep_events::{AccountId, Micros, event::AskedBy};

use super::outbox::About;

/// About whose account a letter is, and its id.
type Of<'a> = (AccountId, &'a str);

/// A letter. Neither its address nor its text is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// Whose account it is about, whoever has the address.
    pub account: AccountId,
    /// Names the letter: the same for the same task, so that a receiver can tell a repetition.
    pub id: String,
    /// The address.
    pub to: String,
    /// The subject line.
    pub subject: &'static str,
    /// As plain text.
    pub text: String,
    /// As HTML, without anything that is loaded from elsewhere.
    pub html: String,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// A piece of a letter.
enum Part<'a> {
    Says(&'a str),
    /// Words to compare.
    Words(&'a str),
    /// Something to open.
    Link {
        label: &'a str,
        url: &'a str,
    },
}

use Part::{Link, Says, Words};

/// Text as HTML shows it.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn text(parts: &[Part<'_>]) -> String {
    let mut out = String::new();
    for part in parts {
        // Writing to a string does not fail.
        let _ = match part {
            Says(words) => write!(out, "{words}\n\n"),
            Words(words) => write!(out, "    {words}\n\n"),
            Link { label, url } => write!(out, "{label}:\n{url}\n\n"),
        };
    }
    out.push_str("-- \nLockstep\n");
    out
}

fn html(subject: &str, parts: &[Part<'_>]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title></head>\
         <body style=\"font-family:sans-serif;max-width:36em;line-height:1.5\"><h1 style=\"font-size:1.2em\">{0}</h1>\n",
        escaped(subject)
    );
    for part in parts {
        let _ = match part {
            Says(words) => writeln!(out, "<p>{}</p>", escaped(words)),
            Words(words) => {
                writeln!(out, "<p style=\"font-size:1.6em\"><strong>{}</strong></p>", escaped(words))
            }
            Link { label, url } => {
                let url = escaped(url);
                writeln!(out, "<p><a href=\"{url}\">{}</a><br><small>{url}</small></p>", escaped(label))
            }
        };
    }
    out.push_str("<p><small>Lockstep</small></p></body></html>\n");
    out
}

fn letter((account, id): Of<'_>, to: &str, subject: &'static str, parts: &[Part<'_>]) -> Letter {
    let (text, html) = (text(parts), html(subject, parts));
    Letter { account, id: id.to_owned(), to: to.to_owned(), subject, text, html }
}

/// The letter with a sign-in link.
pub fn sign_in(of: Of<'_>, to: &str, words: &str, url: &str) -> Letter {
    let parts = [
        Says("Somebody, we hope you, asked to sign in to Lockstep with this address."),
        Says("Open the link only if the program where you asked shows these two words:"),
        Words(words),
        Link { label: "Sign in", url },
        Says(
            "The link works once, within ten minutes, for the program that asked and for nothing else. \
             If it was not you, do nothing: nobody has got in.",
        ),
    ];
    letter(of, to, "Your sign-in link", &parts)
}

/// The letter that asks an address for its confirmation.
pub fn confirm(of: Of<'_>, to: &str, words: &str, url: &str) -> Letter {
    let parts = [
        Says("Somebody, we hope you, named this address as that of a Lockstep account."),
        Says("Confirm it only if your program shows these two words:"),
        Words(words),
        Link { label: "Confirm this address", url },
        Says("If it was not you, do nothing: the address will not be used."),
    ];
    letter(of, to, "Confirm your address", &parts)
}

/// The letter that tells a person what happened to the account.
pub fn notice(of: Of<'_>, to: &str, about: About) -> Letter {
    notice_before(of, to, about, (None, None))
}

/// The same with when something is going to happen, and who asked for it.
pub fn notice_before(
    of: Of<'_>,
    to: &str,
    about: About,
    (due, by): (Option<Micros>, Option<AskedBy>),
) -> Letter {
    let ordered = by == Some(AskedBy::Administrator);
    let (subject, what, else_do) = told(about, ordered);
    let due = due.map(|due| format!("It begins at {}, and can be called off until then.", minute(due)));
    let mut parts = vec![Says(what)];
    parts.extend(due.as_deref().map(Says));
    let may_be_own = !ordered && about != About::NameGivenUp;
    parts.extend(may_be_own.then_some(Says("If it was you, there is nothing to do.")));
    parts.push(Says(else_do));
    letter(of, to, subject, &parts)
}

/// Subject, what happened, and what to do about it.
fn told(about: About, ordered: bool) -> (&'static str, &'static str, &'static str) {
    match about {
        About::DeviceAdded => (
            "A device was added to your account",
            "A new device was added to your Lockstep account. It can read your vault.",
            "If it was not you: revoke it from another device (lockstep devices), then change your password.",
        ),
        About::PasswordChanged => (
            "Your password was changed",
            "The password of your Lockstep account was changed. Other sessions have ended.",
            "If it was not you: use your recovery code now.",
        ),
        About::Recovered => (
            "The recovery code of your account was used",
            "Somebody has opened your Lockstep account with its recovery code: it has another password now, second factors \
             are no longer asked for, other sessions have ended, and the code is used up.",
            "If it was not you: your other devices still hold your entries (lockstep export --offline, on one of them). Then \
             ask whoever runs the server to disable the account.",
        ),
        About::RecoverySet => (
            "Your account has a new recovery code",
            "A new recovery code was made for your Lockstep account. The one before, if there was one, opens nothing any more.",
            "If it was not you: change your password, look through your devices (lockstep devices), and make a recovery code \
             of your own (lockstep recovery new).",
        ),
        About::FactorSet => (
            "A second factor was added",
            "Something more is asked for from now on when somebody logs in to your Lockstep account: a code of an app, a \
             passkey, or a code on paper.",
            "If it was not you: change your password from a device that is logged in, and look through lockstep factors.",
        ),
        About::FactorRemoved => (
            "A second factor was removed",
            "A second factor of your Lockstep account was removed.",
            "If it was not you: change your password, and set it again (lockstep factors).",
        ),
        About::AddressAsked => (
            "Another address was named for your account",
            "Another address was named for your Lockstep account. It counts as soon as it is confirmed there.",
            "If it was not you: log in, name your own address again, and change your password.",
        ),
        About::AddressChanged => (
            "The address of your account was changed",
            "Your Lockstep account has another address from now on. Nothing more is sent to this one, and for seven days \
             it still is a name to log in with.",
            "If it was not you: log in with this address within those days (lockstep login --email), or use your \
             recovery code (lockstep recovery use). Then change your password, look through your devices, and name \
             this address again.",
        ),
        About::NameGivenUp => (
            "Log in with this address from now on",
            "The address that you registered with was confirmed by somebody else, who reads its mail. The name of your \
             Lockstep account is this address from now on; your password and your devices stay as they are.",
            "You do not have to do anything. If you read the mail of both addresses, somebody else does too: change \
             your password there.",
        ),
        About::IdentityLinked => (
            "A way to sign in was added",
            "A sign-in with another service was linked to your Lockstep account. It cannot open your vault by itself.",
            "If it was not you: unlink it (lockstep identities), then change your password.",
        ),
        About::IdentityUnlinked => (
            "A way to sign in was removed",
            "A sign-in with another service was unlinked from your Lockstep account.",
            "If it was not you: change your password.",
        ),
        About::ErasureAsked if ordered => (
            "Your account will be deleted",
            "An administrator asked for the deletion of your Lockstep account: nobody can use it any more. When the time to \
             call it off is over, everything that the server has about you is destroyed, and nobody can bring it back.",
            "If it should stay, ask whoever runs the server: nobody else calls it off. What is on your devices stays \
             readable there (lockstep export --offline).",
        ),
        About::ErasureAsked => (
            "Your account will be deleted",
            "The deletion of your Lockstep account was asked for. When the time to call it off is over, everything that the \
             server has about you is destroyed, and nobody can bring it back.",
            "If it was not you: call it off from one of your devices (lockstep account keep), or ask whoever runs the server.",
        ),
    }
}

/// The letter that tells a person from when on old versions are kept for so many days only.
pub fn history(of: Of<'_>, to: &str, until: Micros, days: u32) -> Letter {
    let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
    let what = format!(
        "From {} on, versions that were replaced or deleted more than {days} ago lose their content, and nobody can \
         bring it back. What your entries hold at present stays.",
        minute(until)
    );
    let parts = [
        Says(
            "The plan of your Lockstep account has ended or was replaced, and the present one keeps old versions of your \
             entries for a shorter time.",
        ),
        Says(&what),
        Says(
            "Until then they are kept as before: look through them (lockstep history, lockstep get --version), bring back \
             what you need (lockstep restore), or renew the plan. If you need none of them, there is nothing to do.",
        ),
    ];
    letter(of, to, "Old versions of your entries will be kept for a shorter time", &parts)
}

/// Day and minute, for people.
fn minute(at: Micros) -> String {
    let at =
        time::OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

/// The last letter to a person.
pub fn farewell(of: Of<'_>, to: &str) -> Letter {
    let parts = [
        Says("Your Lockstep account is being deleted now, as it was asked for."),
        Says(
            "What the server has about you is destroyed: your entries, your keys, your sessions, and this address.",
        ),
        Says("This is the last letter to you. There is nothing to do."),
    ];
    letter(of, to, "Your account is being deleted", &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Of<'_> = (AccountId::NIL, "1");

    #[test]
    fn both_forms_say_the_same_and_html_is_escaped() {
        let letter = sign_in(ONE, "a@example.org", "acid <b>", "https://x/?a=1&b=\"2\"");
        for form in [&letter.text, &letter.html] {
            assert!(form.contains("Open the link only if") && form.contains("ten minutes"), "{form}");
        }
        assert!(letter.text.contains("https://x/?a=1&b=\"2\"") && letter.text.contains("acid <b>"));
        assert!(letter.html.contains("href=\"https://x/?a=1&amp;b=&quot;2&quot;\""));
        assert!(!letter.html.contains("<b>") && letter.html.contains("acid &lt;b&gt;"));
    }

    #[test]
    fn a_letter_loads_nothing_from_elsewhere() {
        let letters =
            [confirm(ONE, "a@b.example", "x y", "https://l"), notice(ONE, "a@b.example", About::DeviceAdded)];
        for letter in letters {
            assert!(!["src=", "<script", "<link", "url("].iter().any(|word| letter.html.contains(word)));
        }
    }

    #[test]
    fn a_letter_about_a_coming_erasure_says_when_it_begins() {
        let due = Some(Micros(1_795_608_000_000_000));
        let by = |by| notice_before(ONE, "a@b.example", About::ErasureAsked, (due, by));
        let (own, ordered) = (by(Some(AskedBy::Person)), by(Some(AskedBy::Administrator)));
        for form in [&own.text, &own.html, &ordered.text, &ordered.html] {
            assert!(form.contains("It begins at 2026-11-25 12:00 UTC"), "{form}");
        }
        assert!(own.text.contains("lockstep account keep") && own.text.contains("If it was you"));
        assert!(!ordered.text.contains("account keep") && !ordered.text.contains("If it was you"));
        assert!(ordered.text.contains("ask whoever runs the server"), "{}", ordered.text);
    }

    #[test]
    fn a_letter_about_shorter_history_says_what_goes_and_from_when_on() {
        for (days, shown) in [(1, "more than 1 day ago"), (10, "more than 10 days ago")] {
            let letter = history(ONE, "a@b.example", Micros(1_795_608_000_000_000), days);
            for form in [&letter.text, &letter.html] {
                assert!(form.contains("From 2026-11-25 12:00 UTC on") && form.contains(shown), "{form}");
            }
        }
    }

    #[test]
    fn who_lost_the_account_to_the_recovery_code_is_not_sent_to_a_code_that_is_used_up() {
        let letter = notice(ONE, "a@b.example", About::Recovered);
        assert!(letter.text.contains("lockstep export --offline") && letter.text.contains("is used up"));
        assert!(!letter.text.contains("use your recovery code"), "{}", letter.text);
    }

    #[test]
    fn a_letter_shows_neither_address_nor_link_to_a_log() {
        let shown = format!("{:?}", sign_in(ONE, "canary@example.org", "x y", "https://canary"));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
