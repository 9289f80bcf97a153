//! Routes from a method to its upstream: a table built once from the descriptor set. Pure.

use std::collections::HashMap;
use std::fmt;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use prost_types::method_options::IdempotencyLevel;

/// Services that every program answers itself. The router does too: asked for their health, it
/// speaks of its own, and its reflection names the methods of all upstreams at once.
const PLATFORM: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The kinds of service behind the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// Takes everything that may change something.
    Command,
    /// Takes the methods marked `NO_SIDE_EFFECTS`.
    Query,
}

impl Upstream {
    /// Both, in the order of their index.
    pub const ALL: [Upstream; 2] = [Upstream::Command, Upstream::Query];

    /// Place in tables that hold one entry for each upstream.
    pub fn index(self) -> usize {
        match self {
            Upstream::Command => 0,
            Upstream::Query => 1,
        }
    }

    /// Name in metrics, logs and errors.
    pub fn name(self) -> &'static str {
        match self {
            Upstream::Command => "command",
            Upstream::Query => "query",
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Place of a method in the table; metrics keep their handles by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodIndex(pub usize);

/// Facts that the router knows of a method. It never learns what its messages mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index in the table.
    pub method: MethodIndex,
    /// Upstream that answers it.
    pub upstream: Upstream,
    /// Neither side streams, so that a call without a deadline can be given one.
    pub unary: bool,
}

impl Route {
    /// Nothing is changed by it, so that it may be sent twice.
    pub fn repeatable(&self) -> bool {
        self.upstream == Upstream::Query
    }
}

/// Target of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To an upstream.
    Method(Route),
    /// To the router's own health or reflection service.
    Platform,
    /// Nowhere.
    Unknown,
}

/// Reason why there are no routes.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// Not a `google.protobuf.FileDescriptorSet`.
    #[error("the descriptor set cannot be decoded")]
    Malformed(#[from] prost::DecodeError),
    /// A router without routes is a mistake of the configuration.
    #[error("the descriptor set holds no service")]
    Empty,
}

/// The table.
#[derive(Debug)]
pub struct Routes {
    by_path: HashMap<Box<str>, Route>,
    paths: Vec<Box<str>>,
    services: Vec<(String, Vec<Upstream>)>,
}

impl Routes {
    /// Reads an encoded `FileDescriptorSet`.
    pub fn decode(descriptors: &[u8]) -> Result<Routes, RoutesError> {
        let set = FileDescriptorSet::decode(descriptors)?;
        let mut routes =
            Routes { by_path: HashMap::new(), paths: Vec::new(), services: Vec::new() };
        for file in &set.file {
            for service in &file.service {
                let name = match file.package() {
                    "" => service.name().to_owned(),
                    package => format!("{package}.{}", service.name()),
                };
                if !PLATFORM.contains(&name.as_str()) {
                    routes.add(name, &service.method);
                }
            }
        }
        match routes.paths.is_empty() {
            true => Err(RoutesError::Empty),
            false => Ok(routes),
        }
    }

    fn add(&mut self, service: String, methods: &[prost_types::MethodDescriptorProto]) {
        let mut upstreams = Vec::new();
        for method in methods {
            let upstream = upstream_of(method);
            let path = format!("/{service}/{}", method.name()).into_boxed_str();
            let route = Route {
                method: MethodIndex(self.paths.len()),
                upstream,
                unary: !method.client_streaming() && !method.server_streaming(),
            };
            if self.by_path.insert(path.clone(), route).is_none() {
                self.paths.push(path);
            }
            if !upstreams.contains(&upstream) {
                upstreams.push(upstream);
            }
        }
        self.services.push((service, upstreams));
    }

    /// Target of a request with this path.
    pub fn target(&self, path: &str) -> Target {
        match self.by_path.get(path) {
            Some(route) => Target::Method(*route),
            None if is_platform(path) => Target::Platform,
            None => Target::Unknown,
        }
    }

    /// Paths of all methods, by their index.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(AsRef::as_ref)
    }

    /// Full names of all services, each with the upstreams that its methods need.
    pub fn services(&self) -> impl Iterator<Item = (&str, &[Upstream])> {
        self.services.iter().map(|(name, upstreams)| (name.as_str(), upstreams.as_slice()))
    }
}

fn upstream_of(method: &prost_types::MethodDescriptorProto) -> Upstream {
    let level = method.options.as_ref().map(|o| o.idempotency_level());
    match level {
        Some(IdempotencyLevel::NoSideEffects) => Upstream::Query,
        // An IDEMPOTENT method may be repeated, but it changes something.
        Some(IdempotencyLevel::Idempotent | IdempotencyLevel::IdempotencyUnknown) | None => {
            Upstream::Command
        }
    }
}

