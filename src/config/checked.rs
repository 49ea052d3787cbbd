//! Options that cannot be meant so.

use tracing::level_filters::LevelFilter;

use super::{Config, ConfigError, providers::Provider};
use crate::{auth::token::LONGEST_S, limits::Proxies};

/// No number of anything is larger.
const MOST: u64 = 1_000_000;

/// `scheme://host[:port]`, written out.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' ']))
}

/// Where people get to with a browser: an origin, and a path behind a proxy that has one.
fn is_base(text: &str) -> bool {
    let scheme = text.split_inclusive("://").next().unwrap_or_default();
    let (host, path) = text[scheme.len()..].split_once('/').unwrap_or((&text[scheme.len()..], ""));
    is_origin(&format!("{scheme}{host}")) && !path.contains(['?', '#', ' '])
}

fn is_domain(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    };
    text.split('.').all(is_part)
}

/// Whether a page of this origin may ask for passkeys of the domain by itself: it is of it or below it.
fn is_of_domain(origin: &str, domain: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host).to_lowercase();
    let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
    let above = host.strip_suffix(&domain.to_lowercase());
    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Whether one of the origins can be where passkeys of the domain are made. Further ones the domain may name itself to
/// browsers (related origins), and an app is no page.
fn has_page_of(origins: &str, domain: &str) -> bool {
    let mut pages = origins.split(',').map(str::trim).filter(|origin| is_origin(origin)).peekable();
    pages.peek().is_none() || pages.any(|origin| is_of_domain(origin, domain))
}

/// A level, or levels of single targets. A bare target would show all of it and nothing else.
fn is_filter(text: &str) -> bool {
    let is_target = |name: &str| {
        !name.is_empty()
            && name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | ':' | '-'))
    };
    let is_level = |level: &str| !level.is_empty() && level.parse::<LevelFilter>().is_ok();
    text.split(',').all(|word| match word.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(word),
    })
}

