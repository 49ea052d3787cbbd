//! When a certificate ends. Nothing else here reads one, so this reads just that far.

/// The contents of the first value of these bytes of DER with its tag, and what follows it.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(first) {
        short @ ..0x80 => (short, rest),
        long => {
            let (length, rest) =
                rest.split_at_checked(long - 0x80).filter(|(length, _)| length.len() <= 4)?;
            (length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// Seconds since 1970; none if this is no certificate.
pub fn ends(certificate: &[u8]) -> Option<i64> {
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = value(certificate)?;
    let (_, mut rest, _) = value(certificate)?;
    if rest.first() == Some(&VERSION) {
        (_, _, rest) = value(rest)?;
    }
    // Its number, the algorithm, and who vouches for it.
    for _ in 0..3 {
        (_, _, rest) = value(rest)?;
    }
    let (_, validity, _) = value(rest)?;
    let (_, _, rest) = value(validity)?;
    let (tag, until, _) = value(rest)?;
    time(tag, std::str::from_utf8(until).ok()?)
}

/// A time of a certificate: `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` after that.
fn time(tag: u8, text: &str) -> Option<i64> {
    const SHORT: u8 = 0x17;
    let number = |at: usize| text.get(at..at + 2)?.parse::<u8>().ok();
    let (year, at) = if tag == SHORT {
        let year = i32::from(number(0)?);
        (if year < 50 { 2000 + year } else { 1900 + year }, 2)
    } else {
        (text.get(..4)?.parse().ok()?, 4)
    };
    let month = time::Month::try_from(number(at)?).ok()?;
    let date = time::Date::from_calendar_date(year, month, number(at + 2)?).ok()?;
    let time = time::Time::from_hms(number(at + 4)?, number(at + 6)?, number(at + 8)?).ok()?;
    Some(date.with_time(time).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_says_when_it_ends_in_this_half_of_the_century_and_in_the_next() {
        for (year, seconds) in [(2027, 1_798_761_600), (2061, 2_871_763_200)] {
            let mut params = CertificateParams::new(vec!["vault.example.org".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 1, 1);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(ends(certificate.der()), Some(seconds));
            for cut in 0..certificate.der().len().min(60) {
                assert_eq!(ends(&certificate.der()[..cut]), None, "it is no certificate");
            }
        }
    }
}