fn is_platform(path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(service, _)| PLATFORM.contains(&service))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prost_types::{
        FileDescriptorProto, MethodDescriptorProto, MethodOptions, ServiceDescriptorProto,
    };

    use super::*;

    fn method(name: &str, level: Option<IdempotencyLevel>, streams: bool) -> MethodDescriptorProto {
        MethodDescriptorProto {
            name: Some(name.to_owned()),
            server_streaming: Some(streams),
            options: level.map(|level| MethodOptions {
                idempotency_level: Some(level as i32),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn decode(package: &str, service: &str, methods: Vec<MethodDescriptorProto>) -> Routes {
        let file = FileDescriptorProto {
            package: Some(package.to_owned()),
            service: vec![ServiceDescriptorProto {
                name: Some(service.to_owned()),
                method: methods,
                ..Default::default()
            }],
            ..Default::default()
        };
        Routes::decode(&FileDescriptorSet { file: vec![file] }.encode_to_vec()).unwrap()
    }

    fn check(routes: &Routes, path: &str, want: Option<Upstream>) {
        let got = match routes.target(path) {
            Target::Method(route) => Some(route.upstream),
            Target::Platform | Target::Unknown => None,
        };
        assert_eq!(got, want, "{path}");
    }

    #[test]
    fn a_method_goes_where_its_option_says() {
        use IdempotencyLevel::{IdempotencyUnknown, Idempotent, NoSideEffects};
        let methods = vec![
            method("Plain", None, false),
            method("Unknown", Some(IdempotencyUnknown), false),
            method("Idempotent", Some(Idempotent), false),
            method("Get", Some(NoSideEffects), false),
            method("Watch", Some(NoSideEffects), true),
        ];
        let routes = decode("a.v1", "S", methods);
        check(&routes, "/a.v1.S/Plain", Some(Upstream::Command));
        check(&routes, "/a.v1.S/Unknown", Some(Upstream::Command));
        check(&routes, "/a.v1.S/Idempotent", Some(Upstream::Command));
        check(&routes, "/a.v1.S/Get", Some(Upstream::Query));
        check(&routes, "/a.v1.S/Watch", Some(Upstream::Query));
        for unknown in ["/a.v1.S/get", "/a.v1.S", "/a.v1.T/Get", "a.v1.S/Get", "/", "", "//"] {
            check(&routes, unknown, None);
            assert_eq!(routes.target(unknown), Target::Unknown, "{unknown}");
        }
        let (name, upstreams) = routes.services().next().unwrap();
        assert_eq!((name, upstreams), ("a.v1.S", &Upstream::ALL[..]));
    }

    #[test]
    fn only_unary_methods_are_unary() {
        let routes = decode("", "S", vec![method("A", None, false), method("B", None, true)]);
        for (path, want) in [("/S/A", true), ("/S/B", false)] {
            let Target::Method(route) = routes.target(path) else { panic!("{path}") };
            assert_eq!(route.unary, want, "{path}");
        }
    }

    #[test]
    fn platform_services_are_the_routers_own() {
        let routes = decode("grpc.health.v1", "Other", vec![method("A", None, false)]);
        for path in [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(routes.target(path), Target::Platform, "{path}");
        }
    }

    #[test]
    fn the_contract_itself_routes_as_its_options_say() {
        let routes = Routes::decode(headwater_domain_proto::FILE_DESCRIPTOR_SET).unwrap();
        check(&routes, "/stores.v1.StoreCommandService/OpenStore", Some(Upstream::Command));
        check(&routes, "/stores.v1.StoreQueryService/GetStore", Some(Upstream::Query));
        check(&routes, "/users.v1.UserQueryService/GetUserByEmail", Some(Upstream::Query));
        // The convention of names and the option must not contradict each other.
        for path in routes.paths() {
            let want = match path.contains("QueryService/") {
                true => Upstream::Query,
                false => Upstream::Command,
            };
            check(&routes, path, Some(want));
        }
    }

    #[test]
    fn indices_are_dense_and_name_their_path() {
        let routes = Routes::decode(headwater_domain_proto::FILE_DESCRIPTOR_SET).unwrap();
        for (index, path) in routes.paths().enumerate() {
            let Target::Method(route) = routes.target(path) else { panic!("{path}") };
            assert_eq!(route.method, MethodIndex(index), "{path}");
        }
    }

    #[test]
    fn a_set_without_services_or_without_sense_is_refused() {
        assert!(matches!(Routes::decode(&[]), Err(RoutesError::Empty)));
        assert!(matches!(Routes::decode(b"\xff\xff"), Err(RoutesError::Malformed(_))));
    }
}
