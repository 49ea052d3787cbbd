//! Certificates that an authority vouches for, and the oldest TLS that a server speaks.

use std::{net::TcpStream, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::{
    device::{Answer, Device, NAME},
    server::Server,
};

/// An authority, as a company has one of its own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Makes a pair for a server and puts it where that looks.
    fn vouches(&self, files: &Files) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(files.path("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(files.path("key.pem"), key.serialize_pem()).unwrap();
    }
}

/// Where certificates lie.
struct Files(tempfile::TempDir);

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A server with the pair that is here.
    fn serve(&self) -> Server {
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| self.path(name).display().to_string());
        Server::start_with(&[("--tls-cert", &certificate), ("--tls-key", &key)])
    }

    /// Registers with an authority to trust.
    fn register(&self, device: &Device, server: &Server, authority: &Authority) -> Answer {
        let file = self.path("ca.pem");
        std::fs::write(&file, authority.issuer.pem()).unwrap();
        let ca = file.to_str().unwrap();
        let answer = device.run(&["register", "--server", &server.url, "--email", NAME, "--ca", ca]);
        // What a profile trusts stands in it.
        std::fs::remove_file(file).unwrap();
        answer
    }
}

#[test]
fn a_profile_trusts_what_its_authority_vouches_for_and_nothing_else() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let files = Files(tempfile::tempdir().unwrap());
    ours.vouches(&files);
    let mut server = files.serve();
    let device = Device::empty();
    let refused = files.register(&device, &server, &foreign);
    assert_eq!(refused.code, 7, "{}", refused.err);
    assert!(refused.err.contains("the authority of --ca does not vouch"), "{}", refused.err);
    let registered = files.register(&device, &server, &ours);
    assert_eq!(registered.code, 0, "{}", registered.err);
    device.ok(&["add", "mail", "--set", "password=x"]);

    // The next year's certificate.
    ours.vouches(&files);
    server.kill();
    server.start_again_with_another_certificate();
    assert_eq!(device.json(&["sync"])["waiting"], 0);
    foreign.vouches(&files);
    server.kill();
    server.start_again_with_another_certificate();
    let refused = device.run(&["sync"]);
    assert_eq!(refused.code, 7, "{}", refused.err);
    let watched = device.run(&["watch", "--seconds", "60"]);
    assert_eq!(watched.code, 7, "{}", watched.err);
    assert!(watched.err.contains("certificate") && watched.err.contains("operator"), "{}", watched.err);
    assert_eq!(device.ok(&["--offline", "get", "mail", "password"]), "x\n");
}

#[test]
fn a_profile_takes_a_new_certificate_by_a_flag_of_login_without_the_address() {
    let authority = Authority::new();
    let files = Files(tempfile::tempdir().unwrap());
    let mut server = Server::start();
    let [laptop, phone] = [Device::registered(&server), Device::logged_in(&server)];
    authority.vouches(&files);
    let tls = server.data().join("tls");
    for name in ["cert.pem", "key.pem"] {
        std::fs::copy(files.path(name), tls.join(name)).unwrap();
    }
    server.kill();
    server.start_again_with_another_certificate();
    let refused = laptop.run(&["login"]);
    assert_eq!(refused.code, 7, "{}", refused.err);
    assert!(
        refused.err.contains("--fingerprint HEX") && refused.err.contains("--ca FILE"),
        "{}",
        refused.err
    );
    let file = files.path("ca.pem");
    std::fs::write(&file, authority.issuer.pem()).unwrap();
    laptop.ok(&["login", "--ca", file.to_str().unwrap()]);
    phone.ok(&["login", "--fingerprint", &server.fingerprint]);
    for device in [&laptop, &phone] {
        device.ok(&["sync"]);
    }
}

#[test]
fn tls_1_2_is_refused_unless_an_operator_allows_it() {
    let (usual, old) = (Server::start(), Server::start_with(&[("LOCKSTEP_TLS_MIN", "1.2")]));
    assert_eq!(greeted(&usual, &TLS13), Ok(ProtocolVersion::TLSv1_3));
    let refused = greeted(&usual, &TLS12).unwrap_err();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    assert_eq!(greeted(&old, &TLS12), Ok(ProtocolVersion::TLSv1_2));
    assert_eq!(greeted(&old, &TLS13), Ok(ProtocolVersion::TLSv1_3));
}

/// Greets a server in one version of TLS: which one it became, or what was said against it.
fn greeted(server: &Server, version: &'static SupportedProtocolVersion) -> Result<ProtocolVersion, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.data().join("tls/cert.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), "127.0.0.1".try_into().unwrap()).unwrap();
    let mut socket = TcpStream::connect(server.url.strip_prefix("https://").unwrap()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(|error| error.to_string())?;
    }
    Ok(connection.protocol_version().unwrap())
}
