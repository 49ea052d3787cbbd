//! Which entry a person means.

use lockstep_client::{
    model::{Content, Entry, Vault},
    porting::Item,
};
use lockstep_events::{EntryId, VaultId, VersionId};

use super::{
    app::count,
    failure::{Done, Exit, Failure},
    prompt,
    ui::{Ui, printable},
};

/// An entry with its opened content.
#[derive(Debug, Clone)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// What the shown head holds; for a deleted entry what it held last. None if it does not open.
    pub item: Option<Item>,
}

impl Found {
    /// The name, or a stand-in.
    pub fn name(&self) -> String {
        self.item
            .as_ref()
            .map_or_else(|| "(cannot be opened)".to_owned(), |item| item.name.as_str().to_owned())
    }

    /// A value by name; empty if there is none.
    pub fn value(&self, name: &str) -> String {
        let field = self.item.as_ref().and_then(|item| item.get(name));
        field.map(|field| field.value.as_str().to_owned()).unwrap_or_default()
    }

    /// The version that is shown, to write on.
    ///
    /// # Errors
    /// If there is none.
    pub fn head(&self) -> Done<VersionId> {
        let head = self.entry.winner().map(|head| head.version);
        head.ok_or_else(|| Failure::new(Exit::NotFound, "the entry has no version", ""))
    }

    /// The first characters of the id, enough to type.
    pub fn short_id(&self) -> String {
        short(self.entry.entry)
    }
}

/// The first eight characters of an entry's id.
pub fn short(entry: EntryId) -> String {
    entry.to_string().chars().take(8).collect()
}

type Rule = fn(&Found, &str) -> bool;

/// The one vault that a person means: by its name, or the beginning of its id.
///
/// # Errors
/// Not found or ambiguous.
pub fn vault(vaults: &[Vault], wanted: &str) -> Done<VaultId> {
    let lower = wanted.trim().to_lowercase();
    let called =
        |vault: &&Vault| vault.name.iter().chain(&vault.also).any(|name| name.to_lowercase() == lower);
    let begins = |vault: &&Vault| lower.len() >= 4 && vault.vault.to_string().starts_with(&lower);
    for rule in [&called as &dyn Fn(&&Vault) -> bool, &begins] {
        let mut hits = vaults.iter().filter(rule);
        match (hits.next(), hits.next()) {
            (Some(hit), None) => return Ok(hit.vault),
            (Some(_), Some(_)) => {
                let message = format!("\"{}\" is more than one vault", printable(wanted));
                return Err(Failure::new(Exit::Ambiguous, message, "say the id: lockstep vault list"));
            }
            (None, _) => {}
        }
    }
    let message = format!("no vault is called \"{}\"", printable(wanted));
    Err(Failure::new(Exit::NotFound, message, "see: lockstep vault list"))
}

/// How a vault is named where a person types it: by its name if no other has it, else by the beginning of its id.
pub fn vault_word(vaults: &[Vault], wanted: VaultId) -> String {
    let id: String = wanted.to_string().chars().take(8).collect();
    let known = vaults.iter().find(|vault| vault.vault == wanted).and_then(|vault| vault.name.as_deref());
    let name = known.filter(|name| vault(vaults, name).is_ok_and(|meant| meant == wanted));
    name.map_or(id, shell_word)
}

/// From the most to the least exact. The first that matches anything decides.
const RULES: [Rule; 8] = [
    |found, wanted| found.entry.entry.to_string() == wanted.to_lowercase(),
    |found, wanted| found.name() == wanted,
    |found, wanted| format!("{}/{}", found.value("folder"), found.name()) == wanted,
    |found, wanted| found.name().to_lowercase() == wanted.to_lowercase(),
    |found, wanted| {
        let hex = wanted.len() >= 4 && wanted.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        hex && found.entry.entry.to_string().starts_with(&wanted.to_lowercase())
    },
    |found, wanted| uris(found).any(|uri| uri == wanted || host(uri).eq_ignore_ascii_case(host(wanted))),
    |found, wanted| found.name().to_lowercase().starts_with(&wanted.to_lowercase()),
    |found, wanted| found.name().to_lowercase().contains(&wanted.to_lowercase()),
];

fn uris(found: &Found) -> impl Iterator<Item = &str> {
    found.item.iter().flat_map(|item| item.uris()).map(|uri| uri.uri.as_str())
}

