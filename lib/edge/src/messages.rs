//! The shapes of messages that adapters are written on. All of these are generated from the
//! descriptors (`headwater-codegen`), for the messages that have the shape.

use headwater_proto::headwater::v1;
use uuid::Uuid;

use crate::command::CommandRequest;
use crate::failure::RpcStatus;
use crate::query::{DatedReply, QueryRequest};

/// A command's reply: the receipt, and perhaps the aggregate's id.
pub trait CommandReply: Send + 'static {
    /// The reply to a command on this stream.
    fn of(receipt: v1::Receipt, stream: Uuid) -> Self;
}

/// A request of many commands of one kind.
pub trait CommandBatch: prost::Message + 'static {
    /// The request of each.
    type Command: CommandRequest;

    /// The requests.
    fn requests(&self) -> &[Self::Command];

    /// The requests, taken out.
    fn into_requests(self) -> Vec<Self::Command>;
}

/// The reply to many commands.
pub trait CommandBatchReply: Send + 'static {
    /// The reply to each that was applied.
    type Reply: CommandReply;

    /// The reply: the results in the order of the requests, and a token that proves all of them.
    fn of(results: Vec<Result<Self::Reply, RpcStatus>>, token: String) -> Self;
}

/// A message that stands for a row.
pub trait Entity: prost::Message + Default + Clone {
    /// The version of the aggregate that the row is of; `None` for rows of several aggregates,
    /// which are told apart by their content.
    fn version(&self) -> Option<u64>;

    /// The id of the aggregate that the row is of: the message's first field, if that is a string.
    /// With the version it is what the ETag is made of. `None` if there is no such field, or no
    /// UUID in it.
    fn id(&self) -> Option<Uuid>;
}

/// A reply of one entity.
pub trait EntityReply: DatedReply {
    /// The entity's message.
    type Entity: Entity;
    /// The reply; without the entity if the client has it already.
    fn of(entity: Option<Self::Entity>) -> Self;
}

/// A reply of several entities that were named by their ids.
pub trait BatchReply: DatedReply {
    /// The message of each.
    type Entity: Entity;
    /// The reply: those that were found, and the ids under which there is none.
    fn of(entities: Vec<Self::Entity>, missing_ids: Vec<String>) -> Self;
}

/// A request for a page of a list.
pub trait ListRequest: QueryRequest {
    /// Size and token of the page.
    fn page(&self) -> (i32, &str);
}

/// A page of a list.
pub trait ListReply: DatedReply {
    /// The message of each row.
    type Entity: Entity;
    /// The page, and the token of the next one; empty on the last.
    fn of(entities: Vec<Self::Entity>, next_page_token: String) -> Self;
}

/// A request to watch rows.
pub trait WatchRequest: QueryRequest {
    /// Takes out where the watch is to resume.
    fn take_watch_options(&mut self) -> Option<v1::WatchOptions>;
}

/// A message of a watch.
pub trait WatchReply: Send + 'static {
    /// The message of a change.
    type Change: ChangeMessage;
    /// The message: what changed, where to resume, and how fresh that is.
    fn of(changes: Vec<Self::Change>, resume_token: String, freshness: v1::Freshness) -> Self;
}

/// A change of a row.
pub trait ChangeMessage: Send + 'static {
    /// The message of the row.
    type Entity: Entity;
    /// The change of the row with this key; `None` if it is gone, or passes the filter no more.
    fn of(key: Uuid, entity: Option<Self::Entity>) -> Self;
}
