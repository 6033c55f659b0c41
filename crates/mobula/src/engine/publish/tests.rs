//! Sockets of published plugins come, go, and respect what is not theirs.

use super::*;
use plugin::engine::Options;
use plugin::home::Home;
use plugin::id::PluginId;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

async fn engine(home: &Path) -> Arc<Engine> {
    let config = crate::config::Engine::default();
    let options: Options = config.options(Home::below(home), None).unwrap();
    Engine::open(options).await.unwrap()
}

fn published(home: &Path, name: &str) -> Published {
    let path = home.join("run/docker/plugins").join(format!("{name}.sock"));
    let protocol = Protocol::Calls;
    Published { plugin: PluginId::random(), name: name.to_owned(), path, protocol }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    patience.await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_with_slashes_gets_directories_that_go_with_it() {
    let home = tempfile::tempdir().unwrap();
    let engine = engine(home.path()).await;
    let it = published(home.path(), "rexray/ebs:v1");
    let open = Open::new(&engine, it.clone());
    until("it listens", || UnixStream::connect(&it.path).is_ok()).await;
    assert_eq!(it.path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    open.close().await;
    assert!(!it.path.parent().unwrap().exists(), "its directory is gone");
    assert!(home.path().join("run/docker/plugins").exists(), "the common one stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_of_another_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let engine = engine(home.path()).await;
    let (taken, file) = (published(home.path(), "taken"), published(home.path(), "file"));
    std::fs::create_dir_all(taken.path.parent().unwrap()).unwrap();
    let other = UnixListener::bind(&taken.path).unwrap();
    std::fs::write(&file.path, "kept").unwrap();
    let mut open: HashMap<PathBuf, Open> = HashMap::new();
    for it in [&taken, &file] {
        open.insert(it.path.clone(), Open::new(&engine, it.clone()));
    }
    // The attempt to find out whether somebody listens.
    tokio::task::spawn_blocking(move || other.accept().map(|_| other)).await.unwrap().unwrap();
    close_unwanted(&mut open, &[]).await;
    assert!(open.is_empty());
    assert!(taken.path.exists(), "not ours to remove");
    assert_eq!(std::fs::read_to_string(&file.path).unwrap(), "kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_socket_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let engine = engine(home.path()).await;
    let it = published(home.path(), "stale");
    std::fs::create_dir_all(it.path.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&it.path).unwrap());
    let open = Open::new(&engine, it.clone());
    until("it listens", || UnixStream::connect(&it.path).is_ok()).await;
    open.close().await;
    assert!(!it.path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_a_plugin_that_is_gone_is_no_success() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let home = tempfile::tempdir().unwrap();
    let engine = engine(home.path()).await;
    let it = published(home.path(), "gone");
    let open = Open::new(&engine, it.clone());
    until("it listens", || UnixStream::connect(&it.path).is_ok()).await;
    let mut client = tokio::net::UnixStream::connect(&it.path).await.unwrap();
    let call = "POST /VolumeDriver.Get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                Content-Length: 12\r\n\r\n{\"Name\":\"a\"}";
    client.write_all(call.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(!answer.starts_with("HTTP/1.1 200"), "Podman takes any 200 for success: {answer}");
    assert!(answer.contains(MEDIA_TYPE), "{answer}");
    open.close().await;
}
