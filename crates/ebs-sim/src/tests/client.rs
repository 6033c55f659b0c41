//! A client of the API: signs, sends, and picks answers apart. What it signs with is checked against
//! AWS's published test suite where it is made.

use crate::signing::{Authorization, Signed, encode};
use crate::{Config, Credentials, InstanceConfig, Simulator, timestamp};
use std::fmt::Write;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The instance that most tests call from.
pub(super) const HERE: &str = "i-0123456789abcdef0";
/// Another one, in the same zone.
pub(super) const THERE: &str = "elsewhere";
/// One in another zone.
pub(super) const FAR: &str = "i-0fffffffffffffff0";
pub(super) const ZONE: &str = "us-east-1a";

/// Three instances, in two zones.
pub(super) fn config() -> Config {
    let far = InstanceConfig::new(FAR).zone("us-east-1b");
    let instances = vec![InstanceConfig::new(HERE), InstanceConfig::new(THERE), far];
    Config { instances, ..Config::default() }
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The status line and the headers.
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// The text of the first element of this name.
    pub(super) fn get(&self, tag: &str) -> &str {
        self.all(tag).first().copied().unwrap_or_else(|| panic!("no {tag} in {}", self.body))
    }

    /// The texts of all elements of this name.
    pub(super) fn all(&self, tag: &str) -> Vec<&str> {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let parts = self.body.split(open.as_str()).skip(1);
        parts.filter_map(|part| part.split_once(close.as_str()).map(|(text, _)| text)).collect()
    }

    /// The status and the code of an error.
    pub(super) fn error(&self) -> (u16, &str) {
        (self.status, self.get("Code"))
    }
}

/// A client at an instance.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) endpoint: String,
    pub(super) credentials: Credentials,
    pub(super) token: Option<String>,
    pub(super) region: String,
    pub(super) service: String,
    /// How far its clock is ahead, in milliseconds.
    pub(super) ahead: i64,
}

impl Client {
    pub(super) fn new(sim: &Simulator, instance: &str) -> Self {
        Self {
            endpoint: sim.endpoint(instance),
            credentials: Credentials::default(),
            token: None,
            region: "us-east-1".to_owned(),
            service: "ec2".to_owned(),
            ahead: 0,
        }
    }

    fn host(&self) -> &str {
        self.endpoint.trim_start_matches("http://")
    }

    /// Calls an action with these parameters; `None` when the connection was closed.
    pub(super) async fn try_call(&self, action: &str, params: &[(&str, &str)]) -> Option<Answer> {
        let version = if self.service == "sts" { "2011-06-15" } else { "2016-11-15" };
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in params {
            let _ = write!(form, "&{}={}", encode(name), encode(value));
        }
        self.send_signed("POST", "", &form).await
    }

    pub(super) async fn call(&self, action: &str, params: &[(&str, &str)]) -> Answer {
        self.try_call(action, params).await.expect("an answer")
    }

    /// As [`call`](Self::call), which must succeed.
    pub(super) async fn ok(&self, action: &str, params: &[(&str, &str)]) -> Answer {
        let answer = self.call(action, params).await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.body);
        answer
    }

    /// As [`call`](Self::call), which must fail; the status and the code.
    pub(super) async fn refused(&self, action: &str, params: &[(&str, &str)]) -> (u16, String) {
        let answer = self.call(action, params).await;
        let (status, code) = answer.error();
        (status, code.to_owned())
    }

    pub(super) async fn send_signed(
        &self,
        method: &str,
        query: &str,
        body: &str,
    ) -> Option<Answer> {
        let now = timestamp::wall().saturating_add_signed(self.ahead);
        let date = timestamp::basic(now);
        let mut headers = vec![
            ("host".to_owned(), self.host().to_owned()),
            ("x-amz-date".to_owned(), date.clone()),
        ];
        headers
            .extend(self.token.iter().map(|one| ("x-amz-security-token".to_owned(), one.clone())));
        let names: Vec<_> = headers.iter().map(|(name, _)| name.clone()).collect();
        let request =
            Signed { method, path: "/", query, headers: headers.clone(), body: body.as_bytes() };
        let (key, day) = (&self.credentials.access_key, &date[..8]);
        let by = format!(
            "AWS4-HMAC-SHA256 Credential={key}/{day}/{}/{}/aws4_request, SignedHeaders={}, \
             Signature=",
            self.region,
            self.service,
            names.join(";")
        );
        let parsed = Authorization::parse(&by).expect("well formed");
        let signature = request.signature(&parsed, &self.credentials.secret_key, &date);
        headers.push(("authorization".to_owned(), format!("{by}{signature}")));
        let target = if query.is_empty() { "/".to_owned() } else { format!("/?{query}") };
        self.send(method, &target, &headers[1..], body).await
    }

    /// Sends a request as it is. `None` when the connection was closed without an answer.
    pub(super) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Option<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.host());
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let length = body.len();
        let _ = write!(head, "content-length: {length}\r\nconnection: close\r\n\r\n{body}");
        let mut stream = TcpStream::connect(self.host()).await.expect("connected");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.ok()?;
        parse(&String::from_utf8(text).expect("text"))
    }

    /// A request without a signature, such as for metadata.
    pub(super) async fn plain(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, &[], body).await.expect("an answer")
    }

    /// A new volume of 1 GiB, and what else is asked for, once it is available.
    pub(super) async fn volume(&self, params: &[(&str, &str)]) -> String {
        let mut all = vec![("VolumeType", "gp3"), ("Size", "1")];
        all.retain(|(name, _)| !params.iter().any(|(given, _)| given == name));
        if !params.iter().any(|(name, _)| *name == "AvailabilityZone") {
            all.push(("AvailabilityZone", ZONE));
        }
        all.extend(params);
        let id = self.ok("CreateVolume", &all).await.get("volumeId").to_owned();
        self.wait_for(&id, "available").await;
        id
    }

    pub(super) async fn attach(&self, volume: &str, instance: &str, device: &str) {
        let params = [("VolumeId", volume), ("InstanceId", instance), ("Device", device)];
        self.ok("AttachVolume", &params).await;
        self.wait_for_attachment(volume, "attached").await;
    }

    /// What DescribeVolumes says of one volume.
    pub(super) async fn describe(&self, volume: &str) -> Answer {
        self.ok("DescribeVolumes", &[("VolumeId.1", volume)]).await
    }

    /// The state of a volume; of its attachment there is another `status` before, if it has one.
    pub(super) async fn state(&self, volume: &str) -> String {
        let answer = self.describe(volume).await;
        answer.get("status").to_owned()
    }

    pub(super) async fn wait_for(&self, volume: &str, state: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.state(volume).await != state {
            assert!(Instant::now() < until, "{volume} never became {state}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn wait_for_attachment(&self, volume: &str, state: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.describe(volume).await;
            if answer.all("status").get(1) == Some(&state) {
                return;
            }
            assert!(Instant::now() < until, "{volume} never became {state}: {}", answer.body);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// `None` when the answer is not complete.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut lines = head.lines();
    let length: Option<usize> =
        lines.find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let body = match length {
        Some(length) if body.len() == length => body.to_owned(),
        Some(_) => return None,
        None => dechunked(body)?,
    };
    Some(Answer { status, head: head.to_owned(), body })
}

fn dechunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (length, tail) = rest.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.push_str(tail.get(..length)?);
        rest = tail.get(length + 2..)?;
    }
}
