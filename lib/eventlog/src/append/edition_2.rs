//! A batch as the append function of edition 2 takes it, and its answer: for a log that has not
//! been migrated yet.

use std::collections::HashMap;

use headwater_kernel::{Epoch, Partition, Position, StreamId, StreamVersion};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row as _};
use uuid::Uuid;

use super::command::{Command, Outcome, Receipt};
use super::stored::{code, digest, time_of};

/// The arrays, in the order of the function's parameters.
#[derive(Default)]
pub(super) struct Columns<'a> {
    streams: Vec<Uuid>,
    expected: Vec<i64>,
    counts: Vec<i32>,
    keys: Vec<Option<Uuid>>,
    payloads: Vec<Option<Uuid>>,
    stores: Vec<bool>,
    bases_stream: Vec<Uuid>,
    bases_version: Vec<i64>,
    e_stream: Vec<Uuid>,
    e_version: Vec<i64>,
    e_type: Vec<&'a str>,
    e_schema: Vec<i16>,
    e_payload: Vec<&'a [u8]>,
    e_command_id: Vec<Uuid>,
    e_caller: Vec<Option<&'a str>>,
    e_trace: Vec<Option<&'a str>>,
    e_digests: Vec<u8>,
    f_command: Vec<i32>,
    f_kind: Vec<&'static str>,
    f_name: Vec<&'a str>,
    sequential: bool,
}

impl<'a> Columns<'a> {
    pub(super) fn of(commands: &'a [Command]) -> Self {
        let mut columns = Self::default();
        let mut reached: HashMap<_, StreamVersion> = HashMap::with_capacity(commands.len());
        for (index, command) in commands.iter().enumerate() {
            let after = command.expected.plus(command.events.len() as u64);
            match reached.insert(command.stream, after) {
                None => {
                    columns.bases_stream.push(command.stream.0);
                    columns.bases_version.push(command.expected.0 as i64);
                }
                // Only a stream's first command is compared with the table all at once; the others
                // must follow on it.
                Some(reached) => columns.sequential |= reached != command.expected,
            }
            columns.add(index as i32 + 1, command);
        }
        columns
    }

    fn add(&mut self, number: i32, command: &'a Command) {
        self.streams.push(command.stream.0);
        self.expected.push(command.expected.0 as i64);
        self.counts.push(command.events.len() as i32);
        self.keys.push(command.key.map(|key| key.old_key));
        self.payloads.push(command.key.map(|key| key.payload));
        self.stores.push(command.key.is_some_and(|key| key.store));
        for (_, version, event) in command.placed() {
            self.e_stream.push(command.stream.0);
            self.e_version.push(version.0 as i64);
            self.e_type.push(event.type_name);
            self.e_schema.push(event.schema_version as i16);
            self.e_payload.push(&event.payload);
            self.e_command_id.push(command.command_id);
            self.e_caller.push(command.caller.as_deref());
            self.e_trace.push(command.traceparent.as_deref());
            self.e_digests.extend_from_slice(&digest(command, (command.stream, version), event).0);
        }
        for fact in &command.facts {
            self.f_command.push(number);
            self.f_kind.push(code(fact.kind));
            self.f_name.push(&fact.name);
        }
    }

    pub(super) fn bind(
        self,
        query: Query<'a, Postgres, PgArguments>,
        partition: Partition,
        epoch: Epoch,
    ) -> Query<'a, Postgres, PgArguments> {
        query
            .bind(partition.0 as i16)
            .bind(epoch.0 as i32)
            .bind(self.streams)
            .bind(self.expected)
            .bind(self.counts)
            .bind(self.keys)
            .bind(self.payloads)
            .bind(self.stores)
            .bind(self.bases_stream)
            .bind(self.bases_version)
            .bind(self.e_stream)
            .bind(self.e_version)
            .bind(self.e_type)
            .bind(self.e_schema)
            .bind(self.e_payload)
            .bind(self.e_command_id)
            .bind(self.e_caller)
            .bind(self.e_trace)
            .bind(self.e_digests)
            .bind(self.f_command)
            .bind(self.f_kind)
            .bind(self.f_name)
            .bind(self.sequential)
    }
}

/// Reads the function's answer: one outcome a command, if not all of them passed.
pub(super) fn outcomes(
    row: &PgRow,
    commands: &[Command],
    (partition, epoch): (Partition, Epoch),
) -> Result<Vec<Outcome>, sqlx::Error> {
    let recorded_at = time_of(row.try_get("recorded")?)?;
    let Some(codes) = row.try_get::<Option<Vec<i16>>, _>("outcomes")? else {
        let mut position = Position(row.try_get::<i64, _>("first")?.unsigned_abs());
        return Ok(commands
            .iter()
            .map(|command| {
                let count = command.events.len() as u64;
                position = position.plus(count);
                let version = command.expected.plus(count);
                let stream = command.stream;
                Outcome::Committed(Receipt {
                    stream,
                    partition,
                    position,
                    epoch,
                    version,
                    recorded_at,
                })
            })
            .collect());
    };
    let versions: Vec<i64> = row.try_get("versions")?;
    let positions: Vec<i64> = row.try_get("positions")?;
    let streams: Vec<Option<Uuid>> = row.try_get("receipt_streams")?;
    let partitions: Vec<Option<i16>> = row.try_get("receipt_partitions")?;
    let recorded: Vec<Option<i64>> = row.try_get("receipt_recorded")?;
    let facts: Vec<Option<i32>> = row.try_get("facts")?;
    let mut facts_before = 0;
    let mut all = Vec::with_capacity(commands.len());
    for (i, command) in commands.iter().enumerate() {
        let receipt = Receipt {
            stream: streams[i].map_or(command.stream, StreamId),
            partition: partitions[i].map_or(partition, |p| Partition(p.unsigned_abs())),
            // Also of a key found again: its position is in the log as it is now.
            epoch,
            position: Position(positions[i].unsigned_abs()),
            version: StreamVersion(versions[i].unsigned_abs()),
            recorded_at: recorded[i].map_or(Ok(recorded_at), time_of)?,
        };
        all.push(match codes[i] {
            0 => Outcome::Committed(receipt),
            1 => Outcome::VersionConflict(receipt.version),
            2 => Outcome::Replayed(receipt),
            3 => Outcome::KeyReused,
            4 => {
                let number = facts[i].unwrap_or(1).unsigned_abs() as usize;
                Outcome::FactFailed(number - 1 - facts_before)
            }
            code => return Err(sqlx::Error::Decode(format!("unknown outcome {code}").into())),
        });
        facts_before += command.facts.len();
    }
    Ok(all)
}
