//! Which call a method and a path mean. Names are greedy: they hold `/` and `:`, so the literal
//! words are looked for first, and then at the end.

/// A call of Docker's API, or of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Ping,
    Version,
    Info,
    Events,
    Plugins,
    Inspect(String),
    Privileges,
    Pull,
    Create,
    Enable(String),
    Disable(String),
    Remove(String),
    Set(String),
    Upgrade(String),
    Push(String),
    Volumes,
    CreateVolume,
    Volume(String),
    UpdateVolume,
    RemoveVolume(String),
    Prune,
    Own(Own),
}

/// What Docker's API has no room for, below `/mobula`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    Describe(String),
    DescribeAll,
    Choose(String),
    Logs(String),
    Top(String),
    Exec(String),
    Save(String),
    Load,
    Collect,
    Search,
    Podman,
}

impl Route {
    /// The call; `path` is decoded and has no version.
    pub(super) fn find(method: &str, path: &str) -> Option<Self> {
        Some(match (method, path) {
            ("GET" | "HEAD", "/_ping") => Self::Ping,
            ("GET", "/version") => Self::Version,
            ("GET", "/info") => Self::Info,
            ("GET", "/events") => Self::Events,
            ("GET", "/plugins") => Self::Plugins,
            ("GET", "/plugins/privileges") => Self::Privileges,
            ("POST", "/plugins/pull") => Self::Pull,
            ("POST", "/plugins/create") => Self::Create,
            ("GET", "/volumes") => Self::Volumes,
            ("POST", "/volumes/create") => Self::CreateVolume,
            ("POST", "/volumes/prune") => Self::Prune,
            _ => return Self::named(method, path),
        })
    }

    fn named(method: &str, path: &str) -> Option<Self> {
        let below = |prefix| path.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty());
        if let Some(rest) = below("/plugins/") {
            return Self::plugin(method, rest);
        }
        if let Some(rest) = below("/mobula/") {
            return Own::find(method, rest).map(Self::Own);
        }
        let name = below("/volumes/")?.to_owned();
        match method {
            "GET" => Some(Self::Volume(name)),
            "PUT" => Some(Self::UpdateVolume),
            "DELETE" => Some(Self::RemoveVolume(name)),
            _ => None,
        }
    }

    fn plugin(method: &str, rest: &str) -> Option<Self> {
        if method == "DELETE" {
            return Some(Self::Remove(rest.to_owned()));
        }
        let (name, verb) = ending(rest)?;
        Some(match (method, verb) {
            ("GET", "json") => Self::Inspect(name),
            ("POST", "enable") => Self::Enable(name),
            ("POST", "disable") => Self::Disable(name),
            ("POST", "set") => Self::Set(name),
            ("POST", "upgrade") => Self::Upgrade(name),
            // docker-py means push when it says pull.
            ("POST", "push" | "pull") => Self::Push(name),
            _ => return None,
        })
    }
}

impl Own {
    fn find(method: &str, rest: &str) -> Option<Self> {
        match (method, rest) {
            ("GET", "plugins") => return Some(Self::DescribeAll),
            ("POST", "plugins/load") => return Some(Self::Load),
            ("POST", "gc") => return Some(Self::Collect),
            ("GET", "search") => return Some(Self::Search),
            ("GET", "podman") => return Some(Self::Podman),
            _ => {}
        }
        let rest = rest.strip_prefix("plugins/").filter(|rest| !rest.is_empty())?;
        match (method, ending(rest)) {
            ("GET", Some((name, "logs"))) => Some(Self::Logs(name)),
            ("GET", Some((name, "top"))) => Some(Self::Top(name)),
            ("GET", Some((name, "save"))) => Some(Self::Save(name)),
            ("PUT", Some((name, "choices"))) => Some(Self::Choose(name)),
            ("POST", Some((name, "exec"))) => Some(Self::Exec(name)),
            ("GET", _) => Some(Self::Describe(rest.to_owned())),
            _ => None,
        }
    }
}

/// `a/b:c/enable` → `a/b:c` and `enable`.
fn ending(rest: &str) -> Option<(String, &str)> {
    let (name, verb) = rest.rsplit_once('/')?;
    (!name.is_empty()).then(|| (name.to_owned(), verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &str, path: &str) -> Route {
        Route::find(method, path).unwrap_or_else(|| panic!("{method} {path}"))
    }

    #[test]
    fn names_hold_slashes_and_colons() {
        let name = || "127.0.0.1:5977/me/probe:v1".to_owned();
        for (method, verb, route) in [
            ("GET", "/json", Route::Inspect(name())),
            ("POST", "/enable", Route::Enable(name())),
            ("POST", "/disable", Route::Disable(name())),
            ("POST", "/set", Route::Set(name())),
            ("POST", "/upgrade", Route::Upgrade(name())),
            ("POST", "/push", Route::Push(name())),
            ("POST", "/pull", Route::Push(name())),
            ("DELETE", "", Route::Remove(name())),
        ] {
            assert_eq!(find(method, &format!("/plugins/{}{verb}", name())), route);
        }
        assert_eq!(find("GET", "/volumes/a/b:c"), Route::Volume("a/b:c".to_owned()));
        let logs = find("GET", "/mobula/plugins/a/b:c/logs");
        assert_eq!(logs, Route::Own(Own::Logs("a/b:c".to_owned())));
        let description = find("GET", "/mobula/plugins/a/b:c");
        assert_eq!(description, Route::Own(Own::Describe("a/b:c".to_owned())));
    }

    #[test]
    fn literal_words_win_over_names() {
        assert_eq!(find("GET", "/plugins/privileges"), Route::Privileges);
        assert_eq!(find("POST", "/plugins/pull"), Route::Pull);
        assert_eq!(find("POST", "/plugins/create"), Route::Create);
        assert_eq!(find("POST", "/volumes/prune"), Route::Prune);
        assert_eq!(find("POST", "/mobula/plugins/load"), Route::Own(Own::Load));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/containers/json"),
            ("POST", "/plugins"),
            ("GET", "/plugins/"),
            ("POST", "/plugins//enable"),
            ("GET", "/plugins/x"),
            ("PUT", "/plugins/x/enable"),
            ("DELETE", "/plugins/"),
            ("GET", "/volumes/"),
            ("POST", "/volumes/x"),
            ("POST", "/_ping"),
            ("GET", "/mobula/"),
            ("GET", "/mobula/plugins/"),
            ("DELETE", "/mobula/plugins/x"),
        ] {
            assert_eq!(Route::find(method, path), None, "{method} {path}");
        }
    }
}
