//! What people show as a second factor, in software: an authenticator app, and a passkey.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_api::{
    Bytes64,
    factor::{NewTotp, Shown},
};
use lockstep_events::{Clock, canonical::sha256};
use lockstepd::auth::totp;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::json;
use uuid::Uuid;

use crate::support::Node;

/// An authenticator in software: one ES256 credential.
pub struct Authenticator {
    pub id: Vec<u8>,
    pub key: EcdsaKeyPair,
    pub counter: u32,
    pub origin: &'static str,
    pub party: &'static str,
}

impl Authenticator {
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let id = Uuid::new_v4().as_bytes().to_vec();
        Self { id, key, counter: 0, origin: "https://localhost:8443", party: "localhost" }
    }

    pub fn client_data(&self, kind: &str, challenge: &[u8]) -> Vec<u8> {
        let challenge = URL_SAFE_NO_PAD.encode(challenge);
        json!({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false})
            .to_string()
            .into_bytes()
    }

    pub fn data(&self, flags: u8) -> Vec<u8> {
        [&sha256(self.party.as_bytes())[..], &[flags], &self.counter.to_be_bytes()].concat()
    }

    /// `attestationObject` with attestation `none`: CBOR by hand.
    pub fn attestation(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let cose = [
            &[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20][..],
            &point[1..33],
            &[0x22, 0x58, 0x20],
            &point[33..],
        ];
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let data = [&self.data(0x45)[..], &[0; 16], &length, &self.id, &cose.concat()].concat();
        let head =
            [&[0xa3, 0x63][..], b"fmt", &[0x64], b"none", &[0x67], b"attStmt", &[0xa0, 0x68], b"authData"];
        [&head.concat()[..], &[0x58, u8::try_from(data.len()).unwrap()], &data].concat()
    }

    pub fn assert(&mut self, challenge: &[u8]) -> Shown {
        self.counter += 1;
        let (client_data, authenticator_data) =
            (self.client_data("webauthn.get", challenge), self.data(0x05));
        let message = [&authenticator_data[..], &sha256(&client_data)].concat();
        let signature = self.key.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec();
        Shown::Passkey {
            credential: Bytes64(self.id.clone()),
            client_data: Bytes64(client_data),
            authenticator_data: Bytes64(authenticator_data),
            signature: Bytes64(signature),
        }
    }
}

/// A factor of codes by time, as an authenticator app has it.
pub struct App {
    pub factor: Uuid,
    pub secret: totp::Secret,
    /// The codes on paper that came with it.
    pub codes: Vec<String>,
}

impl App {
    /// From what a person copies into it.
    pub fn new(made: &NewTotp) -> Self {
        let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
        for letter in made.secret.bytes() {
            let value = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
            held = (held << 5) | u32::from(value);
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from((held >> bits) & 0xff).unwrap());
            }
        }
        assert!(made.uri.contains(&made.secret) && made.uri.starts_with("otpauth://totp/"));
        Self { factor: made.factor, secret: bytes.try_into().unwrap(), codes: Vec::new() }
    }

    pub fn digits(&self, node: &Node) -> String {
        totp::code(&self.secret, node.clock.now().seconds() / 30)
    }

    /// Six digits that it does not show for minutes.
    pub fn wrong(&self, node: &Node) -> String {
        let now = node.clock.now().seconds() / 30;
        let near: Vec<String> = (now - 5..=now + 5).map(|step| totp::code(&self.secret, step)).collect();
        (0..).map(|guess| format!("{guess:06}")).find(|guess| !near.contains(guess)).unwrap()
    }

    pub fn shown(&self, node: &Node) -> Shown {
        Shown::Totp { code: self.digits(node) }
    }
}
