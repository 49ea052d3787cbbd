//! What the server holds about this account, and the end of it.

use std::io::Write;

use lockstep_api::privacy::{Erase, ErasureDue, ExportLine, manifest_message};
use lockstep_events::{Hash32, Micros, Seq, header::verify, ids::PublicKey};
use reqwest::Method;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Client,
    engine::Engine,
    error::Error,
    store::{keys, streams},
    transport::Body,
};

const BEGIN_OF_MANIFEST: &[u8] = br#"{"part":"manifest""#;

/// An export that arrived whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Lines, the manifest left out.
    pub lines: u64,
    /// Bytes, the manifest included.
    pub bytes: u64,
}

impl Client {
    /// Asks the server to erase the account; when it begins. *Online.*
    ///
    /// # Errors
    /// [`Error::Held`] until a person has seen an alarm; what the server refuses.
    pub async fn erase_account(&self) -> Result<lockstep_api::privacy::ErasureDue, Error> {
        self.engine.erase_account().await
    }

    /// When the account is going to be erased, as far as this device heard. *Offline.*
    ///
    /// # Errors
    /// If the local database fails.
    pub async fn erasure_due_at(&self) -> Result<Option<Micros>, Error> {
        self.engine.erasure_due_at().await
    }

    /// Calls the erasure of the account off. *Online.*
    ///
    /// # Errors
    /// If nobody asked for it, or it has begun.
    pub async fn keep_account(&self) -> Result<(), Error> {
        self.engine.keep_account().await
    }

    /// Writes everything that the server holds about the account, checked against its signed manifest. *Online.*
    ///
    /// # Errors
    /// If it breaks off, or is not what the server signed.
    pub async fn export_account(
        &self,
        out: &mut (dyn std::io::Write + Send),
    ) -> Result<crate::me::Exported, Error> {
        self.engine.export_account(out).await
    }
}

impl Engine {
    /// Asks the server to erase the account; when it begins.
    pub(crate) async fn erase_account(&self) -> Result<ErasureDue, Error> {
        self.may_ask().await?;
        let body = Body::json(&Erase { account: self.account() })?;
        let due: ErasureDue =
            self.request_with(Method::POST, "/v1/me/erasure", &[key()], body).await?.json()?;
        // Whatever hinders it, the event comes with the next sync.
        let _ = self.note_erasure(due.due_at).await;
        Ok(due)
    }

    /// Who asked knows of it before the event comes: that stands behind what this device has read.
    async fn note_erasure(&self, due: Micros) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let read = streams::get(&mut tx, self.account().into()).await?.map_or(Seq::ZERO, |place| place.seq);
        let asked = keys::erasure(&mut tx).await?.map_or(Seq(read.0 + 1), |(asked, _)| asked);
        keys::set_erasure(&mut tx, (asked, due)).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(crate) async fn erasure_due_at(&self) -> Result<Option<Micros>, Error> {
        let kept = keys::erasure(&mut *self.store.pool().acquire().await?).await?;
        Ok(kept.map(|(_, due)| due))
    }

    /// Calls the erasure off.
    pub(crate) async fn keep_account(&self) -> Result<(), Error> {
        self.request_with(Method::DELETE, "/v1/me/erasure", &[key()], Body::None).await?.ok()?;
        let _ = keys::remove(&mut *self.store.pool().acquire().await?, keys::name::ERASURE).await;
        Ok(())
    }

    /// Writes everything that the server holds about the account, checked against its signed manifest.
    pub(crate) async fn export_account(&self, out: &mut (dyn Write + Send)) -> Result<Exported, Error> {
        let token = self.access_token().await?;
        let mut answer = self.transport.piecewise("/v1/me/export", &token).await?;
        let (mut hash, mut done) = (Sha256::new(), Exported { lines: 0, bytes: 0 });
        let mut waiting = Vec::new();
        let mut manifest = None;
        while let Some(chunk) = answer.next().await? {
            out.write_all(&chunk).map_err(|_| Error::Invalid("not to be written"))?;
            done.bytes += chunk.len() as u64;
            waiting.extend_from_slice(&chunk);
            while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = waiting.drain(..=end).collect();
                if manifest.is_some() {
                    return Err(Error::Protocol("an export that goes on behind its manifest"));
                }
                if line.starts_with(BEGIN_OF_MANIFEST) {
                    manifest = Some(line);
                } else {
                    hash.update(&line);
                    done.lines += 1;
                }
            }
        }
        let manifest = manifest.ok_or(Error::Protocol("an export without a manifest: it broke off"))?;
        self.check(&manifest, done.lines, Hash32(hash.finalize().into())).await?;
        Ok(done)
    }

    async fn check(&self, manifest: &[u8], count: u64, hash: Hash32) -> Result<(), Error> {
        let wrong = || Error::Protocol("an export whose manifest is another one's");
        let ExportLine::Manifest { lines, sha256, kid, public_key, signature } =
            serde_json::from_slice(manifest).map_err(|_| wrong())?
        else {
            return Err(wrong());
        };
        let published: serde_json::Value = self.fetch("/.well-known/jwks.json").await?;
        let keys = published["keys"].as_array().ok_or_else(wrong)?;
        let key = keys.iter().find(|key| key["kid"] == kid.as_str()).and_then(|key| key["x"].as_str());
        let key = PublicKey(key.and_then(from_base64url).ok_or_else(wrong)?);
        // What it says of its key is for later, when the key is published no longer.
        let is_signed = public_key.is_none_or(|said| said == key)
            && verify(&key, &manifest_message(self.account(), lines, &sha256), &signature);
        if is_signed && (lines, sha256) == (count, hash) { Ok(()) } else { Err(wrong()) }
    }
}

/// The header that names a command.
pub(crate) const KEY: &str = "idempotency-key";

/// Names a command, so that it is done once.
pub(crate) fn key() -> (String, String) {
    (KEY.to_owned(), Uuid::new_v4().to_string())
}

fn from_base64url(text: &str) -> Option<[u8; 32]> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
