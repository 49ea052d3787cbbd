//! `/v1/vaults/{vault}/versions`: pushing versions.

use std::collections::HashSet;

use axum::extract::State;
use lockstep_api::{
    Code, MAX_ITEMS, MAX_PUSH_BYTES,
    plan::Quota,
    sync::{self, ForbiddenReason, PushOutcome, PushResult},
};
use lockstep_events::{VaultId, VersionId};
use serde_json::json;

use super::{Answer, Failure, Path, Routes, caller::Caller, extract::Json, limiting::Gate, routes::routes};
use crate::{
    commands::push::{Answer as Outcome, Item, Push, PushError, Pushed, Refusal, Rule, Unfit},
    quotas::Exceeded,
    state::Shared,
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(push))
}

/// Pushes versions: each is accepted, recognised as a duplicate, or refused by itself or with its group.
#[utoipa::path(post, path = "/v1/vaults/{vault}/versions", operation_id = "push_versions", tag = "sync", security(("token" = [])),
    params(("vault" = VaultId, Path)), request_body = sync::Push,
    responses((status = 200, description = "One outcome per item, in order", body = sync::Pushed),
        (status = 409, description = "`epoch_mismatch`: the stream has another epoch, which facts name, or a version that is not offered again names more of it as observed than there is; nothing was done"),
        (status = 422, description = "`idempotency_key_reused`: this `batch_id` came with other versions")))]
async fn push(
    State(server): State<Shared>,
    caller: Caller,
    gate: Gate,
    Path(vault): Path<VaultId>,
    Json(body): Json<sync::Push, MAX_PUSH_BYTES>,
) -> Answer<Json<sync::Pushed>> {
    let command = command(&caller, vault, body)?;
    gate.changes(&server, caller.account, command.items.len() - 1)?;
    Ok(Json(answered(server.pusher.push(command).await?)))
}

/// The answer as it goes over the wire.
pub(super) fn answered(pushed: Pushed) -> sync::Pushed {
    let results = pushed.answers.into_iter().map(|(version, answer)| result(version, answer)).collect();
    sync::Pushed { epoch: pushed.epoch, head: pushed.head, results }
}

/// The push that a body asks for.
pub(super) fn command(caller: &Caller, vault: VaultId, body: sync::Push) -> Answer<Push> {
    let invalid = |what: &str| Failure::from(Code::InvalidField).detail(what);
    if body.items.is_empty() || body.items.len() > MAX_ITEMS {
        return Err(invalid("a push has 1 to 256 items"));
    }
    let mut grouped = HashSet::new();
    for index in body.groups.iter().flatten() {
        if *index as usize >= body.items.len() || !grouped.insert(*index) {
            return Err(invalid("groups name items of the push, each at most once"));
        }
    }
    Ok(Push {
        account: caller.account,
        device: caller.device,
        vault,
        epoch: body.epoch,
        batch: body.batch_id,
        items: body.items.into_iter().map(item).collect(),
        groups: body.groups.into_iter().map(|g| g.into_iter().map(|i| i as usize).collect()).collect(),
        reoffer: body.reoffer,
    })
}

fn item(item: sync::PushItem) -> Item {
    Item {
        header: item.header,
        signer: item.signer,
        signature: item.signature,
        wrapped_key: item.wrapped_key,
        content: item.inline.map(|bytes| bytes.0),
        expect_heads: item.expect_heads,
        infer_parents: item.infer_parents,
        attachments: item.attachments,
    }
}

fn result(version_id: VersionId, answer: Outcome) -> PushResult {
    let blank = PushResult {
        version_id,
        outcome: PushOutcome::NotAttempted,
        seq: None,
        branch: None,
        heads: None,
        missing: Vec::new(),
        reason: None,
        error: None,
        quota: None,
    };
    match answer {
        Outcome::Accepted { seq, branch, forked, heads } => {
            let outcome = if forked { PushOutcome::AcceptedForked } else { PushOutcome::Accepted };
            PushResult { outcome, seq: Some(seq), branch: Some(branch), heads: Some(heads), ..blank }
        }
        Outcome::Duplicate { seq, branch, heads } => PushResult {
            outcome: PushOutcome::Duplicate,
            seq: Some(seq),
            branch,
            heads: Some(heads),
            ..blank
        },
        Outcome::Refused { refusal, heads } => refused(PushResult { heads, ..blank }, refusal),
    }
}

fn refused(blank: PushResult, refusal: Refusal) -> PushResult {
    match refusal {
        Refusal::PreconditionFailed => PushResult { outcome: PushOutcome::PreconditionFailed, ..blank },
        Refusal::MissingParents(missing) => {
            PushResult { outcome: PushOutcome::MissingParents, missing, ..blank }
        }
        Refusal::BlobMissing => PushResult { outcome: PushOutcome::BlobMissing, ..blank },
        Refusal::HashMismatch => PushResult { outcome: PushOutcome::HashMismatch, ..blank },
        Refusal::EntryPurged => PushResult { outcome: PushOutcome::EntryPurged, ..blank },
        Refusal::TooManyBranches => PushResult { outcome: PushOutcome::TooManyBranches, ..blank },
        Refusal::Forbidden(Unfit { rule, why }) => {
            let (reason, error) = (Some(reason(rule)), Some(why));
            PushResult { outcome: PushOutcome::Forbidden, reason, error, ..blank }
        }
        Refusal::QuotaExceeded(Exceeded { what, limit, used }) => {
            let quota = Some(Quota { what: what.to_owned(), limit, used });
            PushResult { outcome: PushOutcome::QuotaExceeded, quota, ..blank }
        }
        Refusal::NotAttempted => PushResult { outcome: PushOutcome::NotAttempted, ..blank },
    }
}

fn reason(rule: Rule) -> ForbiddenReason {
    match rule {
        Rule::Parents => ForbiddenReason::TooManyParents,
        Rule::Header => ForbiddenReason::Header,
        Rule::Account => ForbiddenReason::Account,
        Rule::Vault => ForbiddenReason::Vault,
        Rule::Signer => ForbiddenReason::Signer,
        Rule::Signature => ForbiddenReason::Signature,
        Rule::InferredParents => ForbiddenReason::InferredParents,
        Rule::WrappedKey => ForbiddenReason::WrappedKey,
        Rule::Attachments => ForbiddenReason::Attachments,
        Rule::Content => ForbiddenReason::Content,
        Rule::ForeignParent => ForbiddenReason::ForeignParent,
        Rule::ContentOf => ForbiddenReason::ContentOf,
        Rule::Identity => ForbiddenReason::IdTaken,
    }
}

impl From<PushError> for Failure {
    fn from(error: PushError) -> Self {
        match error {
            PushError::NotFound => Code::NotFound.into(),
            PushError::Epoch(head) => {
                Self::from(Code::EpochMismatch).facts(json!({ "epoch": head.epoch, "head": head.seq }))
            }
            PushError::BatchReused => Self::from(Code::IdempotencyKeyReused)
                .detail("this batch_id came with other versions; a batch is repeated as it was"),
            PushError::Contended => Self::caused(Code::LogUnavailable, error),
            PushError::Log(error) => error.into(),
            PushError::Blobs(error) => error.into(),
        }
    }
}
