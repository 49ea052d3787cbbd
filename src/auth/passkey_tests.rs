//! An authenticator in software, and every way in which its answer can be wrong.

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value as Json, json};

use super::*;

const CHALLENGE: [u8; 32] = [9; 32];

fn party() -> RelyingParty {
    let origins = ["https://vault.example.org", "https://vault.example.org:8443"];
    RelyingParty { id: "example.org".to_owned(), origins: origins.map(str::to_owned).to_vec() }
}

enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    fn p256() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random);
        Self::P256(key.unwrap())
    }

    fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    fn cose(&self) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                [&hex("a5010203262001215820"), &point[1..33], &hex("225820"), &point[33..]].concat()
            }
            Self::Ed25519(key) => [&hex("a4010103272006215820"), key.public_key().as_ref()].concat(),
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn client(kind: &str) -> Json {
    let challenge = URL_SAFE_NO_PAD.encode(CHALLENGE);
    json!({"type": kind, "challenge": challenge, "origin": "https://vault.example.org", "crossOrigin": false})
}

fn created() -> Vec<u8> {
    client("webauthn.create").to_string().into_bytes()
}

fn data(flags: u8, counter: u32, rest: &[u8]) -> Vec<u8> {
    [&sha256(b"example.org")[..], &[flags], &counter.to_be_bytes(), rest].concat()
}

fn attested(id: &[u8], cose: &[u8]) -> Vec<u8> {
    let length = u16::try_from(id.len()).unwrap().to_be_bytes();
    [&[0; 16][..], &length, id, cose].concat()
}

