//! Options: the defaults, a file, the environment and flags, in rising precedence. Only this file reads the
//! environment.

mod checked;
mod listen;
mod names;
mod providers;
mod secret;

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

pub use listen::Listen;
pub use names::unknown_variables;
pub use providers::{Apple, Preset, Provider, Providers, Redirect};
pub use secret::Secret;

use crate::plans::Plans;

const DEFAULTS: &str = include_str!("config.default.toml");

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file has an unknown option or a value of the wrong type.
    #[error("the configuration {place} is not valid: {message}")]
    Parse {
        /// The file's name, or what stands for it.
        place: String,
        /// With line and column.
        message: String,
    },
    /// An environment variable has a value of the wrong type.
    #[error("{variable} is not valid: {message}")]
    Environment {
        /// The variable.
        variable: String,
        /// What is expected.
        message: String,
    },
    /// An environment variable that no option has, but nearly.
    #[error("{variable} names no option: did you mean {meant}?")]
    Misspelt {
        /// The variable.
        variable: String,
        /// That of the option.
        meant: String,
    },
    /// A number that cannot be meant so.
    #[error("{option} must be from 1 to {most}")]
    Range {
        /// The option.
        option: &'static str,
        /// At most this.
        most: u64,
    },
    /// Options that contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("expected one of {}", [$($word),+].join(", "))),
                }
            }
        }
    )+};
}

words! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// For programs.
        Json = "json",
    }
    /// Who may register.
    Registration {
        /// Anybody.
        Open = "open",
        /// Who was invited.
        Invited = "invited",
    }
    /// The oldest TLS version that is accepted.
    TlsMin {
        /// TLS 1.3.
        V13 = "1.3",
        /// TLS 1.2.
        V12 = "1.2",
    }
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)+) => {
        /// Every option, as the server uses it. `config.default.toml` says what each means.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct Config { $($(#[$doc])* pub $name: $type,)+ }

        /// Some options: one source of them.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Layer { $($(#[$doc])* pub $name: Option<$type>,)+ }

        impl Layer {
            /// These options, and where they are silent, those of `below`.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { $($name: self.$name.or(below.$name),)+ }
            }

            /// The options that the environment names.
            ///
            /// # Errors
            /// If a value is not of its option's type.
            pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
                Ok(Self { $($name: from_variable(stringify!($name), &get)?,)+ })
            }

            fn finish(self) -> Result<Config, ConfigError> {
                Ok(Config { $($name: self.$name.ok_or(ConfigError::Parse {
                    place: "config.default.toml".to_owned(),
                    message: concat!("it has no ", stringify!($name)).to_owned(),
                })?,)+ })
            }
        }
    };
}

options! {
    /// Address or name, and port.
    listen: Listen,
    /// The data folder.
    data: PathBuf,
    /// How log lines look.
    log_format: LogFormat,
    /// Which log lines are written.
    log_filter: String,
    /// PEM file, or empty.
    tls_cert: PathBuf,
    /// PEM file, or empty.
    tls_key: PathBuf,
    /// Further names of the self-made certificate.
    tls_names: String,
    /// The oldest TLS version.
    tls_min: TlsMin,
    /// No TLS at all.
    plain_http: bool,
    /// The event log.
    log: Secret,
    /// The read models.
    reads: Secret,
    /// The credential store.
    credentials: Secret,
    /// The bus.
    bus: Secret,
    /// The blob store.
    blobs: Secret,
    /// The S3 service's URL.
    s3_endpoint: String,
    /// The S3 service's URL for clients.
    s3_public_endpoint: String,
    /// Its region.
    s3_region: String,
    /// Its access key.
    s3_access_key: Secret,
    /// Its secret key.
    s3_secret_key: Secret,
    /// Bytes of a blob.
    max_blob_bytes: u64,
    /// Bytes of an attachment.
    max_attachment_bytes: u64,
    /// Days of history.
    retention_days: u32,
    /// Connections to each Postgres database.
    database_connections: u32,
    /// The file with the server's secret keys.
    key_file: PathBuf,
    /// The `iss` of access tokens.
    issuer: String,
    /// Life of an access token, in seconds.
    access_token_s: u32,
    /// Idle life of a refresh token, in days.
    refresh_idle_days: u32,
    /// Life of a session, in days.
    refresh_absolute_days: u32,
    /// Grace for a used refresh token, in seconds.
    refresh_grace_s: u32,
    /// Every rate limit times this.
    rate_limit_factor: u32,
    /// Proxies whose word about their clients is believed.
    trusted_proxies: String,
    /// Web pages that may call.
    cors_origins: String,
    /// Where metrics are told; empty: nowhere.
    admin_listen: String,
    /// Whether administrators are served there and nowhere else.
    admin_apart: bool,
    /// Hours in which an erasure can be called off.
    erasure_wait_hours: u32,
    /// The domain that passkeys answer for.
    passkey_domain: String,
    /// The origins from which passkeys may be asked, with commas between them.
    passkey_origins: String,
    /// Open connections.
    max_connections: usize,
    /// Open connections of one address.
    max_connections_per_address: usize,
    /// Password proofs at the same time.
    max_password_proofs: usize,
    /// Time for a request, in seconds.
    request_timeout_s: u64,
    /// Time for a stop, in seconds.
    drain_s: u64,
    /// Milliseconds between looks at the tail.
    tail_poll_ms: u64,
    /// Seconds between two pings of a live socket.
    live_ping_s: u64,
    /// Seconds without an answer after which a live socket is dead.
    live_pong_s: u64,
    /// Seconds that an expired token is borne on an open socket.
    live_token_grace_s: u64,
    /// Live sockets that an account may have open on one node.
    live_per_account: usize,
    /// Seconds that a blocked write to a live socket is borne.
    live_blocked_s: u64,
    /// Seconds that a live socket may be behind what is kept in memory.
    live_behind_s: u64,
    /// Whether anybody may register, or only who was invited.
    registration: Registration,
    /// Whether role grants and deletions take two administrators.
    two_admins: bool,
    /// Key of the biller's signatures, or empty: there is no biller.
    billing_secret: Secret,
    /// The plan of an account that was given none.
    default_plan: String,
    /// How letters leave.
    mail: Secret,
    /// Whom letters are from.
    mail_from: String,
    /// PEM file, or empty.
    mail_ca: PathBuf,
    /// Where people reach the server with a browser, or empty.
    public_url: String,
    /// PEM file, or empty.
    oidc_ca: PathBuf,
    /// Every plan. A table: after every plain option.
    plans: Plans,
    /// Identity providers, by the name that people choose them by.
    oidc: Providers,
}

