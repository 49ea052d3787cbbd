//! The device roster: statements in the account stream, each signed by the account signing key.
//!
//! Statement 0 is self-signed; the SHA-256 of its bytes is the account fingerprint. Every later statement has
//! `epoch + 1` and the hash of the one before, so a server can neither add, drop nor reorder one.

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use crate::{
    canonical::{Writer, sha256},
    header::verify,
    ids::{AccountId, DeviceId, Hash32, PublicKey, Signature, VaultId},
    public,
};

const DOMAIN: &str = "lockstep/v1/roster";

public! {
    /// What a statement says.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[serde(tag = "says", rename_all = "snake_case", deny_unknown_fields)]
    pub enum Claim {
        /// The account exists and this is the key that signs its roster. Only ever statement 0.
        AccountCreated {
            /// The account signing key (Ed25519).
            signing_key: PublicKey,
        },
        /// A device belongs to the account.
        DeviceAdded {
            /// The device.
            device: DeviceId,
            /// Its public key (Ed25519).
            public_key: PublicKey,
        },
        /// A device no longer belongs to the account.
        DeviceRevoked {
            /// The device.
            device: DeviceId,
        },
        /// From here on new content keys of a vault are wrapped by this generation of its key.
        VaultKeyGen {
            /// The vault.
            vault: VaultId,
            /// Its key generation, from 1.
            generation: u32,
        },
        /// The password suite was raised; no lower one is accepted any more.
        SuiteRaised {
            /// The suite's number.
            suite: u16,
        },
        /// A recovery slot was set.
        RecoverySlotSet {
            /// The slot's number.
            slot: u16,
            /// SHA-256 of the slot's public part.
            commitment: Hash32,
        },
    }

    /// One signed statement.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
    #[serde(deny_unknown_fields)]
    pub struct Statement {
        /// The account it belongs to.
        pub account: AccountId,
        /// 0 for the first, then one more each.
        pub epoch: u32,
        /// Hash of the statement before; zero for the first.
        pub previous: Hash32,
        /// What it says.
        pub claim: Claim,
        /// By the account signing key over the canonical bytes.
        pub signature: Signature,
    }
}

impl Statement {
    /// Makes and signs a statement.
    pub fn sign(key: &SigningKey, account: AccountId, epoch: u32, previous: Hash32, claim: Claim) -> Self {
        let mut statement = Self { account, epoch, previous, claim, signature: Signature([0; 64]) };
        statement.signature = Signature(key.sign(&statement.canonical()).to_bytes());
        statement
    }

    /// The canonical bytes: everything but the signature.
    pub fn canonical(&self) -> Vec<u8> {
        let w = Writer::new(DOMAIN)
            .fixed(self.account.as_bytes())
            .u32(self.epoch)
            .fixed(self.previous.as_bytes());
        match &self.claim {
            Claim::AccountCreated { signing_key } => w.u8(1).fixed(signing_key.as_bytes()),
            Claim::DeviceAdded { device, public_key } => {
                w.u8(2).fixed(device.as_bytes()).fixed(public_key.as_bytes())
            }
            Claim::DeviceRevoked { device } => w.u8(3).fixed(device.as_bytes()),
            Claim::VaultKeyGen { vault, generation } => w.u8(4).fixed(vault.as_bytes()).u32(*generation),
            Claim::SuiteRaised { suite } => w.u8(5).u16(*suite),
            Claim::RecoverySlotSet { slot, commitment } => w.u8(6).u16(*slot).fixed(commitment.as_bytes()),
        }
        .finish()
    }

    /// SHA-256 of the canonical bytes. Of statement 0: the account fingerprint.
    pub fn hash(&self) -> Hash32 {
        Hash32(sha256(&self.canonical()))
    }
}

/// What the key of a vault is called where it lies wrapped: `vault/<vault>` in its first generation,
/// `vault/<vault>/<generation>` in a later one. Each has a place of its own: a newer one replaces none.
pub fn vault_key_name(vault: VaultId, generation: u32) -> String {
    if generation == 1 { format!("vault/{vault}") } else { format!("vault/{vault}/{generation}") }
}

/// The vault and the generation that [`vault_key_name`] was made of.
pub fn vault_key_place(name: &str) -> Option<(VaultId, u32)> {
    let rest = name.strip_prefix("vault/")?;
    let (vault, generation) = rest.split_once('/').unwrap_or((rest, "1"));
    let place = (VaultId(vault.parse().ok()?), generation.parse().ok()?);
    (vault_key_name(place.0, place.1) == name).then_some(place)
}

/// Why a statement does not belong to a roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Statement 0 must say `account_created`, and only it.
    #[error("a roster starts with account_created, and has it once")]
    Start,
    /// Another account's statement.
    #[error("the statement belongs to another account")]
    Account,
    /// Its number or the hash it builds on is not the next.
    #[error("the statement does not follow the one before")]
    Order,
    /// The account signing key did not sign it.
    #[error("the statement is not signed by the account signing key")]
    Signature,
    /// A device added twice, or revoked without being there, or a key generation that does not rise.
    #[error("the statement does not fit what was stated before")]
    Claim,
}

