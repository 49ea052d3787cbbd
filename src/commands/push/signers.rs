//! Who signed may sign still when the versions are appended: a revocation that comes between is decided by the log.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_events::{
    AccountId, DeviceId, LogError, Seq, StreamId,
    log::{Current, SubjectClaim, SubjectExpect},
};

use super::{
    Answer, Push, Pusher, Ready, Refusal, Rule, answer,
    decide::{Decision, Facts, Verdict},
};

/// The signers of what may be appended, with where the account's stream spoke last of each.
pub(super) fn of(push: &Push, items: &[&Ready]) -> BTreeMap<DeviceId, Seq> {
    let right = items.iter().filter(|item| item.refusal.is_none());
    right.map(|item| (push.items[item.index].signer, item.vouched)).collect()
}

/// That nothing was said of these devices since.
pub(super) fn claims(
    account: AccountId,
    signers: impl Iterator<Item = DeviceId>,
    facts: &Facts,
) -> impl Iterator<Item = SubjectClaim> {
    let signers: BTreeSet<DeviceId> = signers.collect();
    signers.into_iter().map(move |signer| SubjectClaim {
        stream: account.into(),
        subject: signer.into(),
        expect: SubjectExpect::Exact(facts.signers.get(&signer).copied().unwrap_or_default()),
    })
}

/// Whether it was a signer that something was said of.
pub(super) fn concerns(push: &Push, met: &[Current]) -> bool {
    let account = StreamId::from(push.account);
    met.iter().any(|met| matches!(met, Current::Subject(stream, ..) if *stream == account))
}

/// The refusals of a cluster with a version of a device that was revoked meanwhile.
pub(super) fn refused(
    push: &Push,
    items: &[&Ready],
    decision: &Decision,
    facts: &Facts,
) -> Vec<(usize, Answer)> {
    let mut decision = decision.clone();
    for at in &decision.append {
        let stays = facts.signers.contains_key(&push.items[items[*at].index].signer);
        decision.verdicts[*at] = Verdict::Refuse(if stays {
            Refusal::NotAttempted
        } else {
            Refusal::forbidden(Rule::Signer, "the signer was revoked")
        });
    }
    answer::nothing_appended(items, &decision, &facts.heads)
}

impl Pusher {
    /// Looks at the signers as the log has them now; whether all may sign. Who may not is none of the signers any more.
    pub(super) async fn may_sign_still(&self, push: &Push, facts: &mut Facts) -> Result<bool, LogError> {
        let all = facts.signers.len();
        for signer in facts.signers.keys().copied().collect::<Vec<_>>() {
            match self.members.device(push.account, signer, true).await? {
                Some(device) if !device.revoked => facts.signers.insert(signer, device.stated),
                _ => facts.signers.remove(&signer),
            };
        }
        Ok(facts.signers.len() == all)
    }
}
