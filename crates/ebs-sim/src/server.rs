//! The listeners, one for each instance: reading requests, waiting as delays and faults want it,
//! breaking connections, and handing everything else to `api`, `imds` and `admin` on a thread that
//! may block.

use crate::admin;
use crate::api::{self, Drawn, Reply, Request};
use crate::config::InstanceConfig;
use crate::core::{Core, Partition};
use crate::fault::Effect;
use crate::imds::{self, Served};
use crate::simulator::check_instance;
use crate::timestamp;
use bytes::Bytes;
use error::{Error, IoContext, Result};
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{HeaderValue, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How often what is due happens without being asked for.
const TICK: Duration = Duration::from_millis(20);
/// The largest body, in bytes.
const LARGEST: usize = 1 << 20;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What all connections share.
struct Shared {
    core: Mutex<Core>,
    endpoints: Mutex<BTreeMap<String, SocketAddr>>,
    stop: watch::Sender<bool>,
}

/// The running listeners.
pub(crate) struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// Binds a listener for each instance and serves them.
    pub(crate) async fn start(core: Core) -> Result<Self> {
        let instances: Vec<_> = core.world.instances.keys().cloned().collect();
        // Those of the configuration first, in its order: their ports can be told beforehand.
        let mut ids: Vec<_> = core.config.instances.iter().map(|one| one.id.clone()).collect();
        ids.extend(instances.into_iter().filter(|id| !ids.contains(id)).collect::<Vec<_>>());
        let (stop, _) = watch::channel(false);
        let (core, endpoints) = (Mutex::new(core), Mutex::default());
        let server = Self { shared: Arc::new(Shared { core, endpoints, stop }) };
        for id in ids {
            server.shared.listen(&id).await?;
        }
        tokio::spawn(tick(Arc::clone(&server.shared)));
        Ok(server)
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core()
    }

    pub(crate) fn endpoint(&self, instance: &str) -> Option<String> {
        self.shared.endpoint(instance)
    }

    pub(crate) fn endpoints(&self) -> BTreeMap<String, String> {
        let found = self.shared.endpoints();
        found.iter().map(|(id, address)| (id.clone(), format!("http://{address}"))).collect()
    }

    pub(crate) async fn add_instance(&self, instance: InstanceConfig) -> Result<String> {
        self.shared.add_instance(instance).await
    }

    /// Ends the listeners, waits for the calls that are on their way, and lets go of the disks.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shared.stop.send_replace(true);
        self.shared.blocking(Core::close).await?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        if let Err(error) = self.core().close() {
            tracing::error!(%error, "not every disk was taken out");
        }
    }
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        // A call that panicked is answered by a closed connection; the others go on.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Core) -> T + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&mut shared.core()));
        done.await.map_err(|panic| Error::internal(panic.to_string()))
    }

    fn endpoints(&self) -> MutexGuard<'_, BTreeMap<String, SocketAddr>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoint(&self, instance: &str) -> Option<String> {
        self.endpoints().get(instance).map(|address| format!("http://{address}"))
    }

    /// Binds the listener of an instance and serves it.
    async fn listen(self: &Arc<Self>, instance: &str) -> Result<()> {
        let mut address = self.core().config.listen;
        if address.port() != 0 {
            let used = u16::try_from(self.endpoints().len()).unwrap_or(u16::MAX);
            address.set_port(address.port().saturating_add(used));
        }
        let listening = || format!("listen at {address}");
        let listener = TcpListener::bind(address).await.doing(listening)?;
        let bound = listener.local_addr().doing(listening)?;
        self.endpoints().insert(instance.to_owned(), bound);
        tokio::spawn(accept(Arc::clone(self), listener, instance.to_owned()));
        Ok(())
    }

    async fn add_instance(self: &Arc<Self>, instance: InstanceConfig) -> Result<String> {
        let id = instance.id.clone();
        let added = self.blocking(move |core| {
            check_instance(&core.config, &instance)?;
            if core.world.instances.contains_key(&instance.id) {
                let what = format!("there is an instance {} already", instance.id);
                return Err(Error::already_exists(what));
            }
            let (config, now) = (core.config.clone(), core.now());
            core.world.add_instance(&instance, &config, now);
            core.changed()
        });
        added.await??;
        self.listen(&id).await?;
        self.endpoint(&id).ok_or_else(|| Error::internal("the listener is gone"))
    }

    fn partition(&self, instance: &str) -> Option<Partition> {
        self.core().partitions.get(instance).copied()
    }
}

/// Lets what is due happen, until the end.
async fn tick(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    while !*stop.borrow_and_update() {
        match shared.blocking(Core::tick).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => tracing::error!(%error, "the account stands still"),
        }
        let _ = tokio::time::timeout(TICK, stop.changed()).await;
    }
}

/// Boxed: a connection may add an instance, whose listener serves connections.
fn accept(shared: Arc<Shared>, listener: TcpListener, instance: String) -> BoxFuture<'static, ()> {
    Box::pin(accept_all(shared, listener, instance))
}

