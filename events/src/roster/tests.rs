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
fn kept_statements_are_folded_by_the_signature_of_the_last_one_which_says_all_of_them() {
    let mut roster = started();
    let mut all = vec![first()];
    for n in 2..=5 {
        let statement = next(&roster, added(n));
        roster.apply(&statement).unwrap();
        all.push(statement);
    }
    assert_eq!(Roster::fold(&all), Ok(roster));
    assert_eq!(Roster::fold(&all[..1]), Ok(started()));
    assert_eq!(Roster::fold(&[]), Err(RosterError::Start));
    for (at, expected) in [
        (0, RosterError::Signature),
        (1, RosterError::Order),
        (3, RosterError::Order),
        (4, RosterError::Signature),
    ] {
        let mut changed = all.clone();
        let claim =
            if at == 0 { Claim::AccountCreated { signing_key: public_key(&key(2)) } } else { added(9) };
        changed[at].claim = claim;
        assert_eq!(Roster::fold(&changed), Err(expected), "{at}");
    }
    let left_out = [&all[..2], &all[3..]].concat();
    assert_eq!(Roster::fold(&left_out), Err(RosterError::Order));
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

#[test]
fn a_removed_device_makes_every_key_due_that_was_not_turned_since() {
    let mut roster = started();
    let (one, two) = (VaultId(Uuid::from_u128(8)), VaultId(Uuid::from_u128(9)));
    let turn = |vault, generation| Claim::VaultKeyGen { vault, generation };
    for claim in [added(2), added(3), added(4), turn(one, 1), turn(two, 1)] {
        apply(&mut roster, claim).unwrap();
    }
    assert_eq!(roster.due_to_turn().count(), 0);
    apply(&mut roster, Claim::DeviceRevoked { device: device(2) }).unwrap();
    assert_eq!(roster.due_to_turn().collect::<Vec<_>>(), [one, two]);
    apply(&mut roster, turn(one, 2)).unwrap();
    assert_eq!(roster.due_to_turn().collect::<Vec<_>>(), [two]);
    // Another removal before the second was turned: one new generation is enough for both.
    apply(&mut roster, Claim::DeviceRevoked { device: device(3) }).unwrap();
    assert_eq!(roster.due_to_turn().collect::<Vec<_>>(), [one, two]);
    apply(&mut roster, turn(two, 2)).unwrap();
    apply(&mut roster, turn(one, 3)).unwrap();
    assert_eq!(roster.due_to_turn().count(), 0);
    // A vault that begins after a removal has a key that nobody removed ever had.
    apply(&mut roster, turn(VaultId(Uuid::from_u128(10)), 1)).unwrap();
    assert_eq!(roster.due_to_turn().count(), 0);
}

#[test]
fn the_name_of_a_wrapped_vault_key_says_its_place_and_nothing_else_is_one() {
    let vault = VaultId(Uuid::from_u128(9));
    for generation in [1, 2, 10, u32::MAX] {
        assert_eq!(vault_key_place(&vault_key_name(vault, generation)), Some((vault, generation)));
    }
    assert_eq!(vault_key_name(vault, 1), format!("vault/{vault}"));
    for wrong in ["ask", "vault/", "vault/x", "label/00000000-0000-0000-0000-000000000009"] {
        assert_eq!(vault_key_place(wrong), None, "{wrong}");
    }
    for tail in ["/1", "/02", "/+2", "/-1", "/2/3", "/", "/4294967296"] {
        assert_eq!(vault_key_place(&format!("vault/{vault}{tail}")), None, "{tail}");
    }
}
