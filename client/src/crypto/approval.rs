//! Approval of a new device: the root key, sealed by HPKE (RFC 9180: X25519, HKDF-SHA-256, AES-256-GCM) for a key that
//! the new device made for this one time.
//!
//! ```text
//! info  = lp("lockstep/v1/approve") | approval | device | device key | kem key
//! text  = account | u32 generation of the root key | root key | account fingerprint
//! asks  = lp("lockstep/v1/approve-words") | device | device key | kem key
//! words = SHA-256(asks) read ten bits at a time, seven words: compared by a person on both screens
//! ```
//!
//! The words are of what the new device chose, alone. The server gives `approval` its value once it knows the keys: with
//! that in the hash it could try values until the request of its own and the true one show the same words, which costs
//! it 2^35 for 70 bits and not 2^70.

use hpke::{
    Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256,
    kem::X25519HkdfSha256, single_shot_open, single_shot_seal,
};
use lockstep_events::{
    AccountId, DeviceId, Hash32,
    canonical::{Writer, sha256},
    ids::PublicKey,
};
use rand::{CryptoRng, RngCore};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Rejected, keys::AccountRootKey};

type Kem = X25519HkdfSha256;

/// Words that are compared: 70 bits of which nobody can choose both sides.
const COMPARED: usize = 7;
const ENCAPSULATED: usize = 32;
const TEXT: usize = 16 + 4 + 32 + 32;

/// What both sides know of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Names it.
    pub approval: Uuid,
    /// The new device.
    pub device: DeviceId,
    /// Its key.
    pub public_key: &'a PublicKey,
    /// Its key for HPKE.
    pub kem_key: &'a [u8],
}

impl Request<'_> {
    fn info(&self) -> Vec<u8> {
        Writer::new("lockstep/v1/approve")
            .fixed(self.approval.as_bytes())
            .fixed(self.device.as_bytes())
            .fixed(self.public_key.as_bytes())
            .lp(self.kem_key)
            .finish()
    }

    /// The words that must be the same on both screens.
    pub fn words(&self, list: &[&'static str; 1024]) -> Vec<&'static str> {
        let asks = Writer::new("lockstep/v1/approve-words")
            .fixed(self.device.as_bytes())
            .fixed(self.public_key.as_bytes())
            .lp(self.kem_key)
            .finish();
        let hash = sha256(&asks);
        let bit = |n: usize| usize::from((hash[n / 8] >> (7 - n % 8)) & 1);
        let word = |n: usize| (0..10).fold(0, |word, at| (word << 1) | bit(n * 10 + at));
        (0..COMPARED).map(|n| list[word(n)]).collect()
    }
}

/// The key of a new device for one request.
pub struct ApprovalKey {
    private: <Kem as hpke::Kem>::PrivateKey,
    public: Vec<u8>,
}

/// What an approved device has been given.
pub struct Given {
    /// The account.
    pub account: AccountId,
    /// Generation of the root key.
    pub ark_gen: u32,
    /// The root key.
    pub ark: AccountRootKey,
    /// The account fingerprint.
    pub fingerprint: Hash32,
}

impl ApprovalKey {
    /// A fresh key.
    pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let (private, public) = Kem::gen_keypair(rng);
        Self { private, public: public.to_bytes().to_vec() }
    }

    /// Its public half.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Opens what was sealed for this key and request.
    ///
    /// # Errors
    /// [`Rejected`]
    pub fn open(&self, request: &Request<'_>, sealed: &[u8]) -> Result<Given, Rejected> {
        let (encapsulated, text) = sealed.split_at_checked(ENCAPSULATED).ok_or(Rejected)?;
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| Rejected)?;
        let mode = OpModeR::Base;
        let opened = single_shot_open::<AesGcm256, HkdfSha256, Kem>(
            &mode,
            &self.private,
            &encapsulated,
            &request.info(),
            text,
            b"",
        );
        let text = Zeroizing::new(opened.map_err(|_| Rejected)?);
        let text: &[u8; TEXT] = text.as_slice().try_into().map_err(|_| Rejected)?;
        let part = |from: usize| <[u8; 32]>::try_from(&text[from..from + 32]).map_err(|_| Rejected);
        Ok(Given {
            account: AccountId(Uuid::from_slice(&text[..16]).map_err(|_| Rejected)?),
            ark_gen: u32::from_be_bytes(text[16..20].try_into().map_err(|_| Rejected)?),
            ark: AccountRootKey::new(part(20)?),
            fingerprint: Hash32(part(52)?),
        })
    }
}

