//! The manifests and the image, compared with Kubernetes' schemas and with the programs themselves.

mod deployed;
mod manifest;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use manifest::{Manifests, OVERLAYS, array, number, rendered, root, script, text};
use serde_json::Value;

/// What a program needs after its deadline has passed, to flush its spans and exit.
const EXIT_MS: u64 = 5_000;

fn validate(files: &[std::path::PathBuf]) -> Output {
    script("validate.sh").args(files).output().expect("a shell")
}

/// A mistake that someone could make in a manifest: what stands there, and what is written instead.
const TYPOS: [(&str, &str); 14] = [
    ("readinessProbe:", "readinesProbe:"),
    ("maxUnavailable: 1", "maxUnavailabel: 1"),
    ("maxUnavailable: 1", "maxUnavailable: [1]"),
    ("clusterIP: None", "clusterIp: None"),
    ("appProtocol: grpc", "appProtocoll: grpc"),
    ("kind: PodDisruptionBudget", "kind: PodDisruptionBudgets"),
    ("apiVersion: batch/v1", "apiVersion: batch/v2"),
    ("containerPort: 50050", "containerPort: grpc"),
    ("instances:", "instnaces:"),
    ("inRoles:", "inRole:"),
    ("  bootstrap:", "  bootstap:"),
    ("  name: write-db\n", "  nmae: write-db\n"),
    ("passwordSecret:", "passwordSecrets:"),
    ("primaryUpdateStrategy: unsupervised", "primaryUpdateStrategy: sometimes"),
];

#[test]
fn manifests_fit_the_schemas_and_typos_do_not() {
    let overlays = rendered();
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: String, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let good: Vec<_> = overlays.iter().map(|m| write(m.overlay.to_owned(), &m.text)).collect();
    assert_eq!(good.len(), OVERLAYS.len());
    let output = validate(&good);
    assert!(output.status.success(), "{output:?}");

    let wrong = TYPOS.iter().enumerate().map(|(number, (right, wrong))| {
        let text = overlays[0].text.replacen(right, wrong, 1);
        assert_ne!(text, overlays[0].text, "nothing says {right:?}");
        write(format!("typo-{number}"), &text)
    });
    let output = validate(&wrong.collect::<Vec<_>>());
    assert!(!output.status.success());
    let problems = String::from_utf8_lossy(&output.stdout);
    for (number, (_, wrong)) in TYPOS.iter().enumerate() {
        let is_named = problems.contains(&format!("typo-{number}: "));
        assert!(is_named, "{wrong:?} was not noticed:\n{problems}");
    }
}

#[test]
fn every_setting_of_a_program_is_in_its_manifest_and_the_other_way_round() {
    for manifests in rendered() {
        for workload in manifests.workloads() {
            let set: BTreeSet<String> = workload.settings().into_keys().collect();
            let known: BTreeSet<String> =
                program::settings(&workload.command()).into_keys().collect();
            assert!(!known.is_empty(), "{} has no settings?", workload.name());
            let lacking: Vec<_> = known.difference(&set).collect();
            let unknown: Vec<_> = set.difference(&known).collect();
            let place = format!("{}: {}", manifests.overlay, workload.name());
            assert!(lacking.is_empty(), "{place}: k8s/base/config lacks {lacking:?}");
            assert!(unknown.is_empty(), "{place}: the program does not know {unknown:?}");
        }
    }
}

#[test]
fn the_programs_accept_the_values() {
    for manifests in rendered() {
        for workload in manifests.workloads() {
            if workload.command()[0] == "headwater" {
                continue; // It reads what it was given only when it runs.
            }
            // A mistake on purpose keeps the program from running; there must be no other.
            let output = run_with_wrong_flag(&workload.command(), &workload.settings());
            let mistakes = String::from_utf8_lossy(&output.stderr);
            let place = format!("{}: {}", manifests.overlay, workload.name());
            assert!(
                !output.status.success() && mistakes.contains("1 mistake"),
                "{place}: {mistakes}"
            );
            assert!(!mistakes.contains("warning"), "{place}: {mistakes}");
        }
    }
}

