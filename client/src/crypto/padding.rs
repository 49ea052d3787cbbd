//! Padmé padding: the length of a ciphertext tells at most O(log log n) bits of the length inside, and costs at
//! most 12 %.
//!
//! Padded = u32 length | content | zeros, of a total length [`padded_len`] that is a function of the content's
//! length only. Opening recomputes that length and checks that the filling is zero, so a content has exactly
//! one padded form.

use super::{Rejected, wipe::Plaintext};

/// No padded content is shorter.
pub const MIN_PADDED: usize = 256;

const PREFIX: usize = 4;

/// The total padded length for a content of this length, the 4-byte length included.
pub const fn padded_len(content: usize) -> usize {
    let len = content + PREFIX;
    if len <= MIN_PADDED {
        return MIN_PADDED;
    }
    let exponent = len.ilog2();
    let low_bits = exponent - (exponent.ilog2() + 1);
    let mask = (1_usize << low_bits) - 1;
    (len + mask) & !mask
}

/// Pads a content.
///
/// # Errors
/// [`Rejected`] for 4 GiB and more.
pub fn pad(content: &[u8]) -> Result<Plaintext, Rejected> {
    let len = u32::try_from(content.len()).map_err(|_| Rejected)?;
    let mut padded = Vec::with_capacity(padded_len(content.len()));
    padded.extend_from_slice(&len.to_be_bytes());
    padded.extend_from_slice(content);
    padded.resize(padded_len(content.len()), 0);
    Ok(Plaintext::new(padded))
}

/// Takes the padding off.
///
/// # Errors
/// [`Rejected`] if it is not the one form that [`pad`] makes.
pub fn unpad(padded: &[u8]) -> Result<Plaintext, Rejected> {
    let (prefix, rest) = padded.split_first_chunk::<PREFIX>().ok_or(Rejected)?;
    let len = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| Rejected)?;
    let (content, filling) = rest.split_at_checked(len).ok_or(Rejected)?;
    if padded.len() != padded_len(len) || filling.iter().any(|byte| *byte != 0) {
        return Err(Rejected);
    }
    Ok(Plaintext::new(content.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_contents_have_one_length_and_long_ones_lose_at_most_an_eighth() {
        assert_eq!(padded_len(0), 256);
        assert_eq!(padded_len(252), 256);
        assert_eq!(padded_len(253), 272);
        for len in 253..70_000 {
            let padded = padded_len(len);
            assert!(padded >= len + 4 && padded * 100 <= (len + 4) * 112, "{len} → {padded}");
        }
    }

    #[test]
    fn another_length_or_a_filling_that_is_not_zero_is_rejected() {
        let padded = pad(b"content").unwrap();
        let mut longer = padded.to_vec();
        longer.push(0);
        assert_eq!(unpad(&longer), Err(Rejected));
        let mut dirty = padded.to_vec();
        dirty[200] = 1;
        assert_eq!(unpad(&dirty), Err(Rejected));
        assert_eq!(unpad(&[0, 0]), Err(Rejected));
        assert_eq!(unpad(&[0xff; 256]), Err(Rejected));
    }

    proptest! {
        #[test]
        fn every_content_comes_back(content in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(&*unpad(&pad(&content).unwrap()).unwrap(), &content[..]);
        }
    }
}
