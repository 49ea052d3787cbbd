//! The port to whoever sends bills: it says which plan an account has paid for, and signs what it says.

use hmac::{Hmac, Mac};
use lockstep_events::{AccountId, Micros};
use sha2::Sha256;

/// Clocks of biller and server may differ by so much, in seconds; a signed message is not older either.
pub const TOLERANCE_S: i64 = 300;

/// What a biller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Billed {
    /// The biller's name for this event.
    pub id: String,
    /// Whose plan.
    pub account: AccountId,
    /// Which.
    pub plan: String,
    /// Until when it is paid.
    pub until: Option<Micros>,
    /// The biller's time.
    pub at: Micros,
}

/// Why a message is not the biller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BillingError {
    /// There is no biller.
    #[error("no biller is configured")]
    None,
    /// There is no time in it, or more than one.
    #[error("the signature is not of the form t=<seconds>,v1=<hex>")]
    Form,
    /// It is another key's, or over other bytes.
    #[error("no v1 is the HMAC of time and body under `billing_secret`")]
    Mac,
    /// It is right, and too old or of a time to come: the message is sent again by whoever has seen it, or a clock is wrong.
    #[error("it was signed {0} s before the time of this server's clock")]
    Time(i64),
}

/// A biller: it knows whether a message is its own. What the message says is read by whoever knows its format.
pub trait Biller: Send + Sync {
    /// Checks a message with the headers that the adapter asked for.
    ///
    /// # Errors
    /// [`BillingError`]
    fn verify(&self, signature: &str, body: &[u8], now: Micros) -> Result<(), BillingError>;

    /// The header that carries the signature.
    fn header(&self) -> &'static str;
}

/// The generic biller: `lockstep-signature: t=<seconds since 1970>,v1=<HMAC-SHA-256 of "t.body", hex>`. Several `v1`
/// are there while its key is renewed; one that is right is enough.
pub struct HmacBiller {
    key: Vec<u8>,
}

impl HmacBiller {
    /// The biller with a key.
    pub fn new(key: &str) -> Self {
        Self { key: key.as_bytes().to_vec() }
    }

    /// The header for a message, as the biller makes it.
    pub fn sign(&self, body: &[u8], seconds: i64) -> String {
        let mac = self.mac(body, &seconds.to_string()).map(|mac| mac.finalize().into_bytes());
        format!("t={seconds},v1={}", mac.map(hex::encode).unwrap_or_default())
    }

    fn mac(&self, body: &[u8], time: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        Some(mac)
    }
}

impl Biller for HmacBiller {
    fn verify(&self, signature: &str, body: &[u8], now: Micros) -> Result<(), BillingError> {
        if self.key.is_empty() {
            return Err(BillingError::None);
        }
        let fields: Vec<(&str, &str)> =
            signature.split(',').filter_map(|field| field.split_once('=')).collect();
        let times: Vec<&str> =
            fields.iter().filter(|(name, _)| *name == "t").map(|(_, time)| *time).collect();
        let [time] = times[..] else { return Err(BillingError::Form) };
        let seconds: i64 = time.parse().map_err(|_| BillingError::Form)?;
        let mac = self.mac(body, time).ok_or(BillingError::Mac)?;
        let right = |(name, value): &(&str, &str)| {
            let given = hex::decode(value).unwrap_or_default();
            // Compared in constant time.
            *name == "v1" && mac.clone().verify_slice(&given).is_ok()
        };
        if !fields.iter().any(right) {
            return Err(BillingError::Mac);
        }
        let age = now.seconds().saturating_sub(seconds);
        if age.unsigned_abs() > TOLERANCE_S.unsigned_abs() { Err(BillingError::Time(age)) } else { Ok(()) }
    }

    fn header(&self) -> &'static str {
        "lockstep-signature"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_800_000_000_000_000);

    fn verify(signature: &str, body: &[u8]) -> Result<(), BillingError> {
        HmacBiller::new("key").verify(signature, body, NOW)
    }

    #[test]
    fn the_biller_s_own_signature_is_accepted_also_beside_one_of_another_key() {
        let biller = HmacBiller::new("key");
        let signed = biller.sign(b"{}", NOW.seconds());
        assert_eq!(verify(&signed, b"{}"), Ok(()));
        assert_eq!(verify(&format!("{signed},v1={}", "00".repeat(32)), b"{}"), Ok(()));
        assert_eq!(verify(&biller.sign(b"{}", NOW.seconds() - TOLERANCE_S), b"{}"), Ok(()));
    }

    #[test]
    fn whatever_else_is_refused_with_what_an_operator_looks_for() {
        let biller = HmacBiller::new("key");
        let signed = biller.sign(b"{}", NOW.seconds());
        let other = HmacBiller::new("other").sign(b"{}", NOW.seconds());
        let old = biller.sign(b"{}", NOW.seconds() - TOLERANCE_S - 1);
        let early = biller.sign(b"{}", NOW.seconds() + TOLERANCE_S + 1);
        let twice = format!("t={},{signed}", NOW.seconds() - 1);
        for wrong in [&twice, "", "t=,v1=", "v1=00", &signed.to_uppercase()] {
            assert_eq!(verify(wrong, b"{}"), Err(BillingError::Form), "{wrong}");
        }
        for wrong in [&other, "t=1800000000", "t=1800000000,v1=00", "t=1,v1=00"] {
            assert_eq!(verify(wrong, b"{}"), Err(BillingError::Mac), "{wrong}");
        }
        assert_eq!(verify(&signed, b"{ }"), Err(BillingError::Mac));
        assert_eq!(verify(&old, b"{}"), Err(BillingError::Time(TOLERANCE_S + 1)));
        assert_eq!(verify(&early, b"{}"), Err(BillingError::Time(-TOLERANCE_S - 1)));
        let none = HmacBiller::new("");
        assert_eq!(none.verify(&none.sign(b"{}", NOW.seconds()), b"{}", NOW), Err(BillingError::None));
    }
}
