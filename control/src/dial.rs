//! Connections to a key server for gRPC: TLS 1.3 with certificates on both sides, dead ones found soon.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::causes::causes;

/// A connection that takes longer is given up.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// A silent peer is asked whether it is there this often.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The address of a key server, https://HOST:PORT.
pub(crate) fn address(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    (uri.scheme_str() == Some("https") && uri.host().is_some()).then_some(uri)
}

/// Connects.
///
/// # Errors
/// Why not, with all that lies behind it.
pub(crate) async fn connect(uri: &Uri, tls: Arc<ClientConfig>) -> Result<Channel, String> {
    let connector = tower::service_fn(move |uri: Uri| {
        let tls = TlsConnector::from(Arc::clone(&tls));
        async move {
            let host = uri
                .host()
                .unwrap_or_default()
                .trim_matches(['[', ']'])
                .to_owned();
            let port = uri.port_u16().unwrap_or(443);
            let tcp = TcpStream::connect((host.as_str(), port)).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
            tls.connect(name, tcp).await.map(TokioIo::new)
        }
    });
    // The connector speaks TLS itself; to the endpoint it is a plain stream.
    let plain = format!(
        "http://{}",
        uri.authority().map_or("", |authority| authority.as_str())
    );
    let endpoint = Endpoint::from_shared(plain)
        .map_err(|error| error.to_string())?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    let connected = endpoint.connect_with_connector(connector).await;
    connected.map_err(|error| causes(&error))
}
