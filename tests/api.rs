//! The interface `io.dmpsa`: it meets its contract, and no client can harm the agent or another client.

use dm_psa::api::client::{Client, ClientError};
use dm_psa::api::handler::Limits;
use dm_psa::api::listener::{ListenError, Listener};
use dm_psa::api::requests::{
    Explain, GetStatus, ListAdapters, ListNmpDevices, ListNmpPaths, Method, Request,
};
use dm_psa::api::types::{
    Adapter, CoreDevice, CorePath, DetachedDevice, Detail, Event, Explanation, FixedConfig,
    HppDevice, HppPath, IoErrors, MultipathGroup, MultipathMap, MultipathPath, NmpDevice, NmpPath,
    RoundRobinConfig, Section, Status, Topology, TopologyGroup, TopologyPath,
};
use dm_psa::api::wire::{self, Call, Decoder, MAX_CALL, MAX_REPLY, Reply};
use dm_psa::api::{ApiError, DESCRIPTION, Handler, INTERFACE_VERSION, Peer, Server};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A service with the answers that the tests need; it also checks the peer's user.
struct Fake;

impl Handler for Fake {
    fn call(&self, method: &str, parameters: &Value, peer: Peer) -> Result<Value, ApiError> {
        match Request::parse(method, parameters)? {
            Request::ListAdapters(_) => Ok(json!({ "adapters": [adapter()] })),
            Request::ListNmpDevices(ListNmpDevices { device: Some(name) }) => {
                Err(ApiError::NotFound {
                    subject: name,
                    hint: "look at the list".to_owned(),
                })
            }
            // The reply is as long as the subject asks.
            Request::Explain(Explain { subject, .. }) => {
                let length: usize = subject.parse().unwrap_or(0);
                Ok(json!({ "explanation": { "subject": "x".repeat(length), "sections": [] } }))
            }
            Request::ListNmpPaths(_) => {
                assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
                assert_eq!(peer.pid, i32::try_from(std::process::id()).unwrap());
                Ok(json!({ "paths": [] }))
            }
            _ => Err(ApiError::Unavailable {
                reason: "not in this test".to_owned(),
            }),
        }
    }
}

fn adapter() -> Adapter {
    Adapter {
        name: "vmhba2".to_owned(),
        driver: "qla2xxx".to_owned(),
        link_state: "link-up".to_owned(),
        uid: "fc.20000024ff8af5c0:21000024ff8af5c0".to_owned(),
        capabilities: String::new(),
        description: "(0000:02:00.0) QLE2692".to_owned(),
        hosts: vec!["host2".to_owned()],
    }
}

struct House {
    path: PathBuf,
    server: Option<Server>,
    _directory: tempfile::TempDir,
}

impl House {
    fn new() -> House {
        House::with(Limits::default())
    }

    fn with(limits: Limits) -> House {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/io.dmpsa");
        let listener = Listener::bind(&path).unwrap();
        House {
            server: Some(Server::start(listener, Box::new(Fake), limits).unwrap()),
            path,
            _directory: directory,
        }
    }

    /// The timeout is generous, for a busy machine.
    fn client(&self) -> Client {
        Client::connect(&self.path, Duration::from_secs(30)).unwrap()
    }

    fn raw(&self) -> UnixStream {
        let socket = UnixStream::connect(&self.path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        socket
    }

    fn assert_alive(&self) {
        assert_eq!(
            self.client().call(&ListAdapters {}).unwrap().adapters,
            [adapter()]
        );
    }
}

/// Reads until the server closes the connection; a reset counts as closed.
fn drain(socket: &mut UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    match socket.read_to_end(&mut all) {
        Ok(_) => {}
        Err(why) => assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset, "{why}"),
    }
    all
}

fn call(method: &str, parameters: Value) -> Vec<u8> {
    wire::encode(&Call::new(method, parameters), MAX_CALL).unwrap()
}

fn replies(bytes: &[u8]) -> Vec<Reply> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|frame| !frame.is_empty())
        .map(|frame| wire::decode(frame).unwrap())
        .collect()
}

// ---- the contract -------------------------------------------------------------------------------------------

