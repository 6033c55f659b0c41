//! `cargo xtask plugin-image DRIVER|all`: a driver as a managed plugin, out of its `Spec` alone.
//!
//! ```text
//! DIR/loop/{config.json,rootfs/}   what docker plugin create takes
//! DIR/loop.tar                     an OCI image layout, for mobula plugin load
//! REF                              in a registry, with --push
//! ```
//!
//! The same program, tools and drivers give the same digests: owners, times and order are fixed.

mod rootfs;

use crate::release;
use clap::Args;
use error::{Error, IoContext, Result};
use plugin::made::{Made, make};
use plugin::progress::Silent;
use plugin::reference::Reference;
use plugin::registry::{Options, Registry};
use plugin::rootfs::{Layers, Limits, write_context};
use plugin::store::Store;
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use volume::{Spec, drivers};

/// What `all` means.
const ALL: &str = "all";

/// Make managed plugins of drivers; needs root, since the files in an image belong to root.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A driver, or all that make sense as plugins.
    driver: String,

    /// The program to put into the images instead of one built now in release.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// Where to put the images.
    #[arg(long, value_name = "DIR", default_value = "target/plugin-image")]
    out: PathBuf,

    /// Push to a registry: a reference, or for all a prefix such as 127.0.0.1:5000/mobula, to
    /// which /DRIVER is added. Credentials are docker's.
    #[arg(long, value_name = "REF")]
    push: Option<String>,

    /// The tag of what is saved, and of what is pushed when REF has none.
    #[arg(long, default_value = "latest")]
    tag: String,
}

impl Arguments {
    pub(crate) fn run(&self) -> Result<()> {
        let specs = self.specs()?;
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => release::build(&["mobula"])?.program("mobula")?,
        };
        for spec in specs {
            self.image(spec, &binary)?;
        }
        Ok(())
    }

    fn specs(&self) -> Result<Vec<&'static Spec>> {
        if self.driver == ALL {
            return Ok(drivers::ALL.into_iter().filter(|spec| spec.container.is_some()).collect());
        }
        Ok(vec![drivers::get(&self.driver)?])
    }

    fn image(&self, spec: &Spec, binary: &Path) -> Result<()> {
        let Some(config) = mobula::managed::image::config(spec) else {
            return Err(Error::invalid_argument(format!(
                "driver {} makes no sense as a plugin: it says so itself",
                spec.name
            )));
        };
        let dir = self.out.join(spec.name);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("remove {}", dir.display()), error));
            }
            _ => {}
        }
        std::fs::create_dir_all(&dir).doing(|| format!("make {}", dir.display()))?;
        std::fs::write(dir.join("config.json"), pretty(&config.encode())?)
            .doing(|| format!("write {}", dir.join("config.json").display()))?;
        rootfs::make(&dir.join("rootfs"), spec, binary)?;
        rootfs::settle(&dir)?;
        self.pack(spec, &dir)
    }

    /// Packs the directory, saves it and pushes it.
    fn pack(&self, spec: &Spec, dir: &Path) -> Result<()> {
        let work = self.out.join(format!(".{}", spec.name));
        let packed = (|| {
            let store = Store::open(&work.join("blobs"))?;
            let layers = Layers::open(&work.join("layers"))?;
            let mut context = Vec::new();
            write_context(dir, &mut context)?;
            let made = make(&mut context.as_slice(), &store, &layers, &Limits::default())?;
            let name = format!("mobula/{}:{}", spec.name, self.tag);
            let archive = self.out.join(format!("{}.tar", spec.name));
            let mut file =
                File::create(&archive).doing(|| format!("write {}", archive.display()))?;
            plugin::archive::save(
                &store,
                &name,
                &made.config,
                std::slice::from_ref(&made.layer),
                &mut file,
            )?;
            say(&format!("{name}: {} ({} bytes packed)", archive.display(), made.layer.size))?;
            self.push(spec, &store, &made)
        })();
        let _ = std::fs::remove_dir_all(&work);
        packed
    }

    fn push(&self, spec: &Spec, store: &Store, made: &Made) -> Result<()> {
        let Some(to) = &self.push else { return Ok(()) };
        let to = if self.driver == ALL { format!("{to}/{}", spec.name) } else { to.clone() };
        let mut reference = Reference::parse(&to)?;
        reference.tag.get_or_insert_with(|| self.tag.clone());
        let docker_config = std::env::home_dir().map(|home| home.join(".docker"));
        let registry = Registry::new(Options { docker_config, ..Options::default() })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .doing(|| "start the threads of this program")?;
        let layers = std::slice::from_ref(&made.layer);
        let digest = runtime.block_on(async {
            let auth = registry.stored_auth(&reference).await?;
            registry.push(&reference, &auth, &made.config, layers, &[], store, &Silent).await
        })?;
        say(&format!("pushed {}@{digest}", reference.familiar()))
    }
}

/// For people to read; dockerd and our engine write it anew as they like it.
fn pretty(config: &[u8]) -> Result<String> {
    let value: Value = serde_json::from_slice(config)
        .map_err(|error| Error::internal("read the configuration again").because(error))?;
    Ok(format!("{value:#}\n"))
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").doing(|| "write to standard output")
}
