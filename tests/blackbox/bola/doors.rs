//! Ways in: passwords, the recovery code, second factors, approvals, and the names of devices.

use lockstep_api::{
    Bytes64, Code,
    account::{Account, CreateVault, LabelDevice, PasswordFinish, PasswordStart, TurnVaultKey},
    approval::{ApprovalAsked, Approve, AskApproval},
    factor::{ConfirmTotp, MadePasskey, NewTotp, ShowFactor, Shown},
    recovery::RecoverySet,
};
use lockstep_events::{
    DeviceId, Hash32, VaultId,
    canonical::sha256,
    header::public_key,
    roster::{Claim, vault_key_name},
};
use reqwest::StatusCode;
use uuid::Uuid;

use super::{For, Row};
use crate::{
    support::{Node, Person, body, person::random_key},
    ways::{NewPassword, wrap},
};

/// What follows the roster of `after`.
pub async fn rows(node: &Node, owner: &Person, mut after: Account) -> Vec<Row> {
    let recovery = recovery_row(owner, &mut after);
    let approval = approval_row(node, owner, &mut after).await;
    let vault = vault_row(owner, &mut after);
    let key = key_row(owner, &after);
    let label = LabelDevice { label: vec![7; 40].into() };
    let start = PasswordStart { request: NewPassword::start("another horse").request().into() };
    // Nobody's attempt: one's own is tried where passwords are changed.
    let attempt = Uuid::new_v4();
    let upload = Bytes64(vec![7; 192]);
    let finish = PasswordFinish { attempt, upload, suite: 1, wrap: wrap("ark/password", 2) };
    let mut rows = vec![
        Row::new("PUT", "/v1/devices/{device}/label", For::Owner).at("{device}", owner.device).json(&label),
        Row::new("POST", "/v1/account/password/start", For::Itself).json(&start),
        Row::new("POST", "/v1/account/password/finish", For::Itself)
            .json(&finish)
            .used_up(Code::AttemptExpired),
        recovery,
        Row::new("GET", "/v1/approvals", For::Itself),
        approval,
        vault,
        key,
    ];
    rows.extend(factor_rows(node, owner).await);
    for path in [
        "/v1/recovery/start",
        "/v1/recovery/finish",
        "/v1/sessions/second-factor",
        "/v1/approvals",
        "/v1/approvals/{approval}/collect",
        "/v1/approvals/{approval}/withdraw",
    ] {
        rows.push(Row::new("POST", path, For::Everybody).at("{approval}", Uuid::nil()));
    }
    rows
}

fn recovery_row(owner: &Person, after: &mut Account) -> Row {
    let verifier = Hash32(sha256(&[7; 32]));
    let claim = Claim::RecoverySlotSet { slot: 0, commitment: Hash32(sha256(verifier.as_bytes())) };
    let statement = owner.state(after, claim);
    after.roster.push(statement.clone());
    let set = RecoverySet { statement, verifier, wrap: wrap("ark/recovery", 1) };
    Row::new("PUT", "/v1/account/recovery", For::Owner).json(&set)
}

async fn approval_row(node: &Node, owner: &Person, after: &mut Account) -> Row {
    let (device, key) = (DeviceId(Uuid::new_v4()), random_key());
    let public_key = public_key(&key);
    let ask = AskApproval { name: owner.name.clone(), device, public_key, kem_key: vec![5; 32].into() };
    let asked = node.post("/v1/approvals", &ask).send().await.unwrap();
    let asked: ApprovalAsked = body(asked, StatusCode::CREATED).await;
    let statement = owner.state(after, Claim::DeviceAdded { device, public_key });
    after.roster.push(statement.clone());
    Row::new("POST", "/v1/approvals/{approval}/approve", For::Owner)
        .at("{approval}", asked.approval)
        .json(&Approve { statement, sealed: vec![7; 80].into() })
}

fn vault_row(owner: &Person, after: &mut Account) -> Row {
    let vault = VaultId(Uuid::new_v4());
    let statement = owner.state(after, Claim::VaultKeyGen { vault, generation: 1 });
    after.roster.push(statement.clone());
    let create = CreateVault { statement, wrap: wrap(&format!("vault/{vault}"), 1) };
    Row::new("POST", "/v1/vaults", For::Owner).json(&create)
}

fn key_row(owner: &Person, after: &Account) -> Row {
    let vault = owner.vault;
    let statement = owner.state(after, Claim::VaultKeyGen { vault, generation: 2 });
    let turn = TurnVaultKey { statement, wrap: wrap(&vault_key_name(vault, 2), 2) };
    Row::new("POST", "/v1/vaults/{vault}/key", For::Owner).at("{vault}", vault).json(&turn)
}

async fn factor_rows(node: &Node, owner: &Person) -> Vec<Row> {
    let begun = owner.post(node, "/v1/account/factors/totp", &()).await;
    let factor = body::<NewTotp>(begun, StatusCode::CREATED).await.factor;
    let (attempt, code) = (Uuid::new_v4(), "000000".to_owned());
    let confirm = ConfirmTotp { factor, code: code.clone() };
    let show = ShowFactor { attempt, factor: Shown::Totp { code } };
    let nothing = || Bytes64(vec![7; 40]);
    let made = MadePasskey { attempt, client_data: nothing(), attestation: nothing() };
    vec![
        Row::new("GET", "/v1/account/factors", For::Itself),
        Row::new("POST", "/v1/account/factors/totp/confirm", For::Owner)
            .json(&confirm)
            .used_up(Code::SecondFactorFailed),
        Row::new("DELETE", "/v1/account/factors/{factor}", For::Owner).at("{factor}", factor),
        Row::new("POST", "/v1/account/factors/totp", For::Itself),
        Row::new("POST", "/v1/account/factors/passkey/start", For::Itself),
        Row::new("POST", "/v1/account/factors/passkey/finish", For::Itself)
            .json(&made)
            .used_up(Code::AttemptExpired),
        // Codes stand in for another factor, of which there is none.
        Row::new("POST", "/v1/account/factors/codes", For::Itself).used_up(Code::NotFound),
        Row::new("POST", "/v1/sessions/step-up/second-factor", For::Itself)
            .json(&show)
            .used_up(Code::AttemptExpired),
        Row::new("POST", "/v1/sessions/vault/second-factor", For::Identified)
            .json(&show)
            .used_up(Code::AttemptExpired),
    ]
}
