//! A ZIP archive in memory, as an export with attachments comes.
//!
//! Only what such an export needs: members that are stored or deflated, of one file, not encrypted, below 4 GiB. Names
//! are compared and never used as paths, every place is looked at before it is read, and what all members take together
//! is no more than the archive: none is read twice under two names.

use std::ops::Range;

use super::held::{Held, Packed, Packing, TOO_LONG, Unfit};

/// Where an archive ends: what lists its members.
const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const LONGEST_COMMENT: usize = 0xffff;
const LISTED: &[u8] = b"PK\x01\x02";
const LISTED_LENGTH: usize = 46;
const MEMBER: &[u8] = b"PK\x03\x04";
const MEMBER_LENGTH: usize = 30;
const STORED: usize = 0;
const DEFLATED: usize = 8;
const ENCRYPTED: usize = 1;

/// A file in an archive.
pub(super) struct Member {
    /// As the archive says, whatever that is.
    pub(super) name: String,
    place: Range<usize>,
    method: usize,
    encrypted: bool,
    checksum: u32,
    size: u64,
}

/// The files of an archive in the order of its list; none if it is not whole.
pub(super) fn members(archive: &[u8]) -> Option<Vec<Member>> {
    let end = end_of(archive)?;
    let mut at = usize_at(archive, end + 16)?;
    let mut members = Vec::new();
    let mut taken = 0_usize;
    for _ in 0..u16_at(archive, end + 10)? {
        let (member, next) = listed(archive, at)?;
        taken = taken.checked_add(member.place.len())?;
        at = next;
        if !member.name.ends_with('/') {
            members.push(member);
        }
    }
    (at <= end && taken <= archive.len()).then_some(members)
}

/// The last place that can be the end: a comment stands behind it.
fn end_of(archive: &[u8]) -> Option<usize> {
    let last = archive.len().checked_sub(END_LENGTH)?;
    let first = last.saturating_sub(LONGEST_COMMENT);
    (first..=last).rev().find(|at| {
        begins(archive, *at, END)
            && u16_at(archive, at + 20).is_some_and(|comment| at + END_LENGTH + comment == archive.len())
    })
}

/// The member that stands in the list here, and where the next one stands.
fn listed(archive: &[u8], at: usize) -> Option<(Member, usize)> {
    let name_at = at.checked_add(LISTED_LENGTH)?;
    if !begins(archive, at, LISTED) {
        return None;
    }
    let name_end = name_at + u16_at(archive, at + 28)?;
    let name = String::from_utf8_lossy(archive.get(name_at..name_end)?).into_owned();
    let member = usize_at(archive, at + 42)?;
    let begin = member.checked_add(MEMBER_LENGTH)?;
    if !begins(archive, member, MEMBER) {
        return None;
    }
    let begin = begin + u16_at(archive, member + 26)? + u16_at(archive, member + 28)?;
    let place = begin..begin.checked_add(usize_at(archive, at + 20)?)?;
    archive.get(place.clone())?;
    let found = Member {
        name,
        place,
        method: u16_at(archive, at + 10)?,
        encrypted: u16_at(archive, at + 8)? & ENCRYPTED != 0,
        checksum: u32_at(archive, at + 16)?,
        size: u32_at(archive, at + 24)?.into(),
    };
    Some((found, name_end + u16_at(archive, at + 30)? + u16_at(archive, at + 32)?))
}

impl Member {
    /// The file, looked at to its end and no further than `most`, or than it is said to be long.
    pub(super) fn held(&self, archive: &[u8], most: u64) -> Result<Held, Unfit> {
        let packing = match self.method {
            _ if self.encrypted => return Err(Unfit::LeftOut("it is encrypted")),
            _ if self.size > most => return Err(TOO_LONG),
            STORED => Packing::None,
            DEFLATED => Packing::Deflate,
            _ => return Err(Unfit::LeftOut("it is packed in a way that is not known here")),
        };
        let bytes = archive.get(self.place.clone()).unwrap_or_default();
        Packed::new(bytes, packing).checked_against((self.size, self.checksum))
    }
}

