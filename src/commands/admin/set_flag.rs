//! A feature is switched for one account, or follows its plan again.

use lockstep_events::{
    Word,
    event::{AccountEvent, FlagSet},
    standing::Standing,
};

use super::act::{Act, AdminError, Change, Done};

/// An account has at most so many features of its own.
const MAX_FLAGS: usize = 64;

/// A feature of the account of the act.
pub struct SetFlag {
    /// Its name.
    pub flag: String,
    /// On, off, or what the plan says.
    pub on: Option<bool>,
}

fn decide(standing: &Standing, wanted: &SetFlag) -> Result<Change, AdminError> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let flag = Word::new(wanted.flag.clone()).ok();
    let Some(flag) = flag.filter(|flag| flag.len() <= 64 && flag.bytes().all(letter)) else {
        return Err(AdminError::Invalid("flag: 1 to 64 lower-case letters, digits, - and _"));
    };
    if standing.flags.get(&wanted.flag).copied() == wanted.on {
        return Err(AdminError::Illegal("the feature is switched like this already"));
    }
    let is_new = !standing.flags.contains_key(&wanted.flag);
    if wanted.on.is_some() && is_new && standing.flags.len() >= MAX_FLAGS {
        return Err(AdminError::Illegal("the account has 64 features of its own"));
    }
    Ok(Change::of(AccountEvent::FlagSet(FlagSet { flag, on: wanted.on })))
}

impl SetFlag {
    /// Switches it.
    ///
    /// # Errors
    /// [`AdminError`]
    pub async fn run(self, act: &Act<'_>) -> Result<Done, AdminError> {
        act.change(|standing, _| decide(standing, &self), None).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(flag: &str, on: Option<bool>) -> SetFlag {
        SetFlag { flag: flag.into(), on }
    }

    #[test]
    fn a_feature_is_switched_and_follows_its_plan_again() {
        let mut standing = Standing::default();
        assert!(decide(&standing, &wanted("beta", Some(true))).is_ok());
        standing.flags.insert("beta".into(), true);
        assert!(decide(&standing, &wanted("beta", Some(false))).is_ok());
        assert!(decide(&standing, &wanted("beta", None)).is_ok());
    }

    #[test]
    fn the_sixty_fifth_feature_is_refused_and_one_of_the_sixty_four_is_switched() {
        let mut standing = Standing::default();
        standing.flags.extend((0..MAX_FLAGS).map(|n| (format!("f{n}"), true)));
        assert!(decide(&standing, &wanted("f0", Some(false))).is_ok());
        assert!(decide(&standing, &wanted("f0", None)).is_ok());
        assert!(decide(&standing, &wanted("one-more", Some(true))).is_err());
    }

    #[test]
    fn illegal_transitions_are_refused() {
        let mut standing = Standing::default();
        assert!(decide(&standing, &wanted("beta", None)).is_err());
        standing.flags.insert("beta".into(), true);
        assert!(decide(&standing, &wanted("beta", Some(true))).is_err());
        for name in ["", "Beta", "be ta", &"x".repeat(65)] {
            assert!(decide(&standing, &wanted(name, Some(true))).is_err(), "{name}");
        }
    }
}
