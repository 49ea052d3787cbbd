//! `lockstepd move`: carries a server whole from one set of stores to another.
//!
//! Nothing is written before the old log was read and found whole and the new place found empty. Then the old place serves
//! nobody any more and the new one nobody yet; the log goes last, in one transaction. A move that is cut off anywhere is
//! begun again by the same command, and ends with both places compared, row by row.

mod error;
mod files;
mod marks;
mod objects;
mod rows;

use std::{collections::HashMap, sync::Arc};

use lockstep_events::{Clock, EventLog, Hash32, Position};
use serde::Serialize;
use uuid::Uuid;

pub use error::MoveError;
pub use files::{Taken, is_same};
pub use marks::{Arriving, Moved, arriving, keep_arriving, keep_moved, moved};

use self::{
    files::{check_keys, take_certificate, take_keys},
    objects::{Carried, Objects},
    rows::{Pair, Sum},
};
use super::{
    blobs,
    log::{Audit, Known, verify},
};
use crate::{
    auth::server_keys::ServerKeys,
    blobs::Shelf,
    config::Config,
    tables::{Family, LOG_META, TableStore, UPLOADS},
};

/// Is told what is under way, how far it is, and how far it has to go; 0 if that is not known.
pub type Watch<'a> = dyn FnMut(&'static str, u64, u64) + Send + 'a;

/// A set of stores.
pub struct Place {
    /// How it is named.
    pub config: Config,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The tables of each family.
    pub tables: HashMap<Family, Arc<dyn TableStore>>,
    /// Long ciphertexts.
    pub shelf: Shelf,
}

impl Place {
    fn of(&self, family: Family) -> &dyn TableStore {
        &*self.tables[&family]
    }

    fn facts(&self) -> &dyn TableStore {
        self.of(Family::Credentials)
    }
}

/// A move.
pub struct Move {
    /// The old place.
    pub from: Place,
    /// The new one.
    pub to: Place,
    /// The server's keys.
    pub keys: ServerKeys,
    /// What is known of the log.
    pub known: Known,
    /// How far read models have the log in the new place, if it has its own.
    pub reads: Position,
    /// The databases change their place.
    pub rows: bool,
    /// The blob store changes its place.
    pub objects: bool,
    /// How the new place is called in the old one.
    pub name: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A table that was carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CarriedTable {
    /// Its name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
}

/// What a move did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which log.
    pub log_id: Uuid,
    /// Where it ends.
    pub position: Position,
    /// One hash over where it and its streams end, the same as `log verify` prints.
    pub hash: Hash32,
    /// Tables with their rows; none if the databases stayed.
    pub tables: Vec<CarriedTable>,
    /// Objects of the blob store; 0 if it stayed.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that were there already.
    pub already_there: u64,
    /// Objects that the old store had lost before.
    pub lost: u64,
    /// The key file and what lies beside it.
    pub keys: Taken,
    /// The certificate.
    pub certificate: Taken,
    /// What is left to do.
    pub notes: Vec<String>,
}

/// What a move finds in the two places.
#[derive(Default)]
struct Ground {
    /// Whether the log has to be brought, or is there.
    fill_log: bool,
    /// The id of the move.
    id: Uuid,
}

