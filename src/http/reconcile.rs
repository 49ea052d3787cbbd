//! `/v1/vaults/{vault}/reconcile`: which versions only one side has, after a reset or when digests disagree.
//!
//! Two rounds: counts and digests of 256 buckets, by the first byte of the version id; then the ids of the buckets
//! that differ. The client fetches what only the server has, and offers again what only it has.

use std::collections::BTreeSet;

use axum::extract::State;
use lockstep_api::{
    Code, MAX_PUSH_BYTES,
    sync::{Bucket, Reconcile, Reconciled},
};
use lockstep_events::{VaultId, VersionId};

use super::{
    Answer, Failure, Path, Routes,
    caller::Caller,
    extract::Json,
    routes::routes,
    version_view::{caught_up, own},
};
use crate::state::{Server, Shared};

const PAGE: usize = 2000;
const BUCKETS: usize = 256;

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(reconcile))
}

/// Compares the versions that the client holds with those of the server.
#[utoipa::path(post, path = "/v1/vaults/{vault}/reconcile", operation_id = "reconcile_vault", tag = "sync", security(("token" = [])),
    params(("vault" = VaultId, Path)), request_body = Reconcile,
    responses((status = 200, description = "What differs", body = Reconciled)))]
async fn reconcile(
    State(server): State<Shared>,
    caller: Caller,
    Path(vault): Path<VaultId>,
    Json(body): Json<Reconcile, MAX_PUSH_BYTES>,
) -> Answer<Json<Reconciled>> {
    own(&server, caller.account, vault).await?;
    caught_up(&server, vault).await?;
    match body {
        Reconcile::Buckets { buckets } if buckets.len() == BUCKETS => {
            let mut ids = Vec::new();
            each_id(&server, vault, |id| ids.push(id)).await?;
            let own = Bucket::all(ids);
            let differ = (0..=u8::MAX).zip(own.iter().zip(&buckets)).filter(|(_, (a, b))| a != b);
            let differ = differ.map(|(bucket, _)| bucket).collect();
            Ok(Json(Reconciled { differ, server_only: Vec::new(), client_only: Vec::new() }))
        }
        Reconcile::Buckets { .. } => Err(Failure::from(Code::InvalidField).detail("there are 256 buckets")),
        Reconcile::Ids { buckets, ids } => {
            let asked: BTreeSet<u8> = buckets.into_iter().collect();
            let mut theirs: BTreeSet<VersionId> = ids.into_iter().collect();
            let mut server_only = Vec::new();
            each_id(&server, vault, |id| {
                if !theirs.remove(&id) && asked.contains(&id.0[0]) {
                    server_only.push(id);
                }
            })
            .await?;
            theirs.retain(|id| asked.contains(&id.0[0]));
            let client_only = theirs.into_iter().collect();
            Ok(Json(Reconciled { differ: Vec::new(), server_only, client_only }))
        }
    }
}

/// Visits every version id of a vault, ascending, a page at a time.
async fn each_id(server: &Server, vault: VaultId, mut visit: impl FnMut(VersionId)) -> Answer<()> {
    let mut after = None;
    loop {
        let page = server.reads.version_ids(vault, after, PAGE).await?;
        after = page.last().copied().or(after);
        let full = page.len() == PAGE;
        page.into_iter().for_each(&mut visit);
        if !full {
            return Ok(());
        }
    }
}
