//! A registry that does as it is told, down to the bytes on the wire.

use crate::digest::Digest;
use crate::reference::Reference;
use crate::registry::Descriptor;
use crate::registry::manifest::{self, DOCKER_MANIFEST};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// The first byte that is asked for.
    pub(super) fn range(&self) -> Option<usize> {
        self.header("range").strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// An answer as it goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    length: Option<usize>,
    sent: Option<usize>,
    hangs: bool,
    trickle: Option<Duration>,
    is_chunked: bool,
}

impl Reply {
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        Self { status, body: body.to_vec(), ..Self::default() }
    }

    pub(super) fn ok(body: &[u8]) -> Self {
        Self::new(200, body)
    }

    /// None at all, though the connection stays.
    pub(super) fn silence() -> Self {
        Self { hangs: true, ..Self::default() }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Claims another length.
    pub(super) fn claiming(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// Ends after so many bytes of the body.
    pub(super) fn cut_at(mut self, bytes: usize) -> Self {
        self.sent = Some(bytes);
        self
    }

    /// Says nothing more after so many bytes of the body.
    pub(super) fn hanging_at(mut self, bytes: usize) -> Self {
        (self.sent, self.hangs) = (Some(bytes), true);
        self
    }

    /// Sends the body in ten pieces with a pause before each.
    pub(super) fn slowly(mut self, pause: Duration) -> Self {
        self.trickle = Some(pause);
        self
    }

    /// Does not say how long the body is.
    pub(super) fn unmeasured(mut self) -> Self {
        self.is_chunked = true;
        self
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A server; ends with the test's runtime.
pub(super) struct Fake {
    pub(super) host: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(super) async fn new(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::listening(Arc::new(handler), None).await
    }

    pub(super) async fn with_tls(
        tls: TlsAcceptor,
        handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listening(Arc::new(handler), Some(tls)).await
    }

    pub(super) async fn serving(content: &Content) -> Self {
        let content = content.clone();
        Self::new(move |asked| content.serve(asked)).await
    }

    async fn listening(handler: Arc<Handler>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let log = Arc::new(Mutex::new(Vec::new()));
        let noted = log.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, log, tls) = (handler.clone(), noted.clone(), tls.clone());
                tokio::spawn(connection(stream, handler, log, tls));
            }
        });
        Self { host, log }
    }

    pub(super) fn reference(&self, rest: &str) -> Reference {
        Reference::parse(&format!("{}/{rest}", self.host)).unwrap()
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    /// How many requests had `part` in their target.
    pub(super) fn count(&self, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.target.contains(part)).count()
    }
}

async fn connection(
    stream: TcpStream,
    handler: Arc<Handler>,
    log: Arc<Mutex<Vec<Asked>>>,
    tls: Option<TlsAcceptor>,
) {
    if let Some(tls) = tls {
        if let Ok(stream) = tls.accept(stream).await {
            answer(stream, &*handler, &log).await;
        }
        return;
    }
    let mut first = [0];
    // Not a TLS handshake, which this server does not know.
    if stream.peek(&mut first).await.is_ok_and(|count| count == 1 && first[0] != 0x16) {
        answer(stream, &*handler, &log).await;
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    handler: &Handler,
    log: &Mutex<Vec<Asked>>,
) {
    let Some(asked) = read(&mut stream).await else { return };
    log.lock().unwrap().push(asked.clone());
    let reply = handler(&asked);
    if reply.status != 0 {
        let _ = write(&mut stream, &asked, &reply).await;
    }
    if reply.hangs {
        std::future::pending::<()>().await;
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut asked = Asked { method, target, headers, body: bytes[end + 4..].to_vec() };
    let length = asked.header("content-length").parse().unwrap_or(0);
    while asked.body.len() < length {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        asked.body.extend_from_slice(&buffer[..count]);
    }
    Some(asked)
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    asked: &Asked,
    reply: &Reply,
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Whatever\r\nConnection: close\r\n", reply.status);
    if !reply.is_chunked {
        let length = reply.length.unwrap_or(reply.body.len());
        head += &format!("Content-Length: {length}\r\n");
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    if asked.method == "HEAD" {
        return stream.shutdown().await;
    }
    let body = &reply.body[..reply.sent.unwrap_or(reply.body.len()).min(reply.body.len())];
    match reply.trickle {
        None => stream.write_all(body).await?,
        Some(pause) => {
            for piece in body.chunks(body.len().div_ceil(10)) {
                tokio::time::sleep(pause).await;
                stream.write_all(piece).await?;
                stream.flush().await?;
            }
        }
    }
    stream.flush().await?;
    if reply.hangs { Ok(()) } else { stream.shutdown().await }
}

/// A plugin as a registry has it.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) config: Vec<u8>,
    pub(super) layer: Vec<u8>,
    pub(super) manifest: Vec<u8>,
}

impl Content {
    /// With a layer of so many bytes.
    pub(super) fn new(size: usize) -> Self {
        let mut layer = vec![0x1f, 0x8b];
        let mut state = 1_u32;
        layer.extend((2..size).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }));
        let config = br#"{"description":"probe"}"#.to_vec();
        let manifest = manifest::for_docker(&blob("c", &config), &[blob("l", &layer)]).unwrap();
        Self { config, layer, manifest }
    }

    pub(super) fn config(&self) -> Descriptor {
        blob(crate::config::MEDIA_TYPE, &self.config)
    }

    pub(super) fn layer(&self) -> Descriptor {
        blob("application/vnd.docker.image.rootfs.diff.tar.gzip", &self.layer)
    }

    /// What an honest registry answers.
    pub(super) fn serve(&self, asked: &Asked) -> Reply {
        let path = asked.path();
        if path.ends_with("/v2/") {
            return Reply::ok(b"{}");
        }
        if path.contains("/manifests/") {
            return Reply::ok(&self.manifest).header("Content-Type", DOCKER_MANIFEST);
        }
        for bytes in [&self.layer, &self.config] {
            if path.ends_with(Digest::of(bytes).as_str()) {
                return ranged(bytes, asked);
            }
        }
        Reply::new(404, b"")
    }
}

/// `bytes`, or the part that is asked for.
pub(super) fn ranged(bytes: &[u8], asked: &Asked) -> Reply {
    match asked.range() {
        Some(start) if start < bytes.len() => Reply::new(206, &bytes[start..])
            .header("Content-Range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())),
        Some(_) => Reply::new(416, b""),
        None => Reply::ok(bytes),
    }
}

pub(super) fn blob(media_type: &str, bytes: &[u8]) -> Descriptor {
    let size = bytes.len() as u64;
    Descriptor { media_type: media_type.to_owned(), digest: Digest::of(bytes), size }
}
