//! Into which vault the entries of an import go.

use lockstep_client::{
    Client,
    model::Vault,
    porting::{Imported, Item, Secret, portion::Origin},
};
use lockstep_events::VaultId;
use serde_json::{Value, json};

use crate::cli::{
    app::App,
    failure::{Done, Exit, Failure},
    ui::printable,
};

/// A vault, and what goes into it.
pub struct Place {
    target: Target,
    /// The profile at it; none until it is made.
    pub client: Option<Client>,
    /// What is to be added.
    pub items: Vec<Item>,
    /// How many more it has already.
    pub there: u64,
    /// What it is called.
    name: Option<String>,
}

/// Which vault.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// It is there; it may be called something from now on.
    There(VaultId, Option<Secret>),
    New(Secret),
}

/// Sorts an import by vault: what says nothing of one goes into the vault that the profile works with, and so does all
/// of it if that one was named.
///
/// # Errors
/// If the local database fails.
pub async fn of(app: &App, client: &Client, imported: &mut Imported) -> Done<Vec<Place>> {
    let vaults = client.vaults().await?;
    let mut items = std::mem::take(&mut imported.items);
    let mut portions = std::mem::take(&mut imported.vaults);
    if app.vault.is_some() {
        items.extend(portions.drain(..).flat_map(|portion| portion.items));
    }
    let mut places: Vec<Place> = Vec::new();
    if !items.is_empty() || portions.is_empty() {
        let here = Target::There(client.status().await?.vault, None);
        places.push(place(client, &vaults, here, items).await?);
    }
    for portion in portions {
        let target = target(&vaults, &portion.vault);
        match places.iter_mut().find(|place| place.target.is(&target)) {
            Some(place) => place.items.extend(portion.items),
            None => places.push(place(client, &vaults, target, portion.items).await?),
        }
    }
    Ok(places)
}

impl Target {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::There(one, _), Self::There(other, _)) => one == other,
            (Self::New(one), Self::New(other)) => one == other,
            _ => false,
        }
    }
}

async fn place(client: &Client, vaults: &[Vault], target: Target, items: Vec<Item>) -> Done<Place> {
    let (at, name) = match &target {
        Target::There(vault, new_name) => {
            let known =
                vaults.iter().find(|known| known.vault == *vault).and_then(|known| known.name.clone());
            let new_name = new_name.as_ref().map(|name| name.as_str().to_owned());
            (Some(client.in_vault(*vault).await?), new_name.or(known))
        }
        Target::New(name) => (None, Some(name.as_str().to_owned())),
    };
    Ok(Place { target, client: at, items, there: 0, name })
}

/// The same vault, else the one of its name, else one that is to be made. What an account began with is put back into
/// what this one began with, unless that is called something else.
fn target(vaults: &[Vault], origin: &Origin) -> Target {
    let name = origin.name.as_ref().filter(|name| !name.as_str().trim().is_empty());
    let called = |vault: &&Vault| {
        let same = |name: &Secret| {
            vault.name.as_ref().is_some_and(|own| own.to_lowercase() == name.as_str().trim().to_lowercase())
        };
        name.is_some_and(same)
    };
    let same = vaults.iter().find(|vault| vault.vault == origin.id);
    if let Some(vault) = same.filter(|vault| !vault.deleted).or_else(|| vaults.iter().find(called)) {
        return Target::There(vault.vault, None);
    }
    match (name, same.or_else(|| vaults.first())) {
        // It was deleted: what comes into it names it again.
        (Some(name), Some(same)) if same.deleted => Target::There(same.vault, Some(name.clone())),
        (None, Some(first)) => Target::There(first.vault, None),
        (Some(name), Some(first)) if origin.first && first.name.is_none() => {
            Target::There(first.vault, Some(name.clone()))
        }
        (name, _) => Target::New(name.cloned().unwrap_or_default()),
    }
}

impl Place {
    /// Whether it has to be made.
    pub const fn is_new(&self) -> bool {
        matches!(self.target, Target::New(_))
    }

    /// As a person knows it.
    pub fn word(&self) -> String {
        match (&self.name, &self.target) {
            (Some(name), _) => printable(name),
            (None, Target::There(vault, _)) => vault.to_string().chars().take(8).collect(),
            (None, Target::New(_)) => String::new(),
        }
    }

