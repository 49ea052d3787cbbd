//! Who is connected to the database of the log.

#[cfg(feature = "distributed")]
use super::{Database, unopened};
use super::{Databases, StartError};
#[cfg(feature = "distributed")]
use crate::adapters::postgres::MOVE;
use crate::config::Config;

/// How the connections of one move are called: so it tells them from those of a server and of other moves.
pub fn move_name() -> String {
    let word = uuid::Uuid::new_v4().simple().to_string();
    #[cfg(feature = "distributed")]
    let word = format!("{MOVE} {word}");
    word
}

impl<'a> Databases<'a> {
    /// The same, with connections of this name.
    #[cfg_attr(
        not(feature = "distributed"),
        expect(unused_mut, unused_variables, reason = "there is no Postgres")
    )]
    pub fn named(mut self, name: &'a str) -> Self {
        #[cfg(feature = "distributed")]
        {
            self.name = name;
        }
        self
    }
}

/// Whether the log's database has no server connected to it but one whose connections are called like this; a file belongs
/// to whoever has the data folder.
#[cfg_attr(not(feature = "distributed"), expect(unused_variables, reason = "there is no Postgres"))]
pub async fn nobody_connected(config: &Config, but: &str) -> Result<(), StartError> {
    #[cfg(feature = "distributed")]
    if !Config::is_sqlite(&config.log) {
        let used = Database::is_used(config.log.expose(), but).await;
        if used.map_err(|source| unopened(config, &config.log, source))? {
            return Err(StartError::Running);
        }
    }
    Ok(())
}
