//! Of which form what stands behind a port is.

#[cfg(feature = "distributed")]
use super::{Database, unopened};
use super::{StartError, scheme, unsupported};
#[cfg(feature = "distributed")]
use crate::config::Secret;
use crate::{
    adapters::{
        form::Form,
        sqlite::{self, files},
    },
    config::Config,
};

/// Ports that are looked at by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Log,
    Reads,
    Operations,
}

/// Of which form the tables of a port are, and where that is.
pub async fn form(config: &Config, port: Port) -> Result<(Form, String), StartError> {
    let (option, url, file) = match port {
        Port::Log => ("log", &config.log, files::LOG),
        Port::Reads => ("reads", &config.reads, files::READS),
        Port::Operations => ("credentials", &config.credentials, files::OPERATIONS),
    };
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
            let form = Database::form(url.expose()).await.map_err(|source| unopened(config, url, source))?;
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
