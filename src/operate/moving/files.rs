//! What lies beside the databases: the folder of the key file, and the certificate that the server made for itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use zeroize::Zeroizing;

use super::MoveError;
use crate::{
    auth::server_keys::ServerKeys,
    config::Config,
    erasure::{self, scan},
    private_file,
};

/// What became of the key files or the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// Both places have the same folder.
    Shared,
    /// They were copied.
    Copied,
    /// They are not wanted there, or there are none.
    Left,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> MoveError + '_ {
    move |source| MoveError::File { path: path.to_owned(), source }
}

/// Whether both name the same place on this machine.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

/// Refuses a key file of another server in the new place. Called before anything is written there.
pub fn check_keys(from: &Config, to: &Config, keys: &ServerKeys) -> Result<(), MoveError> {
    let path = to.key_path();
    if is_same(&from.key_path(), &path) {
        return Ok(());
    }
    if !path.exists() {
        let beside = [erasure::list_path(&path), scan::path(&path)];
        return beside
            .into_iter()
            .find(|file| file.exists())
            .map_or(Ok(()), |file| Err(MoveError::OtherKeys(file)));
    }
    let there = ServerKeys::load_or_make(&path, &mut rand::rngs::OsRng)?;
    if there.commitment() == keys.commitment() { Ok(()) } else { Err(MoveError::OtherKeys(path)) }
}

/// Copies the key file and what lies beside it, over what an earlier move has left there.
pub fn take_keys(from: &Config, to: &Config) -> Result<Taken, MoveError> {
    let (from, to) = (from.key_path(), to.key_path());
    if is_same(&from, &to) {
        return Ok(Taken::Shared);
    }
    if let Some(folder) = to.parent() {
        private_file::make_folder(folder).map_err(failed(folder))?;
    }
    // The key file first: what lies beside it is this server's then, and may be written over.
    copy(&from, &to)?;
    copy_or_forget(&erasure::list_path(&from), &erasure::list_path(&to))?;
    copy_or_forget(&scan::path(&from), &scan::path(&to))?;
    Ok(Taken::Copied)
}

fn copy(from: &Path, to: &Path) -> Result<(), MoveError> {
    let bytes = Zeroizing::new(fs::read(from).map_err(failed(from))?);
    private_file::write(to, &bytes).map_err(failed(to))
}

fn copy_or_forget(from: &Path, to: &Path) -> Result<(), MoveError> {
    if from.exists() {
        return copy(from, to);
    }
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(to)(error)),
        _ => Ok(()),
    }
}

/// The pair that a server makes for itself; none where it uses none.
fn pair(config: &Config) -> Option<[PathBuf; 2]> {
    let is_own = config.tls_cert.as_os_str().is_empty() && config.has_certificate();
    // The certificate is second: where it is, the key is.
    is_own.then(|| ["key.pem", "cert.pem"].map(|name| config.data.join("tls").join(name)))
}

/// Copies the certificate, where both places use one that the server made; and what clients have to be told otherwise.
pub fn take_certificate(from: &Config, to: &Config) -> Result<(Taken, Option<String>), MoveError> {
    let Some([key, cert]) = pair(from).filter(|pair| pair[1].exists()) else {
        return Ok((Taken::Left, None));
    };
    let Some([new_key, new_cert]) = pair(to) else {
        let folder = cert.parent().unwrap_or(&cert).display();
        let told = format!(
            "clients trust the certificate in {folder}, which the new place does not use: give that pair to whatever ends \
             TLS there, or tell people the new fingerprint"
        );
        return Ok((Taken::Left, Some(told)));
    };
    if is_same(&cert, &new_cert) {
        return Ok((Taken::Shared, None));
    }
    if new_cert.exists() && fs::read(&new_cert).ok() != fs::read(&cert).ok() {
        let told = format!(
            "{} is another certificate than clients trust: copy the folder {} over it, or tell people the new fingerprint",
            new_cert.display(),
            cert.parent().unwrap_or(&cert).display()
        );
        return Ok((Taken::Left, Some(told)));
    }
    if let Some(folder) = new_cert.parent() {
        private_file::make_folder(folder).map_err(failed(folder))?;
    }
    copy(&key, &new_key)?;
    copy(&cert, &new_cert)?;
    Ok((Taken::Copied, None))
}