fn begins(bytes: &[u8], at: usize, with: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(with))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    array(bytes, at).map(|array| u16::from_le_bytes(array).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn usize_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

/// An archive with these files, each deflated or stored.
#[cfg(test)]
pub(super) fn archive_of(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
    use std::io::Write;
    let (mut archive, mut list) = (Vec::new(), Vec::new());
    for (name, content, deflated) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        deflate.write_all(content).unwrap();
        let packed = if *deflated { deflate.finish().unwrap() } else { content.to_vec() };
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
        let mut about = vec![20, 0, 0, 0, if *deflated { 8 } else { 0 }, 0, 0, 0, 0, 0];
        about.extend(crc.sum().to_le_bytes());
        about.extend([length(packed.len()), length(content.len()), length(name.len())].concat());
        let begin = archive.len();
        archive.extend([MEMBER, &about, name.as_bytes(), &packed].concat());
        list.extend([LISTED, &[20, 0], &about, &[0; 10], &length(begin), name.as_bytes()].concat());
    }
    let number = u16::try_from(files.len()).unwrap().to_le_bytes();
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let end = [&[0; 4], &number[..], &number, &length(list.len()), &length(archive.len()), b"\x02\0ok"];
    [&archive[..], &list, END, &end.concat()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[(&str, &[u8], bool)] = &[
        ("data.json", b"{}", true),
        ("a/", b"", false),
        ("a/b.txt", &[7; 3000], true),
        ("a/c", b"c", false),
    ];

    #[test]
    fn files_that_are_stored_or_deflated_come_out_whole() {
        let archive = archive_of(FILES);
        let members = members(&archive).unwrap();
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["data.json", "a/b.txt", "a/c"]);
        for (member, nth) in members.iter().zip([0, 2, 3]) {
            let held = member.held(&archive, 3000).unwrap();
            assert_eq!(held.content().unwrap().as_slice(), FILES[nth].1);
        }
        assert!(matches!(members[1].held(&archive, 2999), Err(Unfit::LeftOut(_))));
        assert_eq!(super::members(&archive_of(&[])).unwrap().len(), 0);
    }

    #[test]
    fn what_is_cut_or_changed_anywhere_gives_no_wrong_file_and_no_panic() {
        let archive = archive_of(FILES);
        for end in 0..archive.len() {
            assert!(members(&archive[..end]).is_none(), "{end}");
        }
        for at in 0..archive.len() {
            for bits in [1, 0x80, 0xff] {
                let mut changed = archive.clone();
                changed[at] ^= bits;
                for member in members(&changed).unwrap_or_default() {
                    let Some((_, content, _)) = FILES.iter().find(|(name, ..)| *name == member.name) else {
                        continue;
                    };
                    let held = member.held(&changed, 1 << 20);
                    assert!(held.is_err() || held.unwrap().content().unwrap().as_slice() == *content, "{at}");
                }
            }
        }
    }

    #[test]
    fn one_file_under_many_names_is_no_archive() {
        let content = [7; 3000];
        let mut archive = archive_of(&[("a", &content, false), ("b", b"", false)]);
        let list = archive.windows(4).position(|bytes| bytes == LISTED).unwrap();
        let second = list + LISTED_LENGTH + 1;
        // The second name is of the first one's bytes.
        archive.copy_within(list + 16..list + 28, second + 16);
        archive.copy_within(list + 42..list + 46, second + 42);
        assert!(members(&archive).is_none());
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_a_file_may_be_long_and_what_is_encrypted_is_said_to_be() {
        let mut archive = archive_of(&[("a", &vec![0; 8 << 20], true)]);
        assert!(archive.len() < 100_000);
        assert!(matches!(members(&archive).unwrap()[0].held(&archive, 1 << 20), Err(Unfit::LeftOut(_))));
        let list = archive.windows(4).position(|bytes| bytes == LISTED).unwrap();
        // That it is short is not true.
        archive[list + 26] = 0;
        assert!(matches!(members(&archive).unwrap()[0].held(&archive, 1 << 20), Err(Unfit::Broken(_))));
        archive[list + 8] |= 1;
        let held = members(&archive).unwrap()[0].held(&archive, 1 << 30);
        assert!(matches!(held, Err(Unfit::LeftOut("it is encrypted"))));
    }
}
