//! A certificate of one's own is renewed while the server runs: its files are looked at every few seconds, and at once on a
//! SIGHUP. What does not fit together is not taken, and the server goes on with what it has.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use lockstep_events::{Clock, Micros};
use rustls::{
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{TlsError, ends::ends};

/// Between two looks. A container whose health check knows the new certificate already is not called sick meanwhile.
const LOOK: Duration = Duration::from_secs(5);
/// From so many seconds before its end on it is said that a certificate ends: two weeks.
const SOON_S: i64 = 14 * 24 * 3600;
/// How often it is said.
const SAY: Duration = Duration::from_hours(24);

/// The pair that is shown to whoever connects.
#[derive(Debug)]
pub struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

/// A certificate and its key, each in a file.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate, with those that lead to its authority.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// What a pair of files has in it.
struct Read {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Pair {
    fn read(&self) -> Result<Read, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
        };
        Ok(Read { cert: read(&self.cert)?, key: read(&self.key)?.into() })
    }

    fn parse(&self, read: &Read) -> Result<CertifiedKey, TlsError> {
        let pem = |path: &Path, what, source| TlsError::Pem { path: path.to_owned(), what, source };
        let chain = CertificateDer::pem_slice_iter(&read.cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| pem(&self.cert, "certificate", source))?;
        if chain.is_empty() {
            return Err(pem(&self.cert, "certificate", rustls_pki_types::pem::Error::NoItemsFound));
        }
        let private = PrivateKeyDer::from_pem_slice(&read.key)
            .map_err(|source| pem(&self.key, "private key", source))?;
        Ok(CertifiedKey::from_der(chain, private, &ring::default_provider())?)
    }
}

/// What tells two contents of the files from each other.
fn mark(read: &Result<Read, TlsError>) -> [u8; 32] {
    let mut hash = Sha256::new();
    match read {
        Ok(Read { cert, key }) => {
            hash.update(cert.len().to_be_bytes());
            hash.update(cert);
            hash.update(key);
        }
        Err(error) => hash.update(error.to_string()),
    }
    hash.finalize().into()
}

/// Files that do not fit, and whether that was said.
struct Refused {
    mark: [u8; 32],
    said: bool,
}

/// What looks after the files of a pair that is shown.
pub struct Renewal {
    files: Pair,
    shown: Arc<Shown>,
    taken: [u8; 32],
    refused: Option<Refused>,
}

/// Reads a pair to be shown.
///
/// # Errors
/// [`TlsError`]
pub fn shown(files: Pair) -> Result<(Arc<Shown>, Renewal), TlsError> {
    let read = files.read();
    let taken = mark(&read);
    let shown = Arc::new(Shown(RwLock::new(Arc::new(files.parse(&read?)?))));
    Ok((Arc::clone(&shown), Renewal { files, shown, taken, refused: None }))
}

impl Renewal {
    /// SHA-256 of the certificate that is shown, lower-case hex.
    pub fn fingerprint(&self) -> String {
        self.shown.now().cert.first().map(|first| hex::encode(Sha256::digest(first))).unwrap_or_default()
    }

