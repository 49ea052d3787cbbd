//! What of a database has no place here: counted, so that one sentence says it.

use super::entry::Open;

/// How much there was.
#[derive(Default)]
pub(super) struct LeftOut {
    earlier: u64,
    auto_type: u64,
    adorned: u64,
    /// Notes and tags of groups.
    pub said_of_groups: u64,
}

impl LeftOut {
    /// Counts what of an entry is left out.
    pub(super) fn count(&mut self, entry: &Open) {
        self.earlier += entry.earlier.iter().filter(|earlier| entry.lacks(earlier)).count() as u64;
        self.auto_type += u64::from(entry.auto_type);
        self.adorned += u64::from(entry.adorned);
    }

    /// One sentence for each kind.
    pub(super) fn notes(&self) -> Vec<String> {
        let say = |n: u64, one: &str, many: &str| match n {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {many}")),
        };
        let all = [
            say(
                self.earlier,
                "earlier state of an entry differs in more than its password, user name and address: only those are kept",
                "earlier states of entries differ in more than password, user name and address: only those are kept",
            ),
            say(
                self.auto_type,
                "entry has auto-type settings, which are left out",
                "entries have auto-type settings, which are left out",
            ),
            say(
                self.adorned,
                "entry has an icon or colours of its own, which are left out",
                "entries have icons or colours of their own, which are left out",
            ),
            say(
                self.said_of_groups,
                "note or list of tags of a group is left out",
                "notes and lists of tags of groups are left out",
            ),
        ];
        all.into_iter().flatten().collect()
    }
}
