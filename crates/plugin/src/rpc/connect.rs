//! Connections to plugins: made patiently, since a plugin that is being started does not listen
//! yet. Nothing is sent here but what TLS needs.

use super::Address;
use super::tls;
use error::{Error, IoContext, Kind, Result};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

/// The longest path of a socket, in bytes (unix(7), `sun_path` with its terminating zero).
const LONGEST: usize = 107;
/// The first pause between two attempts; each one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects, again and again for as long as `patience` while nobody listens. One attempt lasts
/// until `deadline` at most. Every failure to connect is `Unavailable`: nothing was sent.
pub(super) async fn patiently(
    address: &Address,
    patience: Duration,
    deadline: Instant,
) -> Result<Box<dyn Stream>> {
    let until = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let failed = match once(address, deadline).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if failed.kind() != Kind::Unavailable || Instant::now() + pause > until {
            return Err(failed);
        }
        tokio::time::sleep(pause).await;
        pause = pause_after(pause);
    }
}

fn pause_after(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

/// Connects once. `Unavailable` when that may go better later.
pub(super) async fn once(address: &Address, deadline: Instant) -> Result<Box<dyn Stream>> {
    let connecting = async {
        match address {
            Address::Unix(path) => unix(path).await.map(boxed),
            Address::Own(path) => own(path).await.map(boxed),
            Address::Tcp(address) => tcp(address, 80).await.map(boxed),
            Address::Tls { address, tls: files } => {
                let connector = tls::connector(files)?;
                let name = tls::server_name(address)?;
                let stream = tcp(address, 443).await?;
                let secured = connector.connect(name, stream).await;
                secured.map(boxed).map_err(|source| {
                    Error::failed_precondition(format!("no TLS with the plugin at {address}"))
                        .because(source)
                })
            }
        }
    };
    tokio::time::timeout_at(deadline, connecting).await.unwrap_or_else(|_| {
        Err(Error::unavailable(format!("the plugin at {address} does not accept the connection")))
    })
}

fn boxed(stream: impl Stream + 'static) -> Box<dyn Stream> {
    Box::new(stream)
}

async fn tcp(address: &str, port: u16) -> Result<TcpStream> {
    let connecting = match has_port(address) {
        true => TcpStream::connect(address).await,
        false => TcpStream::connect(format!("{address}:{port}")).await,
    };
    connecting.map_err(|source| unreachable(&format!("tcp://{address}"), source))
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        && !address.ends_with(']')
}

/// A path that is longer than an address may be goes by way of its opened directory.
async fn unix(path: &Path) -> Result<UnixStream> {
    let failed = |source| unreachable(&format!("unix://{}", path.display()), source);
    if path.as_os_str().as_bytes().len() <= LONGEST {
        return UnixStream::connect(path).await.map_err(failed);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::invalid_argument(format!("{} is no socket's path", path.display())));
    };
    let directory = match File::open(directory) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Err(failed(source)),
        opened => opened.doing(|| format!("open {}", directory.display()))?,
    };
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short).await.map_err(failed)
}

/// The socket itself: where a plugin may write, a link would lead to somebody else's.
async fn own(path: &Path) -> Result<UnixStream> {
    let failed = |source| unreachable(&format!("unix://{}", path.display()), source);
    let socket = host::file::open_socket(path).map_err(failed)?;
    let itself = Path::new("/proc/self/fd").join(socket.as_raw_fd().to_string());
    UnixStream::connect(itself).await.map_err(failed)
}

/// A refusal, a missing or full socket: a plugin that is being started, or a dead one.
fn unreachable(address: &str, source: io::Error) -> Error {
    let message = format!("no plugin listens at {address}");
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => Error::io(message, source),
        _ => Error::unavailable(message).because(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_second() {
        let pauses = std::iter::successors(Some(FIRST_PAUSE), |pause| Some(pause_after(*pause)));
        let pauses: Vec<u128> = pauses.take(8).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 500, 500]);
    }

    #[test]
    fn addresses_without_a_port_are_told_apart() {
        for address in ["localhost:80", "1.2.3.4:1", "[::1]:80"] {
            assert!(has_port(address), "{address}");
        }
        for address in ["localhost", "1.2.3.4", "[::1]"] {
            assert!(!has_port(address), "{address}");
        }
    }
}
