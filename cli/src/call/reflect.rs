//! Methods and messages of a server, by its own word (`grpc.reflection.v1`).

use std::collections::HashSet;

use anyhow::{Context as _, bail};
use prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::Code;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

/// Files that a method may need, at most: a server that never ends is not followed for ever.
const FILES_MAX: usize = 1_000;

/// The method of a service.
pub(super) async fn method(
    channel: Channel,
    service: &str,
    method: &str,
) -> anyhow::Result<MethodDescriptor> {
    let pool = pool(channel.clone(), service).await?;
    let Some(descriptor) = pool.get_service_by_name(service) else {
        let known = services(channel).await?.join("\n  ");
        bail!("there is no service {service}; there are\n  {known}");
    };
    let found = descriptor.methods().find(|candidate| candidate.name() == method);
    let known = || descriptor.methods().map(|m| format!("\n  {}", m.name())).collect::<String>();
    found.with_context(|| format!("{service} has no method {method}; it has{}", known()))
}

/// The services, or the methods of one.
pub(super) async fn listing(
    channel: Channel,
    service: Option<&str>,
) -> anyhow::Result<Vec<String>> {
    let Some(service) = service else { return services(channel).await };
    let pool = pool(channel, service).await?;
    let descriptor = pool
        .get_service_by_name(service)
        .with_context(|| format!("there is no service {service}; `headwater call` lists them"))?;
    Ok(descriptor.methods().map(|m| format!("{service}/{}", m.name())).collect())
}

async fn services(channel: Channel) -> anyhow::Result<Vec<String>> {
    let answer = ask(channel, MessageRequest::ListServices(String::new())).await?;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        bail!("the server does not list its services");
    };
    Ok(list.service.into_iter().map(|service| service.name).collect())
}

/// Everything that describes a service: its file and all that it imports. Empty if there is no such
/// service.
async fn pool(channel: Channel, service: &str) -> anyhow::Result<DescriptorPool> {
    let mut files: Vec<FileDescriptorProto> = Vec::new();
    let mut wanted = vec![MessageRequest::FileContainingSymbol(service.to_owned())];
    let mut seen = HashSet::new();
    while let Some(request) = wanted.pop() {
        let answer = ask(channel.clone(), request).await?;
        let Some(MessageResponse::FileDescriptorResponse(response)) = answer else { continue };
        for bytes in response.file_descriptor_proto {
            let file = FileDescriptorProto::decode(bytes.as_slice())?;
            if !seen.insert(file.name().to_owned()) || files.len() > FILES_MAX {
                continue;
            }
            let imports = file.dependency.iter().filter(|name| !seen.contains(*name)).cloned();
            wanted.extend(imports.map(MessageRequest::FileByFilename));
            files.push(file);
        }
    }
    let set = FileDescriptorSet { file: files };
    DescriptorPool::from_file_descriptor_set(set).context("the server's description is incomplete")
}

/// Asks the server; `None` if it knows nothing of that name. The protocol has an answer for that;
/// tonic's server ends the call with NOT_FOUND instead.
async fn ask(channel: Channel, request: MessageRequest) -> anyhow::Result<Option<MessageResponse>> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(channel);
    let replies = client.server_reflection_info(tokio_stream::once(request)).await;
    let mut replies = replies.context("the server has no reflection")?.into_inner();
    let reply: Option<ServerReflectionResponse> = match replies.message().await {
        Err(status) if status.code() == Code::NotFound => return Ok(None),
        reply => reply?,
    };
    let reply = reply.and_then(|reply| reply.message_response);
    reply.context("the server's reflection says nothing").map(Some)
}
