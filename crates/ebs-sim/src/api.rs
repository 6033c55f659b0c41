//! A call of the API, from the bytes that arrived to those of the answer: faults are drawn, the
//! signature is checked, the action runs. Waiting and breaking connections is left to `server`.

use crate::actions::{self, Call, Marks};
use crate::core::Core;
use crate::credentials::Caller;
use crate::fault::{About, Effect};
use crate::hardware::NoHardware;
use crate::params::Params;
use crate::refusal::{Answered, Refusal};
use crate::signing::Signed;
use crate::throttle;
use crate::world::Step;
use crate::xml::{self, Xml};
use bytes::Bytes;

/// A request as it arrived at the listener of an instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) instance: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn signed(&self) -> Signed<'_> {
        Signed {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: self.headers.clone(),
            body: &self.body,
        }
    }

    /// All parameters, of the query and of the body.
    fn params(&self) -> Answered<Params> {
        if self.path != "/" {
            return Err(Refusal::new(404, "InvalidAction", "The path must be /"));
        }
        let malformed = |_| Refusal::client("MalformedQueryString", "The body is no UTF-8");
        match self.method.as_str() {
            "GET" => Params::parse(&self.query),
            "POST" => {
                let body = str::from_utf8(&self.body).map_err(malformed)?;
                Params::parse(&format!("{}&{body}", self.query))
            }
            _ => Err(Refusal::new(405, "MethodNotAllowed", "The method must be GET or POST")),
        }
    }
}

/// What goes wrong with a call, drawn before anything else happens.
#[derive(Debug)]
pub(crate) struct Drawn {
    params: Answered<Params>,
    action: String,
    effects: Vec<(u64, Effect)>,
    /// Milliseconds to wait before anything happens.
    pub(crate) wait: u64,
}

impl Drawn {
    pub(crate) fn has(&self, effect: &Effect) -> bool {
        self.effects.iter().any(|(_, drawn)| drawn == effect)
    }

    /// Milliseconds between two bytes of the answer.
    pub(crate) fn drip(&self) -> Option<u64> {
        self.effects.iter().find_map(|(_, effect)| match effect {
            Effect::Drip { ms } => Some(*ms),
            _ => None,
        })
    }

    fn lie(&self) -> Option<u64> {
        self.effects.iter().find(|(_, effect)| *effect == Effect::Lie).map(|(number, _)| *number)
    }

    /// How far the cloud's clock is ahead for this call, in milliseconds.
    pub(crate) fn skew(&self) -> i64 {
        let skews = self.effects.iter().map(|(_, effect)| match effect {
            Effect::ClockSkew { ms } => *ms,
            _ => 0,
        });
        skews.sum()
    }

    fn marks(&self) -> Marks {
        Marks {
            stick: self.has(&Effect::Stick),
            fail: self.has(&Effect::Fail),
            kms_disabled: self.has(&Effect::KmsKeyDisabled),
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Seconds that the token in the body lasts: a header of the metadata service.
    pub(crate) lasts: Option<u64>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), lasts: None }
    }
}

/// Counts the call and draws what goes wrong with it.
pub(crate) fn draw(core: &mut Core, request: &Request) -> Drawn {
    let params = request.params();
    let given = |name: &str| params.as_ref().map(|params| params.values(name)).unwrap_or_default();
    let action = given("Action").pop().unwrap_or_default();
    let mut instances = given("InstanceId");
    instances.push(request.instance.clone());
    let volumes = [given("VolumeId"), given("SourceVolumeId")].concat();
    *core.calls.entry(action.clone()).or_default() += 1;
    let effects = core.faults.draw(&About {
        action: &action,
        instances: instances.iter().map(String::as_str).collect(),
        volumes: volumes.iter().map(String::as_str).collect(),
        imds: false,
    });
    let delays = effects.iter().map(|(_, effect)| match effect {
        Effect::Delay { ms } => *ms,
        _ => 0,
    });
    let wait = core.delays.latency + delays.sum::<u64>();
    Drawn { params, action, effects, wait }
}

/// Does what was asked for, and answers.
pub(crate) fn answer(core: &mut Core, request: &Request, drawn: &Drawn) -> Reply {
    let id = uuid::Uuid::new_v4().to_string();
    let sts =
        crate::signing::Authorization::parse(request.header("authorization").unwrap_or_default())
            .is_ok_and(|by| by.service == "sts");
    match run(core, request, drawn) {
        Ok(inner) => {
            let write = if sts { xml::sts_response } else { xml::response };
            Reply::new(200, write(&drawn.action, &id, &inner))
        }
        Err(Refusal { status, code, message }) => {
            let body = match sts {
                true => xml::sts_error(&code, &message, status, &id),
                false => xml::error(&code, &message, &id),
            };
            Reply::new(status, body)
        }
    }
}

