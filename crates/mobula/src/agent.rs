//! The agent: binds its sockets, opens its services, and looks after both until it is told to stop.
//!
//! ```text
//! lock ─▶ bind ─▶ ready ─▶ open services ─▶ serve, recover ─▶ sweep … ─▶ drain ─▶ end
//!                              ▲──── SIGHUP ────┘    │           SIGTERM ─┘
//!                                                    └▶ keep up claims …
//! ```
//!
//! Mounts stay when it ends: containers go on, and the next agent takes them over.

mod claims;
pub(crate) mod logging;
mod modules;

use crate::app::App;
use crate::config::Config;
use crate::listen::{Bound, Inherited, Listen};
use crate::paths::Paths;
use crate::rest;
use crate::services::Surroundings;
use error::{IoContext, Result};
use host::lock::HomeLock;
use modules::Modules;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a command that works without an agent may keep it from starting.
const LOCK: Duration = Duration::from_secs(10);
/// How often services are looked after.
const SWEEP: Duration = Duration::from_secs(10);
/// How long operations may take to end when the agent is stopped.
const DRAIN: Duration = Duration::from_secs(30);

/// Runs the agent until SIGTERM or SIGINT; SIGHUP makes it `load` its configuration again.
///
/// Another agent on the same home → `FailedPrecondition`.
pub async fn run(paths: Paths, load: impl Fn() -> Result<Config>) -> Result<()> {
    let config = load()?;
    let logging = logging::start(&config.log)?;
    host::process::raise_file_limit();
    host::file::make_dir(&paths.run(), 0o700)?;
    // Held to the end of the process: work that hangs in the kernel may outlast this function.
    std::mem::forget(HomeLock::acquire(&paths.lock(), LOCK)?);
    let app = App::new(Surroundings::of(paths.clone())?);
    let mut inherited = Inherited::from_env();
    let (stop, stopped) = watch::channel(false);

    let mut modules = Modules::new(Arc::clone(&app));
    modules.bind(&config, &mut inherited).await?;
    // Last: whoever finds this one finds them all.
    let control = Bound::bind(&Listen::Unix(paths.socket()), None, &mut inherited).await?;
    // Clients may connect from here on; they are answered as soon as the services are open.
    // Before anybody is told: whoever hears that it listens may end it at once.
    let mut signals = Signals::listen()?;
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    tracing::info!(version = crate::VERSION, socket = %paths.socket().display(), "agent listens");
    app.configure(&config).await;
    app.share_mounts().await;
    let control = tokio::spawn(control.serve(rest::router(Arc::clone(&app)), stopped.clone()));
    modules.serve();
    let keepers = [
        tokio::spawn(look_after(Arc::clone(&app))),
        tokio::spawn(claims::keep_up(Arc::clone(&app))),
        tokio::spawn(claims::detach_left_over(Arc::clone(&app))),
    ];

    wait_for_end(&app, &logging, &mut modules, &mut signals, load).await?;

    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    let _ = stop.send(true);
    keepers.iter().for_each(JoinHandle::abort);
    drain(&app, control, modules).await;
    tracing::info!("agent ends; volumes stay mounted");
    Ok(())
}

async fn look_after(app: Arc<App>) {
    app.recover().await;
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.sweep().await;
        let _ = tokio::task::spawn_blocking(host::memory::give_back).await;
    }
}

/// What the agent is told by signals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).doing(|| "listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

async fn wait_for_end(
    app: &Arc<App>,
    logging: &logging::Handle,
    modules: &mut Modules,
    signals: &mut Signals,
    load: impl Fn() -> Result<Config>,
) -> Result<()> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => {
                let _ = sd_notify::notify(&[NotifyState::Reloading]);
                match load().and_then(Config::without_problems) {
                    Ok(config) => reload(app, logging, modules, &config).await,
                    Err(error) => tracing::error!(%error, "configuration not reloaded; the old one stays"),
                }
                let _ = sd_notify::notify(&[NotifyState::Ready]);
            }
        }
    }
}

async fn reload(app: &Arc<App>, logging: &logging::Handle, modules: &mut Modules, config: &Config) {
    if let Err(error) = logging.set(&config.log) {
        tracing::error!(%error, "log settings stay");
    }
    app.configure(config).await;
    if let Err(error) = modules.bind(config, &mut Inherited::default()).await {
        tracing::error!(%error, "not every Docker plugin listens");
    }
    modules.serve();
    let recovered = Arc::clone(app);
    tokio::spawn(async move { recovered.recover().await });
    tracing::info!("configuration reloaded");
}

async fn drain(app: &App, control: JoinHandle<()>, modules: Modules) {
    if let Err(error) = app.drain(DRAIN).await {
        tracing::warn!(%error, "stopping all the same");
    }
    let answers = async {
        modules.stop().await;
        let _ = control.await;
    };
    // The answers of what has just ended are on their way.
    let _ = tokio::time::timeout(Duration::from_secs(2), answers).await;
}
