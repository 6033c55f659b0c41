//! The process `mobula engine`: binds the API's socket, opens the plugin engine, keeps the sockets
//! of published plugins, until it is told to stop. Plugins go on running when it ends.
//!
//! ```text
//! bind ─▶ open ─▶ ready ─▶ serve, publish … ─▶ end of requests ─▶ close ─▶ end
//!                                     SIGTERM ─┘
//! ```

mod publish;

use crate::agent::logging;
use crate::config::Config;
use crate::engine_api::{self, Api};
use crate::listen::{Bound, Inherited, Listen};
use crate::paths::Paths;
use error::{IoContext, Result};
use plugin::Engine;
use plugin::home::Home;
use sd_notify::NotifyState;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long requests under way may take to end when the engine is stopped.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the engine until SIGTERM or SIGINT. `socket` is where its API listens instead of where the
/// configuration says.
///
/// Another engine on the same home → `FailedPrecondition`.
pub async fn run(paths: &Paths, config: &Config, socket: Option<PathBuf>) -> Result<()> {
    let _logging = logging::start(&config.log)?;
    host::process::raise_file_limit();
    host::file::make_dir(&paths.run(), 0o700)?;
    let home = Home::below(paths.home());
    let root = home.state.clone();
    let options = config.engine.options(home, docker_config())?;
    let socket = socket.or_else(|| config.engine.socket.clone());
    let socket = socket.unwrap_or_else(|| paths.engine_socket());

    let listen = Listen::Unix(socket.clone());
    let bound = Bound::bind(&listen, None, &mut Inherited::from_env()).await?;
    // Before anything is opened: whoever is stopped while it starts still ends well.
    let end = end()?;
    let engine = Engine::open(options).await?;
    let (stop, stopped) = watch::channel(false);
    let api = Api { engine: Arc::clone(&engine), root, stop: stopped.clone() };
    let server = tokio::spawn(bound.serve(engine_api::router(Arc::new(api)), stopped.clone()));
    let publisher = tokio::spawn(publish::run(Arc::clone(&engine), stopped));
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    tracing::info!(version = crate::VERSION, socket = %socket.display(), "engine listens");

    end.await;

    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    let _ = stop.send(true);
    let drained = async { tokio::join!(server, publisher) };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("requests are still under way; stopping all the same");
    }
    engine.close().await;
    tracing::info!("engine ends; plugins go on running");
    Ok(())
}

/// Waits for SIGTERM or SIGINT; those that come from this call on count.
fn end() -> Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).doing(|| "listen for signals");
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Where Docker's command line keeps credentials for registries.
fn docker_config() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let own = variable("DOCKER_CONFIG").map(PathBuf::from);
    own.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".docker")))
}
