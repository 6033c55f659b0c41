//! The simulated account, called plainly: without our client, over one connection, by requests that are
//! signed before their time is taken. And what its admin API knows.

use crate::bench::http::{Client, Request};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use error::{Error, Result};
use std::net::SocketAddr;
use std::time::SystemTime;

/// The account's own keys, unless its configuration says otherwise.
const ACCESS_KEY: &str = "AKIAMOBULASIMULATOR";
const SECRET_KEY: &str = "simulated-secret-of-mobula";
const REGION: &str = "us-east-1";
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
/// How often an attachment is looked at before something is wrong.
const LOOKS: usize = 1000;

/// A connection to the account.
pub(super) struct Account {
    client: Client,
    address: SocketAddr,
}

impl Account {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { client: Client::dial(address)?, address })
    }

    /// The request for `action` with these parameters, signed. Their values need no encoding.
    pub(super) fn signed(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Request> {
        let mut body = format!("Action={action}&Version=2016-11-15");
        for (name, value) in parameters {
            body.push_str(&format!("&{name}={}", value.replace(':', "%3A").replace('/', "%2F")));
        }
        let (host, headers) = (self.address.to_string(), self.signature(&body)?);
        let mut all = vec![("Host", host.as_str()), ("Content-Type", CONTENT_TYPE)];
        all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Ok(Request::with("POST", "/", &all, &body))
    }

    fn signature(&self, body: &str) -> Result<Vec<(String, String)>> {
        let failed = |why: String| Error::internal("a request cannot be signed").because(why);
        let identity = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "bench").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("ec2")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|why| failed(why.to_string()))?;
        let url = format!("http://{}/", self.address);
        let headers = [("content-type", CONTENT_TYPE)].into_iter();
        let request =
            SignableRequest::new("POST", url, headers, SignableBody::Bytes(body.as_bytes()));
        let request = request.map_err(|why| failed(why.to_string()))?;
        let signed = sign(request, &parameters.into()).map_err(|why| failed(why.to_string()))?;
        let headers = signed.output().headers();
        Ok(headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Sends a request; the answer.
    pub(super) fn send(&mut self, request: &Request) -> Result<String> {
        self.client.send(request).map(|answer| String::from_utf8_lossy(answer).into_owned())
    }

    /// Signs a request and sends it.
    pub(super) fn call(&mut self, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let request = self.signed(action, parameters)?;
        self.send(&request)
    }

    /// Sends `change` and looks by `look` until the answer says `wanted`, at once: there is no delay.
    pub(super) fn until(&mut self, change: &Request, look: &Request, wanted: &str) -> Result<()> {
        self.send(change)?;
        for _ in 0..LOOKS {
            if self.send(look)?.contains(wanted) {
                return Ok(());
            }
        }
        Err(Error::internal(format!("the simulated volume is never {wanted}")))
    }

    /// How many calls of its API came since [`forget_calls`](Self::forget_calls).
    pub(super) fn calls(&mut self) -> Result<u64> {
        let counted: serde_json::Value = self.admin("GET", "calls")?;
        let counts = counted.as_object().into_iter().flat_map(|counts| counts.values());
        Ok(counts.filter_map(serde_json::Value::as_u64).sum())
    }

    /// Counts calls from 0 again.
    pub(super) fn forget_calls(&mut self) -> Result<()> {
        self.admin("POST", "calls/reset").map(drop)
    }

    /// The IDs of all volumes.
    pub(super) fn volumes(&mut self) -> Result<Vec<String>> {
        let state = self.admin("GET", "state")?;
        let volumes = state["volumes"].as_array().into_iter().flatten();
        Ok(volumes.filter_map(|volume| volume["id"].as_str()).map(str::to_owned).collect())
    }

    fn admin(&mut self, method: &str, path: &str) -> Result<serde_json::Value> {
        let answer = self.client.send(&Request::new(method, &format!("/_sim/{path}"), ""))?;
        serde_json::from_slice(answer)
            .map_err(|source| Error::internal("the simulator answers no JSON").because(source))
    }
}

/// The text of the first element of this name.
pub(super) fn element<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_found_by_its_whole_name() {
        let answer = "<a><volumeIdSet>x</volumeIdSet><volumeId>vol-1</volumeId><b/></a>";
        assert_eq!(element(answer, "volumeId"), Some("vol-1"));
        assert_eq!(element(answer, "nextToken"), None);
    }
}
