//! The metrics of each method, made at start: a request updates handles, and neither locks a
//! registry nor allocates.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use anyhow::Context as _;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

use crate::in_flight::Places;
use crate::metrics::{Counter, Family, Histogram, LATENCY_SECONDS, Labels, Metrics};

/// Number of gRPC status codes.
const CODES: usize = 17;
/// Everything under it is health and reflection.
const BUILT_IN: &str = "grpc.";

/// The methods of a server. The last one stands for all unknown paths: a caller must not be able to
/// grow metrics.
pub(super) struct Methods {
    by_path: HashMap<String, usize>,
    methods: Vec<Method>,
    /// Calls under way and streams that wait; also what their limits are measured by.
    pub places: Places,
}

/// One method.
pub(super) struct Method {
    /// `package.Service/Method`.
    pub name: String,
    /// Health and reflection: answered by the server itself, and exempt from the limit.
    pub built_in: bool,
    seconds: Histogram,
    replies: Family<Labels<2>, Counter>,
    by_code: [OnceLock<Counter>; CODES],
}

impl Methods {
    pub(super) fn new<'a>(
        sets: impl Iterator<Item = &'a [u8]>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let replies = metrics
            .counters("headwater_grpc_requests_total", "Calls answered, by method and status code");
        let seconds = metrics.histograms::<Labels<1>>(
            "headwater_grpc_request_seconds",
            "Time from the headers of a call to the end of its reply",
            LATENCY_SECONDS,
        );
        let names = names(sets)?;
        let by_path =
            names.iter().enumerate().map(|(index, name)| (format!("/{name}"), index)).collect();
        let methods = names.into_iter().chain(["unknown".to_owned()]).map(|name| Method {
            built_in: name.starts_with(BUILT_IN),
            seconds: seconds.get_or_create_owned(&[("method", name.clone())]),
            replies: replies.clone(),
            by_code: Default::default(),
            name,
        });
        Ok(Self {
            by_path,
            methods: methods.collect(),
            places: Places {
                calls: metrics.gauge("headwater_grpc_in_flight", "Calls under way"),
                waiting: metrics
                    .gauge("headwater_grpc_streams", "Streams waiting for something to send"),
            },
        })
    }

    /// Index of the method at a path.
    pub(super) fn find(&self, path: &str) -> usize {
        self.by_path.get(path).copied().unwrap_or(self.methods.len() - 1)
    }

    pub(super) fn get(&self, index: usize) -> &Method {
        &self.methods[index]
    }
}

impl Method {
    /// Counts a call that has ended.
    pub(super) fn ended(&self, code: Code, seconds: f64) {
        self.seconds.observe(seconds);
        let counter = self.by_code[(code as usize).min(CODES - 1)].get_or_init(|| {
            self.replies.get_or_create_owned(&[
                ("method", self.name.clone()),
                ("code", code_name(code).to_owned()),
            ])
        });
        counter.inc();
    }
}

/// Names of all services of descriptor sets.
pub(super) fn services<'a>(
    sets: impl Iterator<Item = &'a [u8]>,
) -> anyhow::Result<BTreeSet<String>> {
    let services = |name: &String| name.split_once('/').map(|(service, _)| service.to_owned());
    Ok(names(sets)?.iter().filter_map(services).collect())
}

fn names<'a>(sets: impl Iterator<Item = &'a [u8]>) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for set in sets {
        let set = FileDescriptorSet::decode(set).context("a descriptor set is malformed")?;
        for file in &set.file {
            for service in &file.service {
                let service_name = format!("{}.{}", file.package(), service.name());
                let methods = service.method.iter();
                names.extend(methods.map(|method| format!("{service_name}/{}", method.name())));
            }
        }
    }
    for version in ["v1", "v1alpha"] {
        names.insert(format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"));
    }
    Ok(names)
}

/// Name of a status code as the gRPC specification spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
