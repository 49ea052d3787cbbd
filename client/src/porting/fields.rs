//! An item as named values: what `get` prints, `edit --set` changes and a merge compares.

use super::{
    item::{Body, Custom, CustomKind, Extra, Item, Uri},
    secret::Secret,
};

/// One value of an item under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name under which [`Item::get`] finds it.
    pub name: String,
    /// The value; never empty in [`Item::all`].
    pub value: Secret,
    /// Whether it is masked unless asked.
    pub masked: bool,
}

/// Why a value was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// `favourite` takes two words only.
    #[error("favourite is either true or false")]
    Favourite,
    /// An entry without a name cannot be found again.
    #[error("the name of an entry cannot be empty")]
    EmptyName,
    /// Who deleted an entry has no kind of it.
    #[error("a deleted side has no kind")]
    NoKind,
}

/// How custom fields may be named where a built-in name is in the way: `field:NAME`.
pub(super) const PREFIX: &str = "field:";

impl Body {
    fn names(&self) -> &'static [(&'static str, bool)] {
        use super::item::{Card, Identity, Login, SshKey};
        match self {
            Self::Login(_) => Login::NAMES,
            Self::Card(_) => Card::NAMES,
            Self::Identity(_) => Identity::NAMES,
            Self::SshKey(_) => SshKey::NAMES,
            Self::Note(_) | Self::Other(_) => &[],
        }
    }

    pub(super) fn value(&self, name: &str) -> Option<&Secret> {
        match self {
            Self::Login(login) => login.value(name),
            Self::Card(card) => card.value(name),
            Self::Identity(identity) => identity.value(name),
            Self::SshKey(key) => key.value(name),
            Self::Note(_) | Self::Other(_) => None,
        }
    }

    fn value_mut(&mut self, name: &str) -> Option<&mut Secret> {
        match self {
            Self::Login(login) => login.value_mut(name),
            Self::Card(card) => card.value_mut(name),
            Self::Identity(identity) => identity.value_mut(name),
            Self::SshKey(key) => key.value_mut(name),
            Self::Note(_) | Self::Other(_) => None,
        }
    }

    /// What this release does not know of this kind.
    pub(super) fn extra(&self) -> &Extra {
        match self {
            Self::Login(login) => &login.extra,
            Self::Note(note) => &note.extra,
            Self::Card(card) => &card.extra,
            Self::Identity(identity) => &identity.extra,
            Self::SshKey(key) => &key.extra,
            Self::Other(all) => all,
        }
    }

    /// The same, to change it.
    pub(super) fn extra_mut(&mut self) -> &mut Extra {
        match self {
            Self::Login(login) => &mut login.extra,
            Self::Note(note) => &mut note.extra,
            Self::Card(card) => &mut card.extra,
            Self::Identity(identity) => &mut identity.extra,
            Self::SshKey(key) => &mut key.extra,
            Self::Other(all) => all,
        }
    }
}

impl Item {
    /// Every value that is not empty, in the order it is shown.
    pub fn all(&self) -> Vec<Field> {
        let mut all = Vec::new();
        let mut push = |name: &str, value: &Secret, masked: bool| {
            if !value.is_empty() {
                all.push(Field { name: name.to_owned(), value: value.clone(), masked });
            }
        };
        push("name", &self.name, false);
        for (name, masked) in self.body.names() {
            push(name, self.body.value(name).unwrap_or(&Secret::default()), *masked);
        }
        for (index, uri) in self.uris().iter().enumerate() {
            push(&uri_name(index), &uri.uri, false);
        }
        for (name, custom) in self.custom_names().iter().zip(&self.fields) {
            push(name, &custom.value, custom.kind == CustomKind::Hidden);
        }
        push("folder", &self.folder, false);
        push("tags", &join_tags(&self.tags), false);
        push("favourite", &Secret::from(if self.favourite { "true" } else { "" }), false);
        push("notes", &self.notes, false);
        all
    }

