//! Signature Version 4, as the API checks it
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>):
//! the canonical request is made of what arrived. Whose the key is, and since when it is over, is
//! not decided here.

use sha2::{Digest, Sha256};
use std::fmt::Write;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const BLOCK: usize = 64;

/// A request, as far as it is signed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    /// As it was sent.
    pub(crate) path: &'a str,
    /// As it was sent, without the question mark.
    pub(crate) query: &'a str,
    /// With names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: &'a [u8],
}

/// The value of the header `Authorization`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(crate) access_key: String,
    /// `yyyymmdd`.
    pub(crate) date: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) signed_headers: Vec<String>,
    pub(crate) signature: String,
}

impl Authorization {
    /// Takes the header apart; the error says what is wrong with it.
    pub(crate) fn parse(header: &str) -> Result<Self, &'static str> {
        let fields = header.trim().strip_prefix(ALGORITHM).ok_or("unknown algorithm")?;
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let credential = field("Credential").ok_or("Credential is missing")?;
        let mut scope = credential.rsplitn(5, '/');
        if scope.next() != Some("aws4_request") {
            return Err("Credential must end with aws4_request");
        }
        let mut next = || scope.next().map(str::to_owned).ok_or("Credential is too short");
        let (service, region, date, access_key) = (next()?, next()?, next()?, next()?);
        let signed_headers = field("SignedHeaders").ok_or("SignedHeaders is missing")?;
        let signature = field("Signature").ok_or("Signature is missing")?.to_owned();
        let signed_headers = signed_headers.split(';').map(str::to_owned).collect();
        Ok(Self { access_key, date, region, service, signed_headers, signature })
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

impl Signed<'_> {
    /// The value of a header; several of one name are joined by commas.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| squeezed(value))
            .collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// Headers that must be signed and are not: the host, and everything that begins with `x-amz-`.
    pub(crate) fn unsigned_header(&self, authorization: &Authorization) -> Option<&str> {
        let must = |name: &str| name == "host" || name.starts_with("x-amz-");
        let is_signed = |name: &str| authorization.signed_headers.iter().any(|one| one == name);
        let mut names = self.headers.iter().map(|(name, _)| name.as_str());
        names.find(|name| must(name) && !is_signed(name))
    }

    fn canonical(&self, signed_headers: &[String]) -> String {
        let path = if self.path.is_empty() { "/" } else { self.path };
        let mut text = format!("{}\n{path}\n{}\n", self.method, canonical_query(self.query));
        for name in signed_headers {
            let _ = writeln!(text, "{name}:{}", self.header(name).unwrap_or_default());
        }
        let _ = write!(text, "\n{}\n{}", signed_headers.join(";"), hex(&digest(self.body)));
        text
    }

    /// The signature that this request should have, at the moment `date` (`x-amz-date`).
    pub(crate) fn signature(&self, by: &Authorization, secret: &str, date: &str) -> String {
        let canonical = digest(self.canonical(&by.signed_headers).as_bytes());
        let text = format!("{ALGORITHM}\n{date}\n{}\n{}", by.scope(), hex(&canonical));
        let mut key = hmac(format!("AWS4{secret}").as_bytes(), by.date.as_bytes());
        for part in [by.region.as_str(), by.service.as_str(), "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        hex(&hmac(&key, text.as_bytes()))
    }
}

/// Spaces at the ends go, and several in a row are one.
fn squeezed(value: &str) -> String {
    value.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The parameters by name and value, each encoded in the one way that is canonical.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (recoded(name), recoded(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

fn recoded(text: &str) -> String {
    let plain = crate::params::decode(&text.replace('+', " ")).unwrap_or_else(|| text.to_owned());
    encode(&plain)
}

/// Encodes everything but the unreserved characters of RFC 3986.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            other => {
                let _ = write!(encoded, "%{other:02X}");
            }
        }
    }
    encoded
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// HMAC (RFC 2104) with SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    match key.len() > BLOCK {
        true => block[..32].copy_from_slice(&digest(key)),
        false => block[..key.len()].copy_from_slice(key),
    }
    let pad = |byte: u8| block.map(|own| own ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5C)).chain_update(inner).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vanilla() -> Signed<'static> {
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        Signed {
            method: "GET",
            path: "/",
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..Signed::default()
        }
    }

    const HEADER: &str = "AWS4-HMAC-SHA256 \
        Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
        SignedHeaders=host;x-amz-date, \
        Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

    /// `get-vanilla` and `get-vanilla-query-order-key-case` of AWS's own test suite.
    #[test]
    fn signatures_are_those_of_the_published_test_suite() {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let by = Authorization::parse(HEADER).unwrap();
        assert_eq!(vanilla().signature(&by, secret, "20150830T123600Z"), by.signature);
        let query = Signed { query: "Param2=value2&Param1=value1", ..vanilla() };
        assert_eq!(
            query.signature(&by, secret, "20150830T123600Z"),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
    }

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn the_hmac_is_the_one_of_the_rfc() {
        assert_eq!(
            hex(&hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_header_that_must_be_signed_is_missed() {
        let by = Authorization::parse(&HEADER.replace(";x-amz-date", "")).unwrap();
        assert_eq!(vanilla().unsigned_header(&by), Some("x-amz-date"));
        for wrong in ["", "AWS4-HMAC-SHA256 Credential=a/b", "Basic x"] {
            Authorization::parse(wrong).expect_err(wrong);
        }
    }
}