fn from_variable<T>(name: &str, get: impl Fn(&str) -> Option<String>) -> Result<Option<T>, ConfigError>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    let variable = format!("LOCKSTEP_{}", name.to_uppercase());
    match get(&variable).map(|text| text.parse()) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(error)) => Err(ConfigError::Environment { variable, message: T::Err::to_string(&error) }),
    }
}

impl Layer {
    /// The options of a TOML text; `place` names it in errors.
    ///
    /// # Errors
    /// With line and column, if an option is unknown or of the wrong type.
    pub fn from_toml(text: &str, place: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Parse {
            place: place.to_owned(),
            message: names::said(&error, text),
        })
    }

    /// The options of a file.
    ///
    /// # Errors
    /// If it cannot be read, or is not valid.
    pub fn from_file(path: &std::path::Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::from_toml(&text, &path.display().to_string())
    }

    /// The options that this process's environment names.
    ///
    /// # Errors
    /// If a value is not of its option's type, or a variable is nearly an option's.
    pub fn from_process() -> Result<Self, ConfigError> {
        unknown_variables()?;
        Self::from_environment(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
    }
}

impl Config {
    /// The defaults, with some options in their place.
    ///
    /// # Errors
    /// If the options contradict each other.
    pub fn with(options: Layer) -> Result<Self, ConfigError> {
        options.over(Layer::from_toml(DEFAULTS, "config.default.toml")?).finish()?.checked()
    }

    /// Where the listener for operators is.
    pub fn admin_address(&self) -> Option<Listen> {
        self.admin_listen.parse().ok()
    }

    /// Whether a listener has the server's certificate: that of clients, or that of administrators apart from them.
    pub fn has_certificate(&self) -> bool {
        !self.plain_http || self.admin_apart
    }

    /// Whether the database of this port is the file in the data folder.
    pub fn is_sqlite(port: &Secret) -> bool {
        port.expose() == "sqlite"
    }

    /// Where letters are kept while no mail server is named.
    pub fn mail_folder(&self) -> PathBuf {
        self.data.join("mail")
    }

    /// Where browsers reach this server to be asked for a passkey, unless somebody has said it.
    pub fn ask_for_passkeys_at(&mut self, own_url: &str) {
        if self.passkey_origins.trim().is_empty() {
            let port = own_url.rsplit(':').next().unwrap_or_default();
            self.passkey_origins = format!("https://{}:{port}", self.passkey_domain);
        }
    }

    /// The file with the one-time token that names the first administrator.
    pub fn bootstrap_path(&self) -> PathBuf {
        self.data.join("bootstrap-token")
    }

    /// For how long an erasure can be called off, in seconds.
    pub fn erasure_wait_s(&self) -> i64 {
        i64::from(self.erasure_wait_hours) * 3600
    }

    /// The file with the server's secret keys.
    pub fn key_path(&self) -> PathBuf {
        if self.key_file.as_os_str().is_empty() {
            return self.data.join("keys").join("server.json");
        }
        self.key_file.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_names_every_option_and_parses() {
        let config = Config::with(Layer::default()).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8443");
        assert_eq!(config.access_token_s, 300);
    }

    #[test]
    fn the_environment_stands_over_the_file_and_a_wrong_value_names_its_variable() {
        let file = Layer::from_toml("data = \"from-file\"\naccess_token_s = 60", "f").unwrap();
        let get = |name: &str| (name == "LOCKSTEP_DATA").then(|| "from-env".to_owned());
        let config = Config::with(Layer::from_environment(get).unwrap().over(file)).unwrap();
        assert_eq!((config.data.to_str(), config.access_token_s), (Some("from-env"), 60));
        let wrong = |name: &str| (name == "LOCKSTEP_LISTEN").then(|| "nowhere".to_owned());
        assert!(Layer::from_environment(wrong).unwrap_err().to_string().contains("LOCKSTEP_LISTEN"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let options = Layer {
            log: Some("postgres://user:hunter2@db/x".into()),
            s3_secret_key: Some("hunter3".into()),
            ..Layer::default()
        };
        let config = Config::with(options).unwrap();
        let shown = format!("{config:?} {}", toml::to_string(&config).unwrap());
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let lone = Layer { tls_cert: Some("a.pem".into()), ..Layer::default() };
        assert!(Config::with(lone).is_err());
        let no_limit = Layer { rate_limit_factor: Some(0), ..Layer::default() };
        assert!(Config::with(no_limit).is_err());
        let anybody = Layer { trusted_proxies: Some("anybody".into()), ..Layer::default() };
        assert!(Config::with(anybody).is_err());
        let split = Layer { bus: Some("nats://n".into()), ..Layer::default() };
        assert!(Config::with(split).is_err());
    }
}
