//! Searching: Docker Hub by its web API, any other registry by its catalogue.

use super::session::Session;
use super::transport::{Ask, is_same_server, resolve_location};
use super::whole::{Answer, whole};
use super::{Auth, Found, Registry, words};
use crate::reference;
use error::{Error, Result};
use reqwest::Url;
use reqwest::header::{HeaderValue, LINK};
use serde::Deserialize;

/// Where Docker Hub is searched.
pub(super) const HUB: &str = "https://hub.docker.com/";
/// The most hits that Docker Hub gives at once.
const MOST_HITS: usize = 100;
/// Pages of a catalogue that are read.
const MOST_PAGES: usize = 100;
/// The largest page, in bytes.
const LARGEST_PAGE: usize = 4 << 20;

#[derive(Deserialize)]
struct Hits {
    results: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    repo_name: String,
    short_description: Option<String>,
    star_count: Option<u64>,
}

#[derive(Deserialize)]
struct Catalogue {
    repositories: Option<Vec<String>>,
}

impl Registry {
    /// Plugins whose name or description has `term`: Docker Hub's search, or a registry's catalogue
    /// when `term` begins with its host (`host:5000`, `host.example/`).
    pub async fn search(&self, term: &str, limit: usize) -> Result<Vec<Found>> {
        match registry_of(term) {
            Some((domain, rest)) => self.catalogue(domain, rest, limit).await,
            None => self.hub(term, limit).await,
        }
    }

    async fn hub(&self, term: &str, limit: usize) -> Result<Vec<Found>> {
        let mut url = self.hub.join("v2/search/repositories/").map_err(bad_address)?;
        let size = limit.clamp(1, MOST_HITS).to_string();
        url.query_pairs_mut().append_pair("query", term).append_pair("page_size", &size);
        let transport = &self.transport;
        let sender = (transport, None);
        let answer = whole(&sender, transport.tuning, &Ask::get(url), LARGEST_PAGE).await?;
        let hits: Hits = read(&answer, "search Docker Hub")?;
        let found = hits.results.into_iter().take(limit).map(|hit| Found {
            name: hit.repo_name,
            description: hit.short_description.unwrap_or_default(),
            stars: hit.star_count.unwrap_or(0),
        });
        Ok(found.collect())
    }

    async fn catalogue(&self, domain: &str, term: &str, limit: usize) -> Result<Vec<Found>> {
        // Checks the host as part of a reference.
        let checked = reference::Reference::parse(&format!("{domain}/x"))?;
        let auth = self.stored_auth(&checked).await?;
        self.catalogue_as(&checked.domain, term, limit, &auth).await
    }

    async fn catalogue_as(
        &self,
        domain: &str,
        term: &str,
        limit: usize,
        auth: &Auth,
    ) -> Result<Vec<Found>> {
        let session = Session::with_registry(self, domain, auth).await?;
        let mut next = Some(session.url("_catalog?n=100")?);
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take().filter(|_| found.len() < limit) else { break };
            let answer = session.whole(&Ask::get(url.clone())).await?;
            let page: Catalogue = read(&answer, &format!("list what {domain} has"))?;
            let names = page.repositories.unwrap_or_default();
            let hits = names.into_iter().filter(|name| name.contains(term));
            found.extend(hits.map(|name| Found {
                name: format!("{domain}/{name}"),
                description: String::new(),
                stars: 0,
            }));
            next = next_page(&url, answer.headers.get(LINK))?.filter(|next| *next != url);
        }
        found.truncate(limit);
        Ok(found)
    }
}

/// The registry that `term` begins with, and the rest of it: `host:5000`, `host.example/part`.
pub(super) fn registry_of(term: &str) -> Option<(&str, &str)> {
    let (first, rest) = term.split_once('/').unwrap_or((term, ""));
    let has_port = first.split_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !port.is_empty() && !port.contains(|c: char| !c.is_ascii_digit())
    });
    // A dot alone may be part of a plugin's name, an upper-case letter a slip.
    let has_path = term.contains('/') && (first.contains('.') || first == "localhost");
    let is_registry = (has_port || has_path) && first != reference::DOCKER_HUB;
    is_registry.then_some((first, rest))
}

fn read<T: for<'de> Deserialize<'de>>(answer: &Answer, what: &str) -> Result<T> {
    if !answer.status.is_success() {
        return Err(answer.problem(what));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        let host = words::host(&answer.url);
        Error::unavailable(format!("{what}: {host} answers with something else")).because(error)
    })
}

fn bad_address(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("make an address").because(error)
}

/// The next page that `Link: </v2/_catalog?last=x>; rel="next"` names (RFC 8288), on the same server.
fn next_page(from: &Url, link: Option<&HeaderValue>) -> Result<Option<Url>> {
    let text = link.and_then(|link| link.to_str().ok()).filter(|text| text.contains("next"));
    let target =
        text.and_then(|text| text.split_once('<')?.1.split_once('>')).map(|(target, _)| target);
    let Some(target) = target.and_then(|target| HeaderValue::from_str(target).ok()) else {
        return Ok(None);
    };
    Ok(Some(resolve_location(from, &target)?).filter(|next| is_same_server(from, next)))
}
