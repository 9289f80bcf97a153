//! Decisions across aggregates: a consistency boundary that is a query over the events of a
//! partition, and not one stream (a dynamic consistency boundary, <https://dcb.events>).

use crate::aggregate::{Context, Decision, Rejection};
use crate::envelope::EventSet;
use crate::ids::StreamId;

/// The most items that a query may have.
pub const ITEMS_MAX: usize = 16;

/// A consistency boundary that a command chooses: its state is the fold of all events that its
/// [`Query`] matches, and the decision holds only if none was added to them since.
///
/// All of it is pure, as an [`Aggregate`](crate::Aggregate) is. Everything that the query matches
/// and that is appended to is of one partition, that of the call's partition key.
pub trait DecisionModel: Clone + Default + Send + Sync + 'static {
    /// Name for logs and metrics, such as `transfer`.
    const NAME: &'static str;
    /// Commands that are decided on the model.
    type Command: Send + Sync + 'static;
    /// Events that its queries match, and that it causes.
    type Event: EventSet;

    /// The events that decide a command. Of two commands whose queries are equal, one may be
    /// decided on the state that the other one has left.
    fn boundary(command: &Self::Command, context: &Context) -> Query;

    /// Decides a command: what happens to which stream, or its refusal. A stream that is appended
    /// to is the call's own, or one that the query names. Nothing means that the command changes
    /// nothing. The receipt tells stream and version of the last event.
    ///
    /// # Errors
    /// The rejection that the client is answered with.
    fn decide(&self, command: &Self::Command, context: &Context) -> DecidedAcross<Self::Event>;

    /// The state after an event of a stream. Never refuses: what is in the log has happened.
    fn evolve(&mut self, stream: StreamId, event: &Self::Event);
}

/// The effects of a command on each of several streams, or its refusal.
pub type DecidedAcross<E> = Result<Vec<(StreamId, Decision<E>)>, Rejection>;

/// A query over the events of one partition: it matches what any of its items does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Query {
    items: Vec<QueryItem>,
}

/// What an event has to be: of this stream, if one is given; with all of these tags; of one of
/// these types, if any is given. An item that asks for nothing matches every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryItem {
    stream: Option<StreamId>,
    tags: Vec<String>,
    types: Vec<String>,
}

impl Query {
    /// A query of these items, of which at most [`ITEMS_MAX`] may differ. Their order does not
    /// count.
    pub fn new(items: impl IntoIterator<Item = QueryItem>) -> Self {
        Self { items: sorted(items.into_iter().collect()) }
    }

    /// Everything of these streams: the boundary of several aggregates.
    pub fn streams(streams: impl IntoIterator<Item = StreamId>) -> Self {
        Self::new(streams.into_iter().map(QueryItem::stream))
    }

    /// Its items, in order.
    pub fn items(&self) -> &[QueryItem] {
        &self.items
    }

    /// The streams that its items name, in order; each once.
    pub fn named_streams(&self) -> Vec<StreamId> {
        sorted(self.items.iter().filter_map(|item| item.stream).collect())
    }

    /// True if it matches an event.
    pub fn matches(&self, stream: StreamId, type_name: &str, tags: &[String]) -> bool {
        self.items.iter().any(|item| item.matches(stream, type_name, tags))
    }
}

impl QueryItem {
    /// Every event of a stream: its id is a tag that every event has and that costs nothing.
    pub fn stream(stream: StreamId) -> Self {
        Self { stream: Some(stream), ..Self::default() }
    }

    /// Every event with this tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self::default().and_tag(tag)
    }

    /// Every event of these types, by their full protobuf names.
    pub fn types(types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::default().of_types(types)
    }

    /// The same, of events that have this tag as well.
    #[must_use]
    pub fn and_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        Self { tags: sorted(self.tags), ..self }
    }

    /// The same, of these types alone.
    #[must_use]
    pub fn of_types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.types.extend(types.into_iter().map(Into::into));
        Self { types: sorted(self.types), ..self }
    }

    /// The stream, if one is given.
    pub fn stream_id(&self) -> Option<StreamId> {
        self.stream
    }

    /// The tags.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// The types; none stands for all.
    pub fn type_names(&self) -> &[String] {
        &self.types
    }

    fn matches(&self, stream: StreamId, type_name: &str, tags: &[String]) -> bool {
        self.stream.is_none_or(|own| own == stream)
            && self.tags.iter().all(|tag| tags.contains(tag))
            && (self.types.is_empty() || self.types.iter().any(|name| name == type_name))
    }
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const A: StreamId = StreamId(Uuid::from_u128(1));
    const B: StreamId = StreamId(Uuid::from_u128(2));

    #[test]
    fn an_item_matches_by_stream_tags_and_types_together() {
        let course = || QueryItem::tag("course/1");
        // the item; and an event's stream, type and tags that it must match or not
        let table: [(QueryItem, StreamId, &str, &[&str], bool); 12] = [
            (QueryItem::default(), A, "X", &[], true),
            (QueryItem::stream(A), A, "X", &["course/1"], true),
            (QueryItem::stream(A), B, "X", &[], false),
            (course(), A, "X", &["student/2", "course/1"], true),
            (course(), A, "X", &["course/11"], false),
            (course().and_tag("student/2"), A, "X", &["student/2", "course/1"], true),
            (course().and_tag("student/2"), A, "X", &["course/1"], false),
            (course().of_types(["X", "Y"]), A, "Y", &["course/1"], true),
            (course().of_types(["X", "Y"]), A, "Z", &["course/1"], false),
            (QueryItem::types(["X"]), B, "X", &[], true),
            (QueryItem::stream(A).of_types(["X"]), A, "Y", &[], false),
            (QueryItem::stream(A).and_tag("course/1"), A, "X", &[], false),
        ];
        for (item, stream, type_name, tags, expected) in table {
            let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
            assert_eq!(item.matches(stream, type_name, &tags), expected, "{item:?} {tags:?}");
            // Of several items any will do; none matches nothing.
            let query = Query::new([item, QueryItem::tag("none")]);
            assert_eq!(query.matches(stream, type_name, &tags), expected, "{query:?}");
        }
        assert!(!Query::default().matches(A, "X", &[]));
    }

    #[test]
    fn queries_are_equal_in_any_order() {
        let one = Query::new([QueryItem::stream(B), QueryItem::stream(A), QueryItem::stream(B)]);
        assert_eq!(one, Query::streams([A, B]));
        assert_eq!(one.named_streams(), [A, B]);
        let tags = QueryItem::tag("b").and_tag("a").and_tag("b");
        assert_eq!(tags, QueryItem::tag("a").and_tag("b"));
    }
}
