//! Searches of Docker Hub's web API and of catalogues.

use super::*;

#[tokio::test]
async fn docker_hub_is_searched_by_its_web_api() {
    let fake = Fake::new(|asked| {
        assert_eq!(asked.target, "/v2/search/repositories/?query=ss+hfs&page_size=2");
        Reply::ok(
            br#"{"count":9,"results":[{"repo_name":"vieux/sshfs","short_description":"ssh","star_count":7},
                {"repo_name":"b","short_description":null},{"repo_name":"c"}]}"#,
        )
    })
    .await;
    let mut desk = Desk::new();
    desk.registry.hub = Url::parse(&format!("http://{}/", fake.host)).unwrap();
    let found = desk.registry.search("ss hfs", 2).await.unwrap();
    let names: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.stars)).collect();
    assert_eq!(names, [("vieux/sshfs", 7), ("b", 0)]);
}

#[tokio::test]
async fn a_catalogue_is_read_page_by_page() {
    let fake = Fake::new(|asked| match asked.target.as_str() {
        "/v2/_catalog?n=100" => Reply::ok(br#"{"repositories":["a/probe","b/other"]}"#)
            .header("Link", "</v2/_catalog?last=b&n=100>; rel=\"next\""),
        "/v2/_catalog?last=b&n=100" => Reply::ok(br#"{"repositories":["c/probe"]}"#)
            .header("Link", "<http://elsewhere.invalid/v2/_catalog>; rel=\"next\""),
        _ => Reply::ok(b""),
    })
    .await;
    let desk = Desk::new();
    let found = desk.registry.search(&format!("{}/probe", fake.host), 10).await.unwrap();
    let names: Vec<_> = found.into_iter().map(|found| found.name).collect();
    assert_eq!(names, [format!("{}/a/probe", fake.host), format!("{}/c/probe", fake.host)]);
    assert_eq!(desk.registry.search(&fake.host, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_failing_search_is_a_failure() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v2/" => Reply::ok(b""),
        _ => Reply::new(404, b"<html>"),
    })
    .await;
    let error = Desk::new().registry.search(&format!("{}/x", fake.host), 10).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::NotFound);
}

#[test]
fn only_a_host_in_front_makes_it_a_registrys_catalogue() {
    let of = |term| crate::registry::search::registry_of(term);
    assert_eq!(of("host:5000"), Some(("host:5000", "")));
    assert_eq!(of("r.example/a/b"), Some(("r.example", "a/b")));
    assert_eq!(of("localhost/"), Some(("localhost", "")));
    for term in ["sshfs", "vieux/sshfs", "Vieux/sshfs", "my.plugin", "a:b", ":5000", "docker.io/a"]
    {
        assert_eq!(of(term), None, "{term}");
    }
}