/// Members of each `type` of the interface file: name, and whether it may be null.
fn described_types() -> BTreeMap<String, BTreeMap<String, bool>> {
    let mut types = BTreeMap::new();
    let text: String = DESCRIPTION
        .lines()
        .map(|line| line.split('#').next().unwrap())
        .collect::<Vec<_>>()
        .join(" ");
    for part in text.split("type ").skip(1) {
        let (name, rest) = part.split_once('(').unwrap();
        let body = rest.split_once(')').unwrap().0;
        let members = body.split(',').map(|member| {
            let (name, kind) = member.split_once(':').unwrap();
            (name.trim().to_owned(), kind.trim().starts_with('?'))
        });
        types.insert(name.trim().to_owned(), members.collect());
    }
    types
}

/// Members of a record with every option empty.
fn members(record: &impl Serialize) -> BTreeMap<String, bool> {
    let Value::Object(map) = serde_json::to_value(record).unwrap() else {
        panic!("not an object");
    };
    map.into_iter()
        .map(|(name, value)| (name, value.is_null()))
        .collect()
}

#[test]
fn the_interface_file_describes_the_records() {
    let text = String::new;
    let actual = [
        (
            "NmpDevice",
            members(&NmpDevice {
                device: text(),
                display_name: text(),
                satp: text(),
                satp_device_config: text(),
                psp: text(),
                psp_device_config: text(),
                psp_custom_config: text(),
                working_paths: vec![],
                is_usb: false,
                map: None,
                activation: text(),
            }),
        ),
        (
            "NmpPath",
            members(&NmpPath {
                uid: text(),
                runtime_name: text(),
                device: text(),
                display_name: text(),
                group_state: text(),
                array_priority: 0,
                satp_path_config: text(),
                psp_path_config: text(),
            }),
        ),
        (
            "HppDevice",
            members(&HppDevice {
                device: text(),
                display_name: text(),
                scheme: text(),
                scheme_config: text(),
                working_paths: vec![],
                is_ssd: false,
                is_local: false,
                paths: vec![],
                use_ano: false,
                in_effect: text(),
                map: None,
            }),
        ),
        (
            "HppPath",
            members(&HppPath {
                uid: text(),
                runtime_name: text(),
                device: text(),
                display_name: text(),
                path_state: text(),
                path_config: text(),
            }),
        ),
        (
            "CorePath",
            members(&CorePath {
                uid: text(),
                runtime_name: text(),
                device: None,
                display_name: None,
                adapter: text(),
                channel: 0,
                target: 0,
                lun: 0,
                plugin: text(),
                state: text(),
                reason: text(),
                transport: text(),
                adapter_identifier: text(),
                target_identifier: text(),
                adapter_transport_details: text(),
                target_transport_details: text(),
                maximum_io_size: 0,
                disk: None,
                hctl: text(),
                io_errors: vec![],
            }),
        ),
        (
            "IoErrors",
            members(&IoErrors {
                kind: text(),
                count: 0,
            }),
        ),
        (
            "CoreDevice",
            members(&CoreDevice {
                device: text(),
                display_name: text(),
                size_mib: 0,
                device_type: text(),
                multipath_plugin: text(),
                devfs_path: text(),
                vendor: text(),
                model: text(),
                revision: text(),
                scsi_level: 0,
                is_pseudo: false,
                status: text(),
                is_local: false,
                is_removable: false,
                is_ssd: false,
                marked_ssd: false,
                is_offline: false,
                other_uids: vec![],
                is_sas: false,
                is_usb: false,
                is_boot_device: false,
                device_max_queue_depth: 0,
                is_perennially_reserved: false,
                is_shared_clusterwide: false,
            }),
        ),
        (
            "DetachedDevice",
            members(&DetachedDevice {
                device: text(),
                state: text(),
            }),
        ),
        ("Adapter", members(&adapter())),
        (
            "Section",
            members(&Section {
                title: text(),
                lines: vec![],
            }),
        ),
        (
            "FixedConfig",
            members(&FixedConfig {
                device: text(),
                current_path: text(),
                preferred_path: text(),
            }),
        ),
        (
            "RoundRobinConfig",
            members(&RoundRobinConfig {
                device: text(),
                byte_limit: 0,
                iops_limit: 0,
                latency_eval_ms: 0,
                limit_type: text(),
                sampling_cycles: 0,
                use_ano: false,
                in_effect: text(),
            }),
        ),
        (
            "Explanation",
            members(&Explanation {
                subject: text(),
                sections: vec![],
            }),
        ),
        (
            "Topology",
            members(&Topology {
                device: text(),
                display_name: text(),
                size_mib: 0,
                status: text(),
                apd_seconds: None,
                queueing: false,
                plugin: text(),
                satp: text(),
                psp: text(),
                map: None,
                groups: vec![],
                paths: vec![],
            }),
        ),
        (
            "TopologyGroup",
            members(&TopologyGroup {
                number: 0,
                state: text(),
                current: false,
            }),
        ),
        (
            "TopologyPath",
            members(&TopologyPath {
                runtime_name: text(),
                adapter: text(),
                adapter_identifier: text(),
                target_identifier: text(),
                transport: text(),
                state: text(),
                reason: text(),
                disk: None,
                hctl: text(),
                group: None,
                carries_io: false,
            }),
        ),
        ("MultipathMap", members(&MultipathMap::default())),
        ("MultipathGroup", members(&MultipathGroup::default())),
        ("MultipathPath", members(&MultipathPath::default())),
        (
            "Event",
            members(&Event {
                number: 0,
                time_ms: 0,
                severity: text(),
                code: text(),
                subject: text(),
                details: Vec::new(),
            }),
        ),
        (
            "Detail",
            members(&Detail {
                name: text(),
                value: text(),
            }),
        ),
        (
            "Status",
            members(&Status {
                version: text(),
                interface_version: 0,
                uptime_seconds: 0,
                settled: true,
                paths: 0,
                dead_paths: 0,
                devices: 0,
                maps: 0,
                tables_loaded: 0,
                queueing_maps: 0,
                transport: text(),
                transport_reason: text(),
                io_errors: text(),
                io_errors_reason: text(),
                map_names: text(),
                check_interval_ms: 0,
                apd_timeout_ms: 0,
                fast_io_fail_tmo: 0,
            }),
        ),
    ];
    let actual: BTreeMap<String, _> = actual.map(|(n, m)| (n.to_owned(), m)).into();
    assert_eq!(described_types(), actual);
}

