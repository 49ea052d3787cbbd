//! What one entry holds once it is opened.
//!
//! The JSON form is what gets sealed. It carries a schema number, leaves out what is empty, and keeps every field
//! it does not know: a client of an older release, or one that imported from elsewhere, gives everything back when
//! it saves again.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{held::Held, secret::Secret};

/// The schema number that this release writes.
pub const SCHEMA: u32 = 1;

/// The plain JSON of an item is at most so long: the sealed, padded form must fit [`lockstep_events::header::MAX_CONTENT`].
pub const MAX_ITEM_BYTES: usize = 56 * 1024;

/// Fields that this release does not know, kept as they came. `Debug` shows their names only.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Extra(pub Map<String, Value>);

impl Extra {
    /// Whether nothing unknown is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One entry of a vault, opened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Version of this shape.
    pub schema: u32,
    /// What people call it.
    pub name: Secret,
    /// What kind of thing it is, with the fields of that kind.
    pub body: Body,
    /// Folder path, levels separated by `/`; empty for none.
    #[serde(default, skip_serializing_if = "Secret::is_empty")]
    pub folder: Secret,
    /// Shown first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub favourite: bool,
    /// Free labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Secret>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Secret::is_empty")]
    pub notes: Secret,
    /// Fields that the person named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Custom>,
    /// Earlier passwords, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<OldPassword>,
    /// Files that belong to it; their content is stored beside the entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentRef>,
    /// Everything else, kept verbatim; what came from another program stands under that program's name.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Item {
    /// An item of this release's schema.
    pub fn new(name: impl Into<Secret>, body: Body) -> Self {
        Self { schema: SCHEMA, name: name.into(), body, ..Self::default() }
    }
}

/// The kinds of item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A name and password for one or more places.
    Login(Login),
    /// Only notes and custom fields.
    Note(Note),
    /// A payment card.
    Card(Card),
    /// A person's details.
    Identity(Box<Identity>),
    /// An SSH key pair.
    SshKey(SshKey),
    /// A kind of another program that this release does not know, kept verbatim.
    Other(Extra),
}

impl Default for Body {
    fn default() -> Self {
        Self::Note(Note::default())
    }
}

impl Body {
    /// The word for this kind, as `list` shows it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Login(_) => "login",
            Self::Note(_) => "note",
            Self::Card(_) => "card",
            Self::Identity(_) => "identity",
            Self::SshKey(_) => "ssh-key",
            Self::Other(_) => "other",
        }
    }
}

/// A place where a login is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Uri {
    /// The address.
    pub uri: Secret,
    /// How it is compared, if the source said so: `domain`, `host`, `starts_with`, `exact`, `regex` or `never`.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A name for a custom field's meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomKind {
    /// Shown as it is.
    #[default]
    Text,
    /// Masked unless asked.
    Hidden,
    /// `true` or `false`.
    Boolean,
    /// Stands for another field of the same item; only some programs use it.
    Linked,
}

