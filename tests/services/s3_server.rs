//! A small S3 server over a folder, for tests: real HTTP, real signatures, nothing of ours in it.
//!
//! `s3-server ADDR FOLDER KEY SECRET`

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use std::error::Error;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, folder, key, secret] = arguments.as_slice() else {
        return Err("usage: s3-server ADDR FOLDER KEY SECRET".into());
    };
    let files = FileSystem::new(folder).map_err(|error| format!("open {folder}: {error:?}"))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(key, secret.as_str()));
    let service = builder.build();
    let listener = TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(socket), service.clone());
        // A client that breaks off is its own affair; the server serves on.
        tokio::spawn(connection);
    }
}
