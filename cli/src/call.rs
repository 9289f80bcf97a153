//! `headwater call`: JSON in, JSON out, for any method, by server reflection.

mod codec;
mod problem;
mod reflect;
mod session;

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use prost_reflect::{DynamicMessage, MethodDescriptor, SerializeOptions};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use codec::DynamicCodec;
use session::Session;

use crate::local::RunFile;

const TOKEN: &str = "headwater-token";

/// `headwater call …`.
#[derive(Args)]
pub struct Options {
    /// The method, such as `stores.v1.StoreCommandService/OpenStore`; without it, or with a
    /// service's name only, what can be called is listed.
    method: Option<String>,
    /// The request as JSON; `-` reads it from standard input, several values are sent as a stream.
    #[arg(default_value = "{}")]
    json: String,
    /// Address to send it to: the router of what runs on this machine, unless given.
    #[arg(long)]
    router: Option<String>,
    /// Request metadata, `name: value`; can be repeated.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Deadline in seconds.
    #[arg(long, default_value_t = 30.0)]
    timeout: f64,
    /// Neither sends the token of the last reply nor keeps that of this one.
    #[arg(long)]
    no_session: bool,
    /// Data folder of the `headwater up` to call.
    #[arg(long, env = "HEADWATER_DATA")]
    data: Option<PathBuf>,
}

/// Calls the method, prints what it answers, and says whether it succeeded.
///
/// # Errors
/// The router cannot be reached, there is no such method, or the JSON is not its request.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    let router = router(&options);
    let channel = connect(&router).await?;
    let Some(path) = options.method.as_deref().and_then(|m| m.trim_matches('/').split_once('/'))
    else {
        let wanted = options.method.as_deref();
        for line in reflect::listing(channel, wanted).await? {
            println!("{line}");
        }
        return Ok(true);
    };
    let method = reflect::method(channel.clone(), path.0, path.1).await?;
    let requests = requests(&method, &options.json)?;
    let mut session = Session::open(&router, !options.no_session);
    let mut metadata = metadata(&options.headers)?;
    let timeout = Duration::from_secs_f64(options.timeout.clamp(0.001, 86_400.0));
    let is_given = metadata.contains_key(TOKEN);
    if let (false, Some(token)) = (is_given, session.token()) {
        metadata.insert(TOKEN, token.parse()?);
    }
    let mut answered = send(&channel, &method, &requests, &metadata, timeout).await;
    let is_stale = answered.as_ref().is_err_and(is_unusable_token);
    if is_stale && !is_given && session.token().is_some() {
        eprintln!(
            "the session's token belongs to another log (was it wiped?): starting a new session"
        );
        session.forget();
        metadata.remove(TOKEN);
        answered = send(&channel, &method, &requests, &metadata, timeout).await;
    }
    match answered {
        Ok(token) => {
            session.keep(token);
            Ok(true)
        }
        Err(status) => {
            eprintln!("{}", problem::render(&status));
            Ok(false)
        }
    }
}

fn router(options: &Options) -> String {
    let running = || RunFile::find(options.data.clone()).ok().map(|run| run.router.to_string());
    options.router.clone().or_else(running).unwrap_or_else(|| "127.0.0.1:50050".to_owned())
}

async fn connect(router: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{router}"))
        .with_context(|| format!("{router} is not an address"))?
        .connect_timeout(Duration::from_secs(5));
    endpoint.connect().await.with_context(|| {
        format!("cannot reach {router}: is `headwater up` running? (see also --router and --data)")
    })
}

fn requests(method: &MethodDescriptor, json: &str) -> anyhow::Result<Vec<DynamicMessage>> {
    let mut text = json.to_owned();
    if json == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    }
    let input = method.input();
    let values = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
    let mut requests = Vec::new();
    for value in values {
        let value = value.context("the request is not JSON")?;
        let message = DynamicMessage::deserialize(input.clone(), value)
            .with_context(|| format!("the JSON is not a {}", input.full_name()))?;
        requests.push(message);
    }
    if !method.is_client_streaming() && requests.len() != 1 {
        bail!("{} takes one message, not {}", method.full_name(), requests.len());
    }
    Ok(requests)
}

fn metadata(headers: &[String]) -> anyhow::Result<MetadataMap> {
    let mut metadata = MetadataMap::new();
    for header in headers {
        let (name, value) =
            header.split_once(':').with_context(|| format!("{header:?} is not `name: value`"))?;
        let name: AsciiMetadataKey =
            name.trim().to_lowercase().parse().context("bad header name")?;
        let value: AsciiMetadataValue = value.trim().parse().context("bad header value")?;
        metadata.append(name, value);
    }
    Ok(metadata)
}

/// Of another log, or from a session file that was damaged.
fn is_unusable_token(status: &Status) -> bool {
    matches!(problem::reason(status).as_str(), "TOKEN_FOREIGN" | "TOKEN_LOST" | "TOKEN_MALFORMED")
}

/// Sends the requests, prints each reply as it comes, and gives the token that came with them.
async fn send(
    channel: &Channel,
    method: &MethodDescriptor,
    requests: &[DynamicMessage],
    metadata: &MetadataMap,
    timeout: Duration,
) -> Result<Option<String>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(tokio_stream::iter(requests.to_vec()));
    *request.metadata_mut() = metadata.clone();
    request.set_timeout(timeout);
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = path.parse().map_err(|_| Status::internal("the method's name is not a path"))?;
    let codec = DynamicCodec { output: method.output() };
    let response = client.streaming(request, path, codec).await?;
    let token = response.metadata().get(TOKEN).and_then(|t| t.to_str().ok()).map(str::to_owned);
    let mut replies: Streaming<DynamicMessage> = response.into_inner();
    while let Some(reply) = replies.message().await? {
        print(&reply).map_err(|error| Status::internal(error.to_string()))?;
    }
    Ok(token)
}

fn print(reply: &DynamicMessage) -> anyhow::Result<()> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut text);
    reply.serialize_with_options(&mut serializer, &shown())?;
    text.push(b'\n');
    // Whoever reads may have had enough (`| head`).
    let _ = std::io::stdout().lock().write_all(&text);
    Ok(())
}

/// Proto field names, as in the documentation, and zero values shown.
pub(crate) fn shown() -> SerializeOptions {
    SerializeOptions::new()
        .use_proto_field_name(true)
        .skip_default_fields(false)
        .stringify_64_bit_integers(false)
}