    /// For programs.
    pub fn document(&self) -> Value {
        let vault = match self.target {
            Target::There(vault, _) => Some(vault),
            Target::New(_) => None,
        };
        json!({
            "vault": vault, "name": self.name, "new": self.is_new(), "items": self.items.len(),
            "already_there": self.there,
        })
    }
}

/// Makes the vaults that are not there, and calls the first one what it was called.
///
/// # Errors
/// Offline, no room in the plan.
pub async fn make(app: &App, client: &Client, places: &mut [Place]) -> Done {
    let mut made_so_far = Vec::new();
    for place in places.iter_mut().filter(|place| !place.items.is_empty()) {
        match (&place.target, &place.client) {
            (Target::New(name), _) => {
                let made = if app.offline {
                    let message = "to make a vault needs the server, and --offline was given";
                    Err(Failure::new(Exit::Offline, message, ""))
                } else {
                    client.create_vault(name.as_str()).await.map_err(Failure::from)
                };
                let vault = made.map_err(|failure| unmade(failure, &place.word(), &made_so_far))?;
                made_so_far.push(place.word());
                place.client = Some(client.in_vault(vault).await?);
            }
            (Target::There(_, Some(name)), Some(at)) => at.name_vault(name.as_str()).await?,
            _ => {}
        }
    }
    Ok(())
}

fn unmade(failure: Failure, word: &str, made: &[String]) -> Failure {
    let message = format!("the vault {word} cannot be made: {}", failure.message);
    let but = if made.is_empty() {
        String::new()
    } else {
        format!(", but there is a new vault: {}", made.join(", "))
    };
    let advice =
        format!("no entry was imported{but}; `lockstep --vault NAME import …` puts all into one vault");
    Failure { message, advice, ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(n: u128, name: Option<&str>) -> Vault {
        let vault = VaultId(uuid::Uuid::from_u128(n));
        let name = name.map(str::to_owned);
        let (divergent, deleted) = (false, n == 4);
        let (also, was, left) = (Vec::new(), None, 0);
        Vault {
            vault,
            name,
            also,
            divergent,
            deleted,
            was,
            left,
            key_generation: 1,
            due: false,
            current: n == 1,
        }
    }

    fn origin(n: u128, name: Option<&str>, first: bool) -> Origin {
        Origin { id: VaultId(uuid::Uuid::from_u128(n)), name: name.map(Into::into), first }
    }

    fn there(n: u128) -> Target {
        Target::There(VaultId(uuid::Uuid::from_u128(n)), None)
    }

    #[test]
    fn a_vault_goes_into_itself_else_into_the_one_of_its_name_else_into_a_new_one() {
        let vaults = [vault(1, None), vault(2, Some("Work")), vault(3, Some("Shared"))];
        assert_eq!(target(&vaults, &origin(3, Some("Work"), false)), there(3), "it was renamed");
        assert_eq!(target(&vaults, &origin(9, Some(" work"), false)), there(2));
        assert_eq!(target(&vaults, &origin(9, Some("Old"), false)), Target::New("Old".into()));
        assert_eq!(target(&vaults, &origin(9, None, false)), there(1));
    }

    #[test]
    fn a_vault_that_was_deleted_is_named_again_by_what_comes_back_into_it() {
        let vaults = [vault(1, None), vault(4, None)];
        let again = Target::There(vault(4, None).vault, Some("Old".into()));
        assert_eq!(target(&vaults, &origin(4, Some("Old"), false)), again);
        let anew = [vault(1, None), vault(4, None), vault(5, Some("old"))];
        assert_eq!(target(&anew, &origin(4, Some("Old"), false)), there(5), "its name has another now");
    }

    #[test]
    fn what_an_account_began_with_goes_into_what_this_one_began_with_unless_that_has_a_name() {
        let private = origin(9, Some("Private"), true);
        let first = Target::There(vault(1, None).vault, Some("Private".into()));
        assert_eq!(target(&[vault(1, None), vault(2, Some("Work"))], &private), first);
        assert_eq!(target(&[vault(1, Some("Mine"))], &private), Target::New("Private".into()));
        assert_eq!(target(&[vault(1, Some("Mine")), vault(2, Some("Private"))], &private), there(2));
        assert_eq!(target(&[vault(1, Some("Mine"))], &origin(9, None, true)), there(1));
    }
}
