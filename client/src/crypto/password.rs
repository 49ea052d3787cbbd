//! What a password must be, and the one way its text becomes bytes.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use lockstep_events::canonical::Writer;

/// In bytes of UTF-8 after normalisation.
pub const MIN_LEN: usize = 12;
/// In bytes of UTF-8 after normalisation.
pub const MAX_LEN: usize = 1024;

const DOMAIN: &str = "lockstep/v1/password";

/// Why a password cannot be used for a new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Shorter than [`MIN_LEN`].
    #[error("the password is shorter than 12 bytes")]
    TooShort,
    /// Longer than [`MAX_LEN`].
    #[error("the password is longer than 1024 bytes")]
    TooLong,
    /// A guessing program finds it too soon.
    #[error(
        "the password is too easy to guess (strength {score} of 4, needed 3): use four or more random words"
    )]
    Weak {
        /// zxcvbn's score, 0 to 2.
        score: u8,
    },
}

/// A password as a person typed it: wiped on drop, never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a text over and normalises it (NFC). No trimming, no case folding.
    pub fn new(text: String) -> Self {
        let text = Zeroizing::new(text);
        Self(Zeroizing::new(text.nfc().collect()))
    }

    /// Whether the length is within the limits: checked at every use.
    ///
    /// # Errors
    /// Too short or too long.
    pub fn check_len(&self) -> Result<(), PasswordError> {
        match self.0.len() {
            0..MIN_LEN => Err(PasswordError::TooShort),
            MIN_LEN..=MAX_LEN => Ok(()),
            _ => Err(PasswordError::TooLong),
        }
    }

    /// Whether it may protect a new account: its length, and a strength of at least 3 of 4 by zxcvbn, which is
    /// told the account's name so that a password made of it counts as weak.
    ///
    /// # Errors
    /// The rule it breaks.
    pub fn check_new(&self, name: &str) -> Result<(), PasswordError> {
        self.check_len()?;
        // zxcvbn's time grows with the square of the length; what the first 100 characters give is enough.
        let head: Zeroizing<String> = Zeroizing::new(self.0.chars().take(100).collect());
        let score = u8::from(zxcvbn::zxcvbn(&head, &[name]).score());
        if score < 3 { Err(PasswordError::Weak { score }) } else { Ok(()) }
    }

    /// The input of every password hash: lp(domain) | lp(NFC(password)) | lp(secret key, or empty).
    pub(in crate::crypto) fn input(&self, secret_key: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(Writer::new(DOMAIN).lp(self.0.as_bytes()).lp(secret_key).finish())
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[test]
    fn the_limits_of_length_count_bytes_after_normalisation() {
        assert_eq!(password("elevenbytes").check_len(), Err(PasswordError::TooShort));
        assert_eq!(password("twelve bytes").check_len(), Ok(()));
        assert_eq!(password(&"x".repeat(1024)).check_len(), Ok(()));
        assert_eq!(password(&"x".repeat(1025)).check_len(), Err(PasswordError::TooLong));
    }

    #[test]
    fn composed_and_decomposed_letters_are_the_same_password() {
        assert_eq!(
            password("Caf\u{e9} crème brûlée").input(b""),
            password("Cafe\u{301} crème brûlée").input(b"")
        );
    }

    #[test]
    fn case_and_spaces_at_the_ends_count() {
        assert_ne!(password("correct horse ").input(b""), password("correct horse").input(b""));
        assert_ne!(password("Correct horse").input(b""), password("correct horse").input(b""));
    }

    #[test]
    fn guessable_passwords_and_the_own_name_are_refused() {
        assert!(matches!(password("passwordpassword").check_new(""), Err(PasswordError::Weak { .. })));
        assert!(matches!(password("123456789012").check_new(""), Err(PasswordError::Weak { .. })));
        let name = "maria.schmidt@example.org";
        assert!(matches!(password(name).check_new(name), Err(PasswordError::Weak { .. })));
        assert_eq!(password("violet anchor mumbles seventeen").check_new(name), Ok(()));
    }
}
