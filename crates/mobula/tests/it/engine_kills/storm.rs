//! Many clients at once over a few plugins, and an engine that is killed all the while: what is left
//! in the end is whole.

use super::lab::Lab;
use crate::fixture::{PATIENCE, eventually, is_root};
use crate::plugins::image::probe;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: u64 = 8;
/// None of them could be the beginning of an ID.
const PLUGINS: [&str; 3] = ["red", "green", "yellow"];
const KILLS: usize = 6;

/// xorshift64*: reproducible from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

/// One of the things that clients do.
fn word<'a>(random: &mut Random, dir: &'a str) -> Vec<&'a str> {
    let name = PLUGINS[random.below(PLUGINS.len())];
    match random.below(8) {
        0 | 1 => vec!["enable", name],
        2 => vec!["disable", name],
        3 => vec!["disable", "-f", name],
        4 => vec!["rm", "-f", name],
        5 | 6 => vec!["create", name, dir],
        _ => vec!["set", name, "DEBUG=1"],
    }
}

#[test]
fn a_storm_of_clients_and_kills_ends_consistent() {
    if !is_root() {
        return;
    }
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    println!("seed {seed}");
    let mut lab = Lab::started();
    let dir = probe().write(&lab.home);
    let dir = dir.to_str().unwrap();
    let over = AtomicBool::new(false);
    let mut ids = BTreeSet::new();
    let home = &lab.home.path("").display().to_string();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let over = &over;
            scope.spawn(move || {
                let mut random = Random(u64::from(seed) * 31 + client + 1);
                while !over.load(Ordering::Relaxed) {
                    let words = word(&mut random, dir);
                    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mobula"));
                    command.arg("plugin").args(words).env("MOBULA_HOME", home);
                    let _ = command.output().unwrap();
                }
            });
        }
        let mut random = Random(u64::from(seed) + 1);
        for _ in 0..KILLS {
            let pause = Duration::from_millis(200 + random.below(900) as u64);
            let until = Instant::now() + pause;
            while Instant::now() < until {
                ids.extend(lab.entries("var/lib/mobula/plugins"));
                std::thread::sleep(Duration::from_millis(20));
            }
            lab.restart();
        }
        over.store(true, Ordering::Relaxed);
    });
    lab.restart();
    let ids = ids.into_iter().map(|id| id.trim_end_matches("-removing").to_owned()).collect();
    for name in PLUGINS {
        if lab.state(name) == "gone" {
            lab.ok(&["create", name, dir]);
        }
        if lab.describe(name)["enabled"] == false {
            lab.ok(&["enable", name]);
        }
        lab.runs(name);
        // One that went on running is published a moment after the engine's start.
        eventually("it is published", PATIENCE, || lab.published(name).exists());
        lab.call(name, "List", &serde_json::json!({}));
        lab.ok(&["rm", "-f", name]);
    }
    lab.run(&["gc"]);
    lab.assert_nothing_left(&ids);
}
