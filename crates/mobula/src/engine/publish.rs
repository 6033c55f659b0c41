//! The sockets by which engines find published plugins: one listener for each entry that the plugin
//! engine wants to be there, and gone when it does not. What is not ours is never removed.

use crate::listen::{Bound, Inherited, Listen, Peer};
use crate::rest::{MAX_BODY, read_body_of};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use error::Error;
use host::process::Identity;
use plugin::Engine;
use plugin::bridge::Answer;
use plugin::engine::{Protocol, Published};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long to wait before a place that is taken is looked at again.
const RETRY: Duration = Duration::from_secs(5);
/// How long the answers under way at a socket that goes are waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest body of a call that is not about volumes, in bytes. dockerd asks authorisation plugins
/// about requests with bodies of a MiB and more, in base64, and what it can't ask about it denies.
const LARGE_BODY: usize = 16 << 20;
/// Connections of a protocol that is the plugin's own; further ones wait.
const CONNECTIONS: usize = 256;
/// What answers are labelled as.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

/// A socket that is being served, or waited for.
struct Open {
    published: Published,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// Keeps the sockets as the engine wants them, until `stop` turns true.
pub(super) async fn run(engine: Arc<Engine>, mut stop: watch::Receiver<bool>) {
    let mut wanted = engine.published();
    let mut open: HashMap<PathBuf, Open> = HashMap::new();
    loop {
        let now = Arc::clone(&wanted.borrow_and_update());
        close_unwanted(&mut open, &now).await;
        for published in now.iter() {
            let path = published.path.clone();
            open.entry(path).or_insert_with(|| Open::new(&engine, published.clone()));
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { break },
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    // The engine may have nothing to tell any more, and still answer.
    let _ = stop.wait_for(|stop| *stop).await;
    close_unwanted(&mut open, &[]).await;
}

async fn close_unwanted(open: &mut HashMap<PathBuf, Open>, wanted: &[Published]) {
    let gone = open.extract_if(|_, open| !wanted.contains(&open.published));
    let closing: Vec<_> = gone.map(|(_, open)| tokio::spawn(open.close())).collect();
    for closed in closing {
        let _ = closed.await;
    }
}

impl Open {
    fn new(engine: &Arc<Engine>, published: Published) -> Self {
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(Arc::clone(engine), published.clone(), stopped));
        Self { published, stop, server }
    }

    async fn close(self) {
        let _ = self.stop.send(true);
        // The socket itself goes first; a call that hangs does not keep it.
        let _ = tokio::time::timeout(PATIENCE, self.server).await;
        remove_empty(&self.published);
        tracing::debug!(path = %self.published.path.display(), "no longer published");
    }
}

/// Removes the directories that a name with slashes made necessary, once they are empty.
fn remove_empty(published: &Published) {
    let levels = published.name.matches('/').count();
    for dir in published.path.ancestors().skip(1).take(levels) {
        if std::fs::remove_dir(dir).is_err() {
            return;
        }
    }
}

async fn serve(engine: Arc<Engine>, published: Published, mut stop: watch::Receiver<bool>) {
    let bound = tokio::select! {
        bound = bind(&published.path) => bound,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let Published { plugin, name, path, protocol } = published;
    tracing::info!(plugin = name, path = %path.display(), "published");
    let socket = Arc::new(Socket { engine, plugin, name });
    let calls = Router::new().fallback(answer).with_state(Arc::clone(&socket));
    let dial = move || {
        let socket = Arc::clone(&socket);
        async move { socket.engine.connect(&socket.plugin).await }
    };
    match protocol {
        Protocol::Calls => bound.serve(calls, stop).await,
        Protocol::Own => bound.hand_on(dial, None, CONNECTIONS, stop).await,
        Protocol::Both => bound.hand_on(dial, Some(calls), CONNECTIONS, stop).await,
    }
}

/// Binds as soon as the place is free; says once why it is not.
async fn bind(path: &Path) -> Bound {
    let listen = Listen::Unix(path.to_owned());
    let mut told = String::new();
    loop {
        match Bound::bind(&listen, None, &mut Inherited::default()).await {
            Ok(bound) => return bound,
            Err(error) => {
                let reason = error.to_string();
                if reason != told {
                    tracing::warn!(%error, "plugin not published; trying again");
                    told = reason;
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Whose calls come in.
struct Socket {
    engine: Arc<Engine>,
    plugin: plugin::id::PluginId,
    name: String,
}

async fn answer(State(socket): State<Arc<Socket>>, request: Request) -> Response {
    let answer = ask(&socket, request).await;
    if answer.status != 200 {
        tracing::debug!(plugin = socket.name, status = answer.status, "call failed");
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static(MEDIA_TYPE);
    (status, [(header::CONTENT_TYPE, kind)], answer.body).into_response()
}

async fn ask(socket: &Arc<Socket>, request: Request) -> Answer {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    // A plugin would decode what is compared here as it stands.
    if !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_')) {
        return refuse(&Error::invalid_argument(format!("{method:?} is no method of a plugin")));
    }
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    let caller = peer.and_then(|pid| Identity::of(pid).ok().flatten());
    match read_body_of(request.into_body(), most(&method)).await {
        Ok(body) => {
            let asked = Arc::clone(socket);
            // To its end, whatever becomes of the client: what is mounted must be noted.
            let work =
                async move { asked.engine.answer(&asked.plugin, &method, &body, caller).await };
            tokio::spawn(work).await.unwrap_or_else(|broken| {
                refuse(&Error::internal("the call broke off").because(broken))
            })
        }
        Err(error) => refuse(&error),
    }
}

/// How large the body of a call may be, in bytes.
fn most(method: &str) -> usize {
    let is_small = method.starts_with("VolumeDriver.") || method.starts_with("Plugin.");
    if is_small { MAX_BODY } else { LARGE_BODY }
}

fn refuse(error: &Error) -> Answer {
    let body = json!({ "Err": error.chain() }).to_string().into_bytes();
    Answer { status: error.kind().http(), body }
}

#[cfg(test)]
mod tests;