/// What was carried, to be compared with what arrived.
#[derive(Default)]
struct Sums(Vec<(Family, &'static str, Sum)>);

impl Move {
    /// Carries everything. It is asked once more whether nobody serves the old place when nobody can begin to any more:
    /// reading the log takes long.
    ///
    /// # Errors
    /// [`MoveError`]
    pub async fn run(
        &self,
        watch: &mut Watch<'_>,
        nobody_serves: impl AsyncFn() -> Result<(), MoveError>,
    ) -> Result<Report, MoveError> {
        let audit = self.whole_log(watch).await?;
        let ground = if self.rows { self.ground(&audit).await? } else { Ground::default() };
        check_keys(&self.from.config, &self.to.config, &self.keys)?;
        if self.objects {
            self.from.shelf.store.ready().await?;
            self.to.shelf.store.ready().await?;
            self.stores().check().await?;
        }
        if self.rows {
            self.begin(audit.log_id, ground.id).await?;
        }
        let report = match nobody_serves().await {
            Ok(()) => self.carry(&audit, ground.fill_log, watch).await,
            Err(error) => Err(error),
        };
        if !self.rows {
            return report;
        }
        if report.is_err() {
            // The new place says by itself that it is not to be used, and it is the only one that the server may have gone to:
            // so the old one may be. If it cannot be told so, it says what to do.
            let _ = keep_moved(self.from.facts(), None).await;
            return report;
        }
        self.end(ground.id).await?;
        report
    }

    /// The old log, read and found whole.
    async fn whole_log(&self, watch: &mut Watch<'_>) -> Result<Audit, MoveError> {
        let mut on_page = |at: Position, of: Position| watch("reading the log", at.0, of.0);
        let found = verify(&*self.from.log, &self.known, &mut on_page).await?;
        if found.faulty > 0 {
            return Err(MoveError::Damaged(found.faulty));
        }
        if found.events == 0 { Err(MoveError::Nothing) } else { Ok(found.audit) }
    }

    /// Refuses an old place that was left for another one, and a new place that has something which was not brought by a
    /// move of this log.
    async fn ground(&self, audit: &Audit) -> Result<Ground, MoveError> {
        let left = moved(self.from.facts()).await?.filter(|moved| moved.done);
        if let Some(arriving) = arriving(self.to.facts()).await? {
            // One that was cut off at its very last step is gone on with.
            if let Some(moved) = left.filter(|moved| moved.id != arriving.id) {
                return Err(MoveError::Gone(moved.to));
            }
            if arriving.log_id != audit.log_id {
                return Err(MoveError::OtherArriving);
            }
            let there = self.to.log.tail().await?.position;
            let is_same = there == audit.position && self.to.log.log_id().await? == audit.log_id;
            if there > Position::ZERO && !is_same {
                return Err(MoveError::Outgrown { there, here: audit.position });
            }
            return Ok(Ground { fill_log: there == Position::ZERO, id: arriving.id });
        }
        // Said again after it was done: what is in the new place came with it.
        if let Some(moved) = left.as_ref().filter(|moved| moved.to == self.name) {
            return Err(MoveError::Gone(moved.to.clone()));
        }
        for family in Family::ALL {
            for table in family.tables().filter(|table| table.name != LOG_META) {
                if self.to.of(family).count(table).await? > 0 {
                    return Err(MoveError::NotEmpty(table.name));
                }
            }
        }
        if self.reads > Position::ZERO {
            return Err(MoveError::OtherReads(self.reads));
        }
        match left {
            Some(moved) => Err(MoveError::Gone(moved.to)),
            None => Ok(Ground { fill_log: true, id: Uuid::new_v4() }),
        }
    }

    /// From now on neither place serves anybody.
    async fn begin(&self, log_id: Uuid, id: Uuid) -> Result<(), MoveError> {
        keep_arriving(self.to.facts(), Some(&Arriving { log_id, id })).await?;
        Ok(keep_moved(self.from.facts(), Some(&self.mark(id, false))).await?)
    }

    /// From now on the new place may serve, and the old one must not.
    async fn end(&self, id: Uuid) -> Result<(), MoveError> {
        keep_moved(self.from.facts(), Some(&self.mark(id, true))).await?;
        Ok(keep_arriving(self.to.facts(), None).await?)
    }

    fn mark(&self, id: Uuid, done: bool) -> Moved {
        Moved { to: self.name.clone(), at: self.clock.now(), done, id }
    }

    async fn carry(&self, audit: &Audit, fill_log: bool, watch: &mut Watch<'_>) -> Result<Report, MoveError> {
        let keys = take_keys(&self.from.config, &self.to.config)?;
        let (certificate, note) = take_certificate(&self.from.config, &self.to.config)?;
        let mut sums = Sums::default();
        if self.rows {
            for family in [Family::Credentials, Family::Operations, Family::Rates] {
                self.family(family, true, &mut sums, watch).await?;
            }
        }
        let carried = if self.objects { self.stores().carry(watch).await? } else { Carried::default() };
        if self.rows {
            self.family(Family::Log, fill_log, &mut sums, watch).await?;
            self.compare(audit, &sums, watch).await?;
        }
        let lost = if self.objects { self.compare_objects(watch).await? } else { 0 };
        if self.from.log.tail().await?.position != audit.position {
            return Err(MoveError::Served);
        }
        let tables = sums.0.iter().map(|(_, table, sum)| CarriedTable { table, rows: sum.rows });
        Ok(Report {
            log_id: audit.log_id,
            position: audit.position,
            hash: audit.hash,
            tables: tables.collect(),
            objects: carried.objects,
            bytes: carried.bytes,
            already_there: carried.there,
            lost,
            keys,
            certificate,
            notes: note.into_iter().chain(self.notes()).collect(),
        })
    }

    /// Carries the tables of a family in one transaction; what an earlier move has left there goes before.
    async fn family(
        &self,
        family: Family,
        fill: bool,
        sums: &mut Sums,
        watch: &mut Watch<'_>,
    ) -> Result<(), MoveError> {
        let (from, to) = (self.from.of(family), self.to.of(family));
        let mut filling = if fill { Some(to.begin().await?) } else { None };
        for table in family.tables() {
            // Of the log's tables only the one row is there, and nobody may delete from the others.
            if let Some(filling) = filling.as_mut()
                && (family != Family::Log || table.name == LOG_META)
            {
                filling.clear(table).await?;
            }
            let sum = if self.objects && table.name == UPLOADS {
                Sum::nothing()
            } else {
                Pair { table, from, to }.carry(filling.as_mut(), watch).await?
            };
            sums.0.push((family, table.name, sum));
        }
        match filling {
            Some(filling) => Ok(filling.commit().await?),
            None => Ok(()),
        }
    }

    /// Compares what arrived with what was sent.
    async fn compare(&self, audit: &Audit, sums: &Sums, watch: &mut Watch<'_>) -> Result<(), MoveError> {
        let mut on_page = |at: Position, of: Position| watch("reading the new log", at.0, of.0);
        let found = verify(&*self.to.log, &Known::default(), &mut on_page).await?;
        if found.faulty > 0 || found.audit != *audit {
            return Err(MoveError::Differs("the log"));
        }
        let tables = Family::ALL.into_iter().flat_map(Family::tables);
        for table in tables {
            let (from, to) = (self.from.of(table.family), self.to.of(table.family));
            let arrived = Pair { table, from, to }.arrived(watch).await?;
            let sent = sums.0.iter().find(|(_, name, _)| *name == table.name).map(|(.., sum)| *sum);
            if sent != Some(arrived) {
                return Err(MoveError::Differs(table.name));
            }
        }
        Ok(())
    }

    /// Asks the new store for all that the index names; how many objects the old one had lost.
    async fn compare_objects(&self, watch: &mut Watch<'_>) -> Result<u64, MoveError> {
        let mut on_page = |objects: u64| watch("looking for objects", objects, 0);
        let there = blobs::objects(&self.to.shelf, &mut on_page).await?;
        if there.missing == 0 {
            return Ok(0);
        }
        let here = blobs::objects(&self.from.shelf, &mut on_page).await?;
        if here.missing == there.missing {
            Ok(here.missing)
        } else {
            Err(MoveError::Differs("the blob store"))
        }
    }

    fn stores(&self) -> Objects<'_> {
        let (from, to) = (&*self.from.shelf.store, &*self.to.shelf.store);
        Objects { from, to, data: &self.to.config.data }
    }

    /// What is not carried, and concerns somebody.
    fn notes(&self) -> Vec<String> {
        let (from, to) = (&self.from.config, &self.to.config);
        let mut notes = Vec::new();
        if from.passkey_domain != to.passkey_domain {
            notes.push(format!(
                "passkey_domain was {} and is {}: passkeys that were made answer for the first one alone",
                from.passkey_domain, to.passkey_domain
            ));
        }
        let letters = from.mail_folder();
        let has_some = std::fs::read_dir(&letters).is_ok_and(|mut all| all.next().is_some());
        if has_some && !is_same(&from.data, &to.data) {
            notes.push(format!("letters that were written stay in {}", letters.display()));
        }
        notes
    }
}