/// A device as the roster knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RosterDevice {
    /// Its key.
    pub public_key: PublicKey,
    /// Whether it was revoked since.
    pub revoked: bool,
}

/// The roster of an account: the fold of its statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The account.
    pub account: AccountId,
    /// The account signing key.
    pub signing_key: PublicKey,
    /// Hash of statement 0.
    pub fingerprint: Hash32,
    /// Number of the last statement.
    pub epoch: u32,
    /// Hash of the last statement.
    pub last: Hash32,
    /// All devices that ever belonged to it.
    pub devices: std::collections::BTreeMap<DeviceId, RosterDevice>,
    /// Key generation of each vault.
    pub vault_generations: std::collections::BTreeMap<VaultId, u32>,
    /// Number of the statement that began each vault's present key generation.
    pub turned_at: std::collections::BTreeMap<VaultId, u32>,
    /// Number of the last statement that removed a device; 0: none did.
    pub removed_at: u32,
    /// The lowest password suite that is still accepted.
    pub suite: u16,
}

impl Roster {
    /// A roster from its first statement.
    ///
    /// # Errors
    /// If it is not a self-signed `account_created` with number 0.
    pub fn start(first: &Statement) -> Result<Self, RosterError> {
        let Claim::AccountCreated { signing_key } = first.claim else {
            return Err(RosterError::Start);
        };
        if first.epoch != 0 || first.previous != Hash32::ZERO {
            return Err(RosterError::Order);
        }
        if !verify(&signing_key, &first.canonical(), &first.signature) {
            return Err(RosterError::Signature);
        }
        let hash = first.hash();
        Ok(Self {
            account: first.account,
            signing_key,
            fingerprint: hash,
            epoch: 0,
            last: hash,
            devices: std::collections::BTreeMap::new(),
            vault_generations: std::collections::BTreeMap::new(),
            turned_at: std::collections::BTreeMap::new(),
            removed_at: 0,
            suite: 1,
        })
    }

    /// A roster from all its statements, each of which was applied once, by the signatures of the first and the last. What
    /// is signed holds the hash of the statement before: whoever signed the last one has said all of them. The other
    /// signatures are not looked at, so this is for who keeps statements and not for who is given some.
    ///
    /// # Errors
    /// If one does not follow or contradicts what stands, or the account did not sign the last.
    pub fn fold(statements: &[Statement]) -> Result<Self, RosterError> {
        let (first, rest) = statements.split_first().ok_or(RosterError::Start)?;
        let mut roster = Self::start(first)?;
        let Some((last, between)) = rest.split_last() else { return Ok(roster) };
        for next in between {
            roster.follows(next)?;
            roster.take(next)?;
        }
        roster.apply(last)?;
        Ok(roster)
    }

    /// Applies the next statement.
    ///
    /// # Errors
    /// If it does not follow, is not signed by the account, or contradicts what stands. The roster is unchanged.
    pub fn apply(&mut self, next: &Statement) -> Result<(), RosterError> {
        self.follows(next)?;
        if !verify(&self.signing_key, &next.canonical(), &next.signature) {
            return Err(RosterError::Signature);
        }
        self.take(next)
    }

    fn follows(&self, next: &Statement) -> Result<(), RosterError> {
        if next.account != self.account {
            return Err(RosterError::Account);
        }
        if next.epoch != self.epoch + 1 || next.previous != self.last {
            return Err(RosterError::Order);
        }
        Ok(())
    }

    fn take(&mut self, next: &Statement) -> Result<(), RosterError> {
        self.apply_claim(&next.claim)?;
        self.epoch = next.epoch;
        self.last = next.hash();
        Ok(())
    }

    /// Vaults whose key is due to change: a device was removed since its present generation began.
    pub fn due_to_turn(&self) -> impl Iterator<Item = VaultId> + '_ {
        self.turned_at.iter().filter(|(_, at)| **at < self.removed_at).map(|(vault, _)| *vault)
    }

    fn apply_claim(&mut self, claim: &Claim) -> Result<(), RosterError> {
        match *claim {
            Claim::AccountCreated { .. } => return Err(RosterError::Start),
            Claim::DeviceAdded { device, public_key } => {
                if self.devices.contains_key(&device) {
                    return Err(RosterError::Claim);
                }
                self.devices.insert(device, RosterDevice { public_key, revoked: false });
            }
            Claim::DeviceRevoked { device } => match self.devices.get_mut(&device) {
                Some(known) if !known.revoked => {
                    known.revoked = true;
                    self.removed_at = self.epoch + 1;
                }
                _ => return Err(RosterError::Claim),
            },
            Claim::VaultKeyGen { vault, generation } => {
                let current = self.vault_generations.get(&vault).copied().unwrap_or(0);
                if generation != current + 1 {
                    return Err(RosterError::Claim);
                }
                self.vault_generations.insert(vault, generation);
                self.turned_at.insert(vault, self.epoch + 1);
            }
            Claim::SuiteRaised { suite } => {
                if suite <= self.suite {
                    return Err(RosterError::Claim);
                }
                self.suite = suite;
            }
            Claim::RecoverySlotSet { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