    /// The same without the addresses and the custom fields: each has a name that stays its own whatever else changes.
    pub(super) fn plain(&self) -> Vec<Field> {
        let custom = self.custom_names();
        let mut all = self.all();
        all.retain(|field| !custom.contains(&field.name) && uri_index(&field.name).is_none());
        all
    }

    /// The value under a name; none if the item has no such field or it is empty. Case does not matter.
    pub fn get(&self, name: &str) -> Option<Field> {
        let wanted = canonical_name(name);
        let all = self.all();
        let bare = wanted.strip_prefix(PREFIX).unwrap_or(&wanted);
        all.iter()
            .find(|field| field.name == name)
            .or_else(|| all.iter().find(|field| field.name.to_lowercase() == wanted))
            .or_else(|| all.iter().find(|field| field.name.to_lowercase() == bare))
            .or_else(|| all.iter().find(|field| field.name.to_lowercase() == name.to_lowercase()))
            .cloned()
    }

    /// Sets a value by name. A name that is no built-in field of this kind sets the custom field of that name, and
    /// makes it if there is none; an empty value removes the field.
    ///
    /// # Errors
    /// If the value does not fit the field.
    pub fn set(&mut self, name: &str, value: Secret) -> Result<(), SetError> {
        let wanted = canonical_name(name);
        match wanted.as_str() {
            "name" if value.as_str().trim().is_empty() => return Err(SetError::EmptyName),
            "name" => self.name = value,
            "folder" => self.folder = value,
            "notes" => self.notes = value,
            "tags" => self.tags = split_tags(&value),
            "favourite" => self.favourite = parse_bool(&value)?,
            _ => self.set_in_body(name, &wanted, value),
        }
        Ok(())
    }

    fn set_in_body(&mut self, name: &str, wanted: &str, value: Secret) {
        if wanted == "password" {
            self.remember_password(&value);
        }
        if let Some(slot) = self.body.value_mut(wanted) {
            *slot = value;
        } else if let (Some(index), Body::Login(login)) = (uri_index(wanted), &mut self.body) {
            set_uri(&mut login.uris, index, value);
        } else {
            self.set_custom(name, value);
        }
    }

    /// Keeps the password that is about to be replaced.
    pub(super) fn remember_password(&mut self, next: &Secret) {
        let Body::Login(login) = &self.body else { return };
        if login.password.is_empty() || login.password == *next {
            return;
        }
        let used_until = Some(today());
        let old =
            super::item::OldPassword { password: login.password.clone(), used_until, ..Default::default() };
        if self.history.first().map(|last| &last.password) != Some(&old.password) {
            self.history.insert(0, old);
        }
    }

    fn set_custom(&mut self, name: &str, value: Secret) {
        match self.custom_at(name) {
            Some(at) if value.is_empty() => {
                self.fields.remove(at);
            }
            Some(at) => self.fields[at].value = value,
            None if value.is_empty() => {}
            None => {
                let bare = name.strip_prefix(PREFIX).unwrap_or(name);
                self.fields.push(Custom { name: bare.into(), value, ..Custom::default() });
            }
        }
    }

    /// Which custom field has this name; case does not matter if none has exactly this one.
    pub(super) fn custom_at(&self, name: &str) -> Option<usize> {
        let names = self.custom_names();
        names.iter().position(|known| known == name).or_else(|| {
            let wanted = name.to_lowercase();
            names.iter().position(|known| known.to_lowercase() == wanted)
        })
    }

    /// The places of a login; none for other kinds.
    pub fn uris(&self) -> &[Uri] {
        match &self.body {
            Body::Login(login) => &login.uris,
            _ => &[],
        }
    }

    /// A name for each custom field that nothing else in this item has.
    fn custom_names(&self) -> Vec<String> {
        let mut given: Vec<String> = Vec::with_capacity(self.fields.len());
        for custom in &self.fields {
            let mut name = self.custom_name(custom.name.as_str());
            if given.contains(&name) {
                let mut nth = 2;
                while given.contains(&format!("{name}#{nth}")) {
                    nth += 1;
                }
                name = format!("{name}#{nth}");
            }
            given.push(name);
        }
        given
    }

