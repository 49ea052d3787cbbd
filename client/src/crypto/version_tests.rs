use super::*;
use lockstep_events::header::verify_version;
use rand::{SeedableRng, rngs::StdRng};

struct Someone {
    device_key: DeviceKey,
    vault_key: VaultKey,
    rng: StdRng,
}

fn someone() -> Someone {
    let mut rng = StdRng::seed_from_u64(7);
    Someone { device_key: DeviceKey::random(&mut rng), vault_key: VaultKey::random(&mut rng), rng }
}

impl Someone {
    fn author(&self) -> Author<'_> {
        Author {
            account: AccountId(Uuid::from_u128(1)),
            vault: VaultId(Uuid::from_u128(2)),
            device: DeviceId(Uuid::from_u128(3)),
            device_key: &self.device_key,
            vault_key: &self.vault_key,
            generation: 1,
            observed_seq: Seq(4),
            observed_chain: Chain([5; 32]),
            client_time: 6,
        }
    }

    fn open(&self, version: &Version) -> Result<Plaintext, Rejected> {
        let (key, content) = (version.wrapped_key.as_ref().unwrap(), version.ciphertext.as_ref().unwrap());
        open_content(&version.header, key, content, &self.vault_key)
    }
}

fn entry(n: u128) -> EntryId {
    EntryId(Uuid::from_u128(n))
}

#[test]
fn an_edit_is_valid_signed_and_opens() {
    let someone = someone();
    let version = someone.author().write(entry(1), vec![], b"content", &mut someone.rng.clone()).unwrap();
    assert_eq!(version.header.validate(), Ok(()));
    assert_eq!(version.header.version_id(), version.id);
    assert!(verify_version(&someone.device_key.public(), &version.id, &version.signature));
    assert_eq!(&*someone.open(&version).unwrap(), b"content");
}

type Change = fn(&mut Header);

#[test]
fn a_content_moved_to_another_entry_place_or_time_is_rejected() {
    let someone = someone();
    let version = someone.author().write(entry(1), vec![], b"content", &mut someone.rng.clone()).unwrap();
    let changes: &[(&str, Change)] = &[
        ("account", |h| h.account = AccountId(Uuid::from_u128(9))),
        ("vault", |h| h.vault = VaultId(Uuid::from_u128(9))),
        ("entry", |h| h.entry = entry(9)),
        ("kind", |h| h.kind = VersionKind::Merge),
        ("parents", |h| h.parents = vec![VersionId([9; 32])]),
        ("key", |h| h.key_id = Uuid::from_u128(9)),
        ("author", |h| h.author_device = DeviceId(Uuid::from_u128(9))),
        ("seen", |h| h.observed_seq = Seq(9)),
        ("chain", |h| h.observed_chain = Chain([9; 32])),
        ("time", |h| h.client_time = 9),
        ("hash", |h| h.content_hash = Some(BlobHash([9; 32]))),
    ];
    for (name, change) in changes {
        let mut moved = version.clone();
        change(&mut moved.header);
        assert_eq!(someone.open(&moved), Err(Rejected), "{name}");
    }
}

#[test]
fn a_wrapped_key_of_another_generation_version_or_length_is_rejected() {
    let someone = someone();
    let mut rng = someone.rng.clone();
    let version = someone.author().write(entry(1), vec![], b"content", &mut rng).unwrap();
    let other = someone.author().write(entry(1), vec![], b"content", &mut rng).unwrap();
    let mut swapped = version.clone();
    swapped.wrapped_key = other.wrapped_key;
    assert_eq!(someone.open(&swapped), Err(Rejected));
    let mut later = version.clone();
    later.wrapped_key.as_mut().unwrap()[3] = 2;
    assert_eq!(someone.open(&later), Err(Rejected));
    let mut short = version;
    short.wrapped_key.as_mut().unwrap().pop();
    assert_eq!(someone.open(&short), Err(Rejected));
}

#[test]
fn a_content_key_wrapped_anew_opens_under_the_new_generation_only_and_the_version_stays_the_same() {
    let mut someone = someone();
    let version = someone.author().write(entry(1), vec![], b"content", &mut someone.rng.clone()).unwrap();
    let new = VaultKey::random(&mut someone.rng);
    let wrapped = version.wrapped_key.as_ref().unwrap();
    let mut turned = version.clone();
    let again = rewrap(&version.header, wrapped, &someone.vault_key, (2, &new), &mut someone.rng).unwrap();
    turned.wrapped_key = Some(again.clone());
    assert_eq!((turned.header.version_id(), generation_of(&again)), (version.id, Ok(2)));
    assert_eq!(someone.open(&turned), Err(Rejected));
    let ciphertext = turned.ciphertext.as_ref().unwrap();
    assert_eq!(&*open_content(&turned.header, &again, ciphertext, &new).unwrap(), b"content");
    assert!(rewrap(&version.header, wrapped, &new, (3, &someone.vault_key), &mut someone.rng).is_err());
}

#[test]
fn the_same_choice_on_two_devices_is_the_same_version() {
    let someone = someone();
    let heads = vec![VersionId([2; 32]), VersionId([1; 32])];
    let elsewhere = Author { device: DeviceId(Uuid::from_u128(8)), client_time: 99, ..someone.author() };
    for make in [
        |a: &Author<'_>, heads: Vec<VersionId>| a.adopt(entry(1), heads, VersionId([1; 32])),
        |a: &Author<'_>, heads: Vec<VersionId>| a.tombstone(entry(1), heads),
    ] {
        let here = make(&someone.author(), heads.clone()).unwrap();
        let there = make(&elsewhere, heads.iter().rev().copied().collect()).unwrap();
        assert_eq!(here.id, there.id);
    }
}

#[test]
fn the_longest_content_that_fits_is_accepted_and_one_that_does_not_is_refused() {
    let someone = someone();
    let mut rng = someone.rng.clone();
    let longest = (60_000..65_536).rev().find(|len| fits(*len)).unwrap();
    let version = someone.author().write(entry(1), vec![], &vec![b'x'; longest], &mut rng).unwrap();
    assert!(version.header.content_len <= MAX_CONTENT);
    assert_eq!(someone.open(&version).unwrap().len(), longest);
    assert_eq!(
        someone.author().write(entry(1), vec![], &vec![b'x'; longest + 1], &mut rng),
        Err(MakeError::Header(HeaderError::ContentTooLong))
    );
}

#[test]
fn contents_of_similar_length_have_ciphertexts_of_one_length() {
    let someone = someone();
    let mut rng = someone.rng.clone();
    let mut len =
        |n| someone.author().write(entry(1), vec![], &vec![b'x'; n], &mut rng).unwrap().header.content_len;
    assert_eq!(len(3), len(250));
}