async fn accept_all(shared: Arc<Shared>, listener: TcpListener, instance: String) {
    let mut stop = shared.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve(Arc::clone(&shared), stream, instance.clone()));
            }
            // Out of file descriptors, most likely: some will be closed.
            Err(_) => tokio::time::sleep(TICK).await,
        }
    }
}

/// Serves one connection, until it or the simulator ends.
async fn serve(shared: Arc<Shared>, stream: TcpStream, instance: String) {
    let mut stop = shared.stop.subscribe();
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(Arc::clone(&shared), instance.clone(), request));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A connection that is broken, by the client or on purpose, is nobody's concern.
        _ = connection => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// An error closes the connection.
async fn respond(
    shared: Arc<Shared>,
    instance: String,
    request: http::Request<Incoming>,
) -> io::Result<http::Response<Body>> {
    let is_admin = request.uri().path().starts_with("/_sim/");
    if !is_admin {
        stay_apart(&shared, &instance).await?;
    }
    let request = read(instance, request).await?;
    if is_admin {
        return Ok(plain(administer(&shared, request).await));
    }
    if request.path.starts_with("/latest") {
        let served = shared.blocking(move |core| imds::serve(core, &request)).await;
        return match served.map_err(io::Error::other)? {
            Served::Answer(reply) => Ok(plain(reply)),
            Served::Closed => Err(closed()),
            Served::Silence => std::future::pending().await,
        };
    }
    call(&shared, request).await
}

fn closed() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// While the instance is partitioned nothing comes through; what was sent then is lost.
async fn stay_apart(shared: &Shared, instance: &str) -> io::Result<()> {
    let mut waited = false;
    while let Some(partition) = shared.partition(instance) {
        if partition == Partition::Reset {
            return Err(closed());
        }
        waited = true;
        tokio::time::sleep(TICK).await;
    }
    if waited { Err(closed()) } else { Ok(()) }
}

async fn read(instance: String, request: http::Request<Incoming>) -> io::Result<Request> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST).collect().await.map_err(io::Error::other)?.to_bytes();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Request {
        instance,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body,
    })
}

async fn administer(shared: &Arc<Shared>, request: Request) -> Reply {
    if request.method == "POST" && request.path == "/_sim/instances" {
        let added = match admin::read(&request) {
            Ok(instance) => shared.add_instance(instance).await,
            Err(error) => Err(error),
        };
        return match added {
            Ok(endpoint) => admin::reply(200, &json!({ "endpoint": endpoint })),
            Err(error) => admin::failed(&error),
        };
    }
    let served = shared.blocking(move |core| admin::serve(core, &request)).await;
    served.unwrap_or_else(|error| admin::failed(&error))
}

/// A call of the API, with all that goes wrong around it.
async fn call(shared: &Arc<Shared>, request: Request) -> io::Result<http::Response<Body>> {
    let asked = request.clone();
    let drawn = shared.blocking(move |core| api::draw(core, &asked)).await;
    let drawn: Arc<Drawn> = Arc::new(drawn.map_err(io::Error::other)?);
    if drawn.wait > 0 {
        tokio::time::sleep(Duration::from_millis(drawn.wait)).await;
    }
    if drawn.has(&Effect::Reset) {
        return Err(closed());
    }
    let by = Arc::clone(&drawn);
    let instance = request.instance.clone();
    let answered = shared.blocking(move |core| {
        let reply = api::answer(core, &request, &by);
        (reply, core.signing_clock(by.skew()))
    });
    let (reply, clock) = answered.await.map_err(io::Error::other)?;
    // The network may have been cut meanwhile.
    stay_apart(shared, &instance).await?;
    if drawn.has(&Effect::DropAnswer) {
        return Err(closed());
    }
    let mut response = match drawn.drip() {
        Some(ms) => dripping(reply, Duration::from_millis(ms)),
        None => plain(reply),
    };
    // The cloud's clock, by which callers can set theirs.
    let date = HeaderValue::from_str(&timestamp::http(clock)).map_err(io::Error::other)?;
    response.headers_mut().insert(header::DATE, date);
    Ok(response)
}

fn plain(reply: Reply) -> http::Response<Body> {
    let (kind, lasts) = (kind_of(&reply), reply.lasts);
    let body = Full::new(Bytes::from(reply.body)).boxed_unsync();
    let mut response = answer(reply.status, kind, body);
    if let Some(seconds) = lasts {
        response.headers_mut().insert(imds::TTL, HeaderValue::from(seconds));
    }
    response
}

/// The same answer, a byte at a time.
fn dripping(reply: Reply, pause: Duration) -> http::Response<Body> {
    let kind = kind_of(&reply);
    let bytes = Bytes::from(reply.body);
    let drops = stream::unfold(bytes, move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let drop = left.split_to(1);
        Some((Ok::<_, Infallible>(Frame::data(drop)), left))
    });
    answer(reply.status, kind, StreamBody::new(drops).boxed_unsync())
}

fn kind_of(reply: &Reply) -> HeaderValue {
    HeaderValue::from_static(match reply.body.as_bytes().first() {
        Some(b'<') => "text/xml;charset=UTF-8",
        Some(b'{') => "application/json",
        _ => "text/plain",
    })
}

fn answer(status: u16, kind: HeaderValue, body: Body) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}