    /// The name of a custom field if no other one shares it.
    pub(super) fn custom_name(&self, plain: &str) -> String {
        let in_the_way = plain.is_empty() || self.is_built_in(plain);
        if in_the_way { format!("{PREFIX}{plain}") } else { plain.to_owned() }
    }

    fn is_built_in(&self, name: &str) -> bool {
        canonical_name(name).starts_with(PREFIX) || self.built_in(name).is_some()
    }

    /// The name of the field that items of this kind have by themselves and that is meant by a name, empty or not.
    pub fn built_in(&self, name: &str) -> Option<String> {
        let wanted = canonical_name(name);
        let is = matches!(wanted.as_str(), "name" | "folder" | "notes" | "tags" | "favourite")
            || self.body.value(&wanted).is_some()
            || (uri_index(&wanted).is_some() && matches!(self.body, Body::Login(_)));
        is.then_some(wanted)
    }
}

/// The present day, as a point in time of RFC 3339. Not finer: who makes the same change on two devices a little apart
/// makes the same content, and no conflict.
fn today() -> String {
    format!("{}T00:00:00.000Z", time::OffsetDateTime::now_utc().date())
}

/// The names that have several words, and what other programs call the same.
const SPELLINGS: &[(&str, &str)] = &[
    ("privatekey", "private-key"),
    ("publickey", "public-key"),
    ("firstname", "first-name"),
    ("middlename", "middle-name"),
    ("lastname", "last-name"),
    ("cardholdername", "cardholder"),
    ("expmonth", "month"),
    ("expyear", "year"),
];

/// Lower case, and the words people try for the same thing, in the spellings of other programs too: `privateKey`,
/// `exp_month`.
pub(super) fn canonical_name(name: &str) -> String {
    let lower = name.to_lowercase();
    match lower.as_str() {
        "user" | "login" => "username".into(),
        "pass" | "pw" => "password".into(),
        "url" | "website" => "uri".into(),
        "note" => "notes".into(),
        "favorite" => "favourite".into(),
        "license" => "licence".into(),
        "postal-code" | "zip" => "postcode".into(),
        _ => spelled(&lower).map_or(lower, str::to_owned),
    }
}

fn spelled(lower: &str) -> Option<&'static str> {
    use super::item::{Card, Identity, Login, SshKey};
    let folded: String = lower.chars().filter(|c| !matches!(c, '-' | '_')).collect();
    let names = [Login::NAMES, Card::NAMES, Identity::NAMES, SshKey::NAMES].into_iter().flatten();
    let spelled = SPELLINGS.iter().find(|(spelling, _)| *spelling == folded).map(|(_, name)| *name);
    spelled.or_else(|| names.map(|(name, _)| *name).find(|name| *name == folded))
}

fn uri_name(index: usize) -> String {
    if index == 0 { "uri".to_owned() } else { format!("uri{}", index + 1) }
}

pub(super) fn uri_index(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("uri")?;
    if digits.is_empty() {
        return Some(0);
    }
    let number = digits.parse::<usize>().ok()?;
    (2..=999).contains(&number).then(|| number - 1)
}

fn set_uri(uris: &mut Vec<Uri>, index: usize, value: Secret) {
    match uris.get_mut(index) {
        Some(_) if value.is_empty() => {
            uris.remove(index);
        }
        Some(uri) => uri.uri = value,
        None if value.is_empty() => {}
        None => uris.push(Uri { uri: value, ..Uri::default() }),
    }
}

fn join_tags(tags: &[Secret]) -> Secret {
    let texts: Vec<&str> = tags.iter().map(Secret::as_str).collect();
    Secret::new(texts.join(", "))
}

fn split_tags(value: &Secret) -> Vec<Secret> {
    value.as_str().split([',', ';']).map(str::trim).filter(|tag| !tag.is_empty()).map(Secret::from).collect()
}

