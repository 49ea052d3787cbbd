//! Several values set at once, as `add`, `edit` and an editor's text give them.

use super::{
    fields::{PREFIX, SetError, canonical_name, uri_index},
    item::{CustomKind, Item},
    secret::Secret,
};

/// A new value for a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The field, as a person calls it.
    pub name: String,
    /// What it holds from now on; empty removes it.
    pub value: Secret,
    /// Whether it is masked unless asked, if the person chose its name.
    pub hidden: bool,
}

impl Change {
    /// A value that is shown, or masked, as before.
    pub fn new(name: impl Into<String>, value: impl Into<Secret>) -> Self {
        Self { name: name.into(), value: value.into(), hidden: false }
    }

    /// A value that is masked.
    pub fn hidden(name: impl Into<String>, value: impl Into<Secret>) -> Self {
        Self { hidden: true, ..Self::new(name, value) }
    }
}

impl Item {
    /// Sets several values. Every name means what it means in the item as it is before; of two for one field the later
    /// counts. What stays is changed first and what goes is taken from the back, before anything is added: fields that
    /// share a name are numbered anew when one of them goes.
    ///
    /// # Errors
    /// If a value does not fit its field; the item may be changed in part then.
    pub fn set_all(&mut self, changes: &[Change]) -> Result<(), SetError> {
        let before = self.all();
        let mut known: Vec<Option<&Change>> = vec![None; before.len()];
        let mut new: Vec<&Change> = Vec::new();
        for change in changes {
            // `field:NAME` never means what the kind has by itself.
            let own = canonical_name(&change.name).starts_with(PREFIX);
            let found = self.get(&change.name).filter(|found| !own || self.built_in(&found.name).is_none());
            if let Some(at) = found.and_then(|found| before.iter().position(|field| field.name == found.name))
            {
                known[at] = Some(change);
            } else {
                new.retain(|other| canonical_name(&other.name) != canonical_name(&change.name));
                new.push(change);
            }
        }
        let known = || before.iter().zip(&known).filter_map(|(field, change)| Some((field, (*change)?)));
        for (field, change) in known().filter(|(_, change)| !change.value.is_empty()) {
            self.set_one(&field.name, change)?;
        }
        for (field, _) in
            known().collect::<Vec<_>>().iter().rev().filter(|(_, change)| change.value.is_empty())
        {
            self.set(&field.name, Secret::default())?;
        }
        // Addresses by their numbers, in whatever order they were given.
        new.sort_by_key(|change| uri_index(&canonical_name(&change.name)).unwrap_or_default());
        new.into_iter().try_for_each(|change| self.set_one(&change.name, change))
    }

    fn set_one(&mut self, name: &str, change: &Change) -> Result<(), SetError> {
        self.set(name, change.value.clone())?;
        let bare = name.strip_prefix(PREFIX).unwrap_or(name);
        if change.hidden
            && self.built_in(name).is_none()
            && let Some(at) = self.custom_at(name).or_else(|| self.custom_at(bare))
            && self.fields[at].kind == CustomKind::Text
        {
            self.fields[at].kind = CustomKind::Hidden;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::porting::{
        Body,
        item::{Login, Uri},
    };

    fn login() -> Item {
        let uris = vec![Uri { uri: "https://a.example".into(), ..Uri::default() }];
        Item::new("mail", Body::Login(Login { password: "old".into(), uris, ..Login::default() }))
    }

    fn value(item: &Item, name: &str) -> Option<String> {
        item.get(name).map(|field| field.value.as_str().to_owned())
    }

    #[test]
    fn names_that_are_given_together_mean_what_they_meant_before() {
        let mut item = login();
        for (name, text) in [("uri2", "b"), ("uri3", "c"), ("uri4", "d")] {
            item.set(name, text.into()).unwrap();
        }
        let changes = [("uri", ""), ("URL", ""), ("uri2", ""), ("uri4", "D"), ("uri6", "f"), ("uri5", "e")];
        item.set_all(&changes.map(|(name, text)| Change::new(name, text))).unwrap();
        let left: Vec<&str> = item.uris().iter().map(|uri| uri.uri.as_str()).collect();
        assert_eq!(left, ["c", "D", "e", "f"]);
    }

    #[test]
    fn of_two_values_for_one_field_the_later_counts() {
        let mut item = login();
        let changes = [("pin", "1"), ("Password", "one"), ("PIN", "2"), ("pw", "two")];
        item.set_all(&changes.map(|(name, text)| Change::new(name, text))).unwrap();
        assert_eq!((value(&item, "pin").as_deref(), item.fields.len()), (Some("2"), 1));
        assert_eq!((value(&item, "password").as_deref(), item.history.len()), (Some("two"), 1));
    }

    #[test]
    fn a_field_that_is_to_be_hidden_is_masked_and_stays_so() {
        let mut item = login();
        item.set("shown", "1".into()).unwrap();
        let changes = ["pin", "SHOWN", "field:password", "username"].map(|name| Change::hidden(name, "2"));
        item.set_all(&changes).unwrap();
        item.set_all(&[Change::new("pin", "3")]).unwrap();
        for (name, masked) in [("pin", true), ("shown", true), ("field:password", true), ("username", false)]
        {
            assert_eq!(item.get(name).unwrap().masked, masked, "{name}");
        }
        assert_eq!(item.fields.len(), 3);
    }
}
