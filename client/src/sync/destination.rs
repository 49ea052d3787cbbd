//! Where long ciphertexts go: through the server, or straight to the object store that it named first. What it names
//! later is not dialled: a server cannot lead a device from place to place, into the network that the device is in for
//! example. What goes straight to a store is ciphertext, with no token and over TLS that this profile trusts.

use std::collections::BTreeSet;

use crate::{
    engine::Engine,
    error::Error,
    store::keys::{self, name::OBJECT_STORE},
};

/// What stands for the server itself.
const THE_SERVER: &str = "/";

/// Scheme, host and port of an address; none of one that nobody is to be dialled at.
fn origin(address: &str) -> Option<String> {
    let url = reqwest::Url::parse(address).ok()?;
    let plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    plain.then(|| url.origin().ascii_serialization())
}

/// Whether a header describes what is stored; others are not sent, whoever names them.
pub(super) fn describes(header: &str) -> bool {
    let name = header.to_ascii_lowercase();
    name.starts_with("x-amz-") || (name.starts_with("content-") && name != "content-length")
}

impl Engine {
    /// Whether an upload goes straight to these addresses. The first that this device is told of decide, until the next
    /// login; those that nobody is to be dialled at mean the server.
    pub(super) async fn goes_to<'a>(
        &self,
        addresses: impl IntoIterator<Item = &'a str>,
    ) -> Result<bool, Error> {
        let mut origins: BTreeSet<_> = addresses.into_iter().map(origin).collect();
        let only = origins.pop_first().flatten().filter(|_| origins.is_empty());
        let named = only.unwrap_or_else(|| THE_SERVER.to_owned());
        let mut tx = self.store.begin().await?;
        let known = keys::get(&mut tx, OBJECT_STORE).await?;
        if known.is_none() {
            keys::set(&mut tx, OBJECT_STORE, named.as_bytes()).await?;
            tx.commit().await?;
        }
        Ok(named != THE_SERVER && known.is_none_or(|known| known == named.as_bytes()))
    }

    /// A login asks anew: the operator may have moved the store.
    pub(crate) async fn forget_store(&self) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        keys::remove(&mut tx, OBJECT_STORE).await?;
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::testing::two_devices;

    #[tokio::test]
    async fn uploads_go_where_the_first_address_was_until_the_next_login() {
        let (a, _, _, _) = two_devices().await;
        let store = "https://s3.example.org/bucket/one?X-Amz-Signature=1";
        assert!(a.goes_to([store]).await.unwrap());
        assert!(a.goes_to([store, "https://s3.example.org/bucket/two"]).await.unwrap());
        for other in ["https://router.lan/", "https://s3.example.org:8443/bucket/one", "/v1/blobs", "nothing"]
        {
            assert!(!a.goes_to([other]).await.unwrap(), "{other}");
            assert!(!a.goes_to([store, other]).await.unwrap(), "{other}");
        }
        a.forget_store().await.unwrap();
        assert!(!a.goes_to(["http://s3.example.org/"]).await.unwrap());
        assert!(!a.goes_to([store]).await.unwrap(), "through the server it goes");
    }

    #[test]
    fn nobody_is_dialled_in_the_open_or_under_another_name() {
        for address in
            ["http://s3.example.org/", "ftp://s3.example.org/", "file:///etc", "https://u:p@e.org/"]
        {
            assert_eq!(origin(address), None, "{address}");
        }
        assert_eq!(origin("https://S3.example.org:443/x").unwrap(), "https://s3.example.org");
    }

    #[test]
    fn headers_describe_what_is_stored_and_nothing_else() {
        assert!(describes("x-amz-checksum-sha256") && describes("Content-Type"));
        for other in ["authorization", "cookie", "host", "content-length", "x-forwarded-for"] {
            assert!(!describes(other), "{other}");
        }
    }
}