fn host(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// So many of them take a name as a whole, an id or an address. The others take a part of a name: enough to look at an
/// entry, and not to change one, because the entry of that name may be another, deleted or never made.
const WHOLE: usize = 6;

/// The rules that take an id or a name letter by letter.
const LITERAL: usize = 2;

/// The one entry that is to be looked at; of those that a word fits alike, one that is not deleted.
///
/// # Errors
/// Not found, or ambiguous with the candidates.
pub fn one(all: &[Found], wanted: &str) -> Done<Found> {
    let (_, mut hits) = hits(all, wanted)?;
    if hits.iter().any(|found| !found.entry.deleted) {
        hits.retain(|found| !found.entry.deleted);
    }
    single(hits, wanted)
}

/// Whether an entry that is not deleted is called so, letter by letter: no deleted one is meant then.
pub fn is_literal(live: &[Found], wanted: &str) -> bool {
    hits(live, wanted).is_ok_and(|(nth, _)| nth < LITERAL)
}

/// The one entry that is to be changed. Where the word is only a part of its name, a person is asked, unless nobody is
/// to be.
///
/// # Errors
/// Not found, or ambiguous with the candidates.
pub fn to_change(all: &[Found], wanted: &str, ui: Ui, unasked: bool) -> Done<Found> {
    let (nth, hits) = hits(all, wanted)?;
    let found = single(hits, wanted)?;
    if nth < WHOLE {
        return Ok(found);
    }
    let (word, name) = (printable(wanted), printable(&found.name()));
    let question = format!("No entry is called \"{word}\". Do you mean {name} ({})?", found.short_id());
    if !unasked && prompt::confirm(ui, &question)? {
        return Ok(found);
    }
    let hits = [found];
    let message = format!("no entry is called \"{word}\"");
    let advice = format!("a part of a name changes nothing; name it by its id:{}", lines(&hits));
    Err(Failure::new(Exit::NotFound, message, advice).fact("candidates", candidates(&hits)))
}

/// Which rule decides, and what it matches.
fn hits(all: &[Found], wanted: &str) -> Done<(usize, Vec<Found>)> {
    let matching = |rule: &Rule| -> Vec<Found> {
        all.iter().filter(|found| !wanted.is_empty() && rule(found, wanted)).cloned().collect()
    };
    let decided = RULES.iter().map(matching).enumerate().find(|(_, hits)| !hits.is_empty());
    decided.ok_or_else(|| nothing(all, wanted))
}

/// Nothing matches. An entry whose text has not come yet has no name either, and may be the one.
fn nothing(all: &[Found], wanted: &str) -> Failure {
    let message = format!("no entry matches \"{}\"", printable(wanted));
    let is_absent = |found: &&Found| {
        found.item.is_none() && found.entry.heads.iter().any(|head| matches!(head.content, Content::Missing))
    };
    let absent = all.iter().filter(is_absent).count() as u64;
    if absent > 0 {
        let message =
            format!("{message}; {} not on this device yet", count(absent, "entry is", "entries are"));
        return Failure::new(Exit::Offline, message, "lockstep sync fetches what is missing");
    }
    let advice = format!("look for it with: lockstep search {}", shell_word(wanted));
    Failure::new(Exit::NotFound, message, advice)
}

fn single(mut hits: Vec<Found>, wanted: &str) -> Done<Found> {
    match hits.pop() {
        Some(only) if hits.is_empty() => Ok(only),
        Some(last) => {
            hits.push(last);
            Err(ambiguous(&hits, wanted))
        }
        None => Err(Failure::new(Exit::NotFound, "no such entry", "")),
    }
}

fn ambiguous(hits: &[Found], wanted: &str) -> Failure {
    let message = format!("{} entries match \"{}\"", hits.len(), printable(wanted));
    let advice = format!("name one by its id:{}", lines(hits));
    Failure::new(Exit::Ambiguous, message, advice).fact("candidates", candidates(hits))
}

/// The candidates, a line each.
fn lines(hits: &[Found]) -> String {
    const SHOWN: usize = 8;
    let described = hits.iter().take(SHOWN).map(|found| {
        let deleted = if found.entry.deleted { "deleted".to_owned() } else { String::new() };
        let details = [found.value("username"), found.value("folder"), deleted];
        let details: Vec<String> = details.into_iter().filter(|text| !text.is_empty()).collect();
        let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
        format!("\n  {}  {}", found.short_id(), printable(&(found.name() + &details)))
    });
    let more =
        if hits.len() > SHOWN { format!("\n  … and {} more", hits.len() - SHOWN) } else { String::new() };
    described.collect::<String>() + &more
}

/// The same for programs.
fn candidates(hits: &[Found]) -> Vec<serde_json::Value> {
    let described = hits.iter().map(|found| {
        serde_json::json!({
            "id": found.entry.entry, "name": found.name(), "username": found.value("username"),
            "deleted": found.entry.deleted,
        })
    });
    described.collect()
}

/// The one thing of a list whose id begins so; `what` it is, and where its id is to be seen.
///
/// # Errors
/// If none begins so, or several do.
pub fn beginning<'a, T>(
    all: &'a [T],
    id: impl Fn(&T) -> uuid::Uuid,
    wanted: &str,
    (what, see): (&str, &str),
) -> Done<&'a T> {
    let lower = wanted.to_lowercase();
    let mut hits = all.iter().filter(|one| lower.len() >= 4 && id(one).to_string().starts_with(&lower));
    if let (Some(hit), None) = (hits.next(), hits.next()) {
        return Ok(hit);
    }
    let message = format!("no single {what} begins with \"{}\"", printable(wanted));
    Err(Failure::new(Exit::NotFound, message, format!("see: {see}")))
}