impl Config {
    /// What is said of the first text that is not of its option's form.
    fn malformed(&self) -> Option<&'static str> {
        let mut origins = self.cors_origins.split(',').map(str::trim);
        let forms = [
            (
                Proxies::parse(&self.trusted_proxies).is_some(),
                "trusted_proxies must be addresses or networks (10.0.0.0/8), separated by commas",
            ),
            (
                origins.all(|origin| origin.is_empty() || is_origin(origin)),
                "cors_origins must be origins without a path (https://app.example.org), separated by commas",
            ),
            (
                self.public_url.is_empty() || is_base(&self.public_url),
                "public_url must be a URL that people open in a browser (https://vault.example.org), or empty",
            ),
            (
                is_domain(&self.passkey_domain),
                "passkey_domain must be a domain alone (vault.example.org), without scheme and port",
            ),
            (
                has_page_of(&self.passkey_origins, &self.passkey_domain),
                "passkey_origins must have one of passkey_domain or below it (https://vault.example.org of \
                 vault.example.org): elsewhere no browser makes a passkey",
            ),
            (
                is_filter(&self.log_filter),
                "log_filter must be a level, or levels of targets, separated by commas (info,lockstepd=debug,sqlx=warn)",
            ),
            (
                self.blobs.expose().strip_prefix("s3://").is_none_or(|bucket| !bucket.is_empty()),
                "blobs must be filesystem, or name a bucket (s3://lockstep)",
            ),
            (
                self.admin_listen.is_empty() || self.admin_address().is_some(),
                "admin_listen must be an address, or a name of this machine, and a port (127.0.0.1:9464), or empty",
            ),
        ];
        forms.into_iter().find(|(is_right, _)| !is_right).map(|(_, said)| said)
    }

    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        let at_least_one = [
            ("max_connections", self.max_connections as u64),
            ("max_connections_per_address", self.max_connections_per_address as u64),
            ("max_password_proofs", self.max_password_proofs as u64),
            ("request_timeout_s", self.request_timeout_s),
            ("tail_poll_ms", self.tail_poll_ms),
            ("live_ping_s", self.live_ping_s),
            ("database_connections", self.database_connections.into()),
            ("refresh_idle_days", self.refresh_idle_days.into()),
            ("refresh_absolute_days", self.refresh_absolute_days.into()),
        ];
        if let Some((option, _)) = at_least_one.iter().find(|(_, value)| !(1..=MOST).contains(value)) {
            return Err(ConfigError::Range { option, most: MOST });
        }
        if self.tls_cert.as_os_str().is_empty() != self.tls_key.as_os_str().is_empty() {
            return Err(ConfigError::Contradiction("tls_cert and tls_key must be given together"));
        }
        if !(10..=LONGEST_S).contains(&self.access_token_s) {
            return Err(ConfigError::Contradiction("access_token_s must be from 10 to 1200"));
        }
        if !self.plans.0.contains_key(&self.default_plan) {
            return Err(ConfigError::Contradiction("default_plan must be one of plans"));
        }
        if let Some(contradiction) = self.plans.contradiction() {
            return Err(ConfigError::Contradiction(contradiction));
        }
        if self.rate_limit_factor == 0 {
            return Err(ConfigError::Contradiction("rate_limit_factor must be at least 1"));
        }
        if let Some(malformed) = self.malformed() {
            return Err(ConfigError::Contradiction(malformed));
        }
        if let Some(contradiction) = self.oidc.0.values().find_map(Provider::contradiction) {
            return Err(ConfigError::Contradiction(contradiction));
        }
        if self.admin_apart && self.admin_listen.is_empty() {
            return Err(ConfigError::Contradiction(
                "with admin_apart administrators are served at admin_listen, which is empty: give it an address and a port",
            ));
        }
        if self.erasure_wait_hours > 30 * 24 {
            return Err(ConfigError::Contradiction("erasure_wait_hours must be from 0 to 720"));
        }
        let many = [&self.log, &self.reads, &self.credentials].map(|s| s.expose() == "sqlite");
        if self.bus.expose() != "in_process" && many.contains(&true) {
            return Err(ConfigError::Contradiction(
                "several nodes need log, reads and credentials in Postgres: SQLite belongs to one node",
            ));
        }
        if self.bus.expose() != "in_process" && self.blobs.expose() == "filesystem" {
            return Err(ConfigError::Contradiction(
                "several nodes need blobs in S3 (s3://BUCKET): files in a folder belong to one node",
            ));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Layer};

    #[test]
    fn what_belongs_to_one_node_is_refused_where_a_bus_says_that_there_are_several() {
        let several = |rest: &str| {
            let databases =
                ["log", "reads", "credentials"].map(|port| format!("{port} = \"postgres://a@b/c\""));
            let toml = format!("bus = \"nats://b:4222\"\n{}\n{rest}", databases.join("\n"));
            Config::with(Layer::from_toml(&toml, "f").unwrap())
        };
        assert!(several("blobs = \"s3://lockstep\"").is_ok());
        assert!(several("").unwrap_err().to_string().contains("several nodes need blobs in S3"));
        let alone = Config::with(Layer::from_toml("bus = \"nats://b:4222\"", "f").unwrap());
        assert!(alone.unwrap_err().to_string().contains("several nodes need log"));
    }

    #[test]
    fn a_text_that_is_not_of_its_options_form_is_refused_with_the_options_name_and_a_right_one() {
        let given = |toml: &str| Config::with(Layer::from_toml(toml, "f").unwrap());
        for (wrong, example) in [
            ("trusted_proxies = \"10.0.0.0/99\"", "(10.0.0.0/8)"),
            ("public_url = \"vault\"", "(https://vault.example.org)"),
            ("passkey_domain = \"http://x\"", "(vault.example.org)"),
            ("passkey_domain = \"vault.example.org:8443\"", "(vault.example.org)"),
            ("passkey_origins = \"https://elsewhere.org\"", "of vault.example.org"),
            ("passkey_origins = \"https://notlocalhost:8443\"", "passkey_domain"),
            ("log_filter = \"(((\"", "(info,lockstepd=debug,sqlx=warn)"),
            ("log_filter = \"infoo\"", "(info,lockstepd=debug,sqlx=warn)"),
            ("log_filter = \"info,sqlx=loud\"", "(info,lockstepd=debug,sqlx=warn)"),
            ("blobs = \"s3://\"", "(s3://lockstep)"),
            ("admin_listen = \"9464\"", "(127.0.0.1:9464)"),
            ("cors_origins = \"https://a.example/x\"", "(https://app.example.org)"),
        ] {
            let said = given(wrong).unwrap_err().to_string();
            let option = wrong.split(' ').next().unwrap();
            assert!(said.starts_with(option) && said.contains(example), "{wrong}: {said}");
        }
        for right in [
            "public_url = \"https://vault.example.org/\"",
            "public_url = \"http://127.0.0.1:8080/sync\"",
            "log_filter = \"debug\"",
            "log_filter = \"lockstepd=debug,warn\"",
            "log_filter = \"info,sqlx::query=off\"",
            "blobs = \"s3://lockstep\"",
            "passkey_domain = \"vault.example.org\"",
            "trusted_proxies = \"10.0.0.0/32, fd00::/128\"",
            "passkey_origins = \"https://Localhost:8443, https://elsewhere.org, android:apk-key-hash:kfc\"",
            "passkey_domain = \"example.org\"\npasskey_origins = \"https://example.org,https://vault.example.org:8443\"",
        ] {
            assert!(given(right).is_ok(), "{right}");
        }
    }
}
