//! Plans of several shapes, compared with what is expected of them.

use super::*;
use crate::local::postgres::find::Installation;

fn plan(single_database: bool) -> Plan {
    let installation =
        Installation { bin: "/pg/bin".into(), version: "15.1".to_owned(), major: 15 };
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = Secrets::load(&folder.path().join("s.json"), true).expect("passwords");
    let shape = Shape {
        replicas: 2,
        write_standbys: u16::from(!single_database),
        partitions: 1,
        single_database,
        copies: vec![(Kind::CommandSvc, 3)],
        router_listen: Some(SocketAddr::from(([127, 0, 0, 1], 50_050))),
        variables: vec![Variable {
            kind: Some(Kind::QuerySvc),
            name: "HEADWATER_PROBE_MS".to_owned(),
            value: "50".to_owned(),
        }],
        size: Size::LAPTOP,
    };
    let mut ports = PortBlock::find(3, shape.ports()).expect("ports");
    let host = Host { installation, account: None };
    Plan::new(Path::new("/data"), host, secrets, &shape, &mut ports).expect("a plan")
}

fn variable(plan: &Plan, program: &str, name: &str) -> String {
    let program = plan.program(program).expect("the program");
    let found = program.env.iter().find(|(variable, _)| variable == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

#[test]
fn two_databases_with_replicas_of_the_read_side() {
    let plan = plan(false);
    let names: Vec<&str> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["write", "read", "replica-1", "replica-2", "write-standby-1"]);
    let read = plan.node("read").expect("a node").address();
    let replica = plan.node("replica-2").expect("a node").settings.upstream.clone();
    assert_eq!(replica.map(|upstream| upstream.address), Some(read));
    assert_eq!(variable(&plan, "query-svc", "HEADWATER_READ_URLS").split(',').count(), 3);
    assert_ne!(
        variable(&plan, "projector", "HEADWATER_WRITE_URL"),
        variable(&plan, "projector", "HEADWATER_READ_URL")
    );
    assert_ne!(plan.write_owner_url(), plan.read_owner_url());
    // Whichever of them is promoted is found.
    for (program, name, servers) in [
        ("command-svc", "HEADWATER_WRITE_URL", ["write", "write-standby-1"].as_slice()),
        ("query-svc", "HEADWATER_WRITE_URL", &["write", "write-standby-1"]),
        ("projector", "HEADWATER_WRITE_URL", &["write", "write-standby-1"]),
        ("projector", "HEADWATER_READ_URL", &["read", "replica-1", "replica-2"]),
    ] {
        let url = variable(&plan, program, name);
        let addresses = servers.iter().map(|name| plan.node(name).expect("a node").address());
        let addresses = addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(",");
        assert!(url.ends_with(&format!("@{addresses}/headwater")), "{program}: {url}");
    }
}

#[test]
fn one_database_serves_both_sides_with_the_same_url() {
    let plan = plan(true);
    let names: Vec<&str> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["primary", "replica-1", "replica-2"]);
    assert_eq!(plan.write_owner_url(), plan.read_owner_url());
    let groups: Vec<&str> = plan.nodes[0]
        .logins
        .iter()
        .filter(|login| login.name == logins::PROJECTOR)
        .flat_map(|login| login.groups.iter().copied())
        .collect();
    assert_eq!(groups, ["headwater_feed", "headwater_projector"]);
}

#[test]
fn the_router_knows_every_copy_and_listens_where_it_was_told() {
    let plan = plan(false);
    let upstreams = variable(&plan, "router", "HEADWATER_COMMAND_UPSTREAMS");
    assert_eq!(upstreams.split(',').count(), 3);
    assert_eq!(plan.program("router").expect("a router").grpc.port(), 50_050);
    assert!(plan.program("command-svc-3").is_some());
    assert_eq!(variable(&plan, "query-svc", "HEADWATER_PROBE_MS"), "50");
    assert_eq!(variable(&plan, "router", "HEADWATER_PROBE_MS"), "");
}
