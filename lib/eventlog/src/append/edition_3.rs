//! A batch as append_3 takes it, and its answer. The order of the fields of each record is that of
//! the type of its name; see schema_3.sql for what they mean.

use std::collections::HashMap;

use headwater_kernel::envelope::Subject;
use headwater_kernel::{Epoch, Partition, Position, QueryItem, StreamId, StreamVersion};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::{PgRecordDecoder, PgRecordEncoder};
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef,
};
use sqlx::query::Query;
use sqlx::{Decode, Encode, Postgres, Row as _, Type};
use uuid::Uuid;

use super::chains::{Chains, Link};
use super::command::{Boundary, Command, Outcome, Receipt};
use super::stored::{code, digest, time_of};
use crate::schema::Edition;

/// Declares a record and how it is encoded: its fields in their order.
macro_rules! record {
    ($name:ident $(<$life:lifetime>)? as $sql:literal { $($field:ident: $type:ty,)* }) => {
        pub(crate) struct $name $(<$life>)? {
            $($field: $type,)*
        }

        impl $(<$life>)? Type<Postgres> for $name $(<$life>)? {
            fn type_info() -> PgTypeInfo {
                PgTypeInfo::with_name($sql)
            }
        }

        impl $(<$life>)? PgHasArrayType for $name $(<$life>)? {
            fn array_type_info() -> PgTypeInfo {
                PgTypeInfo::array_of($sql)
            }
        }

        impl<'q $(, $life)?> Encode<'q, Postgres> for $name $(<$life>)? {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let mut record = PgRecordEncoder::new(buffer);
                $(record.encode(&self.$field)?;)*
                record.finish();
                Ok(IsNull::No)
            }
        }
    };
}

record!(CommandRecord as "headwater_log.command_3" {
    stream: Uuid,
    command_id: Uuid,
    expected: i64,
    events: i32,
    chain: i32,
    key: Option<Uuid>,
    old_key: Option<Uuid>,
    payload: Option<Uuid>,
    store: bool,
});

record!(EventRecord<'a> as "headwater_log.event_3" {
    command: i32,
    stream: Uuid,
    version: i64,
    type_name: &'a str,
    schema_version: i16,
    payload: &'a [u8],
    command_id: Uuid,
    caller: Option<&'a str>,
    traceparent: Option<&'a str>,
    subject: Option<String>,
    key: Option<Uuid>,
    key_payload: Option<Uuid>,
});

record!(FactRecord<'a> as "headwater_log.fact_3" {
    command: i32,
    stream: Uuid,
    kind: &'a str,
    name: &'a str,
});

record!(TagRecord<'a> as "headwater_log.tag_3" {
    command: i32,
    event: i32,
    tag: &'a str,
    type_name: &'a str,
});

record!(ItemRecord<'a> as "headwater_log.item_3" {
    command: i32,
    after: i64,
    stream: Option<Uuid>,
    version: i64,
    tags: Option<&'a [String]>,
    types: Option<&'a [String]>,
});

impl<'a> ItemRecord<'a> {
    /// An item of a query, to be looked for after a position, or after a version of its stream.
    pub(crate) fn of(
        command: i32,
        item: &'a QueryItem,
        (after, version): (Position, StreamVersion),
    ) -> Self {
        let some = |all: &'a [String]| (!all.is_empty()).then_some(all);
        Self {
            command,
            after: after.0 as i64,
            stream: item.stream_id().map(|stream| stream.0),
            version: version.0 as i64,
            tags: some(item.tags()),
            types: some(item.type_names()),
        }
    }

    /// A stream that is to be at this version.
    fn stream(command: i32, stream: StreamId, version: StreamVersion) -> Self {
        let (stream, version) = (Some(stream.0), version.0 as i64);
        Self { command, after: 0, stream, version, tags: None, types: None }
    }
}

/// A version that no stream has: what was decided on it is in conflict.
const NO_VERSION: i64 = -1;

