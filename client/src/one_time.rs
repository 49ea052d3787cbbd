//! One-time codes by time, of the secret that an entry holds: RFC 6238, as authenticator apps read an `otpauth://`
//! address, a bare secret in base 32, and Steam's.

use reqwest::Url;
use ring::hmac;
use zeroize::Zeroizing;

use crate::{engine::now, porting::Secret};

/// The characters of Steam's codes.
const STEAM: &[u8; 26] = b"23456789BCDFGHJKMNPQRTVWXY";

/// A code, and how long it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// What is typed.
    pub code: Secret,
    /// Seconds until the next one.
    pub seconds_left: u64,
    /// Seconds from one to the next.
    pub period: u64,
}

/// Why a secret gives no code. Says nothing of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Neither an address nor base 32.
    #[error("the secret is neither base32 nor an otpauth:// address")]
    Secret,
    /// It counts uses.
    #[error("its codes follow a counter (HOTP), not the time")]
    Counter,
    /// Another hash.
    #[error("its algorithm is none of SHA1, SHA256 and SHA512")]
    Algorithm,
    /// Too few digits, or too many.
    #[error("its codes have neither 6, 7 nor 8 digits")]
    Digits,
    /// No period, or one of more than a day.
    #[error("its period is not between a second and a day")]
    Period,
}

/// The present code by this device's clock.
///
/// # Errors
/// [`Unreadable`]
pub fn present(secret: &str) -> Result<Code, Unreadable> {
    at(secret, now().seconds().try_into().unwrap_or(0))
}

/// The code at a time, seconds since 1970.
///
/// # Errors
/// [`Unreadable`]
pub fn at(secret: &str, seconds: u64) -> Result<Code, Unreadable> {
    let Recipe { key, algorithm, form, period } = Recipe::read(secret.trim())?;
    let step = seconds / period;
    let mac = hmac::sign(&hmac::Key::new(algorithm, &key), &step.to_be_bytes());
    let code = match form {
        Form::Digits(digits) => {
            let width = digits as usize;
            format!("{:0width$}", truncated(mac.as_ref()) % 10_u32.pow(digits))
        }
        Form::Steam => steam(truncated(mac.as_ref())),
    };
    Ok(Code { code: code.into(), seconds_left: period - seconds % period, period })
}

/// Dynamic truncation (RFC 4226, 5.3); the last byte of any of the three hashes says where.
fn truncated(mac: &[u8]) -> u32 {
    let at = usize::from(mac.last().copied().unwrap_or_default() & 0x0f);
    let four = mac.get(at..at + 4).and_then(|four| four.try_into().ok()).unwrap_or_default();
    u32::from_be_bytes(four) & 0x7fff_ffff
}

fn steam(mut number: u32) -> String {
    let mut code = String::with_capacity(5);
    for _ in 0..5 {
        code.push(char::from(STEAM[number as usize % STEAM.len()]));
        number /= 26;
    }
    code
}

enum Form {
    Digits(u32),
    Steam,
}

struct Recipe {
    key: Zeroizing<Vec<u8>>,
    algorithm: hmac::Algorithm,
    form: Form,
    period: u64,
}

impl Recipe {
    fn new(secret: &str, form: Form) -> Result<Self, Unreadable> {
        let key = base32(secret)?;
        Ok(Self { key, algorithm: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, form, period: 30 })
    }

    fn read(text: &str) -> Result<Self, Unreadable> {
        let lower = text.get(..10).unwrap_or(text).to_ascii_lowercase();
        if lower.starts_with("steam://") {
            return Self::new(&text[8..], Form::Steam);
        }
        if lower != "otpauth://" {
            return Self::new(text, Form::Digits(6));
        }
        let address = Url::parse(text).map_err(|_| Unreadable::Secret)?;
        let named = |name: &str| {
            let found = address.query_pairs().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| Zeroizing::new(value.into_owned())).filter(|value| !value.is_empty())
        };
        let secret = named("secret").ok_or(Unreadable::Secret)?;
        let encoder = named("encoder").is_some_and(|encoder| encoder.eq_ignore_ascii_case("steam"));
        match address.host_str().unwrap_or_default().to_ascii_lowercase().as_str() {
            "steam" => return Self::new(&secret, Form::Steam),
            "totp" if encoder => return Self::new(&secret, Form::Steam),
            "totp" => {}
            "hotp" => return Err(Unreadable::Counter),
            _ => return Err(Unreadable::Secret),
        }
        let mut recipe = Self::new(&secret, Form::Digits(digits(named("digits"))?))?;
        recipe.algorithm = algorithm(named("algorithm"))?;
        if let Some(period) = named("period") {
            let period = period.parse().ok().filter(|period| (1..=86_400).contains(period));
            recipe.period = period.ok_or(Unreadable::Period)?;
        }
        Ok(recipe)
    }
}

