//! What a request gets before any plugin is asked.

use super::*;
use axum::body::to_bytes;
use plugin::home::Home;
use serde_json::Value;
use tower::ServiceExt;

struct Fixture {
    router: Router,
    engine: Arc<Engine>,
    stop: watch::Sender<bool>,
    _home: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let options = crate::config::Engine::default().options(Home::below(home.path()), None);
        let engine = Engine::open(options.unwrap()).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let api = Api { engine: Arc::clone(&engine), root: "/x".into(), stop: stopped };
        Self { router: router(Arc::new(api)), engine, stop, _home: home }
    }

    async fn send(&self, method: &str, path: &str, head: &[(&str, &str)], body: &str) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in head {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// The status and the message of a refusal.
    async fn refusal(&self, method: &str, path: &str, body: (&str, &str)) -> (u16, String) {
        let response = self.send(method, path, &[("content-type", body.0)], body.1).await;
        let status = response.status().as_u16();
        assert!(status >= 400, "{method} {path}: {status}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["api-version"], "1.51");
        let value: Value = serde_json::from_slice(&read(response).await).unwrap();
        (status, value["message"].as_str().unwrap().to_owned())
    }
}

async fn read(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

#[tokio::test]
async fn a_ping_tells_the_version_and_is_never_cached() {
    let fixture = Fixture::new().await;
    for (method, body) in [("GET", "OK"), ("HEAD", "")] {
        for path in ["/_ping", "/v1.24/_ping"] {
            let response = fixture.send(method, path, &[], "").await;
            let headers = response.headers().clone();
            for (name, value) in [
                ("api-version", "1.51"),
                ("ostype", "linux"),
                ("docker-experimental", "false"),
                ("content-type", "text/plain; charset=utf-8"),
                ("cache-control", "no-cache, no-store, must-revalidate"),
                ("pragma", "no-cache"),
            ] {
                assert_eq!(headers[name], value, "{method} {path}");
            }
            assert_eq!(headers["content-length"], body.len().to_string().as_str());
            assert_eq!(read(response).await, body.as_bytes());
        }
    }
}

#[tokio::test]
async fn unknown_routes_and_versions_are_refused_in_dockers_words() {
    let fixture = Fixture::new().await;
    let none = ("text/plain", "");
    for path in ["/containers/json", "/v1.51/images/json", "/v1.51/mobula/gc", "/v1.51/"] {
        assert_eq!(fixture.refusal("GET", path, none).await, (404, "page not found".into()));
    }
    let (status, message) = fixture.refusal("GET", "/v1.60/plugins", none).await;
    assert_eq!(status, 400);
    assert!(message.starts_with("client version 1.60 is too new."), "{message}");
    let (status, message) = fixture.refusal("GET", "/v1.12/plugins", none).await;
    assert_eq!(status, 400);
    assert!(message.starts_with("client version 1.12 is too old."), "{message}");
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let fixture = Fixture::new().await;
    for path in ["/plugins/foobar/set", "/plugins/foobar/upgrade", "/plugins/pull"] {
        let (status, message) = fixture.refusal("POST", path, ("text/plain", "[]")).await;
        assert_eq!(status, 400);
        let expected = "unsupported Content-Type header (text/plain): must be 'application/json'";
        assert_eq!(message, expected);
        let json = "application/json; charset=utf-8";
        let (status, message) = fixture.refusal("POST", path, (json, "{invalid json")).await;
        assert_eq!(status, 400);
        assert!(message.starts_with("invalid JSON: "), "{message}");
        let (status, message) = fixture.refusal("POST", path, (json, "[] trailing")).await;
        assert_eq!((status, message.as_str()), (400, "unexpected content after JSON"));
    }
    let large = format!("[\"{}\"]", "x".repeat(2 << 20));
    let refused = fixture.refusal("POST", "/plugins/x/set", ("application/json", &large)).await;
    assert_eq!(refused.0, 400);
}

#[tokio::test]
async fn parameters_are_checked_before_the_engine_is_asked() {
    let fixture = Fixture::new().await;
    let none = ("text/plain", "");
    for (method, path, expected) in [
        ("POST", "/plugins/x/enable?timeout=x", "strconv.Atoi: parsing \"x\": invalid syntax"),
        ("GET", "/plugins?filters={%22foo%22:[%22x%22]}", "Invalid filter 'foo'"),
        (
            "GET",
            "/plugins?filters={%22enabled%22:[%22maybe%22]}",
            "Invalid filter 'enabled=[maybe]'",
        ),
        ("GET", "/plugins/privileges", "invalid reference format: the parameter remote is missing"),
        (
            "GET",
            "/events?since=soon",
            "since \"soon\" is not a time; give seconds since 1970 or RFC 3339",
        ),
    ] {
        assert_eq!(fixture.refusal(method, path, none).await, (400, expected.into()));
    }
    let (status, _) = fixture.refusal("PUT", "/volumes/x?version=1", none).await;
    assert_eq!(status, 503);
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let fixture = Fixture::new().await;
    let large = "x".repeat(MAX_HEAD);
    let response = fixture.send("GET", "/_ping", &[("x-meta-large", &large)], "").await;
    assert_eq!(response.status(), 431);
    assert_eq!(response.headers()["api-version"], "1.51");
}

#[tokio::test]
async fn version_and_info_have_what_docker_shows() {
    let fixture = Fixture::new().await;
    let version = fixture.send("GET", "/version", &[], "").await;
    assert_eq!(version.headers()["content-type"], "application/json");
    let text = read(version).await;
    assert!(text.ends_with(b"\n"));
    let version: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(
        (&version["ApiVersion"], &version["MinAPIVersion"]),
        (&"1.51".into(), &"1.24".into())
    );
    assert_eq!(version["Components"][0]["Name"], "Engine");
    let info = fixture.send("GET", "/v1.51/info", &[], "").await;
    let info: Value = serde_json::from_slice(&read(info).await).unwrap();
    assert_eq!(info["DockerRootDir"], "/x");
    assert!(info["Plugins"]["Volume"].is_array(), "{info}");
}

#[tokio::test]
async fn a_list_without_plugins_is_no_null() {
    let fixture = Fixture::new().await;
    let response =
        fixture.send("GET", "/plugins?filters={%22enabled%22:{%22true%22:true}}", &[], "");
    assert_eq!(read(response.await).await, b"[]\n");
}

#[tokio::test]
async fn events_are_told_as_they_come_and_end_with_the_program() {
    let fixture = Fixture::new().await;
    fixture.engine.events().publish("plugin", "pull", "0", &[]);
    let path = "/v1.51/events?filters={%22type%22:[%22plugin%22]}";
    let response = fixture.send("GET", path, &[], "").await;
    fixture.engine.events().publish("volume", "create", "v", &[]);
    fixture.engine.events().publish("plugin", "enable", "1", &[("name", "a:latest")]);
    let mut body = response.into_body();
    let frame = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
    let event: Value = serde_json::from_slice(frame.data_ref().unwrap()).unwrap();
    assert_eq!((&event["Action"], &event["Actor"]["ID"]), (&"enable".into(), &"1".into()));
    fixture.stop.send(true).unwrap();
    assert!(http_body_util::BodyExt::frame(&mut body).await.is_none(), "it ends");
}

#[tokio::test]
async fn past_events_are_told_and_nothing_after_the_end() {
    let fixture = Fixture::new().await;
    fixture.engine.events().publish("plugin", "pull", "0", &[]);
    let now = jiff::Timestamp::now();
    let path =
        format!("/events?since=1.5&until={}.{:09}", now.as_second(), now.subsec_nanosecond());
    let text = read(fixture.send("GET", &path, &[], "").await).await;
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
}