/// A batch as records.
#[derive(Default)]
pub(super) struct Batch<'a> {
    commands: Vec<CommandRecord>,
    events: Vec<EventRecord<'a>>,
    digests: Vec<u8>,
    facts: Vec<FactRecord<'a>>,
    tags: Vec<TagRecord<'a>>,
    items: Vec<ItemRecord<'a>>,
    is_rare: bool,
    /// True if some command has to be looked at before its events are inserted: it has none, or is
    /// in conflict as it stands.
    needs_look: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn of(commands: &'a [Command]) -> Self {
        let events = commands.iter().map(|command| command.events.len()).sum();
        let mut batch = Self {
            commands: Vec::with_capacity(commands.len()),
            events: Vec::with_capacity(events),
            digests: Vec::with_capacity(events * 32),
            ..Self::default()
        };
        let mut chains = Chains::new(commands);
        for (index, command) in commands.iter().enumerate() {
            let number = index as i32 + 1;
            let link = chains.add(command);
            batch.add(number, &link, command);
            if let (Some(boundary), Link::Fits { new_streams, .. }) = (&command.boundary, link) {
                batch.add_boundary(number, boundary, &new_streams);
            }
        }
        for (record, number) in batch.commands.iter_mut().zip(1..) {
            record.chain *= chains.chain(number);
        }
        batch
    }

    fn add(&mut self, number: i32, link: &Link, command: &'a Command) {
        let key = command.key;
        let store = command.events.is_empty() && key.is_some_and(|key| key.store);
        self.commands.push(CommandRecord {
            stream: command.stream.0,
            command_id: command.command_id,
            expected: match link {
                Link::Fits { .. } => command.expected.0 as i64,
                Link::Unfit => NO_VERSION,
            },
            events: command.events.len() as i32,
            // Becomes its number with this sign.
            chain: if matches!(link, Link::Fits { first: false, .. }) { -1 } else { 1 },
            key: key.map(|key| key.key),
            old_key: key.map(|key| key.old_key),
            payload: key.map(|key| key.payload),
            store,
        });
        self.needs_look |= command.events.is_empty() || matches!(link, Link::Unfit);
        // A key that may be one of a command without events is looked for among their receipts.
        self.is_rare |= store || !command.facts.is_empty();
        let last = command.events.len().saturating_sub(1);
        for (offset, (stream, version, event)) in command.placed().enumerate() {
            let own = key.filter(|_| offset == last);
            self.events.push(EventRecord {
                command: number,
                stream: stream.0,
                version: version.0 as i64,
                type_name: event.type_name,
                schema_version: event.schema_version as i16,
                payload: &event.payload,
                command_id: command.command_id,
                caller: command.caller.as_deref(),
                traceparent: command.traceparent.as_deref(),
                subject: event.subject.as_ref().map(|subject| match subject {
                    Subject::Own => stream.0.to_string(),
                    Subject::Other(id) => id.clone(),
                }),
                key: own.map(|key| key.key),
                key_payload: own.map(|key| key.payload),
            });
            self.digests.extend_from_slice(&digest(command, (stream, version), event).0);
            let (event_number, type_name) = (self.events.len() as i32, event.type_name);
            self.tags.extend(event.tags.iter().map(|tag| TagRecord {
                command: number,
                event: event_number,
                tag,
                type_name,
            }));
        }
        let mut facts = command.facts.iter();
        for part in command.parts() {
            self.facts.extend(facts.by_ref().take(part.facts).map(|fact| FactRecord {
                command: number,
                stream: part.stream.0,
                kind: code(fact.kind),
                name: &fact.name,
            }));
        }
    }

    fn add_boundary(
        &mut self,
        number: i32,
        boundary: &'a Boundary,
        new_streams: &[(StreamId, StreamVersion)],
    ) {
        let versions: HashMap<_, _> = boundary.versions.iter().copied().collect();
        for item in boundary.query.items() {
            let version = item.stream_id().and_then(|stream| versions.get(&stream).copied());
            let from = (boundary.after, version.unwrap_or_default());
            self.items.push(ItemRecord::of(number, item, from));
        }
        let new = new_streams.iter();
        self.items
            .extend(new.map(|(stream, version)| ItemRecord::stream(number, *stream, *version)));
    }

    /// The call's arguments. `is_calm`: few conflicts are met of late.
    pub(super) fn bind(
        self,
        query: Query<'a, Postgres, PgArguments>,
        (partition, epoch, edition): (Partition, Epoch, Edition),
        is_calm: bool,
    ) -> Query<'a, Postgres, PgArguments> {
        query
            .bind(i32::from(partition.0))
            .bind(epoch.0 as i32)
            .bind(edition == Edition::Finished)
            .bind(self.commands)
            .bind(self.events)
            .bind(self.digests)
            .bind(self.facts)
            .bind(some(self.tags))
            .bind(some(self.items))
            .bind(self.is_rare)
            .bind(is_calm && !self.needs_look)
    }
}

