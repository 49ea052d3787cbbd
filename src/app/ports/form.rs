//! Of which form what stands behind a port is.

#[cfg(feature = "distributed")]
use super::{Database, unopened};
use super::{StartError, scheme, unsupported};
use crate::{
    adapters::{
        form::Form,
        sqlite::{self, files},
    },
    config::{Config, Secret},
};

/// Ports that are looked at by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Log,
    Reads,
    Credentials,
    Operations,
    Rates,
}

impl Port {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Log, Self::Reads, Self::Credentials, Self::Operations, Self::Rates];

    /// The option that names it, what that says, and the file of the embedded mode.
    fn named(self, config: &Config) -> (&'static str, &Secret, &'static str) {
        match self {
            Self::Log => ("log", &config.log, files::LOG),
            Self::Reads => ("reads", &config.reads, files::READS),
            Self::Credentials => ("credentials", &config.credentials, files::CREDENTIALS),
            Self::Operations => ("credentials", &config.credentials, files::OPERATIONS),
            Self::Rates => ("credentials", &config.credentials, files::RATES),
        }
    }

    /// Whether it is the same database as another port, which has one form.
    pub fn is_in_one_with(self, other: Self, config: &Config) -> bool {
        let (url, others) = (self.named(config).1, other.named(config).1);
        url == others && !Config::is_sqlite(url)
    }
}

/// Of which form the tables of a port are, and where that is. Who only `looks` has to have the rights of a server there.
#[cfg_attr(not(feature = "distributed"), expect(unused_variables, reason = "there is no Postgres"))]
pub async fn form(config: &Config, port: Port, looks: bool) -> Result<(Form, String), StartError> {
    let (option, url, file) = port.named(config);
    match scheme(url) {
        "sqlite" => {
            let path = config.data.join(file);
            match sqlite::form(&config.data, file).await {
                Ok(form) => Ok((form, path.display().to_string())),
                Err(source) => Err(StartError::File { path, source }),
            }
        }
        #[cfg(feature = "distributed")]
        "postgres" | "postgresql" => {
            let form = if looks {
                Database::form(url.expose()).await
            } else {
                Database::form_to_open(url.expose()).await
            };
            let form = form.map_err(|source| unopened(config, url, source))?;
            Ok((form, format!("the database of {}", naming(config, url))))
        }
        _ => Err(unsupported(option, url)),
    }
}

/// Names the options whose database that is.
#[cfg(feature = "distributed")]
pub(super) fn naming(config: &Config, port: &Secret) -> String {
    let all = [("log", &config.log), ("reads", &config.reads), ("credentials", &config.credentials)];
    let named: Vec<_> = all.into_iter().filter(|(_, url)| *url == port).map(|(option, _)| option).collect();
    named.join(", ")
}
