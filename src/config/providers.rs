//! Identity providers as the options name them, and what is known about the usual ones.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Secret;

/// Providers by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Providers(pub BTreeMap<String, Provider>);

/// Where the provider sends the browser back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirect {
    /// To the asking program itself, on this machine (RFC 8252).
    Loopback,
    /// To this server, which sends it on to the asking program.
    Server,
}

/// What Apple wants instead of a client secret: a token signed with a key of the developer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apple {
    /// The team's id.
    pub team: String,
    /// The key's id.
    pub key_id: String,
    /// The key, PEM (`AuthKey_….p8`).
    pub key_file: PathBuf,
}

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// One of the usual ones, whose issuer and ways are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The issuer, exactly as the provider names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Microsoft's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// How the provider knows this server.
    pub client_id: String,
    /// How this server proves itself; none for a public client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// What Apple wants instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apple: Option<Apple>,
    /// Where the browser is sent back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
}

/// A provider that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// accounts.google.com
    Google,
    /// appleid.apple.com
    Apple,
    /// login.microsoftonline.com, one directory
    Microsoft,
    /// gitlab.com, or one's own
    Gitlab,
    /// One's own
    Keycloak,
}

impl FromStr for Providers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What the parser met could repeat a secret; the place is enough.
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            format!("expected providers as TOML, not what stands at byte {at}")
        })
    }
}

impl Provider {
    /// The issuer: the one that is named, else the preset's.
    pub fn issuer(&self) -> Option<String> {
        let known = match self.preset {
            Some(Preset::Google) => Some("https://accounts.google.com".to_owned()),
            Some(Preset::Apple) => Some("https://appleid.apple.com".to_owned()),
            Some(Preset::Microsoft) => {
                let tenant = self.tenant.as_ref()?;
                Some(format!("https://login.microsoftonline.com/{tenant}/v2.0"))
            }
            Some(Preset::Gitlab) => Some("https://gitlab.com".to_owned()),
            Some(Preset::Keycloak) | None => None,
        };
        self.issuer.clone().or(known)
    }

    /// Where the browser is sent back to. Google and Keycloak know native applications; the others want a web address.
    pub fn redirect(&self) -> Redirect {
        let known = match self.preset {
            Some(Preset::Google | Preset::Keycloak) | None => Redirect::Loopback,
            Some(Preset::Apple | Preset::Microsoft | Preset::Gitlab) => Redirect::Server,
        };
        self.redirect.unwrap_or(known)
    }

    /// Whether the answer comes as a form: Apple does so wherever it is asked for more than the bare identity, and
    /// always can.
    pub fn form_post(&self) -> bool {
        self.preset == Some(Preset::Apple)
    }

    /// What contradicts itself in the options of a provider.
    pub fn contradiction(&self) -> Option<&'static str> {
        if self.issuer().is_none() {
            return Some("oidc: a provider needs its issuer (with preset microsoft: its tenant)");
        }
        if self.apple.is_some() && self.client_secret.is_some() {
            return Some("oidc: client_secret and apple exclude each other");
        }
        if self.form_post() && self.redirect() == Redirect::Loopback {
            return Some("oidc: apple sends its answer as a form and needs redirect = \"server\"");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(toml: &str) -> Provider {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn presets_know_issuer_and_redirect_and_options_stand_over_them() {
        let google = provider("preset = \"google\"\nclient_id = \"x\"");
        assert_eq!(google.issuer().as_deref(), Some("https://accounts.google.com"));
        assert_eq!(google.redirect(), Redirect::Loopback);
        let apple = provider("preset = \"apple\"\nclient_id = \"x\"");
        assert!(apple.form_post() && apple.redirect() == Redirect::Server);
        let own = provider(
            "preset = \"gitlab\"\nissuer = \"https://git.example\"\nclient_id = \"x\"\nredirect = \"loopback\"",
        );
        assert_eq!(own.issuer().as_deref(), Some("https://git.example"));
        assert_eq!(own.redirect(), Redirect::Loopback);
        let microsoft = provider("preset = \"microsoft\"\ntenant = \"t\"\nclient_id = \"x\"");
        assert_eq!(microsoft.issuer().as_deref(), Some("https://login.microsoftonline.com/t/v2.0"));
    }

    #[test]
    fn a_provider_that_cannot_work_is_refused_at_the_start() {
        for toml in
            ["preset = \"keycloak\"", "preset = \"microsoft\"", "preset = \"apple\"\nredirect = \"loopback\""]
        {
            assert!(provider(&format!("client_id = \"x\"\n{toml}")).contradiction().is_some(), "{toml}");
        }
    }

    #[test]
    fn a_secret_in_the_environment_is_not_repeated_by_an_error() {
        let text = "google = { client_secret = \"hunter2\", client_id = 7 }";
        let error = text.parse::<Providers>().unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let right = text.replace('7', "\"x\"").parse::<Providers>().unwrap();
        assert_eq!(right.0["google"].client_id, "x");
    }
}
