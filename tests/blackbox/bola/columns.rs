//! Who asks, and what each hears of what is not theirs.

use lockstep_api::{Code, account::LoggedIn};
use reqwest::StatusCode;
use serde_json::Value;

use super::{
    World,
    row::{For, Row},
};
use crate::{
    scope::identity_token,
    support::{Node, Person, body},
};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Nobody that is known.
    Anonymous,
    /// The owner, by a proof of who they are that opens no vault.
    Identity,
    /// The owner, by the password alone, at a device that is not enrolled.
    Enrolling,
    /// Another user.
    Other,
    /// An auditor.
    Auditor,
    /// An administrator.
    Admin,
    /// A device of the owner's that was revoked.
    Revoked,
    /// The right one, too late.
    Expired,
}

pub const COLUMNS: [Who; 8] = [
    Who::Anonymous,
    Who::Identity,
    Who::Enrolling,
    Who::Other,
    Who::Auditor,
    Who::Admin,
    Who::Revoked,
    Who::Expired,
];

/// Those with an account of their own.
pub const STRANGERS: [Who; 3] = [Who::Other, Who::Auditor, Who::Admin];

/// Somebody with a token of every kind.
pub struct Asker {
    pub person: Person,
    enrolling: String,
    pub identified: String,
}

impl Asker {
    pub async fn new(node: &Node, person: &Person) -> Self {
        let answer = person.login(node, &person.password, false).await;
        let enrolling = body::<LoggedIn>(answer, StatusCode::OK).await.enrol_token.unwrap();
        Self { person: person.clone(), enrolling, identified: identity_token(node, person) }
    }

    /// A device's token.
    fn device(&self) -> &str {
        &self.person.tokens.access_token
    }

    /// Their token of the kind that an operation takes.
    pub fn token(&self, answers: For) -> &str {
        match answers {
            For::Enrolling => &self.enrolling,
            For::Identified => &self.identified,
            _ => self.device(),
        }
    }
}

/// Asks for somebody who must not get through, and asserts that they do not.
pub async fn ask(world: &World, row: &Row, who: Who) {
    if row.answers == For::Everybody {
        return the_same_for_everybody(world, row, who).await;
    }
    let owners = &world.owners;
    let (token, code) = match who {
        Who::Anonymous => (None, Code::Unauthenticated),
        Who::Identity => match row.answers {
            // What the row itself asks with. A device has no need of it.
            For::Identified => (Some(owners.device()), Code::Forbidden),
            For::Enrolling | For::Vouched => (Some(owners.identified.as_str()), Code::Forbidden),
            _ => (Some(owners.identified.as_str()), Code::VaultProofRequired),
        },
        Who::Enrolling => match row.answers {
            // What the row itself asks with. A device that is enrolled has no need of it.
            For::Enrolling => (Some(owners.device()), Code::Forbidden),
            For::Vouched => return gets_through(world, row, &owners.enrolling, who).await,
            _ => (Some(owners.enrolling.as_str()), Code::VaultProofRequired),
        },
        Who::Other | Who::Auditor | Who::Admin => return stranger(world, row, who).await,
        Who::Revoked => (Some(world.revoked.tokens.access_token.as_str()), Code::Revoked),
        Who::Expired => (world.token(row), Code::TokenExpired),
    };
    refused(world, row, token, who, &[code]).await;
}

/// Whatever the token, the answer of an operation for everybody is the same.
async fn the_same_for_everybody(world: &World, row: &Row, who: Who) {
    let without = row.ask(&world.node, None).await.status();
    assert_ne!(without, StatusCode::UNAUTHORIZED, "{}", row.template);
    let token = match who {
        Who::Anonymous | Who::Expired => world.owners.device(),
        Who::Identity => &world.owners.identified,
        Who::Enrolling => &world.owners.enrolling,
        Who::Other | Who::Auditor | Who::Admin => asker(world, who).device(),
        Who::Revoked => &world.revoked.tokens.access_token,
    };
    assert_eq!(row.ask(&world.node, Some(token)).await.status(), without, "{} as {who:?}", row.template);
}