/// A field that the person named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Custom {
    /// Its name; two fields may share one.
    pub name: Secret,
    /// Its value.
    #[serde(default, skip_serializing_if = "Secret::is_empty")]
    pub value: Secret,
    /// How it is shown.
    #[serde(default)]
    pub kind: CustomKind,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A password that was used before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OldPassword {
    /// The password.
    pub password: Secret,
    /// When it was last used, RFC 3339, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_until: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A file that belongs to an item.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AttachmentRef {
    /// Its id.
    pub id: String,
    /// Its file name.
    pub name: Secret,
    /// Its length in bytes.
    pub size: u64,
    /// The file itself, while it is on its way from an export into an entry.
    #[serde(skip)]
    pub held: Option<Arc<Held>>,
    /// Everything else, among it the hash and key of its blob.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Declares a kind's struct, all of whose values are optional secrets, together with the names under which the
/// command line and merges address them and whether they are masked.
macro_rules! values {
    ($(#[$doc:meta])* $kind:ident {
        $($(#[$field_doc:meta])* $field:ident = $name:literal $masked:ident,)*
    } $({ $($rest:tt)* })?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct $kind {
            $($(#[$field_doc])*
            #[serde(default, skip_serializing_if = "Secret::is_empty")]
            pub $field: Secret,)*
            $($($rest)*)?
            /// Everything else.
            #[serde(flatten)]
            pub extra: Extra,
        }

        impl $kind {
            /// The names of its values, in the order they are shown, and whether each is masked.
            pub const NAMES: &[(&str, bool)] = &[$(($name, values!(@ $masked))),*];

            /// A value by its name.
            pub fn value(&self, name: &str) -> Option<&Secret> {
                match name { $($name => Some(&self.$field),)* _ => None }
            }

            /// A value by its name, to change it.
            pub fn value_mut(&mut self, name: &str) -> Option<&mut Secret> {
                match name { $($name => Some(&mut self.$field),)* _ => None }
            }
        }
    };
    (@ masked) => { true };
    (@ shown) => { false };
}

values! {
    /// A name and password for one or more places.
    Login {
        /// User name.
        username = "username" shown,
        /// Password.
        password = "password" masked,
        /// TOTP seed: base32 or an `otpauth://` address.
        totp = "totp" masked,
    } {
        /// Where it is used.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub uris: Vec<Uri>,
    }
}

values! {
    /// A secure note: its text is the item's `notes`.
    Note {}
}

values! {
    /// A payment card.
    Card {
        /// Name on the card.
        holder = "cardholder" shown,
        /// Visa, Mastercard, …
        brand = "brand" shown,
        /// The long number.
        number = "number" masked,
        /// Month of expiry, 1–12.
        month = "month" shown,
        /// Year of expiry.
        year = "year" shown,
        /// Security code.
        code = "code" masked,
    }
}

values! {
    /// A person's details.
    Identity {
        /// Mr, Ms, Dr, …
        title = "title" shown,
        /// Given name.
        first = "first-name" shown,
        /// Middle name.
        middle = "middle-name" shown,
        /// Family name.
        last = "last-name" shown,
        /// User name.
        username = "username" shown,
        /// Company.
        company = "company" shown,
        /// Social security or national insurance number.
        ssn = "ssn" masked,
        /// Passport number.
        passport = "passport" masked,
        /// Driving licence number.
        licence = "licence" masked,
        /// E-mail address.
        email = "email" shown,
        /// Telephone number.
        phone = "phone" shown,
        /// Address, first line.
        address1 = "address1" shown,
        /// Address, second line.
        address2 = "address2" shown,
        /// Address, third line.
        address3 = "address3" shown,
        /// City.
        city = "city" shown,
        /// State or county.
        state = "state" shown,
        /// Postcode.
        postcode = "postcode" shown,
        /// Country.
        country = "country" shown,
    }
}

values! {
    /// An SSH key pair.
    SshKey {
        /// Private key, OpenSSH or PEM text.
        private_key = "private-key" masked,
        /// Public key, one line.
        public_key = "public-key" shown,
        /// Fingerprint of the public key.
        fingerprint = "fingerprint" shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_release_added_is_still_there_after_an_older_one_saved() {
        let newer = serde_json::json!({
            "schema": 2, "name": "mail", "colour": "teal",
            "body": {"login": {"username": "ada", "passkeys": [{"id": 1}], "uris": [{"uri": "https://a", "port": 8}]}},
            "fields": [{"name": "pin", "value": "1", "kind": "hidden", "hint": "x"}]
        });
        let item: Item = serde_json::from_value(newer.clone()).unwrap();
        assert_eq!(serde_json::to_value(&item).unwrap(), newer);
    }

    #[test]
    fn debug_output_shows_no_value_of_an_item() {
        let mut item =
            Item::new("bank", Body::Login(Login { password: "hunter2".into(), ..Login::default() }));
        item.extra.0.insert("bitwarden".into(), serde_json::json!({"key": "hunter2"}));
        item.notes = "hunter2".into();
        let shown = format!("{item:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("bank"), "{shown}");
    }
}