#[test]
fn the_interface_file_describes_the_methods() {
    let described: BTreeSet<String> = DESCRIPTION
        .lines()
        .filter_map(|line| line.strip_prefix("method "))
        .map(|line| format!("io.dmpsa.{}", line.split_once('(').unwrap().0))
        .collect();
    let known: BTreeSet<String> = Request::NAMES.iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(described, known);
}

#[test]
fn unknown_parameters_are_refused() {
    let why = Request::parse(ListNmpPaths::NAME, &json!({"device": "a", "pth": "b"})).unwrap_err();
    assert!(why.to_string().contains("`pth`"), "{why}");
    let why = Request::parse(ListNmpPaths::NAME, &json!({"device": 7})).unwrap_err();
    assert!(matches!(why, ApiError::InvalidParameter { .. }), "{why}");
    let why = Request::parse("io.dmpsa.Frobnicate", &json!({})).unwrap_err();
    assert!(matches!(why, ApiError::MethodNotFound { .. }), "{why}");
}

#[test]
fn errors_survive_the_wire() {
    for error in [
        ApiError::NotFound {
            subject: "naa.1".to_owned(),
            hint: "see the list".to_owned(),
        },
        ApiError::InvalidParameter {
            parameter: "a".to_owned(),
            value: "b".to_owned(),
            reason: "c".to_owned(),
        },
        ApiError::MethodNotFound {
            method: "a.B".to_owned(),
        },
    ] {
        let bytes = wire::encode(&error, MAX_REPLY).unwrap();
        let reply: Reply = wire::decode(&bytes[..bytes.len() - 1]).unwrap();
        let back = ApiError::from_reply(&reply.error.unwrap(), &reply.parameters);
        assert_eq!(back, error);
    }
    let unknown = ApiError::from_reply("com.example.Odd", &json!({"a": 1}));
    assert_eq!(unknown.to_string(), r#"com.example.Odd {"a":1}"#);
}

#[test]
fn the_service_describes_itself() {
    let house = House::new();
    let mut client = house.client();
    let info = client
        .call_by_name("org.varlink.service.GetInfo", json!({}))
        .unwrap();
    assert_eq!(info["interfaces"][1], "io.dmpsa");
    for interface in ["io.dmpsa", "org.varlink.service"] {
        let description = client
            .call_by_name(
                "org.varlink.service.GetInterfaceDescription",
                json!({"interface": interface}),
            )
            .unwrap();
        let text = description["description"].as_str().unwrap();
        assert!(
            text.contains(&format!("\ninterface {interface}\n")),
            "{text}"
        );
        let version = format!("# Interface version {INTERFACE_VERSION}.");
        assert!(interface != "io.dmpsa" || text.contains(&version), "{text}");
    }
    let refused = |client: &mut Client, method: &str, parameters| match client
        .call_by_name(method, parameters)
        .unwrap_err()
    {
        ClientError::Refused(why) => why,
        other => panic!("{other}"),
    };
    let mut check = |method: &str, parameters, wanted: &str| {
        let why = refused(&mut client, method, parameters);
        let json = serde_json::to_value(&why).unwrap();
        assert_eq!(json["error"], wanted, "{method}");
    };
    let describe = "org.varlink.service.GetInterfaceDescription";
    check(
        describe,
        json!({"interface": "io.x"}),
        "org.varlink.service.InterfaceNotFound",
    );
    check(describe, json!({}), "org.varlink.service.InvalidParameter");
    check("io.x.Y", json!({}), "org.varlink.service.InterfaceNotFound");
    check(
        "nothing",
        json!({}),
        "org.varlink.service.InterfaceNotFound",
    );
    check(
        "io.dmpsa.Nothing",
        json!({}),
        "org.varlink.service.MethodNotFound",
    );
    check(
        "org.varlink.service.Nothing",
        json!({}),
        "org.varlink.service.MethodNotFound",
    );
    check(
        "io.dmpsa.ListAdapters",
        json!([]),
        "org.varlink.service.InvalidParameter",
    );
    check(
        "io.dmpsa.ListAdapters",
        json!({"x": 1}),
        "io.dmpsa.InvalidParameter",
    );
}

// ---- calls --------------------------------------------------------------------------------------------------

#[test]
fn a_call_is_answered() {
    let house = House::new();
    let mut client = house.client();
    assert_eq!(client.call(&ListAdapters {}).unwrap().adapters, [adapter()]);
    client.call(&ListNmpPaths::default()).unwrap();
    let missing = ListNmpDevices {
        device: Some("naa.1".to_owned()),
    };
    match client.call(&missing).unwrap_err() {
        ClientError::Refused(ApiError::NotFound { subject, .. }) => assert_eq!(subject, "naa.1"),
        other => panic!("{other}"),
    }
    assert_eq!(client.call(&ListAdapters {}).unwrap().adapters, [adapter()]);
}

#[test]
fn pipelined_calls_are_answered_in_order() {
    let house = House::new();
    let mut socket = house.raw();
    let mut bytes = Vec::new();
    for length in 0..200 {
        bytes.extend(call(Explain::NAME, json!({"subject": length.to_string()})));
    }
    // A oneway call is carried out but not answered.
    let mut oneway = Call::new(ListAdapters::NAME, json!({}));
    oneway.oneway = true;
    bytes.extend(wire::encode(&oneway, MAX_CALL).unwrap());
    bytes.extend(br#"{"method":"io.dmpsa.ListAdapters"}"#);
    bytes.push(0);
    socket.write_all(&bytes).unwrap();
    // The client closed its sending side: earlier calls are still answered.
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let replies = replies(&drain(&mut socket));
    assert_eq!(replies.len(), 201);
    for (length, reply) in replies.iter().take(200).enumerate() {
        let subject = reply.parameters["explanation"]["subject"].as_str().unwrap();
        assert_eq!(subject.len(), length);
    }
    assert_eq!(replies[200].parameters["adapters"][0]["name"], "vmhba2");
}

#[test]
fn a_long_reply_arrives_and_one_past_the_limit_becomes_an_error() {
    let house = House::new();
    let mut client = house.client();
    let ask = |client: &mut Client, length: usize| {
        client.call(&Explain {
            subject: length.to_string(),
            verbose: false,
        })
    };
    let long = 15 << 20;
    let explanation = ask(&mut client, long).unwrap().explanation;
    assert_eq!(explanation.subject.len(), long);
    match ask(&mut client, MAX_REPLY).unwrap_err() {
        ClientError::Refused(ApiError::Failed { reason }) => {
            assert!(reason.contains("16 MiB"), "{reason}");
        }
        other => panic!("{other}"),
    }
    house.assert_alive();
}

#[test]
fn an_upgrade_is_refused() {
    let house = House::new();
    let mut socket = house.raw();
    let mut upgrade = Call::new(ListAdapters::NAME, json!({}));
    upgrade.upgrade = true;
    socket
        .write_all(&wire::encode(&upgrade, MAX_CALL).unwrap())
        .unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(replies(&drain(&mut socket))[0].error.is_some());
}

// ---- bad clients --------------------------------------------------------------------------------------------

#[test]
fn garbage_ends_only_its_session() {
    let house = House::new();
    let deep = "[".repeat(100_000);
    for garbage in [
        &b"\0"[..],
        b"hello\0",
        b"{}\0",
        b"[1]\0",
        b"\xff\xfe\x80\0",
        b"{\"method\":7}\0",
        b"{\"method\":\"a.B\"\0",
        b"GET / HTTP/1.1\r\n\r\n\0",
        format!("{{\"method\":\"io.dmpsa.GetStatus\",\"parameters\":{deep}\0").as_bytes(),
    ] {
        let mut socket = house.raw();
        socket.write_all(garbage).unwrap();
        assert_eq!(drain(&mut socket), b"", "{garbage:?}");
    }
    house.assert_alive();
}

#[test]
fn a_call_past_the_limit_ends_the_session() {
    let house = House::new();
    let mut socket = house.raw();
    let megabyte = vec![b'x'; 1 << 20];
    // The server closes the connection in the middle of this.
    let wrote = (0..4).try_for_each(|_| socket.write_all(&megabyte));
    assert!(wrote.is_err());
    assert_eq!(drain(&mut socket), b"");
    house.assert_alive();
}

#[test]
fn an_incomplete_call_ends_at_its_deadline() {
    let house = House::with(Limits {
        call: Duration::from_millis(200),
        ..Limits::default()
    });
    let mut socket = house.raw();
    let begun = Instant::now();
    // Byte by byte: progress does not move the deadline.
    while begun.elapsed() < Duration::from_secs(5) && socket.write_all(b"{").is_ok() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    house.assert_alive();
}

#[test]
fn a_silent_client_is_disconnected() {
    let house = House::with(Limits {
        idle: Duration::from_millis(100),
        ..Limits::default()
    });
    let mut socket = house.raw();
    assert_eq!(drain(&mut socket), b"");
    house.assert_alive();
}

#[test]
fn a_slow_reader_delays_no_client_and_is_disconnected() {
    let house = House::with(Limits {
        reply: Duration::from_millis(1500),
        ..Limits::default()
    });
    let mut slow: Vec<UnixStream> = (0..8)
        .map(|_| {
            let mut socket = house.raw();
            let length = (8 << 20).to_string();
            socket
                .write_all(&call(Explain::NAME, json!({"subject": length})))
                .unwrap();
            socket
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    // Beyond the limit of unread replies for one user, calls of that user wait. The slow readers have the same user, so
    // this client waits until the server drops them (1.5 s on an idle machine), but not until they read.
    let begun = Instant::now();
    house.assert_alive();
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    std::thread::sleep(Duration::from_millis(1600));
    let cut_off = slow
        .iter_mut()
        .map(drain)
        .filter(|bytes| bytes.last() != Some(&0))
        .count();
    assert!(cut_off >= 4, "{cut_off}");
    house.assert_alive();
}

#[test]
fn one_slow_reader_delays_no_other_client() {
    let house = House::new();
    let mut slow = house.raw();
    slow.write_all(&call(
        Explain::NAME,
        json!({"subject": (15 << 20).to_string()}),
    ))
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    for _ in 0..20 {
        house.assert_alive();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    // The slow client gets its answer in the end.
    slow.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(drain(&mut slow).last(), Some(&0));
}

#[test]
fn seventy_concurrent_clients_are_served() {
    let house = House::new();
    std::thread::scope(|scope| {
        for _ in 0..70 {
            scope.spawn(|| {
                let mut client = house.client();
                for _ in 0..5 {
                    match client.call(&ListAdapters {}) {
                        Ok(reply) => assert_eq!(reply.adapters, [adapter()]),
                        // Users other than root share 56 places.
                        Err(ClientError::Refused(ApiError::Unavailable { .. }))
                            if !nix::unistd::geteuid().is_root() =>
                        {
                            return;
                        }
                        Err(why) => panic!("{why}"),
                    }
                }
            });
        }
    });
}

#[test]
fn idle_clients_are_disconnected_when_the_server_is_full() {
    let house = House::with(Limits {
        idle_when_full: Duration::from_millis(200),
        ..Limits::default()
    });
    let idle: Vec<UnixStream> = (0..70).map(|_| house.raw()).collect();
    std::thread::sleep(Duration::from_millis(300));
    house.assert_alive();
    drop(idle);
    house.assert_alive();
}

// ---- the server comes and goes ------------------------------------------------------------------------------

#[test]
fn without_an_agent_the_error_says_what_to_do() {
    let mut house = House::new();
    let mut client = house.client();
    client.call(&ListAdapters {}).unwrap();
    drop(house.server.take());
    let gone = client.call(&ListAdapters {}).unwrap_err();
    assert!(matches!(gone, ClientError::Closed { .. }), "{gone}");
    assert!(!house.path.exists());
    let gone = Client::connect(&house.path, Duration::from_secs(5)).unwrap_err();
    assert!(matches!(gone, ClientError::NotRunning { .. }), "{gone}");
    assert!(
        gone.to_string().contains("systemctl start dm-psa.service"),
        "{gone}"
    );
}

#[test]
fn a_client_does_not_wait_forever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let wait = Duration::from_millis(200);
    let begun = Instant::now();
    // Nothing ever accepts the connection.
    let why = Client::connect(&path, wait)
        .unwrap()
        .call(&GetStatus {})
        .unwrap_err();
    assert!(matches!(why, ClientError::TimedOut { .. }), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    drop(listener);
}

#[test]
fn a_client_refuses_replies_outside_the_protocol() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    for answer in [
        &b"what?\0"[..],
        b"{\"parameters\":{\"status\":7}}\0",
        b"\xff\0",
    ] {
        let mut client = Client::connect(&path, Duration::from_secs(5)).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(answer).unwrap();
        let why = client.call(&GetStatus {}).unwrap_err();
        assert!(matches!(why, ClientError::Protocol { .. }), "{why}");
    }
}

fn start(path: &Path) -> Result<Server, ListenError> {
    let listener = Listener::bind(path)?;
    Ok(Server::start(listener, Box::new(Fake), Limits::default()).unwrap())
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    // A socket file that a killed agent left behind: the file exists, but nobody listens.
    drop(UnixListener::bind(&path).unwrap());
    let server = start(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    assert!(matches!(start(&path), Err(ListenError::InUse(_))));
    assert!(server.is_running());
    drop(server);
    std::fs::write(&path, "a file").unwrap();
    assert!(matches!(start(&path), Err(ListenError::NotASocket(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}

// ---- any bytes ----------------------------------------------------------------------------------------------

proptest! {
    #[test]
    fn the_decoder_splits_at_every_nul(
        bytes in prop::collection::vec(prop_oneof![1 => Just(0u8), 4 => any::<u8>()], 0..600),
        cuts in prop::collection::vec(1usize..50, 1..20),
        limit in 1usize..80,
    ) {
        let mut decoder = Decoder::new(limit);
        let mut got = Vec::new();
        let mut failed = false;
        let mut rest = bytes.as_slice();
        let mut cuts = cuts.into_iter().cycle();
        'all: while !rest.is_empty() {
            let (piece, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            rest = tail;
            decoder.push(piece);
            loop {
                let ready = decoder.is_ready();
                match decoder.take() {
                    Ok(Some(frame)) => { prop_assert!(ready); got.push(frame) }
                    Ok(None) => { prop_assert!(!ready); break }
                    Err(_) => { prop_assert!(ready); failed = true; break 'all }
                }
            }
        }
        let mut wanted: Vec<Vec<u8>> = bytes.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
        let last = wanted.pop().unwrap();
        let good = wanted.iter().take_while(|frame| frame.len() <= limit).count();
        let too_long = good < wanted.len() || last.len() > limit;
        prop_assert_eq!(failed, too_long);
        prop_assert_eq!(&got[..], &wanted[..good]);
        for frame in got {
            let _ = wire::decode::<Call>(&frame);
            let _ = wire::decode::<Reply>(&frame);
        }
    }

    #[test]
    fn encoding_and_decoding_round_trip(method in any::<String>(), text in any::<String>(), limit in 0usize..300) {
        let call = Call::new(&method, json!({ "text": text }));
        let full = wire::encode(&call, MAX_CALL).unwrap();
        prop_assert_eq!(full.iter().filter(|byte| **byte == 0).count(), 1);
        prop_assert_eq!(full.last(), Some(&0));
        prop_assert_eq!(wire::decode::<Call>(&full[..full.len() - 1]).unwrap(), call.clone());
        match wire::encode(&call, limit) {
            Ok(bytes) => prop_assert!(bytes.len() <= limit + 1 && bytes == full),
            Err(_) => prop_assert!(full.len() > limit + 1),
        }
    }

    #[test]
    fn any_parameters_are_parsed_or_refused(name in 0usize..Request::NAMES.len(), key in "[a-z]{0,8}", text in any::<String>()) {
        let name = Request::NAMES[name];
        let _ = Request::parse(name, &json!({ key: text }));
        let _ = Request::parse(name, &json!(text));
    }
}
