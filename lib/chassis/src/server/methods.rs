//! The metrics of each method, made at start: a request updates handles, and neither locks a
//! registry nor allocates.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

use anyhow::Context as _;
use prost::Message as _;
use prost_types::field_descriptor_proto::Label;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
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
    /// Its requests hold many commands or queries: a repeated field `requests`, and nothing else.
    pub batch: bool,
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
            names.keys().enumerate().map(|(index, name)| (format!("/{name}"), index)).collect();
        let unknown = ("unknown".to_owned(), false);
        let methods = names.into_iter().chain([unknown]).map(|(name, batch)| Method {
            built_in: name.starts_with(BUILT_IN),
            batch,
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
    Ok(names(sets)?.keys().filter_map(services).collect())
}

/// Names of all methods, and whether each is for many commands or queries.
fn names<'a>(sets: impl Iterator<Item = &'a [u8]>) -> anyhow::Result<BTreeMap<String, bool>> {
    let mut names = BTreeMap::new();
    for set in sets {
        let set = FileDescriptorSet::decode(set).context("a descriptor set is malformed")?;
        let batches = batches(&set);
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    names.insert(name, batches.contains(method.input_type()));
                }
            }
        }
    }
    for version in ["v1", "v1alpha"] {
        let name = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        names.insert(name, false);
    }
    Ok(names)
}

/// Messages that hold many requests.
fn batches(set: &FileDescriptorSet) -> BTreeSet<String> {
    let is_batch = |message: &DescriptorProto| match &message.field[..] {
        [field] => field.name() == "requests" && field.label() == Label::Repeated,
        _ => false,
    };
    let messages = |file: &FileDescriptorProto| {
        let batches = file.message_type.iter().filter(|message| is_batch(message));
        batches.map(|message| format!(".{}.{}", file.package(), message.name())).collect::<Vec<_>>()
    };
    set.file.iter().flat_map(messages).collect()
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

#[cfg(test)]
mod tests {
    use prost_types::{FieldDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

    use super::*;

    #[test]
    fn methods_with_many_requests_in_one_are_known() {
        let field = |name: &str, label: Label| FieldDescriptorProto {
            name: Some(name.to_owned()),
            label: Some(label.into()),
            ..Default::default()
        };
        let message = |name: &str, field: &[FieldDescriptorProto]| DescriptorProto {
            name: Some(name.to_owned()),
            field: field.to_vec(),
            ..Default::default()
        };
        let method = |name: &str| MethodDescriptorProto {
            name: Some(name.to_owned()),
            input_type: Some(format!(".a.v1.{name}Request")),
            ..Default::default()
        };
        let requests = field("requests", Label::Repeated);
        let file = FileDescriptorProto {
            package: Some("a.v1".to_owned()),
            message_type: vec![
                message("BatchDoRequest", std::slice::from_ref(&requests)),
                message("DoRequest", &[field("requests", Label::Optional)]),
                message("FindRequest", &[requests, field("page_size", Label::Optional)]),
            ],
            service: vec![ServiceDescriptorProto {
                name: Some("S".to_owned()),
                method: ["BatchDo", "Do", "Find"].map(method).to_vec(),
                options: None,
            }],
            ..Default::default()
        };
        let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        let methods = Methods::new([&*set].into_iter(), &Metrics::new()).expect("a set");
        let is_batch = |path| methods.get(methods.find(path)).batch;
        assert_eq!(
            ["/a.v1.S/BatchDo", "/a.v1.S/Do", "/a.v1.S/Find"].map(is_batch),
            [true, false, false]
        );
        assert!(!is_batch("/a.v1.S/Unknown"));
    }
}
