//! Ways in that are not a password.

use lockstep_api::{
    account::{DeviceProof, proof_message},
    ways::{LinkedIdentity, NameEmail, OidcStart, OpenVault},
};
use lockstep_events::Clock;
use reqwest::StatusCode;

use super::{For, Row, World};
use crate::{
    oidc_attacks::Flow,
    support::{body, ways::Initiator},
};

/// Addresses and identities elsewhere.
pub async fn rows(world: &World) -> Vec<Row> {
    let (node, owner, idp) = (&world.node, &world.owner, &world.idp);
    let email = NameEmail { email: "nobody@example.org".to_owned(), initiator: Initiator::new().hash() };
    let start = || OidcStart { initiator: Initiator::new().hash(), port: 49_152 };
    let mut answers = Vec::new();
    for subject in ["linked", "linked later", "tried", "tried by an auditor", "tried by an administrator"] {
        let flow = Flow::link(node, owner, "idp").await;
        answers.push(flow.answer(&idp.code(&flow.url, subject), Some(idp.url())));
    }
    let linked = owner.post(node, "/v1/account/identities", &answers[0]).await;
    let linked: LinkedIdentity = body(linked, StatusCode::CREATED).await;
    vec![
        Row::new("GET", "/v1/account/email", For::Itself),
        Row::new("PUT", "/v1/account/email", For::Itself).json(&email),
        Row::new("GET", "/v1/account/identities", For::Itself),
        Row::new("POST", "/v1/account/identities/{provider}/start", For::Itself)
            .at("{provider}", "idp")
            .json(&start())
            .others(&start())
            .others(&start())
            .others(&start()),
        Row::new("POST", "/v1/account/identities", For::Prover)
            .json(&answers[1])
            .others(&answers[2])
            .others(&answers[3])
            .others(&answers[4]),
        Row::new("DELETE", "/v1/account/identities/{identity}", For::Owner).at("{identity}", linked.identity),
    ]
}

/// A session by a proof of who one is and the key of a device.
pub fn vault_row(world: &World) -> Row {
    let session = world.node.running().server.tokens.verify(&world.owners.identified, world.node.clock.now());
    let owner = &world.owner;
    let signature = owner.sign(&proof_message(session.unwrap().sid.as_bytes()));
    let open = OpenVault { device: DeviceProof { device: owner.device, signature } };
    Row::new("POST", "/v1/sessions/vault", For::Identified).json(&open)
}
