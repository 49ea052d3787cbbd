//! What is kept about a move, beside the credentials of either place: the old one serves nobody from the moment on in which
//! the move begins, and the new one not before it has ended.

use lockstep_events::Micros;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::tables::{ARRIVING, MOVED, TableError, TableStore};

/// In the old place. A move has an id, which is the same in both places, also when it is gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The file that names the new place.
    pub to: String,
    /// When it began, or ended.
    pub at: Micros,
    /// Whether it came to its end.
    pub done: bool,
    /// Of which move it is.
    #[serde(default)]
    pub id: Uuid,
}

/// In the new place, until all is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arriving {
    /// Which log it will have.
    pub log_id: Uuid,
    /// Of which move it is.
    #[serde(default)]
    pub id: Uuid,
}

/// What is kept in the old place. What cannot be read was kept by a newer program, and is no less true.
///
/// # Errors
/// If the store does not answer.
pub async fn moved(store: &dyn TableStore) -> Result<Option<Moved>, TableError> {
    let unknown = || Moved { to: "(unknown)".to_owned(), at: Micros(0), done: true, id: Uuid::nil() };
    let fact = store.fact(MOVED).await?;
    Ok(fact.map(|fact| serde_json::from_slice(&fact).unwrap_or_else(|_| unknown())))
}

/// What is kept in the new place.
///
/// # Errors
/// If the store does not answer.
pub async fn arriving(store: &dyn TableStore) -> Result<Option<Arriving>, TableError> {
    let fact = store.fact(ARRIVING).await?;
    let unknown = Arriving { log_id: Uuid::nil(), id: Uuid::nil() };
    Ok(fact.map(|fact| serde_json::from_slice(&fact).unwrap_or(unknown)))
}

/// Keeps it, or nothing any more.
///
/// # Errors
/// If the store does not answer.
pub async fn keep_moved(store: &dyn TableStore, moved: Option<&Moved>) -> Result<(), TableError> {
    keep(store, MOVED, moved).await
}

/// Keeps it, or nothing any more.
///
/// # Errors
/// If the store does not answer.
pub async fn keep_arriving(store: &dyn TableStore, arriving: Option<&Arriving>) -> Result<(), TableError> {
    keep(store, ARRIVING, arriving).await
}

async fn keep(store: &dyn TableStore, name: &str, fact: Option<&impl Serialize>) -> Result<(), TableError> {
    // A few plain fields: they can always be written.
    let text = fact.map(|fact| serde_json::to_vec(fact).unwrap_or_default());
    store.keep_fact(name, text.as_deref()).await
}
