//! `lockstepd health`: for container health checks, where there is no other program to ask with.

use std::{
    io::Write,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use clap::Args;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::AnyError;
use crate::{
    config::{Config, Listen},
    http::tls,
};

/// Whom to ask.
#[derive(Debug, Args)]
pub struct Ask {
    /// The server's URL; the address that this machine's options name, where it is left out.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Asks `/health/ready`.
///
/// # Errors
/// If nothing answers, or the server does not serve.
pub async fn ask(ask: Ask, config: &Config, out: &mut (impl Write + Send)) -> Result<(), AnyError> {
    let scheme = if config.plain_http { "http" } else { "https" };
    let url = ask.url.unwrap_or_else(|| format!("{scheme}://{}", reached(&config.listen)));
    let answer = tokio::time::timeout(Duration::from_secs(5), get_ready(&url, config));
    let answer = answer.await.map_err(|_| format!("{url} does not answer within 5 s"))??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    writeln!(out, "{}", body.trim())?;
    if head.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(format!("{url} does not serve").into()) }
}

/// Where a server that listens there is reached from this machine: by a name that is in its certificate.
fn reached(listen: &Listen) -> String {
    match listen {
        Listen::Address(SocketAddr::V4(at)) if at.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, at.port())).to_string()
        }
        Listen::Address(SocketAddr::V6(at)) if at.ip().is_unspecified() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, at.port())).to_string()
        }
        other => other.to_string(),
    }
}

async fn get_ready(url: &str, config: &Config) -> Result<String, AnyError> {
    let (scheme, host) = url.split_once("://").ok_or_else(|| format!("{url} is not https://HOST:PORT"))?;
    let host = host.trim_end_matches('/');
    let stream = TcpStream::connect(host)
        .await
        .map_err(|error| format!("no server answers at {url} ({error}); --url names another address"))?;
    if scheme == "http" {
        return exchange(stream, host).await;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']).to_owned();
    let connector = tls::connector(config)?;
    let stream = connector.connect(name.try_into()?, stream).await.map_err(|error| {
        format!("{url} does not show this machine's certificate ({error}); --data or --tls-cert names it")
    })?;
    exchange(stream, host).await
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, host: &str) -> Result<String, AnyError> {
    let request = format!("GET /health/ready HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // A server that closes without TLS's farewell has answered all the same.
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
