//! An entry while it is read, and the item that it becomes.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::super::{
    item::{Body, Custom, CustomKind, Item, Login, OldPassword, Uri},
    secret::Secret,
};
use super::files::Named;

/// The seed of a one-time password as KeePass itself keeps it.
const SEED: &str = "TimeOtp-Secret-Base32";
/// What KeePass keeps beside it, the word for that in an `otpauth://` address, and what it is if nobody says.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("TimeOtp-Algorithm", "algorithm", "HMAC-SHA-1"),
    ("TimeOtp-Length", "digits", "6"),
    ("TimeOtp-Period", "period", "30"),
];

/// What is kept of an earlier state beside its password, and the word for it there.
const KEPT: [(&str, &str); 2] = [("UserName", "username"), ("URL", "uri")];

/// A value under its name.
pub(super) struct Text {
    pub key: String,
    pub value: Secret,
    pub hidden: bool,
}

/// An entry while its element is open.
#[derive(Default)]
pub(super) struct Open {
    uuid: String,
    tags: String,
    pub modified: String,
    expires: bool,
    expiry: String,
    pub strings: Vec<Text>,
    /// What stands beside the strings: what programs and plugins noted, and what opens instead of the address.
    pub more: Vec<Text>,
    pub auto_type: bool,
    /// An icon or colours of its own.
    pub adorned: bool,
    pub history: Vec<OldPassword>,
    pub files: Vec<Named>,
    /// Its earlier states, without their passwords and files.
    pub earlier: Vec<Self>,
    /// Of an earlier state: its password is in the history, and what belongs to it.
    pub kept: bool,
    pub earlier_files: Vec<Named>,
}

impl Open {
    /// Takes what stands in the entry itself.
    pub(super) fn say(&mut self, name: &str, text: String) {
        match name {
            "UUID" => self.uuid = text,
            "Tags" => self.tags = text,
            "OverrideURL" => {
                self.more.push(Text { key: "Override URL".to_owned(), value: text.into(), hidden: false });
            }
            "CustomIconUUID" | "ForegroundColor" | "BackgroundColor" => self.adorned = true,
            _ => {}
        }
    }

    /// Takes one of its times.
    pub(super) fn happened(&mut self, name: &str, text: &str) {
        match name {
            "LastModificationTime" => self.modified = time(text),
            "ExpiryTime" => self.expiry = time(text),
            "Expires" => self.expires = text.trim().eq_ignore_ascii_case("true"),
            _ => {}
        }
    }

    pub(super) fn take_password(&mut self) -> Option<Secret> {
        let at = self.strings.iter().position(|text| text.key == "Password")?;
        Some(self.strings.swap_remove(at).value).filter(|password| !password.is_empty())
    }

    /// For whom and where a password was, if it says so.
    pub(super) fn kept_beside(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = KEPT.iter().map(|(key, word)| (*word, self.string(key)));
        all.filter(|(_, value)| !value.is_empty())
    }

    /// Whether an earlier state has something that neither this one nor its history has.
    pub(super) fn lacks(&self, earlier: &Self) -> bool {
        let has = |now: &[Text], then: &Text| {
            earlier.kept && KEPT.iter().any(|(key, _)| *key == then.key)
                || now.iter().any(|text| text.key == then.key && text.value == then.value)
        };
        let lacks =
            |then: &[Text], now: &[Text]| then.iter().any(|text| !text.value.is_empty() && !has(now, text));
        lacks(&earlier.strings, &self.strings)
            || lacks(&earlier.more, &self.more)
            || (!earlier.tags.is_empty() && earlier.tags != self.tags)
            || (earlier.expires && !(self.expires && earlier.expiry == self.expiry))
    }

    fn string(&self, key: &str) -> &str {
        self.strings.iter().find(|text| text.key == key).map_or("", |text| text.value.as_str())
    }

    /// The seed with its settings, if they are not the usual ones: a seed alone would give other numbers. What is none
    /// of these, or not understood, stays where it is.
    fn take_totp(&mut self) -> Option<Secret> {
        if !self.string("otp").is_empty() || self.string(SEED).is_empty() {
            return None;
        }
        let seed: String = self.string(SEED).split([' ', '-', '=']).collect();
        let mut query = String::new();
        for (key, word, usual) in SETTINGS {
            let value = match self.string(key).trim() {
                "" => continue,
                value if value == usual => continue,
                "HMAC-SHA-256" if word == "algorithm" => "SHA256".to_owned(),
                "HMAC-SHA-512" if word == "algorithm" => "SHA512".to_owned(),
                value => value.parse::<u32>().ok().filter(|_| word != "algorithm")?.to_string(),
            };
            let _ = write!(query, "&{word}={value}");
        }
        if !seed.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let totp = if query.is_empty() {
            self.string(SEED).into()
        } else {
            let label = percent_encoded(self.string("Title"));
            format!("otpauth://totp/{label}?secret={}{query}", seed.to_uppercase()).into()
        };
        self.strings.retain(|text| text.key != SEED && SETTINGS.iter().all(|(key, ..)| text.key != *key));
        Some(totp)
    }

