//! Manifests as an operator would render them, and what is asked of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// The overlays that are meant to be applied.
pub const OVERLAYS: [&str; 2] = ["local", "production"];

/// The repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ lies in the repository").to_path_buf()
}

/// All objects of one overlay.
pub struct Manifests {
    pub overlay: &'static str,
    pub text: String,
    objects: Vec<Value>,
}

/// Every overlay, rendered once.
pub fn rendered() -> &'static [Manifests] {
    static RENDERED: LazyLock<Vec<Manifests>> =
        LazyLock::new(|| OVERLAYS.map(Manifests::render).into());
    &RENDERED
}

/// A script of scripts/k8s. The first one that runs on a machine installs what they need.
pub fn script(name: &str) -> Command {
    Command::new(root().join("scripts/k8s").join(name))
}

impl Manifests {
    fn render(overlay: &'static str) -> Manifests {
        let folder = root().join("k8s/overlays").join(overlay);
        let output = script("kubectl.sh").arg("kustomize").arg(folder).output().expect("a shell");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{overlay}: {errors}");
        let text = String::from_utf8(output.stdout).expect("YAML is UTF-8");
        let objects = serde_saphyr::from_multiple(&text).expect("YAML");
        Manifests { overlay, text, objects }
    }

    pub fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    pub fn get(&self, kind: &'static str, name: &str) -> &Value {
        self.of_kind(kind)
            .find(|object| object["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("{}: no {kind} {name}", self.overlay))
    }

    /// Everything that runs a container of ours.
    pub fn workloads(&self) -> Vec<Workload<'_>> {
        let owners = self.of_kind("Deployment").chain(self.of_kind("Job"));
        let workloads: Vec<_> = owners.map(|owner| Workload { owner, manifests: self }).collect();
        assert_eq!(workloads.len(), 5, "{}: four deployments and a job", self.overlay);
        workloads
    }
}

/// A Deployment or a Job, of one container.
pub struct Workload<'a> {
    pub owner: &'a Value,
    manifests: &'a Manifests,
}

impl Workload<'_> {
    pub fn name(&self) -> &str {
        text(&self.owner["metadata"]["name"])
    }

    pub fn pod(&self) -> &Value {
        &self.owner["spec"]["template"]["spec"]
    }

    pub fn container(&self) -> &Value {
        let containers = array(&self.pod()["containers"]);
        assert_eq!(containers.len(), 1, "{} has one container", self.name());
        &containers[0]
    }

    pub fn command(&self) -> Vec<&str> {
        array(&self.container()["command"]).iter().map(text).collect()
    }

    /// The container's variables in the order in which Kubernetes defines them; what comes out of a
    /// secret is `***`.
    pub fn variables(&self) -> Vec<(String, String)> {
        let container = self.container();
        let mut variables = Vec::new();
        for source in array(&container["envFrom"]) {
            let map = self.manifests.get("ConfigMap", text(&source["configMapRef"]["name"]));
            let data = map["data"].as_object().expect("data");
            variables
                .extend(data.iter().map(|(name, value)| (name.clone(), text(value).to_owned())));
        }
        for variable in array(&container["env"]) {
            let is_secret = variable["valueFrom"]["secretKeyRef"]["name"].is_string();
            let value = if is_secret { "***" } else { text(&variable["value"]) };
            variables.push((text(&variable["name"]).to_owned(), value.to_owned()));
        }
        variables
    }

    /// The variables that are settings of ours, with references to others expanded as Kubernetes
    /// does.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut known: Vec<(String, String)> = Vec::new();
        for (name, value) in self.variables() {
            let expanded = known
                .iter()
                .fold(value, |value, (name, known)| value.replace(&format!("$({name})"), known));
            assert!(
                !expanded.contains("$("),
                "{}: {name} refers to what stands below it",
                self.name()
            );
            known.push((name, expanded));
        }
        let count = known.len();
        let settings: BTreeMap<String, String> = known.into_iter().collect();
        assert_eq!(settings.len(), count, "{} sets a variable twice", self.name());
        settings.into_iter().filter(|(name, _)| name.starts_with("HEADWATER_")).collect()
    }
}

/// An array; empty where there is none.
pub fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}
