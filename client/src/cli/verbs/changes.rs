//! Arguments that change fields, shared by `add` and `edit`, and what both do after saving.

use clap::Args;
use lockstep_client::{
    crypto::os_random,
    one_time,
    porting::{
        Item,
        changes::Change,
        generate::{Recipe, password},
    },
};
use lockstep_events::{EntryId, VersionId};
use serde_json::json;

use crate::cli::{
    app::{App, Sent},
    failure::{Done, Failure},
    prompt,
};

/// Which fields get which values.
#[derive(Debug, Args, Default)]
pub struct Changes {
    /// User name
    #[arg(long, short, value_name = "NAME")]
    pub username: Option<String>,
    /// Address where it is used; may be given several times
    #[arg(long, value_name = "URI")]
    pub uri: Vec<String>,
    /// Folder, levels separated by /
    #[arg(long, value_name = "PATH")]
    pub folder: Option<String>,
    /// Set any field; a name that is not built in becomes a custom field
    #[arg(long, short, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// The same, and a custom field is masked from then on
    #[arg(long, value_name = "FIELD=VALUE")]
    pub hidden: Vec<String>,
    /// Ask for a field's value without showing it; a custom field is masked from then on
    #[arg(long, value_name = "FIELD")]
    pub ask: Vec<String>,
    /// Read a field's value from standard input, to its end
    #[arg(long, value_name = "FIELD")]
    pub stdin: Option<String>,
    /// Make a new password, of 20 characters if no number is given
    #[arg(long, short, value_name = "LENGTH", num_args = 0..=1, default_missing_value = "20")]
    pub generate: Option<usize>,
}

impl Changes {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.username.is_none()
            && self.uri.is_empty()
            && self.folder.is_none()
            && self.set.is_empty()
            && self.hidden.is_empty()
            && self.ask.is_empty()
            && self.stdin.is_none()
            && self.generate.is_none()
    }

    /// Fails where the password is to be made and given, too.
    fn one_password(&self) -> Done {
        let named = |pair: &String| pair.split('=').next().unwrap_or_default().to_owned();
        let set = self.set.iter().chain(&self.hidden).map(named);
        let mut given = set.chain(self.ask.iter().cloned()).chain(self.stdin.clone());
        if self.generate.is_some() && given.any(|field| field.eq_ignore_ascii_case("password")) {
            return Err(Failure::usage("the password is to be made and given", "--generate, or the other"));
        }
        Ok(())
    }

    /// Those that nobody is asked for.
    ///
    /// # Errors
    /// A wrong `--set` or length.
    pub fn given(&self) -> Done<Vec<Change>> {
        self.one_password()?;
        let mut all = Vec::new();
        for (field, value) in [("username", &self.username), ("folder", &self.folder)] {
            all.extend(value.iter().map(|value| Change::new(field, value.as_str())));
        }
        for (nth, uri) in self.uri.iter().enumerate() {
            let field = if nth == 0 { "uri".to_owned() } else { format!("uri{}", nth + 1) };
            all.push(Change::new(field, uri.as_str()));
        }
        for pair in &self.set {
            let (field, value) = split(pair)?;
            all.push(Change::new(field, value));
        }
        for pair in &self.hidden {
            let (field, value) = split(pair)?;
            all.push(Change::hidden(field, value));
        }
        if let Some(length) = self.generate {
            let recipe = Recipe { length, ..Recipe::default() };
            let made = password(&mut os_random(), recipe);
            let made = made.map_err(|error| Failure::usage(error.to_string(), ""))?;
            all.push(Change::hidden("password", made.secret));
        }
        Ok(all)
    }

    /// All of them, asking where they say so.
    ///
    /// # Errors
    /// As [`Changes::given`], and if there is no terminal to ask at.
    pub fn all(&self, app: &App) -> Done<Vec<Change>> {
        let mut all = self.given()?;
        for field in &self.ask {
            all.push(Change::hidden(field, prompt::secret_or(app.ui, field, OTHER)?));
        }
        if let Some(field) = &self.stdin {
            all.push(Change::new(field, prompt::stdin_rest()?));
        }
        Ok(all)
    }
}

/// How to give a field that is not typed.
const OTHER: &str = "give it with --hidden FIELD=VALUE, or from standard input with --stdin FIELD";

/// Gives an item new values, all together.
///
/// # Errors
/// A value that does not fit.
pub fn apply(item: &mut Item, changes: &[Change]) -> Done {
    item.set_all(changes).map_err(|error| Failure::usage(error.to_string(), "nothing was saved"))
}

/// `FIELD=VALUE`.
///
/// # Errors
/// If there is no `=`.
pub fn split(pair: &str) -> Done<(&str, &str)> {
    pair.split_once('=').filter(|(field, _)| !field.is_empty()).ok_or_else(|| {
        // The whole may be a value that was meant to be secret: it is not repeated.
        Failure::usage("expected FIELD=VALUE", "for example: --set username=ada")
    })
}

/// Says what was saved, whether it is on the server, and (for programs) whether other versions stand beside it.
///
/// # Errors
/// If standard output is gone.
pub fn report(
    app: &App,
    (what, name): (&str, &str),
    (entry, version): (EntryId, VersionId),
    (sent, divergent): (Sent, bool),
) -> Done {
    if app.ui.json {
        return app.ui.document(&json!({
            "entry": entry, "version": version, "sent": sent == Sent::Now, "divergent": divergent,
        }));
    }
    let state = if sent == Sent::Now { "" } else { " on this device" };
    app.ui.done(format!(
        "{what}{state}: {}  {}",
        crate::cli::find::short(entry),
        crate::cli::ui::printable(name)
    ));
    Ok(())
}

/// Warns of a new `totp` that gives no one-time codes: a slip that shows only when a code is needed.
pub fn warn_of_codes(app: &App, before: Option<&Item>, now: &Item) {
    let secret = |item: &Item| item.get("totp").map(|field| field.value.clone());
    let Some(new) = secret(now).filter(|new| before.and_then(secret).as_ref() != Some(new)) else { return };
    if let Err(why) = one_time::present(new.as_str()) {
        app.ui.warn(format!("totp gives no one-time codes: {why}"));
    }
}