    /// Of what its history says, what is still so needs no second word.
    fn prune_history(&mut self) {
        let now: Vec<(&str, Secret)> = self.kept_beside().map(|(word, value)| (word, value.into())).collect();
        for old in &mut self.history {
            old.extra.0.retain(|word, value| {
                now.iter().all(|(known, now)| known != word || *value != *now.as_str())
            });
        }
    }

    pub(super) fn into_item(mut self, folder: Secret) -> Item {
        self.prune_history();
        let mut login = Login { totp: self.take_totp().unwrap_or_default(), ..Login::default() };
        let mut item = Item::new("", Body::default());
        let uri = |value: Secret| Uri { uri: value, ..Uri::default() };
        for text in self.strings {
            match text.key.as_str() {
                "Title" => item.name = text.value,
                "UserName" => login.username = text.value,
                "Password" => login.password = text.value,
                "Notes" => item.notes = text.value,
                "URL" if text.value.is_empty() => {}
                "URL" => login.uris.insert(0, uri(text.value)),
                key if key.starts_with("KP2A_URL") => login.uris.push(uri(text.value)),
                "otp" | SEED if login.totp.is_empty() => login.totp = text.value,
                _ => item.fields.push(text.into()),
            }
        }
        item.fields.extend(self.more.into_iter().map(Custom::from));
        if self.expires && !self.expiry.is_empty() {
            item.fields.push(Custom {
                name: "Expires".into(),
                value: self.expiry.into(),
                ..Custom::default()
            });
        }
        if item.name.is_empty() {
            item.name = "(no name)".into();
        }
        item.folder = folder;
        let tags = self.tags.split([';', ',']).map(str::trim).filter(|tag| !tag.is_empty());
        item.tags = tags.map(Secret::from).collect();
        item.history = self.history;
        if !self.uuid.is_empty() {
            item.extra.0.insert("keepass".into(), serde_json::json!({ "uuid": self.uuid }));
        }
        item.body = Body::Login(login);
        item
    }
}

impl From<Text> for Custom {
    fn from(text: Text) -> Self {
        let kind = if text.hidden { CustomKind::Hidden } else { CustomKind::Text };
        Self { name: text.key.into(), value: text.value, kind, ..Self::default() }
    }
}

/// A time as people write it: newer ones of `KeePassXC` write the seconds since the year 1, in base64.
fn time(text: &str) -> String {
    const YEAR_1: i64 = -62_135_596_800;
    let seconds = BASE64_STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    let at = seconds.and_then(|seconds| {
        let unix = i64::from_le_bytes(seconds).checked_add(YEAR_1)?;
        OffsetDateTime::from_unix_timestamp(unix).ok()?.format(&Rfc3339).ok()
    });
    at.unwrap_or_else(|| text.trim().to_owned())
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(strings: &[(&str, &str)]) -> Item {
        let text = |(key, value): &(&str, &str)| Text {
            key: (*key).to_owned(),
            value: (*value).into(),
            hidden: false,
        };
        let strings = strings.iter().map(text).collect();
        Open { strings, ..Open::default() }.into_item(Secret::default())
    }

    fn totp(item: &Item) -> String {
        item.get("totp").map(|field| field.value.as_str().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_one_time_password_that_is_not_the_usual_one_keeps_its_settings() {
        let mut strings = vec![
            ("Title", "Café 1"),
            ("TimeOtp-Algorithm", "HMAC-SHA-256"),
            ("TimeOtp-Length", "8"),
            ("TimeOtp-Period", "30"),
            (SEED, "jbsw y3dp"),
        ];
        let made = item(&strings);
        assert_eq!(totp(&made), "otpauth://totp/Caf%C3%A9%201?secret=JBSWY3DP&algorithm=SHA256&digits=8");
        assert!(made.fields.is_empty());
        strings[1].1 = "HMAC-SHA-1";
        strings[2].1 = "6";
        let usual = item(&strings);
        assert_eq!((totp(&usual).as_str(), usual.fields.len()), ("jbsw y3dp", 0));
        strings[3].1 = "60";
        assert!(totp(&item(&strings)).ends_with("?secret=JBSWY3DP&period=60"));
    }

    #[test]
    fn settings_of_a_one_time_password_that_nobody_understands_stay_fields() {
        for (key, value) in
            [("TimeOtp-Algorithm", "HMAC-MD5"), ("TimeOtp-Algorithm", "1"), ("TimeOtp-Period", "?")]
        {
            let made = item(&[(key, value), (SEED, "JBSW")]);
            assert_eq!((totp(&made).as_str(), made.get(key).unwrap().value.as_str()), ("JBSW", value));
        }
        let both = item(&[("TimeOtp-Length", "8"), (SEED, "JBSW"), ("otp", "otpauth://totp/x?secret=A")]);
        let values: Vec<String> = both.all().iter().map(|field| field.value.as_str().to_owned()).collect();
        for value in ["8", "JBSW", "otpauth://totp/x?secret=A"] {
            assert!(values.iter().any(|known| known == value), "{value}");
        }
    }

    #[test]
    fn a_time_is_read_as_text_and_as_seconds() {
        assert_eq!(time("2020-01-12T14:15:00Z"), "2020-01-12T14:15:00Z");
        assert_eq!(time("5CCt1Q4AAAA="), "2020-01-12T14:15:00Z");
        assert_eq!(time(" /////////38= "), "/////////38=", "of no year");
        assert_eq!(time("soon"), "soon");
    }
}
