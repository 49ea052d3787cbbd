//! The flags that every command takes.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, Layer, Listen, LogFormat};

/// Flags. What they leave open, the environment (`LOCKSTEP_…`), the file and the defaults decide.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// A TOML file with options; `lockstepd config show` prints them all.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address or name, and port, to listen on (localhost:8443); port 0 takes a free one.
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<Listen>,
    /// A certificate as PEM, instead of a self-made one.
    #[arg(long, global = true, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key as PEM.
    #[arg(long, global = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How log lines look: text or json.
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl Options {
    /// The options in effect.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn config(&self) -> Result<Config, ConfigError> {
        let flags = Layer {
            data: self.data.clone(),
            listen: self.listen.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            log_format: self.log_format,
            ..Layer::default()
        };
        let environment = Layer::from_process()?;
        let file = self.config.as_deref().map(Layer::from_file).transpose()?.unwrap_or_default();
        Config::with(flags.over(environment).over(file))
    }
}
