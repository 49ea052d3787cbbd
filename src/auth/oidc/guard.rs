//! Requests to identity providers: no redirect, no large answer, no long wait, and no address inside the operator's
//! network but the issuer's own, which the operator named. A provider's description of itself is not trusted.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse, http, url::Url};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::IdpsError;

/// An answer is at most so long, in bytes.
const MAX_ANSWER: usize = 512 * 1024;
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// Why there is no answer. Says nothing of what was asked or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL is not one that is asked: not HTTPS, or inside the network.
    #[error("the provider names an address that is not asked")]
    Address,
    /// Nobody answers, or not in time.
    #[error("the provider does not answer")]
    Silent,
    /// The answer is too long, or sends elsewhere.
    #[error("the provider's answer is not one")]
    Answer,
}

/// Requests to one provider.
pub struct Guard {
    home: Url,
    /// To the issuer's own address, wherever it is.
    at_home: reqwest::Client,
    /// To everywhere else, which has to be public.
    abroad: reqwest::Client,
}

impl Guard {
    /// Requests to the provider with this issuer.
    ///
    /// # Errors
    /// [`IdpsError::Tls`], or [`IdpsError::Address`] if the issuer is not an HTTPS address (or, for trying things out,
    /// a plain one of this machine).
    pub fn new(issuer: &str, authority: Option<&Path>) -> Result<Self, IdpsError> {
        let home = Url::parse(issuer).map_err(|_| IdpsError::Address)?;
        let tls = tls(authority)?;
        let client = |resolver: Option<Arc<PublicOnly>>| {
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT)
                .timeout(ANSWER)
                .user_agent(concat!("lockstepd/", env!("CARGO_PKG_VERSION")));
            let builder = match resolver {
                Some(resolver) => builder.dns_resolver(resolver),
                None => builder,
            };
            builder.build().map_err(|_| IdpsError::Tls)
        };
        let guard = Self { at_home: client(None)?, abroad: client(Some(Arc::new(PublicOnly)))?, home };
        guard.way(&guard.home).map_err(|_| IdpsError::Address)?;
        Ok(guard)
    }

    /// The client for a URL, if it may be asked.
    fn way(&self, url: &Url) -> Result<&reqwest::Client, FetchError> {
        let is_home = url.origin() == self.home.origin();
        let host = url.host().ok_or(FetchError::Address)?;
        let ip = match host {
            openidconnect::url::Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            openidconnect::url::Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            openidconnect::url::Host::Domain(_) => None,
        };
        let secure = url.scheme() == "https"
            || (is_home && url.scheme() == "http" && ip.is_some_and(|ip| ip.is_loopback()));
        if !secure || !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::Address);
        }
        match ip {
            _ if is_home => Ok(&self.at_home),
            Some(ip) if !is_public(ip) => Err(FetchError::Address),
            _ => Ok(&self.abroad),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`FetchError`]
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let url = Url::parse(&request.uri().to_string()).map_err(|_| FetchError::Address)?;
        let client = self.way(&url)?;
        let request = reqwest::Request::try_from(request).map_err(|_| FetchError::Address)?;
        let mut response = client.execute(request).await.map_err(|_| FetchError::Silent)?;
        if response.status().is_redirection() {
            return Err(FetchError::Answer);
        }
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|_| FetchError::Silent)? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(FetchError::Answer);
            }
            body.extend_from_slice(&piece);
        }
        answer.body(body).map_err(|_| FetchError::Answer)
    }
}

impl<'c> AsyncHttpClient<'c> for Guard {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

fn tls(authority: Option<&Path>) -> Result<ClientConfig, IdpsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = authority {
        let certificates = CertificateDer::pem_file_iter(file).map_err(|_| IdpsError::Tls)?;
        for certificate in certificates {
            let certificate = certificate.map_err(|_| IdpsError::Tls)?;
            roots.add(certificate).map_err(|_| IdpsError::Tls)?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|_| IdpsError::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Resolves names to public addresses only.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(FetchError::Address.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the open Internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let special = (a, b, c) == (192, 0, 0) || (a == 198 && (18..20).contains(&b));
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || shared
        || special
        || a == 0
        || a >= 224)
}

/// Only `2000::/3` is given out; what carries an address of the other kind inside is judged by that.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        [0x2001, 0xdb8 | 0, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_a_network_are_not_public_however_they_are_written() {
        let inside = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "ff02::1",
        ];
        for ip in inside {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn only_the_issuers_own_address_may_lie_inside_the_network() {
        let guard = Guard::new("https://10.0.0.5:8443/realms/a", None).unwrap();
        let way = |url: &str| guard.way(&Url::parse(url).unwrap()).is_ok();
        assert!(way("https://10.0.0.5:8443/jwks") && way("https://keys.example.org/jwks"));
        let refused = [
            "https://10.0.0.5/jwks",
            "https://10.0.0.6:8443/jwks",
            "http://10.0.0.5:8443/jwks",
            "http://keys.example.org/jwks",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/jwks",
            "https://user:word@keys.example.org/jwks",
            "file:///etc/passwd",
        ];
        for url in refused {
            assert!(!way(url), "{url}");
        }
    }

    #[test]
    fn an_issuer_without_tls_is_refused_unless_it_is_this_machine() {
        assert!(Guard::new("http://127.0.0.1:3000", None).is_ok());
        for issuer in ["http://sso.example.org", "http://10.0.0.5", "ftp://127.0.0.1", "nothing"] {
            assert_eq!(Guard::new(issuer, None).err(), Some(IdpsError::Address), "{issuer}");
        }
    }
}
