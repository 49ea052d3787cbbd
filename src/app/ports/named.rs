//! Whether what the options name is something that there can be. Nothing is opened or made for it.

#[cfg(feature = "distributed")]
use super::{Database, unopened};
use super::{StartError, letters, scheme, unsupported};
use crate::config::Config;

/// Looks at every port, and at what letters leave by.
pub fn named(config: &Config) -> Result<(), StartError> {
    for (option, url) in
        [("log", &config.log), ("reads", &config.reads), ("credentials", &config.credentials)]
    {
        match scheme(url) {
            "sqlite" => {}
            #[cfg(feature = "distributed")]
            "postgres" | "postgresql" => {
                Database::is_named(url.expose()).map_err(|source| unopened(config, url, source))?;
            }
            _ => return Err(unsupported(option, url)),
        }
    }
    let is_distributed = cfg!(feature = "distributed");
    match scheme(&config.blobs) {
        "filesystem" => {}
        "s3" if is_distributed => {}
        _ => return Err(unsupported("blobs", &config.blobs)),
    }
    match scheme(&config.bus) {
        "in_process" => {}
        "nats" | "tls" if is_distributed => {}
        _ => return Err(unsupported("bus", &config.bus)),
    }
    letters::is_named(config)
}
