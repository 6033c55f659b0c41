//! An engine of a few canned answers, at a socket of its own.

use crate::engine_client::Pipe;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::net::UnixListener;

/// An answer.
#[derive(Clone)]
pub(super) struct Reply {
    status: u16,
    body: String,
    cut: bool,
}

/// JSON with a status.
pub(super) fn json(status: u16, value: &Value) -> Reply {
    Reply { status, body: value.to_string(), cut: false }
}

/// Nothing but a status.
pub(super) fn empty(status: u16) -> Reply {
    Reply { status, body: String::new(), cut: false }
}

/// Text, such as a stream.
pub(super) fn text(body: &str) -> Reply {
    Reply { status: 200, body: body.to_owned(), cut: false }
}

/// Text that breaks off.
pub(super) fn cut(body: &str) -> Reply {
    Reply { status: 200, body: body.to_owned(), cut: true }
}

type Replies = HashMap<String, VecDeque<Reply>>;

#[derive(Clone, Default)]
struct Shared {
    replies: Arc<Mutex<Replies>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// `GET /plugins?filters=…`.
    pub(super) line: String,
    /// Its headers.
    pub(super) headers: HashMap<String, String>,
    /// Its body.
    pub(super) body: Vec<u8>,
}

/// The engine; whatever it was not told of is not found.
pub(super) struct Fake {
    dir: tempfile::TempDir,
    shared: Shared,
}

impl Fake {
    /// Listens, with these answers by method and path; several for one are given in turn, the last
    /// one again and again.
    pub(super) fn new(replies: Vec<(&str, Reply)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared = Shared::default();
        for (line, reply) in replies {
            shared.replies.lock().unwrap().entry(line.to_owned()).or_default().push_back(reply);
        }
        let listener = UnixListener::bind(dir.path().join("engine.sock")).unwrap();
        let router = axum::Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { dir, shared }
    }

    /// Its address.
    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.dir.path().join("engine.sock").display())
    }

    /// What was asked, in order.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The first lines of what was asked.
    pub(super) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let key = format!("{} {}", head.method, head.uri.path());
    let headers = head.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let asked = Asked {
        line: format!("{} {}", head.method, head.uri),
        headers: headers.collect(),
        body: body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default(),
    };
    shared.asked.lock().unwrap().push(asked);
    let reply =
        shared.replies.lock().unwrap().get_mut(&key).map(|queue| {
            if queue.len() > 1 { queue.pop_front().unwrap() } else { queue[0].clone() }
        });
    respond(reply.unwrap_or_else(|| json(404, &serde_json::json!({"message": "page not found"}))))
}

fn respond(reply: Reply) -> Response<Body> {
    let body = if reply.cut {
        let (mut writer, pipe) = crate::engine_client::pipe();
        std::thread::spawn(move || {
            let _ = std::io::Write::write_all(&mut writer, reply.body.as_bytes());
            let _ = std::io::Write::flush(&mut writer);
        });
        Body::new(pipe)
    } else {
        Body::new(Pipe::whole(reply.body.into_bytes()))
    };
    Response::builder().status(StatusCode::from_u16(reply.status).unwrap()).body(body).unwrap()
}
