//! The bill of materials, as CycloneDX 1.5: every crate that is in the program, with its version,
//! license and checksum, who needs whom, and the C libraries that are linked in.

use super::Release;
use crate::{program, workspace};
use error::{Error, IoContext, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// C libraries in the static program, by the Debian package that their version is known of.
const LIBRARIES: [(&str, &str); 2] = [("glibc", "libc6-dev"), ("libseccomp", "libseccomp-dev")];

/// Writes `mobula-VERSION.cdx.json`.
pub(super) fn write(release: &Release) -> Result<()> {
    let mut cargo = program::command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace::root()).args(["metadata", "--locked", "--format-version", "1"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let metadata: Value = serde_json::from_slice(&program::read(&mut cargo)?)
        .map_err(|error| Error::internal("read what cargo says").because(error))?;
    let lock = workspace::read(&workspace::root().join("Cargo.lock"))?;
    let bill = bill(&metadata, &checksums(&lock), &libraries())?;
    let text = serde_json::to_string_pretty(&bill)
        .map_err(|error| Error::internal("write the bill of materials").because(error))?;
    let path = release.out.join(format!("mobula-{}.cdx.json", release.version));
    std::fs::write(&path, text + "\n").doing(|| format!("write {}", path.display()))
}

/// SHA-256 by name and version, out of Cargo.lock.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, key: &str| {
        let prefix = format!("{key} = \"");
        let line = block.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
        line.map(|rest| rest.trim_end_matches('"').to_owned())
    };
    let blocks = lock.split("[[package]]").skip(1);
    let sums = blocks.filter_map(|block| {
        Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?))
    });
    sums.collect()
}

/// The C libraries, with their versions where dpkg knows them.
fn libraries() -> Vec<(&'static str, Option<String>)> {
    let version = |package: &str| {
        let mut query = program::command("dpkg-query");
        query.args(["-W", "-f", "${Version}", package]);
        let found = program::run(&mut query, b"").ok()?;
        Some(String::from_utf8_lossy(&found).trim().to_owned()).filter(|found| !found.is_empty())
    };
    LIBRARIES.map(|(name, package)| (name, version(package))).into()
}

fn bill(
    metadata: &Value,
    checksums: &BTreeMap<(String, String), String>,
    libraries: &[(&str, Option<String>)],
) -> Result<Value> {
    let packages: BTreeMap<&str, &Value> = array(&metadata["packages"])
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let needs = needs(metadata);
    let root = packages.iter().find(|(_, package)| package["name"] == "mobula");
    let root = root.map(|(id, _)| *id).ok_or_else(|| Error::internal("cargo knows no mobula"))?;
    let used = reachable(root, &needs);
    let crates = used.iter().filter(|id| **id != root).filter_map(|id| packages.get(id));
    let mut components: Vec<Value> = crates.map(|package| component(package, checksums)).collect();
    components.extend(libraries.iter().map(|(name, version)| library(name, version.as_deref())));
    let reference = |id: &&str| packages.get(id).map(|package| url(package));
    let dependencies: Vec<Value> = used
        .iter()
        .map(|id| {
            let below = needs.get(id).into_iter().flatten();
            let below: BTreeSet<String> = below.filter_map(reference).collect();
            json!({ "ref": reference(id), "dependsOn": below })
        })
        .collect();
    let mut program = component(packages[root], checksums);
    program["type"] = json!("application");
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": program },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Who needs whom to run; what is only needed to build or to test is not in the program.
fn needs(metadata: &Value) -> BTreeMap<&str, Vec<&str>> {
    let is_normal = |need: &&Value| array(&need["dep_kinds"]).any(|kind| kind["kind"].is_null());
    let nodes = array(&metadata["resolve"]["nodes"]);
    nodes
        .filter_map(|node| {
            let below = array(&node["deps"]).filter(is_normal);
            Some((node["id"].as_str()?, below.filter_map(|need| need["pkg"].as_str()).collect()))
        })
        .collect()
}

fn reachable<'a>(root: &'a str, needs: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(needs.get(id).into_iter().flatten());
        }
    }
    found
}

/// A package URL (purl): pkg:cargo/name@version.
fn url(package: &Value) -> String {
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
    format!("pkg:cargo/{}@{}", text("name"), text("version"))
}

fn component(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Value {
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let mut component = json!({
        "type": "library",
        "bom-ref": url(package),
        "name": package["name"],
        "version": package["version"],
        "purl": url(package),
    });
    if package["license"].is_string() {
        component["licenses"] = json!([{ "expression": package["license"] }]);
    }
    if let Some(sum) = checksums.get(&(text("name"), text("version"))) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

fn library(name: &str, version: Option<&str>) -> Value {
    let mut component = json!({ "type": "library", "bom-ref": name, "name": name });
    if let Some(version) = version {
        component["version"] = json!(version);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_program_is_in_its_bill() {
        let kind = |kind: Value| json!([{ "kind": kind }]);
        let package =
            |name: &str| json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT" });
        let metadata = json!({
            "packages": [package("mobula"), package("a"), package("b"), package("test-only")],
            "resolve": { "nodes": [
                { "id": "mobula", "deps": [
                    { "pkg": "a", "dep_kinds": kind(Value::Null) },
                    { "pkg": "test-only", "dep_kinds": kind(json!("dev")) },
                ]},
                { "id": "a", "deps": [{ "pkg": "b", "dep_kinds": kind(Value::Null) }] },
                { "id": "b", "deps": [] },
            ]},
        });
        let lock = "[[package]]\nname = \"b\"\nversion = \"1.0.0\"\nchecksum = \"ab12\"\n";
        let bill = bill(&metadata, &checksums(lock), &[("glibc", Some("2.36".into()))]).unwrap();
        let names: Vec<_> = array(&bill["components"]).map(|one| one["name"].clone()).collect();
        assert_eq!(names, ["a", "b", "glibc"]);
        assert_eq!(bill["components"][1]["hashes"][0]["content"], "ab12");
        assert_eq!(bill["dependencies"][0]["dependsOn"], json!(["pkg:cargo/b@1.0.0"]));
        assert_eq!(bill["metadata"]["component"]["name"], "mobula");
    }
}
