//! Who is asking: basic, bearer and identity tokens, and registries that are never content.

use super::*;
use std::sync::Arc;

/// A registry that wants a bearer token `good` from its own `/token`, which `token` answers.
async fn with_tokens(
    content: &Content,
    token: impl Fn(&fake::Asked) -> Reply + Send + Sync + 'static,
) -> Fake {
    let (content, host) = (content.clone(), Arc::new(Mutex::new(String::new())));
    let own = host.clone();
    let fake = Fake::new(move |asked| {
        if asked.path() == "/token" {
            return token(asked);
        }
        if asked.header("authorization") == "Bearer good" {
            return content.serve(asked);
        }
        let host = own.lock().unwrap();
        let challenge = format!(
            "Bearer realm=\"http://{host}/token\",service=\"reg\",scope=\"repository:x:pull\""
        );
        Reply::new(401, b"").header("WWW-Authenticate", challenge)
    })
    .await;
    host.lock().unwrap().clone_from(&fake.host);
    fake
}

fn token(text: &str) -> Reply {
    Reply::ok(format!(r#"{{"token":"{text}","expires_in":300}}"#).as_bytes())
}

async fn resolve(desk: &Desk, fake: &Fake, auth: &Auth) -> Result<()> {
    let reference = fake.reference("me/probe:v1");
    desk.registry.resolve(&reference, auth, &desk.store).await.map(drop)
}

#[tokio::test]
async fn a_token_is_asked_for_with_the_class_of_plugins_and_used_again() {
    let content = Content::new(10);
    let fake = with_tokens(&content, |_| token("good")).await;
    let desk = Desk::new();
    resolve(&desk, &fake, &Auth::Anonymous).await.unwrap();
    resolve(&desk, &fake, &Auth::Anonymous).await.unwrap();
    let asked = fake.asked();
    let tokens: Vec<_> = asked.iter().filter(|asked| asked.path() == "/token").collect();
    assert_eq!(tokens.len(), 1);
    let target = &tokens[0].target;
    assert!(target.contains("scope=repository%28plugin%29%3Ame%2Fprobe%3Apull"), "{target}");
    assert!(target.contains("service=reg"), "{target}");
    // Another caller does not get this one's token.
    resolve(&desk, &fake, &basic("me", "secret")).await.unwrap();
    assert_eq!(fake.count("/token"), 2);
    let last = fake.asked().into_iter().rfind(|asked| asked.path() == "/token").unwrap();
    assert_eq!(last.header("authorization"), "Basic bWU6c2VjcmV0");
}

#[tokio::test]
async fn a_token_server_that_does_not_know_the_class_is_asked_without() {
    let content = Content::new(10);
    let refusing = with_tokens(&content, |asked| {
        if asked.target.contains("plugin") { Reply::new(400, b"") } else { token("good") }
    });
    resolve(&Desk::new(), &refusing.await, &Auth::Anonymous).await.unwrap();
    let giving_nothing = with_tokens(&content, |asked| {
        token(if asked.target.contains("plugin") { "worthless" } else { "good" })
    });
    resolve(&Desk::new(), &giving_nothing.await, &Auth::Anonymous).await.unwrap();
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let content = Content::new(10);
    let fake = with_tokens(&content, |asked| {
        let form = String::from_utf8_lossy(&asked.body).into_owned();
        let wanted = ["grant_type=refresh_token", "refresh_token=id%2Ftoken", "service=reg"];
        let is_right = asked.method == "POST" && wanted.iter().all(|part| form.contains(part));
        if is_right { Reply::ok(br#"{"access_token":"good"}"#) } else { Reply::new(401, b"") }
    })
    .await;
    resolve(&Desk::new(), &fake, &Auth::Identity("id/token".to_owned())).await.unwrap();
}

#[tokio::test]
async fn a_registry_token_is_used_as_it_is() {
    let content = Content::new(10);
    let fake = with_tokens(&content, |_| Reply::new(500, b"")).await;
    resolve(&Desk::new(), &fake, &Auth::Bearer("good".to_owned())).await.unwrap();
    let error = resolve(&Desk::new(), &fake, &Auth::Bearer("bad".to_owned())).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::Unauthenticated);
    assert_eq!(fake.count("/token"), 0);
}

#[tokio::test]
async fn a_registry_that_is_never_content_is_given_up_and_no_secret_shown() {
    let content = Content::new(10);
    let fake = with_tokens(&content, |_| token("worthless")).await;
    let auth = basic("me", "hunter2");
    let error = resolve(&Desk::new(), &fake, &auth).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::Unauthenticated);
    assert!(fake.count("/manifests/") <= 3);
    let desk = Desk::new();
    let shown = format!("{error:?} {error} {auth:?} {:?}", desk.registry);
    assert!(!shown.contains("hunter2") && !shown.contains("worthless"), "{shown}");
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_missing_one() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v2/" => Reply::ok(b""),
        _ => Reply::new(401, b"").header("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let wrong = resolve(&Desk::new(), &fake, &basic("me", "secret")).await.unwrap_err();
    assert!(wrong.to_string().contains("does not accept the credentials"), "{wrong}");
    assert_eq!(fake.count("/manifests/"), 2);
    let missing = resolve(&Desk::new(), &fake, &Auth::Anonymous).await.unwrap_err();
    assert!(missing.to_string().contains("log in"), "{missing}");
    assert_eq!(missing.kind(), error::Kind::Unauthenticated);
}

#[tokio::test]
async fn a_token_server_that_is_down_is_no_wrong_password() {
    let content = Content::new(10);
    let fake = with_tokens(&content, |_| Reply::new(503, b"")).await;
    let error = resolve(&Desk::new(), &fake, &Auth::Anonymous).await.unwrap_err();
    assert_eq!(error.kind(), error::Kind::Unavailable);
    assert_eq!(fake.asked().iter().filter(|asked| asked.path() == "/token").count() % 5, 0);
}

#[tokio::test]
async fn credentials_are_not_sent_to_a_token_server_over_plain_http() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v2/" => Reply::ok(b""),
        _ => Reply::new(401, b"")
            .header("WWW-Authenticate", "Bearer realm=\"http://tokens.invalid/t\""),
    })
    .await;
    let error = resolve(&Desk::new(), &fake, &basic("me", "secret")).await.unwrap_err();
    assert!(error.to_string().contains("plain HTTP"), "{error}");
}

#[tokio::test]
async fn a_token_without_content_or_with_line_breaks_is_refused() {
    let content = Content::new(10);
    for answer in ["{}", "[]", "", r#"{"token":"a\r\nb"}"#, r#"{"token":7}"#] {
        let fake = with_tokens(&content, move |_| Reply::ok(answer.as_bytes())).await;
        assert!(resolve(&Desk::new(), &fake, &Auth::Anonymous).await.is_err(), "{answer}");
    }
}