fn run_with_wrong_flag(command: &[&str], settings: &BTreeMap<String, String>) -> Output {
    program::run(command, &["--no-such-setting", "1"], settings)
}

/// So that an operator sees at a glance what is special, and why.
#[test]
fn a_value_that_is_not_the_default_says_why() {
    let programs: [&[&str]; 5] =
        [&["router"], &["command-svc"], &["query-svc"], &["projector"], &["headwater", "migrate"]];
    let defaults: Vec<_> = programs.iter().map(|command| program::settings(command)).collect();
    for (file, of) in [
        ("common", &defaults[0]),
        ("router", &defaults[0]),
        ("command-svc", &defaults[1]),
        ("query-svc", &defaults[2]),
        ("projector", &defaults[3]),
        ("migrate", &defaults[4]),
    ] {
        let path = root().join(format!("k8s/base/config/{file}.env"));
        let lines = std::fs::read_to_string(path).expect("a file of settings");
        let mut above = "";
        for line in lines.lines() {
            if let Some((name, value)) = line.split_once('=') {
                let default = of.get(name).and_then(Option::as_deref).unwrap_or_default();
                let is_told = value == default || above.starts_with('#');
                assert!(
                    is_told,
                    "{file}.env: {line}: the default is {default:?}; say why above it"
                );
            }
            above = line;
        }
    }
}

#[test]
fn ports_probes_services_and_budgets_agree() {
    for manifests in rendered() {
        for deployment in manifests.workloads().iter().filter(|w| w.owner["kind"] == "Deployment") {
            let (name, container) = (deployment.name(), deployment.container());
            let settings = deployment.settings();
            let port_of = |setting: &str| settings[setting].rsplit(':').next().map(str::to_owned);
            let labels = &deployment.owner["spec"]["template"]["metadata"]["labels"];
            assert_eq!(deployment.command(), [name], "a workload is named after its program");

            let ports: BTreeMap<&str, u64> = array(&container["ports"])
                .iter()
                .map(|port| (text(&port["name"]), number(&port["containerPort"])))
                .collect();
            assert_eq!(port_of("HEADWATER_LISTEN"), Some(ports["grpc"].to_string()), "{name}");
            assert_eq!(
                port_of("HEADWATER_ADMIN_LISTEN"),
                Some(ports["admin"].to_string()),
                "{name}"
            );

            // Liveness must not follow readiness, or a database that is unavailable restarts every
            // program.
            for (probe, service) in [
                ("startupProbe", Some("headwater.live")),
                ("livenessProbe", Some("headwater.live")),
                ("readinessProbe", None),
            ] {
                let grpc = &container[probe]["grpc"];
                assert_eq!(number(&grpc["port"]), ports["grpc"], "{name}: {probe}");
                assert_eq!(grpc["service"].as_str(), service, "{name}: {probe}");
            }

            let service = &manifests.get("Service", name)["spec"];
            assert_eq!(service["clusterIP"], "None", "{name}: headless, for balancing by request");
            assert_selects(&service["selector"], labels, name);
            for port in array(&service["ports"]) {
                let target = text(&port["targetPort"]);
                assert_eq!(number(&port["port"]), ports[target], "{name}: {target}");
                let protocol = if target == "grpc" { "grpc" } else { "http" };
                assert_eq!(port["appProtocol"], protocol, "{name}: {target}");
            }

            let budget = &manifests.get("PodDisruptionBudget", name)["spec"];
            assert_selects(&budget["selector"]["matchLabels"], labels, name);
            assert_selects(&deployment.owner["spec"]["selector"]["matchLabels"], labels, name);
            for spread in array(&deployment.pod()["topologySpreadConstraints"]) {
                assert_selects(&spread["labelSelector"]["matchLabels"], labels, name);
            }
        }
    }
}

