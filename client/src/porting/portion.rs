//! The entries of one vault on their way out of an account and into one.

use lockstep_events::VaultId;
use serde::{Deserialize, Serialize};

use super::{item::Item, secret::Secret};

/// Which vault entries were in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Its id: in the account that it is of, it is known by that whatever it is called meanwhile.
    pub id: VaultId,
    /// What it was called, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Secret>,
    /// Whether its account began with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first: bool,
}

/// The entries of one vault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Portion {
    /// Which one it was.
    pub vault: Origin,
    /// What was in it.
    pub items: Vec<Item>,
}

impl Origin {
    /// Its name as a path of folders: empty for the vault that the account began with, in which folders are what they
    /// are called.
    pub(super) fn folder(&self) -> &str {
        if self.first { "" } else { self.name.as_ref().map_or("", Secret::as_str) }
    }
}

/// A folder in another.
pub fn inside(outer: &str, inner: &str) -> String {
    match (outer, inner) {
        ("", only) | (only, "") => only.to_owned(),
        _ => format!("{outer}/{inner}"),
    }
}

/// A folder without the one that it is in; as it is, if it is elsewhere.
pub(super) fn outside<'a>(outer: &str, folder: &'a str) -> &'a str {
    match folder.strip_prefix(outer) {
        Some("") => "",
        Some(rest) if !outer.is_empty() => rest.strip_prefix('/').unwrap_or(folder),
        _ => folder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_put_into_another_and_taken_out_of_no_other() {
        for (outer, inner) in [("Work", "Web"), ("Work", ""), ("", "Web"), ("", "")] {
            assert_eq!(outside(outer, &inside(outer, inner)), inner);
        }
        assert_eq!(outside("Work", "Workshop/Web"), "Workshop/Web");
        assert_eq!(outside("Work", "Home"), "Home");
    }
}