fn parse_bool(value: &Secret) -> Result<bool, SetError> {
    match value.as_str().to_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" | "" => Ok(false),
        _ => Err(SetError::Favourite),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::porting::item::Login;

    fn login() -> Item {
        let uris = vec![Uri { uri: "https://a.example".into(), ..Uri::default() }];
        Item::new(
            "mail",
            Body::Login(Login { username: "ada".into(), password: "old".into(), uris, ..Login::default() }),
        )
    }

    fn value(item: &Item, name: &str) -> Option<String> {
        item.get(name).map(|field| field.value.as_str().to_owned())
    }

    #[test]
    fn every_listed_value_is_found_under_its_own_name() {
        let mut item = login();
        for (name, text) in
            [("password", "clash"), ("pin", "1"), ("pin", "2"), ("", "nameless"), ("uri", "x")]
        {
            item.fields.push(Custom { name: name.into(), value: text.into(), ..Custom::default() });
        }
        for field in item.all() {
            assert_eq!(item.get(&field.name).as_ref(), Some(&field));
        }
        assert_eq!(value(&item, "field:password").as_deref(), Some("clash"));
        assert_eq!(value(&item, "pin#2").as_deref(), Some("2"));
    }

    #[test]
    fn setting_a_password_keeps_the_one_before() {
        let mut item = login();
        item.set("Password", "new".into()).unwrap();
        item.set("password", "new".into()).unwrap();
        assert_eq!(value(&item, "pw").as_deref(), Some("new"));
        assert_eq!(item.history.len(), 1);
        assert_eq!(item.history[0].password.as_str(), "old");
    }

    #[test]
    fn an_old_password_has_the_day_on_which_it_was_replaced() {
        let mut item = login();
        item.set("password", "new".into()).unwrap();
        let format = &time::format_description::well_known::Rfc3339;
        let until =
            time::OffsetDateTime::parse(item.history[0].used_until.as_deref().unwrap(), format).unwrap();
        let now = time::OffsetDateTime::now_utc();
        assert!(until <= now && now - until < time::Duration::days(2), "{until}");
    }

    #[test]
    fn a_built_in_name_is_known_in_the_spellings_of_other_programs() {
        use crate::porting::item::{Card, SshKey};
        let mut key = Item::new("key", Body::SshKey(SshKey::default()));
        for name in ["privateKey", "PRIVATE_KEY", "private-key"] {
            key.set(name, name.into()).unwrap();
            assert_eq!(value(&key, "private-key").as_deref(), Some(name));
        }
        let mut card = Item::new("visa", Body::Card(Card::default()));
        card.set("expMonth", "4".into()).unwrap();
        card.set("exp-year", "2031".into()).unwrap();
        assert_eq!(
            (value(&card, "month").as_deref(), value(&card, "year").as_deref()),
            (Some("4"), Some("2031"))
        );
        assert!(key.fields.is_empty() && card.fields.is_empty());
        // Where it is not built in, it is the person's own, under the name that was given.
        let mut item = login();
        item.set("privateKey", "x".into()).unwrap();
        assert_eq!(item.fields[0].name.as_str(), "privateKey");
        assert_eq!(value(&item, "PRIVATEKEY").as_deref(), Some("x"));
    }

    #[test]
    fn an_unknown_name_becomes_a_custom_field_and_an_empty_value_removes_it() {
        let mut item = login();
        item.set("Recovery code", "123".into()).unwrap();
        assert_eq!(value(&item, "recovery code").as_deref(), Some("123"));
        item.set("recovery code", Secret::default()).unwrap();
        assert!(item.fields.is_empty());
        item.set("uri2", "https://b.example".into()).unwrap();
        item.set("uri", Secret::default()).unwrap();
        assert_eq!(value(&item, "uri").as_deref(), Some("https://b.example"));
    }

    #[test]
    fn a_name_cannot_be_emptied() {
        assert_eq!(login().set("name", " ".into()), Err(SetError::EmptyName));
    }
}
