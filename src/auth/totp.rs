//! Codes by time: TOTP (RFC 6238) with SHA-1, six digits and steps of 30 s, as every authenticator app takes it.

use hmac::{Hmac, Mac};
use lockstep_events::Micros;
use rand::{CryptoRng, RngCore};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// Seconds of one step.
const STEP_S: i64 = 30;
/// Steps by which two clocks may differ.
const DRIFT: i64 = 1;
const DIGITS: u32 = 6;

/// A secret as authenticators take it.
pub type Secret = [u8; 20];

/// A secret that nobody knows.
pub fn new_secret(rng: &mut (impl RngCore + CryptoRng)) -> Secret {
    let mut secret = [0; 20];
    rng.fill_bytes(&mut secret);
    secret
}

/// The step in which a code is right, if it is right now and was not used: only steps after `used` count.
pub fn check(secret: &Secret, given: &str, now: Micros, used: i64) -> Option<i64> {
    let present = now.seconds().div_euclid(STEP_S);
    let right = |step: &i64| bool::from(code(secret, *step).as_bytes().ct_eq(given.as_bytes()));
    // Every step is computed, whichever is right.
    let right: Vec<i64> = (present - DRIFT..=present + DRIFT).filter(right).collect();
    right.into_iter().find(|step| *step > used)
}

/// The code of a step.
pub fn code(secret: &Secret, step: i64) -> String {
    format!("{:06}", truncated(secret, step) % 10_u32.pow(DIGITS))
}

/// Dynamic truncation (RFC 4226, 5.3).
fn truncated(secret: &Secret, step: i64) -> u32 {
    // HMAC takes keys of every length, so the `else` never runs; it must not panic all the same.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else { return 0 };
    mac.update(&step.to_be_bytes());
    let mac = mac.finalize().into_bytes();
    let at = usize::from(mac[19] & 0x0f);
    u32::from_be_bytes([mac[at], mac[at + 1], mac[at + 2], mac[at + 3]]) & 0x7fff_ffff
}

/// Bytes in base 32 (RFC 4648) without padding.
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut text, mut held, mut bits) = (String::new(), 0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(held >> bits) as usize & 31]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(held << (5 - bits)) as usize & 31]));
    }
    text
}

/// What an authenticator app reads from a QR code.
pub fn uri(secret: &Secret, issuer: &str) -> String {
    let secret = base32(secret);
    format!("otpauth://totp/{issuer}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC: &Secret = b"12345678901234567890";

    fn at(seconds: i64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        // Its table has eight digits; six digits are their end.
        let table = [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000_i64, "65353130"),
        ];
        for (seconds, eight) in table {
            assert_eq!(code(RFC, seconds / 30), eight[2..], "{seconds}");
        }
    }

    #[test]
    fn a_code_is_right_for_a_step_before_and_after_and_never_twice() {
        let now = at(3_000);
        for step in [99, 100, 101] {
            assert_eq!(check(RFC, &code(RFC, step), now, 0), Some(step));
        }
        assert_eq!(check(RFC, &code(RFC, 98), now, 0), None);
        assert_eq!(check(RFC, &code(RFC, 102), now, 0), None);
        assert_eq!(check(RFC, &code(RFC, 100), now, 100), None, "a used step");
        assert_eq!(check(RFC, &code(RFC, 99), now, 100), None, "a step before a used one");
        assert_eq!(check(RFC, &code(RFC, 101), now, 100), Some(101));
    }

    #[test]
    fn what_is_not_six_digits_is_never_right() {
        for given in ["", "0", "94287082", "abcdef", "      ", "２８７０８２"] {
            assert_eq!(check(RFC, given, at(59), 0), None, "{given}");
        }
    }

    #[test]
    fn base_32_is_that_of_rfc_4648() {
        let pairs = [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("foobar", "MZXW6YTBOI"),
        ];
        for (bytes, text) in pairs {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