/// Most batches have none, and pay for none.
fn some<T>(records: Vec<T>) -> Option<Vec<T>> {
    (!records.is_empty()).then_some(records)
}

/// A command that failed, or, first, the batch itself.
struct Failure {
    command: i32,
    outcome: i32,
    version: Option<i64>,
    position: Option<i64>,
    recorded: Option<i64>,
    stream: Option<Uuid>,
    partition: Option<i32>,
    fact: Option<i32>,
}

impl Type<Postgres> for Failure {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("headwater_log.failure_3")
    }
}

impl PgHasArrayType for Failure {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("headwater_log.failure_3")
    }
}

impl<'r> Decode<'r, Postgres> for Failure {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let mut record = PgRecordDecoder::new(value)?;
        Ok(Self {
            command: record.try_decode()?,
            outcome: record.try_decode()?,
            version: record.try_decode()?,
            position: record.try_decode()?,
            recorded: record.try_decode()?,
            stream: record.try_decode()?,
            partition: record.try_decode()?,
            fact: record.try_decode()?,
        })
    }
}

/// Reads the function's answer; see append_3.sql.
pub(super) fn outcomes(
    row: &PgRow,
    commands: &[Command],
    (partition, epoch): (Partition, Epoch),
) -> Result<Vec<Outcome>, sqlx::Error> {
    let failures: Vec<Failure> = row.try_get(0)?;
    let mut failures = failures.into_iter().peekable();
    let batch = failures.next().ok_or_else(|| malformed("it is empty"))?;
    let recorded_at = time_of(batch.recorded.unwrap_or_default())?;
    let mut position = Position(batch.position.unwrap_or_default().unsigned_abs());
    let mut facts_before = 0;
    let mut all = Vec::with_capacity(commands.len());
    for (index, command) in commands.iter().enumerate() {
        let failure = failures.next_if(|failure| failure.command == index as i32 + 1);
        all.push(match failure {
            None => {
                position = position.plus(command.events.len() as u64);
                let last = command.last_part();
                Outcome::Committed(Receipt {
                    stream: last.stream,
                    partition,
                    position,
                    epoch,
                    version: last.expected.plus(last.events as u64),
                    recorded_at,
                })
            }
            Some(failure) => failed(&failure, (partition, epoch), facts_before)?,
        });
        facts_before += command.facts.len();
    }
    Ok(all)
}

fn failed(
    failure: &Failure,
    (partition, epoch): (Partition, Epoch),
    facts_before: usize,
) -> Result<Outcome, sqlx::Error> {
    let version = StreamVersion(failure.version.unwrap_or_default().unsigned_abs());
    Ok(match failure.outcome {
        1 => Outcome::VersionConflict(version),
        2 => Outcome::Replayed(Receipt {
            stream: StreamId(failure.stream.unwrap_or_default()),
            partition: failure.partition.map_or(partition, |p| Partition(p.unsigned_abs() as u16)),
            // Its position is in the log as it is now.
            epoch,
            position: Position(failure.position.unwrap_or_default().unsigned_abs()),
            version,
            recorded_at: time_of(failure.recorded.unwrap_or_default())?,
        }),
        3 => Outcome::KeyReused,
        4 => {
            let number = failure.fact.unwrap_or(1).unsigned_abs() as usize;
            Outcome::FactFailed(number.saturating_sub(1 + facts_before))
        }
        outcome => return Err(malformed(&format!("it has the outcome {outcome}"))),
    })
}

fn malformed(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("the answer of append_3 cannot be read: {what}").into())
}