/// Seals the root key for a new device.
///
/// # Errors
/// [`Rejected`] if the device's HPKE key is none.
pub fn seal(
    request: &Request<'_>,
    (account, ark_gen, ark): (AccountId, u32, &AccountRootKey),
    fingerprint: &Hash32,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<Vec<u8>, Rejected> {
    let key = <Kem as hpke::Kem>::PublicKey::from_bytes(request.kem_key).map_err(|_| Rejected)?;
    let text = Zeroizing::new(
        [&account.as_bytes()[..], &ark_gen.to_be_bytes(), ark.bytes(), fingerprint.as_bytes()].concat(),
    );
    let mode = OpModeS::Base;
    let info = request.info();
    let (encapsulated, sealed) =
        single_shot_seal::<AesGcm256, HkdfSha256, Kem, _>(&mode, &key, &info, &text, b"", rng)
            .map_err(|_| Rejected)?;
    Ok([&encapsulated.to_bytes()[..], &sealed].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::OsRng;

    #[test]
    fn what_is_sealed_for_a_request_opens_for_it_alone() {
        let (key, other) = (ApprovalKey::random(&mut OsRng), ApprovalKey::random(&mut OsRng));
        let public_key = PublicKey([4; 32]);
        let request = Request {
            approval: Uuid::from_u128(1),
            device: DeviceId(Uuid::from_u128(2)),
            public_key: &public_key,
            kem_key: key.public(),
        };
        let (ark, account) = (AccountRootKey::random(&mut OsRng), AccountId(Uuid::from_u128(3)));
        let sealed = seal(&request, (account, 5, &ark), &Hash32([6; 32]), &mut OsRng).unwrap();
        let given = key.open(&request, &sealed).unwrap();
        assert_eq!((given.account, given.ark_gen, given.fingerprint), (account, 5, Hash32([6; 32])));
        assert_eq!(given.ark.bytes(), ark.bytes());
        assert!(other.open(&request, &sealed).is_err());
        let elsewhere = Request { device: DeviceId(Uuid::from_u128(9)), ..request };
        assert!(key.open(&elsewhere, &sealed).is_err());
        for at in [0, 31, 32, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&request, &changed).is_err(), "{at}");
        }
        assert!(key.open(&request, &sealed[..40]).is_err());
    }

    fn numbers() -> [&'static str; 1024] {
        std::array::from_fn(|n| &*Box::leak(n.to_string().into_boxed_str()))
    }

    #[test]
    fn the_words_of_a_request_are_the_new_devices_choice_alone() {
        let (list, keys) = (numbers(), [PublicKey([4; 32]), PublicKey([5; 32])]);
        let request =
            Request { approval: Uuid::nil(), device: DeviceId::NIL, public_key: &keys[0], kem_key: &[1; 32] };
        let words = request.words(&list);
        // What the server chooses, when it has seen the rest.
        assert_eq!(words, Request { approval: Uuid::from_u128(7), ..request }.words(&list));
        assert_ne!(words, Request { device: DeviceId(Uuid::from_u128(7)), ..request }.words(&list));
        assert_ne!(words, Request { public_key: &keys[1], ..request }.words(&list));
    }

    #[test]
    fn another_key_shows_other_words() {
        let list = numbers();
        let public_key = PublicKey([4; 32]);
        let request = |kem_key| Request {
            approval: Uuid::nil(),
            device: DeviceId::NIL,
            public_key: &public_key,
            kem_key,
        };
        let (one, two) = (request(&[1; 32]).words(&list), request(&[2; 32]).words(&list));
        assert_eq!(one.len(), 7);
        assert_ne!(one, two);
        assert_eq!(one, request(&[1; 32]).words(&list));
    }
}