fn asker(world: &World, who: Who) -> &Asker {
    match who {
        Who::Auditor => &world.auditor,
        Who::Admin => &world.admin,
        _ => &world.other,
    }
}

/// What somebody hears whose token is right, and who is not the owner.
async fn stranger(world: &World, row: &Row, who: Who) {
    let them = asker(world, who);
    let number = STRANGERS.iter().position(|one| *one == who).unwrap();
    let (device, fitting) = (Some(them.device()), Some(them.token(row.answers)));
    match row.answers {
        For::Owner => {
            let codes = [Code::NotFound, Code::RosterConflict, Code::InvalidField];
            let in_vault = row.path.contains(&world.owner.vault.to_string());
            refused(world, row, device, who, if in_vault { &codes[..1] } else { &codes }).await;
        }
        For::Enrolling => {
            refused(world, row, fitting, who, &[Code::InvalidField, Code::RosterConflict]).await;
            refused(world, row, device, who, &[Code::Forbidden]).await;
        }
        For::Vouched => {
            let codes = [Code::RosterConflict, Code::InvalidField, Code::Forbidden];
            for token in [device, Some(them.enrolling.as_str())] {
                refused(world, row, token, who, &codes).await;
            }
        }
        For::Prover => {
            assert_eq!(row.others.len(), STRANGERS.len(), "{}", row.template);
            let codes = [Code::LoginFailed, Code::AttemptExpired];
            refused(world, &row.of_another(number), device, who, &codes).await;
        }
        For::Identified => {
            refused(world, row, fitting, who, &[Code::LoginFailed, Code::AttemptExpired]).await;
            refused(world, row, device, who, &[Code::Forbidden]).await;
        }
        For::Administrator | For::Auditor => of_the_office(world, row, who).await,
        For::Itself => {
            let text = row.of_another(number).ask(&world.node, device).await.text().await.unwrap();
            says_nothing_of_the_owner(world, &text, &format!("{} {} as {who:?}", row.method, row.template));
        }
        For::Everybody => {}
    }
}

/// What is for administrators, or for auditors.
async fn of_the_office(world: &World, row: &Row, who: Who) {
    let device = Some(asker(world, who).device());
    let looks = row.method == "GET";
    match (row.answers, who) {
        // It is their own: that is what the row itself asks with.
        (For::Administrator, Who::Admin) | (For::Auditor, Who::Auditor) => {}
        // Auditors may look at what administrators look at, but not for somebody's name.
        (For::Administrator, Who::Auditor) if looks => {
            gets_through(world, row, world.auditor.device(), who).await;
        }
        _ => refused(world, row, device, who, &[Code::Forbidden]).await,
    }
    if who == Who::Other {
        refused(world, row, Some(world.owners.device()), who, &[Code::Forbidden]).await;
    }
}

/// It is for these too.
async fn gets_through(world: &World, row: &Row, token: &str, who: Who) {
    let status = row.ask(&world.node, Some(token)).await.status();
    assert!(status.is_success(), "{} {} as {who:?}: {status}", row.method, row.template);
}

/// Asserts that an answer is a refusal with one of these codes, and that nothing was written by it.
async fn refused(world: &World, row: &Row, token: Option<&str>, who: Who, codes: &[Code]) {
    let before = world.heads().await;
    let answer = row.ask(&world.node, token).await;
    let status = answer.status();
    let text = answer.text().await.unwrap();
    let place = format!("{} {} as {who:?}: {status} {text}", row.method, row.template);
    let problem: Value = serde_json::from_str(&text).unwrap_or_default();
    assert!(codes.iter().any(|code| problem["code"] == code.as_str()), "{place}");
    assert_eq!(world.heads().await, before, "{place}");
    says_nothing_of_the_owner(world, &text, &place);
}

fn says_nothing_of_the_owner(world: &World, text: &str, place: &str) {
    let owner = &world.owner;
    for id in
        [owner.account.to_string(), owner.vault.to_string(), owner.device.to_string(), owner.name.clone()]
    {
        assert!(!text.contains(&id), "{place}");
    }
}
