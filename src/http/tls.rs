//! The certificate: a given one, or a self-made one that is kept in the data folder.

mod ends;
mod itself;
mod renewed;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{ServerConfig, crypto::ring, version};

pub use itself::connector;
pub use renewed::Renewal;

use self::renewed::{Pair, shown};
use crate::{
    config::{Config, TlsMin},
    private_file,
};

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no certificate that a server made or was given.
    #[error("there is no certificate {}; --data names the server's data folder, --tls-cert another certificate", path.display())]
    None {
        /// Where it would be.
        path: PathBuf,
    },
    /// Of the pair that the server made for itself one is gone. Another pair would lock out every client that trusts
    /// this one.
    #[error(
        "there is {}, and no {}: put it back from the backup. If it is lost, delete the other one too: a new pair is made, \
         and every client has to be told its fingerprint",
        there.display(),
        lost.display()
    )]
    Half {
        /// What is there.
        there: PathBuf,
        /// What is not.
        lost: PathBuf,
    },
    /// A file is not PEM of the right kind.
    #[error("{} does not hold a {what} as PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What the parser met.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// Certificate and key do not work, or not together.
    #[error("the certificate and its key cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// A certificate in use.
pub struct Tls {
    /// For the listener.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, lower-case hex: what clients pin.
    pub fingerprint: String,
    /// What looks after the files of a certificate that was given.
    pub renewal: Option<Renewal>,
}

/// Loads the configured certificate, or the self-made one, which is made at the first start.
///
/// # Errors
/// [`TlsError`].
pub fn load(config: &Config) -> Result<Tls, TlsError> {
    let is_own = config.tls_cert.as_os_str().is_empty();
    let (cert, key) =
        if is_own { self_made(config)? } else { (config.tls_cert.clone(), config.tls_key.clone()) };
    let (shown, renewal) = shown(Pair { cert, key })?;
    let versions: &[_] = match config.tls_min {
        TlsMin::V13 => &[&version::TLS13],
        TlsMin::V12 => &[&version::TLS13, &version::TLS12],
    };
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let fingerprint = renewal.fingerprint();
    Ok(Tls { config: Arc::new(tls), fingerprint, renewal: Some(renewal).filter(|_| !is_own) })
}

fn self_made(config: &Config) -> Result<(PathBuf, PathBuf), TlsError> {
    let folder = config.data.join("tls");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    match (cert.exists(), key.exists()) {
        (true, true) => {}
        (true, false) => return Err(TlsError::Half { there: cert, lost: key }),
        (false, true) => return Err(TlsError::Half { there: key, lost: cert }),
        (false, false) => keep_new(config, &folder)?,
    }
    Ok((cert, key))
}

/// Makes a pair. The two come to be there at once, so that a start that was cut off leaves no half of them.
fn keep_new(config: &Config, folder: &Path) -> Result<(), TlsError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let unfinished = folder.with_extension("unfinished");
    private_file::make_folder(&unfinished).map_err(file(&unfinished))?;
    let (certificate, private) = make(config)?;
    for (name, text) in [("key.pem", &private), ("cert.pem", &certificate)] {
        let path = unfinished.join(name);
        private_file::write(&path, text.as_bytes()).map_err(file(&path))?;
    }
    // Not every system renames over a folder that is there, even an empty one.
    let _ = fs::remove_dir(folder);
    fs::rename(&unfinished, folder).map_err(file(folder))
}

fn make(config: &Config) -> Result<(String, String), rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.push(config.listen.host());
    names.extend(config.tls_names.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()));
    names.sort();
    names.dedup();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "lockstepd");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