type Value = Option<Zeroizing<String>>;

fn digits(named: Value) -> Result<u32, Unreadable> {
    let Some(digits) = named else { return Ok(6) };
    digits.parse().ok().filter(|digits| (6..=8).contains(digits)).ok_or(Unreadable::Digits)
}

fn algorithm(named: Value) -> Result<hmac::Algorithm, Unreadable> {
    let plain = named.map(|name| name.to_ascii_uppercase().replace('-', ""));
    match plain.as_deref().map(|name| name.strip_prefix("HMAC").unwrap_or(name)) {
        None | Some("SHA1") => Ok(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        Some("SHA256") => Ok(hmac::HMAC_SHA256),
        Some("SHA512") => Ok(hmac::HMAC_SHA512),
        Some(_) => Err(Unreadable::Algorithm),
    }
}

/// Bytes of base 32 (RFC 4648) as people copy it: in groups, in any case, with padding or without.
fn base32(text: &str) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut held, mut bits) = (0_u32, 0);
    let letters = text.trim_end().trim_end_matches('=').bytes();
    for byte in letters.filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-') {
        let value = match byte.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return Err(Unreadable::Secret),
        };
        held = (held << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).unwrap_or_default());
        }
    }
    if bytes.is_empty() { Err(Unreadable::Secret) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secrets of RFC 6238, appendix B: "1234567890" again and again, as long as the hash.
    const SHA1: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    const SHA256: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA====";
    const SHA512: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA";

    fn code(secret: &str, seconds: u64) -> String {
        at(secret, seconds).unwrap().code.as_str().to_owned()
    }

    #[test]
    fn the_vectors_of_rfc_6238_come_out() {
        let vectors = [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ];
        for (seconds, sha1, sha256, sha512) in vectors {
            for (name, secret, expected) in
                [("SHA1", SHA1, sha1), ("SHA256", SHA256, sha256), ("SHA512", SHA512, sha512)]
            {
                let uri = format!("otpauth://totp/x?secret={secret}&algorithm={name}&digits=8&period=30");
                assert_eq!(code(&uri, seconds), expected, "{name} at {seconds}");
            }
        }
    }

    #[test]
    fn a_bare_secret_has_six_digits_every_thirty_seconds_however_it_was_copied() {
        let shown = at(SHA1, 59).unwrap();
        assert_eq!((shown.code.as_str(), shown.seconds_left, shown.period), ("287082", 1, 30));
        assert_eq!(at(SHA1, 60).unwrap().seconds_left, 30);
        for copied in ["gezd gnbv gy3t qojq gezd gnbv gy3t qojq", " GEZDGNBV-GY3TQOJQ-GEZDGNBV-GY3TQOJQ==\n"]
        {
            assert_eq!(code(copied, 59), "287082", "{copied}");
        }
        // What is left out of an address is as usual; an hour is a period, too.
        assert_eq!(code(&format!("OTPAUTH://totp/a%20b?issuer=x&secret={SHA1}"), 59), "287082");
        let slow = format!("otpauth://totp/x?secret={SHA1}&period=3600&algorithm=hmac-sha-1");
        assert_eq!(at(&slow, 61).unwrap().seconds_left, 3539);
    }

    #[test]
    fn steam_has_five_letters_of_its_own() {
        // Of the number of RFC 4226 for the counter 1: 1,094,287,082.
        for secret in [
            format!("steam://{SHA1}"),
            format!("otpauth://steam/x?secret={SHA1}"),
            format!("otpauth://totp/Steam:x?secret={SHA1}&encoder=steam"),
        ] {
            assert_eq!(code(&secret, 59), "PV9M4", "{secret}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why_and_nothing_of_the_secret() {
        let with = |more: &str| format!("otpauth://totp/x?secret={SHA1}&{more}");
        for (secret, why) in [
            ("hunter2!".to_owned(), Unreadable::Secret),
            (String::new(), Unreadable::Secret),
            ("otpauth://totp/x?issuer=y".to_owned(), Unreadable::Secret),
            ("otpauth://totp/x?secret=18".to_owned(), Unreadable::Secret),
            (format!("otpauth://hotp/x?secret={SHA1}&counter=1"), Unreadable::Counter),
            (with("algorithm=MD5"), Unreadable::Algorithm),
            (with("digits=20"), Unreadable::Digits),
            (with("period=0"), Unreadable::Period),
            (with("period=soon"), Unreadable::Period),
        ] {
            let failed = at(&secret, 59).unwrap_err();
            assert_eq!(failed, why, "{secret}");
            assert!(!failed.to_string().contains(SHA1) && !failed.to_string().contains("hunter2"));
        }
    }
}
