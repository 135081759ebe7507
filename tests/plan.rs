//! A plan is made off the owner's thread: only its caller waits, and it costs the owner one snapshot.

mod san;

use dm_psa::api::client::Client;
use dm_psa::api::handler::{Limits, Pending};
use dm_psa::api::listener::Listener;
use dm_psa::api::requests::{GetStatus, ListAdapters, Method, Plan, Request};
use dm_psa::api::wire::{self, Call, MAX_CALL, Reply};
use dm_psa::api::{ApiError, Handler, Peer, Server};
use dm_psa::psa::claim::Ruleset;
use dm_psa::psa::rules::Rules;
use dm_psa::psa::satp::rules::SatpRules;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

type Later = SyncSender<Result<Value, ApiError>>;

/// Answers `Plan` when the test does, and everything else immediately.
struct Slow(Sender<Later>);

impl Handler for Slow {
    fn call(&self, method: &str, parameters: &Value, _: Peer) -> Result<Value, ApiError> {
        match Request::parse(method, parameters)? {
            Request::Plan(_) => panic!("a plan is not made on the server's thread"),
            _ => Ok(json!({ "adapters": [] })),
        }
    }

    fn begin(&self, method: &str, parameters: &Value, _: Peer) -> Option<Pending> {
        let Ok(Request::Plan(_)) = Request::parse(method, parameters) else {
            return None;
        };
        let (later, pending) = sync_channel(1);
        self.0.send(later).unwrap();
        Some(pending)
    }
}

struct Host {
    _server: Server,
    path: PathBuf,
    begun: Receiver<Later>,
    _directory: tempfile::TempDir,
}

fn host(limits: Limits) -> Host {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("io.dmpsa");
    let (sender, begun) = channel();
    let listener = Listener::bind(&path).unwrap();
    let server = Server::start(listener, Box::new(Slow(sender)), limits).unwrap();
    Host {
        _server: server,
        path,
        begun,
        _directory: directory,
    }
}

impl Host {
    fn client(&self) -> Client {
        Client::connect(&self.path, Duration::from_secs(20)).unwrap()
    }

    /// Sends calls without waiting for their answers.
    fn send(&self, calls: &[&str]) -> UnixStream {
        let mut socket = UnixStream::connect(&self.path).unwrap();
        let timeout = Some(Duration::from_secs(20));
        socket.set_read_timeout(timeout).unwrap();
        for name in calls {
            let call = Call::new(&format!("io.dmpsa.{name}"), json!({}));
            socket
                .write_all(&wire::encode(&call, MAX_CALL).unwrap())
                .unwrap();
        }
        socket
    }

    fn begun(&self) -> Later {
        self.begun.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

/// The next `count` replies.
fn replies(socket: &mut UnixStream, count: usize) -> Vec<Reply> {
    let mut bytes = Vec::new();
    while bytes.iter().filter(|byte| **byte == 0).count() < count {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        bytes.extend(byte);
    }
    let frames = bytes
        .split(|byte| *byte == 0)
        .filter(|frame| !frame.is_empty());
    frames.map(|frame| wire::decode(frame).unwrap()).collect()
}

fn explanation() -> Value {
    json!({ "explanation": { "subject": "plan", "sections": [] } })
}

#[test]
fn only_the_caller_of_a_plan_waits() {
    let host = host(Limits::default());
    let mut waits = host.send(&["Plan", "ListAdapters"]);
    let later = host.begun();
    for _ in 0..20 {
        host.client().call(&ListAdapters {}).unwrap();
    }
    // The caller's next call is answered after the plan, in order.
    later.send(Ok(explanation())).unwrap();
    let answers = replies(&mut waits, 2);
    assert!(
        answers[0].parameters.get("explanation").is_some(),
        "{answers:?}"
    );
    assert!(
        answers[1].parameters.get("adapters").is_some(),
        "{answers:?}"
    );
}

#[test]
fn refused_and_abandoned_plans_end_with_an_error() {
    let host = host(Limits::default());
    let mut waits = host.send(&["Plan"]);
    let busy = ApiError::Unavailable {
        reason: "another plan is being made".to_owned(),
    };
    host.begun().send(Err(busy)).unwrap();
    let answer = &replies(&mut waits, 1)[0];
    assert_eq!(answer.error.as_deref(), Some("io.dmpsa.Unavailable"));
    let mut waits = host.send(&["Plan"]);
    drop(host.begun());
    let answer = &replies(&mut waits, 1)[0];
    assert_eq!(answer.error.as_deref(), Some("io.dmpsa.Unavailable"));
}

#[test]
fn a_caller_that_disconnects_is_dropped_and_one_that_waits_too_long_is_disconnected() {
    let limits = Limits {
        work: Duration::from_millis(300),
        ..Limits::default()
    };
    let host = host(limits);
    let gone = host.send(&["Plan"]);
    let later = host.begun();
    drop(gone);
    // The receiver is dropped with the session; what is sent before fills the channel.
    let began = Instant::now();
    while !matches!(
        later.try_send(Ok(explanation())),
        Err(TrySendError::Disconnected(_))
    ) {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut waits = host.send(&["Plan"]);
    let _later = host.begun();
    let mut rest = Vec::new();
    waits.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, Vec::<u8>::new());
    host.client().call(&ListAdapters {}).unwrap();
}

#[test]
fn a_plan_of_a_snapshot_is_the_plan_of_the_world() {
    let mut kernel = san::four_paths();
    for lun in 1..5 {
        san::add_unit(&mut kernel, lun, &[(1, san::AO), (2, san::ANO)]);
    }
    let sim = san::running(kernel);
    let rules = Rules {
        claim: Ruleset::basic(),
        satp: SatpRules::new(Vec::new(), BTreeMap::new()),
    };
    let plan = sim.world.plan(&rules);
    assert_eq!(plan.len(), 5, "{plan:?}");
    let line = "VMW_SATP_ALUA and VMW_PSP_MRU -> VMW_SATP_DEFAULT_AA and VMW_PSP_FIXED";
    assert!(plan[0].1.iter().any(|text| text == line), "{plan:?}");
    assert_eq!(sim.world.clone().into_plan(&rules), plan);
    // Rules that change nothing.
    assert!(sim.world.plan(&Rules::default()).is_empty());
    assert_eq!(Plan::NAME, "io.dmpsa.Plan");
    assert_ne!(GetStatus::NAME, Plan::NAME);
}
