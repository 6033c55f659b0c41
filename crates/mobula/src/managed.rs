//! The agent as a Docker managed plugin: one driver, configured by the plugin's settings alone.
//! Which settings there are follows from the driver's [`Spec`](volume::Spec); the image builder
//! writes them into `config.json`, the agent in the container reads them.

pub mod variables;
