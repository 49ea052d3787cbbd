//! What personal data is kept for: each purpose has keys of its own, and its own end.

use lockstep_events::Micros;

/// What sealed data about a person is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// E-mail address, display name, locale, identities elsewhere. As long as the account lives.
    Identity,
    /// IP address, user agent, when and where from. One key a month, destroyed 90 days after its month began.
    Telemetry,
    /// References of a biller. One key a month; outlives the account for as long as the law demands.
    Billing,
    /// Why an administrator did something. One key a month; outlives the account, three years.
    Audit,
    /// Secrets of further factors. As long as the account lives.
    Credential,
}

/// Ten years.
const BILLING_DAYS: i64 = 3653;
/// Three years.
const AUDIT_DAYS: i64 = 1096;
const TELEMETRY_DAYS: i64 = 90;

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 5] =
        [Self::Identity, Self::Telemetry, Self::Billing, Self::Audit, Self::Credential];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Telemetry => "telemetry",
            Self::Billing => "billing",
            Self::Audit => "audit",
            Self::Credential => "credential",
        }
    }

    /// The purpose with a stored name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }

    /// Whether a person's erasure leaves it: there is a duty to keep it, and it ends by its age.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Billing | Self::Audit)
    }

    /// After how many days from the begin of its period the data goes; none where it lives as long as the account.
    const fn days(self) -> Option<i64> {
        match self {
            Self::Identity | Self::Credential => None,
            Self::Telemetry => Some(TELEMETRY_DAYS),
            Self::Billing => Some(BILLING_DAYS),
            Self::Audit => Some(AUDIT_DAYS),
        }
    }

    /// The period whose key seals what is written now: a month as `2026-11`, or empty.
    pub fn period(self, now: Micros) -> String {
        if self.days().is_some() { month(now) } else { String::new() }
    }

    /// The first period that is kept at a time; everything before it goes.
    pub fn first_kept(self, now: Micros) -> Option<String> {
        const DAY: i64 = 24 * 3600;
        let oldest = now.plus_seconds(-self.days()? * DAY);
        // A period goes as soon as its first moment is too old, so that nothing is kept longer than promised.
        let next = (0..32).map(|days| month(oldest.plus_seconds(days * DAY)));
        let this = month(oldest);
        next.into_iter().find(|month| *month != this)
    }

    /// Whether what was sealed with an event of this time may be gone by its age. It was sealed a moment before, and other
    /// clocks go a little otherwise.
    pub fn may_be_over(self, recorded_at: Micros, now: Micros) -> bool {
        const APART: i64 = 24 * 3600;
        let period = month(recorded_at.plus_seconds(-APART));
        self.first_kept(now.plus_seconds(APART)).is_some_and(|first| period < first)
    }
}

fn month(at: Micros) -> String {
    let time =
        time::OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!("{:04}-{:02}", time.year(), u8::from(time.month()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    /// 2026-11-25 12:00 UTC.
    const NOW: Micros = Micros(1_795_608_000_000_000);

    #[test]
    fn only_data_that_ends_by_its_age_has_periods() {
        assert_eq!(Purpose::Identity.period(NOW), "");
        assert_eq!(Purpose::Credential.period(NOW), "");
        assert_eq!(Purpose::Telemetry.period(NOW), "2026-11");
        assert_eq!(Purpose::Identity.first_kept(NOW), None);
    }

    #[test]
    fn no_telemetry_is_kept_longer_than_ninety_days() {
        for day in 0..800 {
            let written = NOW.plus_seconds(day * DAY);
            let period = Purpose::Telemetry.period(written);
            let kept_at = |days: i64| {
                let at = written.plus_seconds(days * DAY);
                Purpose::Telemetry.first_kept(at).unwrap() <= period
            };
            assert!(kept_at(58), "written on day {day}, gone too early");
            assert!(!kept_at(91), "written on day {day}, kept too long");
        }
    }

    #[test]
    fn what_is_erased_by_its_age_may_be_and_what_is_younger_may_not() {
        for day in 0..800 {
            let written = NOW.plus_seconds(day * DAY);
            let period = Purpose::Audit.period(written);
            for days in 1030..1110 {
                let at = written.plus_seconds(days * DAY);
                let is_over = Purpose::Audit.first_kept(at).unwrap() > period;
                assert!(!is_over || Purpose::Audit.may_be_over(written, at), "day {day}, {days} days later");
            }
            assert!(!Purpose::Audit.may_be_over(written, written.plus_seconds(1060 * DAY)), "day {day}");
            assert!(!Purpose::Identity.may_be_over(written, written.plus_seconds(9999 * DAY)));
        }
    }

    #[test]
    fn stored_names_lead_back() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::from_name(purpose.name()), Some(purpose));
        }
        assert_eq!(Purpose::from_name("other"), None);
    }
}