    /// Looks after the files until the server stops.
    pub async fn run(mut self, clock: &dyn Clock, stop: &CancellationToken) {
        let mut hangup = Hangup::listen();
        let mut said = None;
        loop {
            if said.is_none_or(|at: Instant| at.elapsed() > SAY) && self.is_ending(clock.now()) {
                said = Some(Instant::now());
                tracing::warn!(
                    "the certificate ends within two weeks, or has ended: put a new pair into its files"
                );
            }
            let at_once = tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK) => false,
                () = hangup.came() => true,
            };
            let files = self.files.clone();
            // A folder of another machine may let one wait, and no server that stops does.
            let read = tokio::select! {
                () = stop.cancelled() => return,
                read = tokio::task::spawn_blocking(move || files.read()) => read,
            };
            if let Ok(read) = read
                && self.look(read, at_once)
            {
                said = None;
            }
        }
    }

    /// Takes what the files have now, if it is another pair and fits; whether it was taken. A pair is written one file after
    /// the other: one that does not fit is told of when it is the same at the next look.
    fn look(&mut self, read: Result<Read, TlsError>, at_once: bool) -> bool {
        let mark = mark(&read);
        if mark == self.taken {
            self.refused = None;
            return false;
        }
        let is_known = self.refused.as_ref().is_some_and(|refused| refused.mark == mark);
        if is_known && !at_once && self.refused.as_ref().is_some_and(|refused| refused.said) {
            return false;
        }
        match read.and_then(|read| self.files.parse(&read)) {
            Ok(pair) => {
                *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                (self.taken, self.refused) = (mark, None);
                tracing::info!("a renewed certificate is shown from now on");
                true
            }
            Err(error) => {
                let said = is_known || at_once;
                if said {
                    tracing::warn!(
                        cause = %error,
                        "the files of the certificate have another pair, which cannot be used; the earlier one is shown \
                         until they have one that can"
                    );
                }
                self.refused = Some(Refused { mark, said });
                false
            }
        }
    }

    fn is_ending(&self, now: Micros) -> bool {
        let ends = self.shown.now().cert.first().and_then(|first| ends(first));
        ends.is_some_and(|at| at < now.seconds() + SOON_S)
    }
}

/// Somebody says that there is something new.
#[cfg(unix)]
struct Hangup(io::Result<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Hangup {
    fn listen() -> Self {
        Self(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()))
    }

    async fn came(&mut self) {
        match &mut self.0 {
            Ok(signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
struct Hangup;

#[cfg(not(unix))]
impl Hangup {
    fn listen() -> Self {
        Self
    }

    async fn came(&mut self) {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["vault.example.org".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// What was said last about files that do not fit, and the certificate that is shown.
    fn told(renewal: &Renewal) -> Option<bool> {
        renewal.refused.as_ref().map(|refused| refused.said)
    }

    #[test]
    fn a_new_pair_is_taken_when_both_files_have_it_and_a_broken_one_is_told_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let files = Pair { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let put = |(cert, key): &(String, String)| {
            fs::write(&files.cert, cert).unwrap();
            fs::write(&files.key, key).unwrap();
        };
        let (first, second) = (made(), made());
        put(&first);
        let (_, mut renewal) = shown(files.clone()).unwrap();
        let kept = renewal.fingerprint();
        let look = |renewal: &mut Renewal| renewal.look(files.read(), false);
        assert!(!look(&mut renewal) && told(&renewal).is_none());

        // One of the two is written, and the other comes.
        fs::write(&files.cert, &second.0).unwrap();
        assert!(!look(&mut renewal));
        assert_eq!((told(&renewal), renewal.fingerprint()), (Some(false), kept.clone()));
        put(&second);
        assert!(look(&mut renewal) && told(&renewal).is_none());
        let renewed = renewal.fingerprint();
        assert_ne!(renewed, kept);

        // It stays broken: no certificate, another one's key, nothing.
        for (cert, key) in
            [(String::new(), &second.1), (first.0.clone(), &second.1), (second.0.clone(), &first.0)]
        {
            put(&(cert, key.clone()));
            assert!(!look(&mut renewal) && told(&renewal) == Some(false));
            assert!(!look(&mut renewal) && told(&renewal) == Some(true));
            assert!(!look(&mut renewal) && told(&renewal) == Some(true));
            assert_eq!(renewal.fingerprint(), renewed);
        }
        fs::remove_file(&files.key).unwrap();
        assert!(
            !renewal.look(files.read(), true) && told(&renewal) == Some(true),
            "whoever asks is told at once"
        );
        put(&first);
        assert!(look(&mut renewal) && renewal.fingerprint() == kept);
    }
}
