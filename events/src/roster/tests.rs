use uuid::Uuid;

use super::*;
use crate::header::public_key;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn account() -> AccountId {
    AccountId(Uuid::from_u128(1))
}

fn device(n: u128) -> DeviceId {
    DeviceId(Uuid::from_u128(n))
}

fn first() -> Statement {
    let claim = Claim::AccountCreated { signing_key: public_key(&key(1)) };
    Statement::sign(&key(1), account(), 0, Hash32::ZERO, claim)
}

fn added(n: u128) -> Claim {
    Claim::DeviceAdded { device: device(n), public_key: public_key(&key(u8::try_from(n).unwrap())) }
}

fn started() -> Roster {
    Roster::start(&first()).unwrap()
}

/// The next statement of this roster, signed by the account.
fn next(roster: &Roster, claim: Claim) -> Statement {
    Statement::sign(&key(1), account(), roster.epoch + 1, roster.last, claim)
}

fn apply(roster: &mut Roster, claim: Claim) -> Result<(), RosterError> {
    let statement = next(roster, claim);
    roster.apply(&statement)
}

#[test]
fn a_roster_is_the_fold_of_its_statements() {
    let mut roster = started();
    assert_eq!(roster.fingerprint, first().hash());
    let vault = VaultId(Uuid::from_u128(9));
    apply(&mut roster, added(2)).unwrap();
    apply(&mut roster, added(3)).unwrap();
    apply(&mut roster, Claim::DeviceRevoked { device: device(2) }).unwrap();
    apply(&mut roster, Claim::VaultKeyGen { vault, generation: 1 }).unwrap();
    apply(&mut roster, Claim::VaultKeyGen { vault, generation: 2 }).unwrap();
    apply(&mut roster, Claim::SuiteRaised { suite: 2 }).unwrap();
    apply(&mut roster, Claim::RecoverySlotSet { slot: 1, commitment: Hash32([1; 32]) }).unwrap();
    assert!(roster.devices[&device(2)].revoked && !roster.devices[&device(3)].revoked);
    assert_eq!((roster.epoch, roster.suite, roster.vault_generations[&vault]), (7, 2, 2));
    assert_eq!(roster.fingerprint, first().hash(), "the fingerprint never changes");
}

#[test]
fn only_a_self_signed_first_statement_starts_a_roster() {
    let stranger = Statement::sign(
        &key(2),
        account(),
        0,
        Hash32::ZERO,
        Claim::AccountCreated { signing_key: public_key(&key(1)) },
    );
    assert_eq!(Roster::start(&stranger), Err(RosterError::Signature));
    let late = Statement::sign(&key(1), account(), 1, Hash32::ZERO, first().claim);
    assert_eq!(Roster::start(&late), Err(RosterError::Order));
    let linked = Statement::sign(&key(1), account(), 0, Hash32([1; 32]), first().claim);
    assert_eq!(Roster::start(&linked), Err(RosterError::Order));
    let other = Statement::sign(&key(1), account(), 0, Hash32::ZERO, added(2));
    assert_eq!(Roster::start(&other), Err(RosterError::Start));
}

#[test]
fn a_statement_cannot_be_dropped_repeated_reordered_or_forged() {
    let mut roster = started();
    let one = next(&roster, added(2));
    let mut ahead = roster.clone();
    ahead.apply(&one).unwrap();
    let two = next(&ahead, added(3));
    let before = roster.clone();
    assert_eq!(roster.apply(&two), Err(RosterError::Order), "dropped");
    assert_eq!(ahead.clone().apply(&one), Err(RosterError::Order), "repeated");
    let forged = Statement::sign(&key(2), account(), 1, roster.last, added(2));
    assert_eq!(roster.apply(&forged), Err(RosterError::Signature));
    let changed = Statement { claim: added(4), ..one.clone() };
    assert_eq!(roster.apply(&changed), Err(RosterError::Signature));
    let elsewhere = Statement { account: AccountId(Uuid::from_u128(2)), ..one.clone() };
    assert_eq!(roster.apply(&elsewhere), Err(RosterError::Account));
    let other_past = Statement::sign(&key(1), account(), 1, Hash32([9; 32]), added(2));
    assert_eq!(roster.apply(&other_past), Err(RosterError::Order));
    assert_eq!(roster, before, "a refused statement changes nothing");
    roster.apply(&one).unwrap();
    roster.apply(&two).unwrap();
}

#[test]
fn a_claim_that_contradicts_what_stands_is_refused_and_changes_nothing() {
    let mut roster = started();
    apply(&mut roster, added(2)).unwrap();
    apply(&mut roster, Claim::DeviceRevoked { device: device(2) }).unwrap();
    let vault = VaultId(Uuid::from_u128(9));
    let before = roster.clone();
    for claim in [
        first().claim,
        added(2),
        Claim::DeviceRevoked { device: device(2) },
        Claim::DeviceRevoked { device: device(7) },
        Claim::VaultKeyGen { vault, generation: 2 },
        Claim::VaultKeyGen { vault, generation: 0 },
        Claim::SuiteRaised { suite: 1 },
    ] {
        let refused = apply(&mut roster, claim.clone());
        assert!(matches!(refused, Err(RosterError::Claim | RosterError::Start)), "{claim:?}: {refused:?}");
        assert_eq!(roster, before);
    }
}

#[test]
fn no_two_claims_share_their_canonical_bytes() {
    let vault = VaultId(Uuid::from_u128(2));
    let claims = [
        first().claim,
        added(2),
        Claim::DeviceRevoked { device: device(2) },
        Claim::VaultKeyGen { vault, generation: 1 },
        Claim::SuiteRaised { suite: 1 },
        Claim::RecoverySlotSet { slot: 1, commitment: Hash32::ZERO },
    ];
    let bytes: std::collections::BTreeSet<_> = claims
        .iter()
        .map(|claim| Statement::sign(&key(1), account(), 1, Hash32::ZERO, claim.clone()).canonical())
        .collect();
    assert_eq!(bytes.len(), claims.len());
}
