//! The recovery code: 160 random bits, printed once, in base 32 in eight groups of four.
//!
//! ```text
//! wrapping key = HKDF(no salt, code, lp("lockstep/v1/rec/ark")), 32 bytes; wraps the account root key
//! secret       = HKDF(no salt, code, lp("lockstep/v1/rec/auth")), 32 bytes; shown to the server, which keeps its SHA-256
//! ```

use lockstep_events::{AccountId, canonical::Writer};
use rand::{CryptoRng, RngCore};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{
    Rejected,
    context::Context,
    hierarchy::{hkdf, unwrap, wrap},
    keys::{AccountRootKey, WrappingKey},
};

/// RFC 4648.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A recovery code: wiped on drop, never shown but by [`RecoveryCode::to_text`].
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryCode([u8; 20]);

impl std::fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

impl RecoveryCode {
    /// A fresh random code.
    pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut bytes = [0; 20];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Reads a code as a person typed it: case, spaces and hyphens make no difference.
    ///
    /// # Errors
    /// [`Rejected`] if it is not 32 letters and digits of base 32.
    pub fn parse(text: &str) -> Result<Self, Rejected> {
        let (mut bytes, mut held, mut bits) = (Vec::with_capacity(20), 0_u32, 0);
        for letter in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-') {
            let upper = letter.to_ascii_uppercase();
            let value = ALPHABET.iter().position(|known| *known == upper).ok_or(Rejected)?;
            held = (held << 5) | u32::try_from(value).map_err(|_| Rejected)?;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from((held >> bits) & 0xff).map_err(|_| Rejected)?);
                held &= (1 << bits) - 1;
            }
        }
        let code = <[u8; 20]>::try_from(bytes.as_slice()).map_err(|_| Rejected);
        bytes.zeroize();
        if bits == 0 { code.map(Self) } else { Err(Rejected) }
    }

    /// The code as it is printed.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(39));
        let (mut held, mut bits, mut letters) = (0_u32, 0, 0);
        for byte in self.0 {
            held = (held << 8) | u32::from(byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                if letters > 0 && letters % 4 == 0 {
                    text.push('-');
                }
                text.push(char::from(ALPHABET[((held >> bits) & 31) as usize]));
                letters += 1;
            }
            held &= (1 << bits) - 1;
        }
        text
    }

    fn derive(&self, label: &str) -> Result<[u8; 32], Rejected> {
        let mut bytes = [0; 32];
        hkdf(None, &self.0, &Writer::new(label).finish(), &mut bytes)?;
        Ok(bytes)
    }

    /// What proves the code to the server, which keeps only its SHA-256.
    ///
    /// # Errors
    /// Never in practice.
    pub fn secret(&self) -> Result<Zeroizing<[u8; 32]>, Rejected> {
        self.derive("lockstep/v1/rec/auth").map(Zeroizing::new)
    }

    fn wrapping_key(&self) -> Result<WrappingKey, Rejected> {
        self.derive("lockstep/v1/rec/ark").map(WrappingKey::new)
    }

    /// Wraps the root key under the code.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wrap_ark(
        &self,
        ark: &AccountRootKey,
        (account, ark_gen, slot): (AccountId, u32, u16),
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<u8>, Rejected> {
        wrap(&self.wrapping_key()?, &Context::ark_by_recovery(account, ark_gen, slot), ark.bytes(), rng)
    }

    /// Opens [`Self::wrap_ark`].
    ///
    /// # Errors
    /// [`Rejected`] if it is not this code's wrap for this account, generation and slot.
    pub fn unwrap_ark(
        &self,
        (account, ark_gen, slot): (AccountId, u32, u16),
        wrapped: &[u8],
    ) -> Result<AccountRootKey, Rejected> {
        let context = Context::ark_by_recovery(account, ark_gen, slot);
        unwrap(&self.wrapping_key()?, &context, wrapped).map(AccountRootKey::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::OsRng;

    #[test]
    fn a_code_is_read_back_however_it_is_typed_and_nothing_else_is_one() {
        let code = RecoveryCode::random(&mut OsRng);
        let text = code.to_text();
        assert_eq!(text.len(), 39);
        let typed = text.to_lowercase().replace('-', " ");
        assert_eq!(RecoveryCode::parse(&typed).unwrap().0, code.0);
        for wrong in ["", &text[1..], &format!("{}A", *text), &text.replace('-', "1"), "AAAA"] {
            assert!(RecoveryCode::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format!("{code:?}"), "RecoveryCode(…)");
    }

    #[test]
    fn the_root_key_opens_with_its_code_in_its_place_only_and_the_secret_opens_nothing() {
        let (code, other) = (RecoveryCode::random(&mut OsRng), RecoveryCode::random(&mut OsRng));
        let ark = AccountRootKey::random(&mut OsRng);
        let account = AccountId(uuid::Uuid::from_u128(1));
        let wrapped = code.wrap_ark(&ark, (account, 1, 0), &mut OsRng).unwrap();
        assert_eq!(code.unwrap_ark((account, 1, 0), &wrapped).unwrap().bytes(), ark.bytes());
        assert!(other.unwrap_ark((account, 1, 0), &wrapped).is_err());
        for place in [(AccountId::NIL, 1, 0), (account, 2, 0), (account, 1, 1)] {
            assert!(code.unwrap_ark(place, &wrapped).is_err(), "{place:?}");
        }
        assert_ne!(*code.secret().unwrap(), *code.wrapping_key().unwrap().bytes());
    }
}
