//! The pure heart: what positions, events, tokens, aggregates and views are. No I/O, no clock, no
//! async.

pub mod access;
pub mod aggregate;
pub mod boundary;
pub mod digest;
pub mod envelope;
pub mod freshness;
pub mod holdings;
pub mod ids;
pub mod lineage;
pub mod row;
pub mod token;
pub mod view;

pub use access::Access;
pub use aggregate::{Aggregate, Context, Decided, Decision, Holdings, Rejection, RejectionKind};
pub use boundary::{DecidedAcross, DecisionModel, Query, QueryItem};
pub use digest::Digest;
pub use envelope::{DecodeError, EventSet, NewEvent, RecordedEvent};
pub use freshness::{Consistency, Freshness, NodeRole};
pub use holdings::{AggregateType, HoldingsFold};
pub use ids::{Epoch, LogId, Partition, PartitionKey, Position, StreamId, StreamVersion};
pub use lineage::{EpochStart, Lineage, TokenMismatch, Tokens};
pub use token::{Token, TokenError};
pub use view::{About, FoldResult, List, Touch, View, ViewError};

// Columns are of these types.
pub use time::OffsetDateTime;
pub use uuid::Uuid;
