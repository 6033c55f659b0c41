//! Plugins as processes: shims and containers, made by ourselves and by runc.

mod cycles;
mod deaths;
mod devices;
mod fixture;
mod life;
mod limits;
mod refusals;
