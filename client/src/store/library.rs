//! The cryptographic library inside SQLCipher, and the end of the process.

/// Initialises OpenSSL without its exit handler.
///
/// Left to itself, OpenSSL frees its tables when the process ends, while a connection's thread may still be closing
/// its database with them: the process then dies by SIGSEGV after all its work was done. The kernel frees the memory
/// anyway. Must come before the first connection; further calls do nothing.
pub(super) fn keep_until_exit() {
    openssl_sys::init();
}
