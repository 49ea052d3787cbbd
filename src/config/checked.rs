//! Options that cannot be meant so.

use super::{Config, ConfigError, providers::Provider};
use crate::limits::Proxies;

/// No number of anything is larger.
const MOST: u64 = 1_000_000;

/// `scheme://host[:port]`, written out.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' ']))
}

impl Config {
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
        if !(10..=1200).contains(&self.access_token_s) {
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
        if Proxies::parse(&self.trusted_proxies).is_none() {
            return Err(ConfigError::Contradiction(
                "trusted_proxies must be addresses or networks (10.0.0.0/8), separated by commas",
            ));
        }
        if !self.cors_origins.split(',').map(str::trim).all(|origin| origin.is_empty() || is_origin(origin)) {
            return Err(ConfigError::Contradiction(
                "cors_origins must be origins without a path (https://app.example.org), separated by commas",
            ));
        }
        if !self.admin_listen.is_empty() && self.admin_address().is_none() {
            return Err(ConfigError::Contradiction("admin_listen must be an address and a port, or empty"));
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
        Ok(self)
    }
}
