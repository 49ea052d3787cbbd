//! The vectors of `testdata/box_v1.json`, made by the independent implementation `testdata/box_v1.py`: every box
//! is made again from its inputs and compared byte for byte, and every box in the file is opened.

use lockstep_events::{
    AccountId, BlobHash, Chain, DeviceId, EntryId, Header, Seq, VaultId, VersionId, VersionKind,
    canonical::sha256,
};
use rand::{CryptoRng, RngCore};
use serde_json::Value;
use uuid::Uuid;

use super::{
    attachment::Attachment,
    context::Context,
    hierarchy::{derive, unwrap, wrap},
    identity::{AccountSigningKey, DeviceKey},
    keys::{AccountRootKey, ContentKey, ExportKey, LocalKey, PasswordKey, VaultKey},
    padding::{pad, padded_len},
    password::Password,
    sealed::{open, open_padded, seal, seal_padded},
};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../testdata/box_v1.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn uuid(value: &Value) -> Uuid {
    Uuid::from_bytes(fixed(value))
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

/// The reproducible bytes of the script: SHA-256(label | u32 n) for n = 0, 1, 2, …
fn stream(label: &str, len: usize) -> Vec<u8> {
    let block = |n: u32| sha256(&[label.as_bytes(), &n.to_be_bytes()].concat());
    (0..).flat_map(block).take(len).collect()
}

/// "Randomness" that is the salt of the vector, once.
struct Salt(Vec<u8>);

impl RngCore for Salt {
    fn next_u32(&mut self) -> u32 {
        unreachable!("only bytes are drawn")
    }
    fn next_u64(&mut self) -> u64 {
        unreachable!("only bytes are drawn")
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.copy_from_slice(&std::mem::take(&mut self.0));
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Salt {}

#[test]
fn every_box_of_the_second_implementation_is_made_and_opened_byte_for_byte() {
    for vector in vectors()["boxes"].as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        let content = stream(&format!("content {name}"), number(&vector["content_len"]));
        assert_eq!(sha256(&content), fixed(&vector["content_sha256"]), "{name}");
        let key = fixed(&vector["key"]);
        let place = Context::from_vector(bytes(&vector["context"]));
        let made = seal(&key, &place, &content, &mut Salt(bytes(&vector["salt"]))).unwrap();
        assert_eq!(made.len(), number(&vector["box_len"]), "{name}");
        assert_eq!(sha256(&made), fixed(&vector["box_sha256"]), "{name}");
        let theirs = if vector["box"].is_null() { made } else { bytes(&vector["box"]) };
        assert_eq!(&*open(&key, &place, &theirs).unwrap(), &content[..], "{name}");
    }
}

#[test]
fn padding_agrees_with_the_second_implementation() {
    for vector in vectors()["padded"].as_array().unwrap() {
        let len = number(&vector["content_len"]);
        assert_eq!(padded_len(len), number(&vector["padded_len"]), "{len}");
        let padded = pad(&stream(&format!("padded {len}"), len)).unwrap();
        assert_eq!(sha256(&padded), fixed(&vector["padded_sha256"]), "{len}");
    }
}

#[test]
fn every_derived_key_agrees_with_the_second_implementation() {
    let keys = &vectors()["keys"];
    let account = AccountId(uuid(&keys["account"]));
    let mk = PasswordKey::derive(&ExportKey::new(fixed(&keys["export_key"])), account, 3).unwrap();
    assert_eq!(mk.bytes(), &fixed(&keys["password_key"]));
    let password = Password::new(keys["password"].as_str().unwrap().to_owned());
    let local = LocalKey::stretch(&password, &fixed(&keys["local_salt"])).unwrap();
    assert_eq!(local.bytes(), &fixed(&keys["local_key"]));
    assert_eq!(local.database_key().unwrap().as_str(), keys["database_key"].as_str().unwrap());
}

#[test]
fn every_wrap_of_the_second_implementation_opens_through_the_public_front() {
    let keys = &vectors()["keys"];
    let wrapped = |name: &str| bytes(&keys["wrapped"][name]);
    let (account, vault) = (AccountId(uuid(&keys["account"])), VaultId(uuid(&keys["vault"])));
    let (entry, device) = (EntryId(uuid(&keys["entry"])), DeviceId(uuid(&keys["device"])));
    let key_id = uuid(&keys["key_id"]);
    let mk = PasswordKey::new(fixed(&keys["password_key"]));
    let local = LocalKey::new(fixed(&keys["local_key"]));

    let ark = AccountRootKey::unwrap_by_password(&mk, (account, 2, 3), &wrapped("ark_by_password")).unwrap();
    assert_eq!(ark.bytes(), &fixed(&keys["ark"]));
    let again = AccountRootKey::unwrap_on_device(&local, (account, 2, device), &wrapped("ark_on_device"));
    assert_eq!(again.unwrap().bytes(), ark.bytes());
    let device_key = DeviceKey::unwrap(&local, (account, device), &wrapped("device_key")).unwrap();
    let ask = AccountSigningKey::from_seed(&fixed(&keys["ask"]));
    assert_eq!(device_key.public(), ask.public());
    assert_eq!(ark.unwrap_ask(account, key_id, &wrapped("ask")).unwrap().public(), ask.public());
    let vk = ark.unwrap_vault_key((account, vault, 5), &wrapped("vault_key")).unwrap();
    assert_eq!(vk.bytes(), &fixed(&keys["vk"]));
    let cek = vk.unwrap_content_key((account, vault, 5), (entry, key_id), &wrapped("content_key")).unwrap();
    assert_eq!(cek.bytes(), &fixed(&keys["cek"]));
}

#[test]
fn a_wrap_made_here_has_the_bytes_of_the_second_implementation() {
    let keys = &vectors()["keys"];
    let (account, vault) = (AccountId(uuid(&keys["account"])), VaultId(uuid(&keys["vault"])));
    let salt = |name: &str| Salt(stream(&format!("wrap salt {name}"), 24));
    let ark = AccountRootKey::new(fixed(&keys["ark"]));
    let vk = VaultKey::new(fixed(&keys["vk"]));
    let made = ark.wrap_vault_key(&vk, (account, vault, 5), &mut salt("vault_key")).unwrap();
    assert_eq!(made, bytes(&keys["wrapped"]["vault_key"]));

    let wrapping = derive(vk.bytes(), "lockstep/v1/vk/cek").unwrap();
    let (entry, key_id) = (EntryId(uuid(&keys["entry"])), uuid(&keys["key_id"]));
    let place = Context::content_key(account, vault, 5, entry, key_id);
    let made = wrap(&wrapping, &place, &fixed(&keys["cek"]), &mut salt("content_key")).unwrap();
    assert_eq!(made, bytes(&keys["wrapped"]["content_key"]));
    assert_eq!(unwrap(&wrapping, &place, &made).unwrap(), fixed::<32>(&keys["cek"]));
}

#[test]
fn the_version_of_the_second_implementation_has_the_same_context_box_and_id() {
    let all = vectors();
    let (vector, keys) = (&all["version"], &all["keys"]);
    let uuid = |label: &str| Uuid::from_slice(&stream(label, 16)).unwrap();
    let sealed = bytes(&vector["box"]);
    let header = Header {
        format: 1,
        account: AccountId(uuid("account")),
        vault: VaultId(uuid("vault")),
        entry: EntryId(uuid("entry")),
        kind: VersionKind::Edit,
        parents: vec![VersionId(fixed(&vector["parent"]))],
        content_of: None,
        key_id: uuid("key id"),
        content_hash: Some(BlobHash(sha256(&sealed))),
        content_len: u32::try_from(sealed.len()).unwrap(),
        author_device: DeviceId(uuid("device")),
        observed_seq: Seq(vector["observed_seq"].as_u64().unwrap()),
        observed_chain: Chain(fixed(&vector["chain"])),
        client_time: vector["client_time"].as_i64().unwrap(),
    };
    assert_eq!(header.version_id().0, fixed(&vector["version_id"]));
    let cek = ContentKey::new(fixed(&keys["cek"]));
    let content = bytes(&vector["content"]);
    let place = Context::entry(&header);
    assert_eq!(&*open_padded(cek.bytes(), &place, &sealed).unwrap(), &content[..]);
    let made = seal_padded(cek.bytes(), &place, &content, &mut Salt(stream("entry salt", 24))).unwrap();
    assert_eq!(made, sealed);
}

#[test]
fn the_attachment_of_the_second_implementation_is_made_and_opened_from_what_an_entry_keeps_of_it() {
    let all = vectors();
    let vector = &all["attachment"];
    let uuid = |label: &str| Uuid::from_slice(&stream(label, 16)).unwrap();
    let place = (AccountId(uuid("account")), VaultId(uuid("vault")), EntryId(uuid("entry")));
    let content = stream("attachment content", number(&vector["content_len"]));
    let context = Context::attachment(place, uuid("attachment id"), uuid("attachment key id"));
    let key: [u8; 32] = stream("attachment key", 32).try_into().unwrap();
    let made = seal_padded(&key, &context, &content, &mut Salt(stream("attachment salt", 24))).unwrap();
    assert_eq!(made.len(), number(&vector["box_len"]));
    assert_eq!(sha256(&made), fixed(&vector["box_sha256"]));
    let kept: Attachment = serde_json::from_str(vector["kept"].as_str().unwrap()).unwrap();
    assert_eq!(&*kept.open(place, &made).unwrap(), &content[..]);
    assert_eq!(serde_json::to_string(&kept).unwrap(), vector["kept"].as_str().unwrap());
}