fn assert_selects(selector: &Value, labels: &Value, name: &str) {
    let selector = selector.as_object().expect("a selector");
    assert!(selector.contains_key("app.kubernetes.io/name"), "{name}: selects too much");
    for (label, value) in selector {
        assert_eq!(&labels[label], value, "{name}: {label}");
    }
}

#[test]
fn the_programs_own_deadline_ends_them_first() {
    for manifests in rendered() {
        for deployment in manifests.workloads().iter().filter(|w| w.owner["kind"] == "Deployment") {
            let grace_ms = 1_000 * number(&deployment.pod()["terminationGracePeriodSeconds"]);
            let pause = &deployment.container()["lifecycle"]["preStop"]["sleep"]["seconds"];
            let shutdown_ms: u64 =
                deployment.settings()["HEADWATER_SHUTDOWN_MS"].parse().expect("a number");
            let needed_ms = 1_000 * number(pause) + shutdown_ms + EXIT_MS;
            let (overlay, name) = (manifests.overlay, deployment.name());
            assert!(grace_ms >= needed_ms, "{overlay}: {name} is killed before it has ended");
        }
    }
}

#[test]
fn no_pod_has_more_rights_than_it_needs() {
    for manifests in rendered() {
        for workload in manifests.workloads() {
            let (pod, container) = (workload.pod(), &workload.container()["securityContext"]);
            let name = workload.name();
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            assert_eq!(
                pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
                "{name}"
            );
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            assert_eq!(container["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(container["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(container["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
            assert!(workload.container()["resources"]["limits"]["memory"].is_string(), "{name}");
        }
    }
}

#[test]
fn every_address_and_every_login_exists() {
    for manifests in rendered() {
        for workload in manifests.workloads() {
            let settings = workload.settings();
            for (name, value) in settings.iter().filter(|(name, _)| is_address(name)) {
                for address in value.split(',').filter(|address| *address != "***") {
                    assert_address(manifests, address).unwrap_or_else(|| {
                        panic!("{}: {}: {name}: {address}", manifests.overlay, workload.name())
                    });
                }
            }
        }
    }
}

fn is_address(setting: &str) -> bool {
    ["_URL", "_URLS", "_UPSTREAMS"].iter().any(|end| setting.ends_with(end))
}

/// `user:password@host:port/database` is a login of a cluster; `host:port` a service of ours.
fn assert_address(manifests: &Manifests, address: &str) -> Option<()> {
    let Some(rest) = address.strip_prefix("postgres://") else {
        let address = address.strip_prefix("http://").unwrap_or(address);
        let (host, port) = address.split_once(':')?;
        let ports = &manifests.get("Service", host)["spec"]["ports"];
        return array(ports).iter().find(|p| number(&p["port"]).to_string() == port).map(drop);
    };
    let (login, place) = rest.split_once('@')?;
    let (user, password) = login.split_once(':')?;
    let (host, database) = place.split_once(":5432/")?;
    assert_eq!(password, "***", "a password stands in a manifest");
    let (cluster, instance) = host.rsplit_once('-')?;
    let cluster = &manifests.get("Cluster", cluster)["spec"];
    assert_eq!(cluster["bootstrap"]["initdb"]["database"], database);
    if instance != "rw" {
        let selector = &manifests.get("Service", host)["spec"]["selector"];
        assert_eq!(selector["cnpg.io/instanceName"], host);
        assert!(
            instance.parse::<u64>().ok()? <= number(&cluster["instances"]),
            "{host} is never made"
        );
    }
    let roles = array(&cluster["managed"]["roles"]);
    let login = roles.iter().find(|role| role["name"] == user && role["login"] == true)?;
    let group = text(&login["inRoles"][0]);
    assert!(group.starts_with("headwater_"), "{user} is in no group");
    let at = |name: &str| roles.iter().position(|role| role["name"] == name);
    assert!(at(group)? < at(user)?, "{group} must be made before {user}");
    Some(())
}

/// The pods and the operator read the same secrets, and `secrets.sh` makes exactly those.
#[test]
fn every_password_has_one_source() {
    let script = std::fs::read_to_string(root().join("k8s/secrets.sh")).expect("a script");
    let (_, logins) = script.split_once("for login in ").expect("a loop");
    let (logins, _) = logins.split_once("; do").expect("a loop");
    let made: BTreeMap<String, String> = logins
        .split([' ', '\n', '\\'])
        .filter_map(|login| login.split_once('='))
        .map(|(secret, user)| (secret.to_owned(), user.to_owned()))
        .collect();
    for manifests in rendered() {
        let clusters = manifests.of_kind("Cluster");
        let roles = clusters.flat_map(|cluster| array(&cluster["spec"]["managed"]["roles"]));
        let logins = roles.filter(|role| role["login"] == true);
        let given: BTreeMap<String, String> = logins
            .map(|role| {
                (text(&role["passwordSecret"]["name"]).to_owned(), text(&role["name"]).to_owned())
            })
            .collect();
        assert_eq!(given, made, "{}: what the operator reads", manifests.overlay);
        let mut read = BTreeSet::new();
        for workload in manifests.workloads() {
            let env = array(&workload.container()["env"]);
            let secrets =
                env.iter().filter_map(|v| v["valueFrom"]["secretKeyRef"]["name"].as_str());
            // The operator makes those of the owners by itself.
            read.extend(secrets.filter(|name| !name.ends_with("-app")).map(str::to_owned));
        }
        assert_eq!(read, made.keys().cloned().collect(), "{}: what pods read", manifests.overlay);
    }
}

/// `docker build` needs a daemon and the network; that it would copy what there is can be seen
/// without.
#[test]
fn the_image_holds_every_program_built_as_the_makefile_builds_them() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect(name);
    let dockerfile = read("Dockerfile").replace("\\\n", " ");
    let copied = dockerfile.split("for program in ").nth(1).expect("the loop that copies programs");
    let copied: BTreeSet<&str> =
        copied.split(';').next().expect("the loop's list").split_whitespace().collect();
    let programs = workspace_programs();
    assert_eq!(copied, programs.iter().map(String::as_str).collect(), "copied into the image");

    let build = |text: &str| {
        let line = text.lines().find(|line| line.contains("cargo build --release"))?;
        let command = line[line.find("cargo build --release")?..].split("&&").next()?;
        Some(command.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let makefile = read("Makefile").replace("$(cargo)", "cargo");
    assert_eq!(build(&dockerfile), build(&makefile), "the Makefile builds differently");

    let between = |text: &str, start: &str, end: &str| {
        let (_, rest) = text.split_once(start).expect(start);
        rest.split(end).next().unwrap_or_default().to_owned()
    };
    let image = between(&dockerfile, "FROM rust:", "-");
    let pinned = between(&read("rust-toolchain.toml"), "channel = \"", "\"");
    assert!(format!("{pinned}.").starts_with(&format!("{image}.")), "{image} is not {pinned}");

    for manifests in rendered() {
        for workload in manifests.workloads() {
            assert!(copied.contains(workload.command()[0]), "the image lacks {}", workload.name());
        }
    }
}

fn workspace_programs() -> BTreeSet<String> {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--no-deps", "--offline", "--format-version=1"]).current_dir(root());
    let output = metadata.output().expect("cargo");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo's JSON");
    let targets =
        array(&metadata["packages"]).iter().flat_map(|package| array(&package["targets"]));
    let programs = targets.filter(|target| array(&target["kind"]).contains(&Value::from("bin")));
    programs.map(|target| text(&target["name"]).to_owned()).collect()
}