/// Bytes as CBOR has them, their length as short as it can be.
fn bytes(bytes: &[u8]) -> Vec<u8> {
    match u8::try_from(bytes.len()) {
        Ok(length) => [&[0x58, length][..], bytes].concat(),
        Err(_) => [&[0x59][..], &u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat(),
    }
}

/// `attestationObject`: three members, in order.
fn object(format: &str, statement: &[u8], data: &[u8]) -> Vec<u8> {
    [
        &[0xa3, 0x63][..],
        b"fmt",
        &[0x60 | u8::try_from(format.len()).unwrap()],
        format.as_bytes(),
        &[0x67],
        b"attStmt",
        statement,
        &[0x68],
        b"authData",
        &bytes(data),
    ]
    .concat()
}

fn none(data: &[u8]) -> Vec<u8> {
    object("none", &[0xa0], data)
}

fn register(client: &[u8], attestation: &[u8]) -> Result<Credential, Refused> {
    party().register(&CHALLENGE, client, attestation)
}

fn registered(key: &Key) -> Credential {
    register(&created(), &none(&data(0x45, 0, &attested(b"id", &key.cose())))).unwrap()
}

/// An assertion over these client data and this authenticator's data.
fn verify(known: &Credential, key: &Key, client: &[u8], data: &[u8]) -> Result<u32, Refused> {
    let signature = key.sign(&[data, &sha256(client)[..]].concat());
    let proof = Assertion { client_data: client, authenticator_data: data, signature: &signature };
    party().verify(known, &CHALLENGE, &proof)
}

fn got() -> Vec<u8> {
    client("webauthn.get").to_string().into_bytes()
}

#[test]
fn both_schemes_register_and_prove_themselves() {
    assert_eq!(algorithms(), [-7, -8]);
    for key in [Key::p256(), Key::ed25519()] {
        let known = registered(&key);
        assert_eq!((known.id.as_slice(), known.counter), (&b"id"[..], 0));
        assert_eq!(verify(&known, &key, &got(), &data(0x05, 7, &[])), Ok(7));
        // That the person was recognised is not asked, only that they were there; what may be copied may be used.
        assert_eq!(verify(&known, &key, &got(), &data(0x01, 0, &[])), Ok(0));
        assert_eq!(verify(&known, &key, &got(), &data(0x1d, 1, &[])), Ok(1));
        let stored: Credential = serde_json::from_slice(&serde_json::to_vec(&known).unwrap()).unwrap();
        assert_eq!(stored, known);
    }
}

/// What a client may say wrong: each of these is refused at a registration and at a proof.
fn wrong_clients(kind: &str) -> Vec<(&'static str, Vec<u8>)> {
    let with = |name: &str, value: Json| {
        let mut data = client(kind);
        data[name] = value;
        data.to_string().into_bytes()
    };
    let other = if kind == "webauthn.get" { "webauthn.create" } else { "webauthn.get" };
    let right = client(kind).to_string();
    let without = |name: &str| {
        let mut data = client(kind);
        data.as_object_mut().unwrap().remove(name);
        data.to_string().into_bytes()
    };
    vec![
        ("the other ceremony", with("type", other.into())),
        ("a type with a suffix", with("type", format!("{kind} ").into())),
        ("no type", without("type")),
        ("another challenge", with("challenge", URL_SAFE_NO_PAD.encode([8; 32]).into())),
        ("a longer challenge", with("challenge", URL_SAFE_NO_PAD.encode([9; 33]).into())),
        ("a padded challenge", with("challenge", format!("{}=", URL_SAFE_NO_PAD.encode(CHALLENGE)).into())),
        ("an empty challenge", with("challenge", "".into())),
        ("no challenge", without("challenge")),
        ("another site", with("origin", "https://evil.example".into())),
        ("another host of the same site", with("origin", "https://other.example.org".into())),
        ("a name that begins like ours", with("origin", "https://vault.example.org.evil.example".into())),
        ("another scheme", with("origin", "http://vault.example.org".into())),
        ("another port", with("origin", "https://vault.example.org:444".into())),
        ("a path", with("origin", "https://vault.example.org/".into())),
        ("upper case", with("origin", "https://VAULT.example.org".into())),
        ("no origin", without("origin")),
        ("a frame of another site", with("crossOrigin", true.into())),
        ("a page around this one", with("topOrigin", "https://vault.example.org".into())),
        ("a bound token", with("tokenBinding", json!({"status": "present", "id": "AAAA"}))),
        ("something else than an object", b"[]".to_vec()),
        ("nothing", Vec::new()),
        ("something behind it", format!("{right}x").into_bytes()),
        ("an origin twice", right.replacen('{', r#"{"origin":"https://vault.example.org","#, 1).into_bytes()),
        ("bytes that are no text", [&[0xff][..], right.as_bytes()].concat()),
    ]
}

#[test]
fn a_client_that_says_something_wrong_is_refused_at_both_ceremonies() {
    let key = Key::p256();
    let known = registered(&key);
    let attestation = none(&data(0x45, 0, &attested(b"id", &key.cose())));
    for (what, client) in wrong_clients("webauthn.create") {
        assert_eq!(register(&client, &attestation), Err(Refused), "{what}");
    }
    for (what, client) in wrong_clients("webauthn.get") {
        assert_eq!(verify(&known, &key, &client, &data(0x05, 1, &[])), Err(Refused), "{what}");
    }
}

#[test]
fn a_client_may_say_more_and_may_have_several_origins() {
    let key = Key::p256();
    let known = registered(&key);
    let mut told = client("webauthn.get");
    told["origin"] = "https://vault.example.org:8443".into();
    told["other_keys_can_be_added_here"] = "do not compare".into();
    told["tokenBinding"] = json!({"status": "supported"});
    told.as_object_mut().unwrap().remove("crossOrigin");
    assert_eq!(verify(&known, &key, told.to_string().as_bytes(), &data(0x05, 1, &[])), Ok(1));
}

#[test]
fn data_of_another_party_without_presence_or_of_another_shape_is_refused() {
    let key = Key::p256();
    let known = registered(&key);
    let credential = attested(b"id", &key.cose());
    let mut foreign = data(0x05, 1, &[]);
    foreign[..32].copy_from_slice(&sha256(b"vault.example.org"));
    let wrong = [
        ("another party", foreign),
        ("nobody there", data(0x00, 1, &[])),
        ("recognised but not there", data(0x04, 1, &[])),
        ("a copy of what cannot be copied", data(0x11, 1, &[])),
        ("a credential where none belongs", data(0x45, 1, &credential)),
        ("the flag of a credential without one", data(0x45, 1, &[])),
        ("the flag of extensions without any", data(0x85, 1, &[])),
        ("extensions without their flag", data(0x05, 1, &hex("a0"))),
        ("extensions that are no map", data(0x85, 1, &hex("80"))),
        ("something behind the extensions", data(0x85, 1, &hex("a000"))),
        ("something behind it", data(0x05, 1, &[0])),
        ("half of it", data(0x05, 1, &[])[..36].to_vec()),
        ("nothing", Vec::new()),
    ];
    for (what, data) in wrong {
        assert_eq!(verify(&known, &key, &got(), &data), Err(Refused), "{what}");
    }
    assert_eq!(verify(&known, &key, &got(), &data(0x85, 1, &hex("a1616101"))), Ok(1), "with extensions");
}

#[test]
fn another_key_another_message_and_a_changed_signature_are_refused() {
    for (key, other) in [(Key::p256(), Key::p256()), (Key::ed25519(), Key::ed25519())] {
        let known = registered(&key);
        let (client, data) = (got(), data(0x05, 1, &[]));
        assert_eq!(verify(&known, &other, &client, &data), Err(Refused));
        let right = key.sign(&[&data[..], &sha256(&client)[..]].concat());
        let check = |client: &[u8], data: &[u8], signature: &[u8]| {
            let proof = Assertion { client_data: client, authenticator_data: data, signature };
            party().verify(&known, &CHALLENGE, &proof)
        };
        assert_eq!(check(&client, &data, &right), Ok(1));
        for at in [0, right.len() / 2, right.len() - 1] {
            let mut changed = right.clone();
            changed[at] ^= 1;
            assert_eq!(check(&client, &data, &changed), Err(Refused), "{at}");
        }
        assert_eq!(check(&client, &data, &right[..right.len() - 1]), Err(Refused));
        assert_eq!(check(&client, &data, &[]), Err(Refused));
        // Signed was the hash of exactly these client data, with exactly this counter.
        let respaced = [&client[..], b" "].concat();
        assert_eq!(check(&respaced, &data, &right), Err(Refused));
        assert_eq!(check(&client, &self::data(0x05, 2, &[]), &right), Err(Refused));
        let by_text = key.sign(&[&data[..], &client[..]].concat());
        assert_eq!(check(&client, &data, &by_text), Err(Refused));
    }
}

#[test]
fn a_counter_that_does_not_rise_is_a_copy() {
    let key = Key::p256();
    let known = Credential { counter: 7, ..registered(&key) };
    for counter in [0, 1, 6, 7] {
        assert_eq!(verify(&known, &key, &got(), &data(0x05, counter, &[])), Err(Refused), "{counter}");
    }
    for counter in [8, 9, u32::MAX] {
        assert_eq!(verify(&known, &key, &got(), &data(0x05, counter, &[])), Ok(counter));
    }
    // Who does not count says 0 for ever.
    let uncounted = Credential { counter: 0, ..known };
    assert_eq!(verify(&uncounted, &key, &got(), &data(0x05, 0, &[])), Ok(0));
}

#[test]
fn keys_of_other_schemes_and_shapes_are_refused() {
    let Key::P256(pair) = Key::p256() else { unreachable!() };
    let point = pair.public_key().as_ref().to_vec();
    let (x, y) = (&point[1..33], &point[33..]);
    let ec2 = |head: &str, x: &[u8], y: &[u8]| {
        let part =
            |name: u8, bytes: &[u8]| [&[name, 0x58, u8::try_from(bytes.len()).unwrap()][..], bytes].concat();
        [hex(head), part(0x21, x), part(0x22, y)].concat()
    };
    let right = ec2("a5010203262001", x, y);
    assert!(register(&created(), &none(&data(0x45, 0, &attested(b"id", &right)))).is_ok());
    let wrong = [
        ("RS256", hex("a4010303390100204121214101")),
        ("ES384", ec2("a501020338222002", x, y)),
        ("ES256 over another curve", ec2("a5010203262002", x, y)),
        ("ES256 of the other kind of key", ec2("a5010103262001", x, y)),
        ("EdDSA over P-256", ec2("a5010203272001", x, y)),
        ("no algorithm", ec2("a401022001", x, y)),
        ("a short coordinate", ec2("a5010203262001", &x[..31], y)),
        ("a long coordinate", ec2("a5010203262001", x, &[y, &[0]].concat())),
        ("a compressed point", [hex("a5010203262001215820"), x.to_vec(), hex("22f5")].concat()),
        ("no second coordinate", [hex("a4010203262001215820"), x.to_vec()].concat()),
        (
            "a member too many",
            [&hex("a6010203262001215820")[..], x, &hex("225820"), y, &hex("2300")].concat(),
        ),
        ("members out of order", [&hex("a5032601022001215820")[..], x, &hex("225820"), y].concat()),
        ("a member twice", [&hex("a501020102032620215820")[..], x, &hex("225820"), y].concat()),
        ("a number that is too long", [&hex("a501180203262001215820")[..], x, &hex("225820"), y].concat()),
        ("no map", hex("80")),
        ("nothing", Vec::new()),
        ("half of it", right[..right.len() - 1].to_vec()),
    ];
    for (what, cose) in wrong {
        let attestation = none(&data(0x45, 0, &attested(b"id", &cose)));
        assert_eq!(register(&created(), &attestation), Err(Refused), "{what}");
    }
}

#[test]
fn a_registration_of_another_shape_is_refused() {
    let key = Key::p256();
    let credential = attested(b"id", &key.cose());
    let right = data(0x45, 0, &credential);
    let with_extensions = [&data(0xc5, 0, &credential)[..], &hex("a1616101")].concat();
    assert!(register(&created(), &none(&with_extensions)).is_ok(), "extensions");
    let long = vec![7; MAX_ID];
    assert!(register(&created(), &none(&data(0x45, 0, &attested(&long, &key.cose())))).is_ok(), "a long id");
    let wrong = [
        ("no credential", none(&data(0x05, 0, &[]))),
        ("no credential but its flag", none(&data(0x45, 0, &[]))),
        ("a credential without its flag", none(&data(0x05, 0, &credential))),
        ("nobody there", none(&data(0x44, 0, &credential))),
        ("an empty id", none(&data(0x45, 0, &attested(b"", &key.cose())))),
        ("an id that is too long", none(&data(0x45, 0, &attested(&[7; MAX_ID + 1], &key.cose())))),
        ("something behind the key", none(&[&right[..], &[0]].concat())),
        ("something behind the object", [none(&right), vec![0]].concat()),
        ("half of the object", none(&right)[..100].to_vec()),
        ("a fourth member", [&[0xa4][..], &none(&right)[1..], &hex("6961646469746f6e616c00")].concat()),
        ("a format that was not asked for", object("fido-u2f", &[0xa0], &right)),
        ("none with something", object("none", &hex("a1616101"), &right)),
        ("none without a statement", object("none", &hex("f6"), &right)),
        ("no object", hex("80")),
        ("nothing", Vec::new()),
    ];
    for (what, attestation) in wrong {
        assert_eq!(register(&created(), &attestation), Err(Refused), "{what}");
    }
}

#[test]
fn an_attestation_by_the_credential_itself_has_to_be_right() {
    let (key, other) = (Key::p256(), Key::p256());
    let data = data(0x45, 0, &attested(b"id", &key.cose()));
    let message = [&data[..], &sha256(&created())[..]].concat();
    let statement = |algorithm: u8, signature: &[u8]| {
        let length = u8::try_from(signature.len()).unwrap();
        [&hex("a263616c67")[..], &[algorithm], &hex("63736967"), &[0x58, length], signature].concat()
    };
    let packed = |statement: Vec<u8>| register(&created(), &object("packed", &statement, &data));
    assert!(packed(statement(0x26, &key.sign(&message))).is_ok());
    assert_eq!(packed(statement(0x26, &other.sign(&message))), Err(Refused), "by another key");
    assert_eq!(packed(statement(0x27, &key.sign(&message))), Err(Refused), "by another algorithm");
    assert_eq!(packed(statement(0x26, &key.sign(b"another message"))), Err(Refused));
    assert_eq!(packed(hex("a0")), Err(Refused), "without a signature");
    let mut certified = statement(0x26, &key.sign(&message));
    certified[0] = 0xa3;
    certified.extend(hex("63783563814100"));
    assert_eq!(packed(certified), Err(Refused), "with a certificate, which nobody asked for");
}