/// A word that can be pasted into a shell.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./@:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", printable(text).replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use lockstep_client::porting::{
        Body,
        item::{Login, Uri},
    };
    use lockstep_events::VaultId;

    use super::*;

    fn found(id: u128, name: &str, uri: &str) -> Found {
        let uris = vec![Uri { uri: uri.into(), ..Uri::default() }];
        let entry = Entry {
            entry: EntryId(uuid::Uuid::from_u128(id << 96)),
            vault: VaultId::NIL,
            heads: Vec::new(),
            divergent: false,
            deleted: false,
            pending: false,
        };
        Found { entry, item: Some(Item::new(name, Body::Login(Login { uris, ..Login::default() }))) }
    }

    fn all() -> Vec<Found> {
        vec![
            found(0xaaaa_0001, "GitHub", "https://github.com/login"),
            found(0xaaaa_0002, "GitHub work", "https://git.example"),
            found(0xbbbb_0003, "Bank", "https://bank.example"),
        ]
    }

    #[test]
    fn the_most_exact_reading_of_a_word_wins() {
        let name =
            |wanted: &str| one(&all(), wanted).map(|found| found.name()).map_err(|failure| failure.exit);
        assert_eq!(name("github").as_deref(), Ok("GitHub"));
        assert_eq!(name("bbbb").as_deref(), Ok("Bank"));
        assert_eq!(name("git.example").as_deref(), Ok("GitHub work"));
        assert_eq!(name("work").as_deref(), Ok("GitHub work"));
        assert_eq!(name("aaaa"), Err(Exit::Ambiguous));
        assert_eq!(name("nothing"), Err(Exit::NotFound));
        assert_eq!(name(""), Err(Exit::NotFound));
    }

    #[test]
    fn an_ambiguous_word_lists_its_candidates() {
        let failure = one(&all(), "git").unwrap_err();
        assert!(failure.to_string().contains("aaaa0002  GitHub work"), "{failure}");
        assert_eq!(failure.json()["error"]["candidates"].as_array().unwrap().len(), 2);
    }

    /// Nobody can be asked here.
    fn changed(all: &[Found], wanted: &str) -> Done<String> {
        let ui = Ui { json: false, quiet: false, out_is_terminal: false, err_is_terminal: false };
        to_change(all, wanted, ui, false).map(|found| found.name())
    }

    #[test]
    fn a_part_of_a_name_is_enough_to_look_at_an_entry_and_not_to_change_it() {
        for whole in ["GitHub work", "github WORK", "aaaa0002", "https://git.example", "git.example"] {
            assert_eq!(changed(&all(), whole).unwrap(), "GitHub work");
        }
        for part in ["github w", "work"] {
            assert_eq!(one(&all(), part).unwrap().name(), "GitHub work");
            let refused = changed(&all(), part).unwrap_err();
            assert_eq!(refused.exit, Exit::NotFound);
            assert!(refused.to_string().contains("aaaa0002  GitHub work"), "{refused}");
            assert_eq!(refused.json()["error"]["candidates"][0]["name"], "GitHub work");
        }
    }

    #[test]
    fn a_deleted_entry_of_the_whole_name_is_meant_before_another_of_which_it_is_a_part() {
        let mut both = [found(1, "bank old", ""), found(2, "bank old savings", "")];
        both[0].entry.deleted = true;
        assert_eq!(one(&both, "bank old").unwrap().name(), "bank old");
        assert_eq!(changed(&both, "bank old").unwrap(), "bank old");
        // Of two that are called alike the one that is not deleted is looked at; a change has to say which.
        both[1] = found(2, "bank old", "");
        assert!(is_literal(&both[1..], "bank old") && !is_literal(&both[1..], "Bank old"));
        assert!(!one(&both, "bank old").unwrap().entry.deleted);
        let refused = changed(&both, "bank old").unwrap_err();
        assert_eq!(refused.exit, Exit::Ambiguous);
        assert!(refused.to_string().contains("bank old (deleted)"), "{refused}");
    }
}