fn run(core: &mut Core, request: &Request, drawn: &Drawn) -> Answered<Xml> {
    let mut params = drawn.params.clone()?;
    let caller = authenticate(core, request, drawn)?;
    let now = core.now();
    fail(core, drawn, now, caller.sts)?;
    params.take("Action").filter(|action| !action.is_empty()).ok_or_else(|| {
        Refusal::client("MissingAction", "The request must contain the parameter Action")
    })?;
    check_version(params.take("Version"), caller.sts)?;
    let work = actions::find(&drawn.action, caller.sts).ok_or_else(|| {
        let what = format!("The action {} is not valid for this web service.", drawn.action);
        Refusal::client("InvalidAction", what)
    })?;
    core.tick().map_err(|error| Refusal::internal(&error))?;
    let dry_run = params.boolean("DryRun")?.unwrap_or_default();
    work_with(core, drawn, Given { params, caller, dry_run, now }, work)
}

/// What an action is called with.
struct Given {
    params: Params,
    caller: Caller,
    dry_run: bool,
    now: u64,
}

/// Runs the action on the account; on an older one if Describe* lags or lies; on a copy that is
/// thrown away if it is a lie.
fn work_with(core: &mut Core, drawn: &Drawn, given: Given, work: actions::Action) -> Answered<Xml> {
    let config = core.config.clone();
    let is_read = throttle::is_read(&drawn.action);
    let now = given.now.max(core.now());
    let marks = drawn.marks();
    let call = |world, step, view| {
        let Given { params, caller, dry_run, .. } = given;
        let mut call = Call { params, caller, dry_run, marks, config: &config, world, step, view };
        let mut xml = Xml::default();
        work(&mut call, &mut xml).map(|()| xml)
    };
    if let Some(lie) = drawn.lie() {
        let mut copy = core.stale.get(&lie).cloned().unwrap_or_else(|| core.world.clone());
        if !is_read {
            copy = core.world.clone();
        }
        let mut hardware = NoHardware;
        let step = Step { now, delays: core.delays, hardware: &mut hardware };
        return call(&mut copy, step, None);
    }
    let view = if is_read { core.view(now) } else { None };
    let (world, step) = core.step(now);
    let done = call(world, step, view);
    if !is_read {
        core.changed().map_err(|error| Refusal::internal(&error))?;
    }
    done
}

fn authenticate(core: &mut Core, request: &Request, drawn: &Drawn) -> Answered<Caller> {
    let clock = core.signing_clock(drawn.skew());
    if drawn.has(&Effect::ExpireCredentials)
        && let Ok(Caller { access_key, instance: Some(_), .. }) =
            core.issued.check(&request.signed(), &core.config, clock)
    {
        core.issued.expire(&access_key);
    }
    core.issued.check(&request.signed(), &core.config, clock)
}

/// The faults that are answers, and the limits of calls.
fn fail(core: &mut Core, drawn: &Drawn, now: u64, sts: bool) -> Answered<()> {
    let throttled = || Refusal::new(503, "RequestLimitExceeded", "Request limit exceeded.");
    if drawn.has(&Effect::Throttle) {
        return Err(throttled());
    }
    for (_, effect) in &drawn.effects {
        if let Effect::Error { code, status, message } = effect {
            return Err(Refusal::new(*status, code, message));
        }
    }
    if drawn.has(&Effect::Deny) {
        let code = if sts { "AccessDenied" } else { "UnauthorizedOperation" };
        let what = format!(
            "You are not authorized to perform this operation. User is not authorized to perform: \
             {}",
            drawn.action
        );
        return Err(Refusal::new(403, code, what));
    }
    let limits = core.config.limits.clone();
    match core.throttle.take(&drawn.action, &limits, now) {
        true => Ok(()),
        false => Err(throttled()),
    }
}

fn check_version(given: Option<String>, sts: bool) -> Answered<()> {
    let known = if sts { "2011-06-15" } else { "2016-11-15" };
    match given {
        Some(version) if version == known => Ok(()),
        Some(version) => Err(Refusal::client(
            "NoSuchVersion",
            format!("The requested version ({version}) is not valid; it is {known}"),
        )),
        None => Err(Refusal::missing("Version")),
    }
}
