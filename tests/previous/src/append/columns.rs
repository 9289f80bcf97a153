//! A batch as the arrays that the append function takes.

use std::collections::HashMap;

use headwater_kernel::digest::Contents;
use headwater_kernel::{Digest, Epoch, Partition, StreamVersion};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

use super::command::{Command, Fact, FactKind};

/// The arrays, in the order of the function's parameters; see append.sql for what each means.
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
        let mut columns = Self { sequential: depend_on_each_other(commands), ..Self::default() };
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
        self.keys.push(command.key.map(|key| key.key));
        self.payloads.push(command.key.map(|key| key.payload));
        self.stores.push(command.key.is_some_and(|key| key.store));
        for (offset, event) in command.events.iter().enumerate() {
            let version = command.expected.plus(offset as u64 + 1);
            self.e_stream.push(command.stream.0);
            self.e_version.push(version.0 as i64);
            self.e_type.push(event.type_name);
            self.e_schema.push(event.schema_version as i16);
            self.e_payload.push(&event.payload);
            self.e_command_id.push(command.command_id);
            self.e_caller.push(command.caller.as_deref());
            self.e_trace.push(command.traceparent.as_deref());
            self.e_digests.extend_from_slice(&digest(command, version, offset).0);
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

fn digest(command: &Command, version: StreamVersion, offset: usize) -> Digest {
    let event = &command.events[offset];
    Digest::of_contents(&Contents {
        stream: command.stream,
        version,
        type_name: event.type_name,
        schema_version: event.schema_version,
        payload: &event.payload,
        command_id: command.command_id,
        caller: command.caller.as_deref(),
        traceparent: command.traceparent.as_deref(),
    })
}

fn code(kind: FactKind) -> &'static str {
    match kind {
        FactKind::TakeClaim => "t",
        FactKind::FreeClaim => "f",
        FactKind::SetMark => "s",
        FactKind::ClearMark => "c",
        FactKind::MarkPresent => "p",
        FactKind::MarkAbsent => "a",
    }
}

/// True if facts of the batch depend on each other, so that checking them all at once, before any
/// is applied, would be wrong.
fn depend_on_each_other(commands: &[Command]) -> bool {
    let mut seen: HashMap<(bool, &str), FactKind> = HashMap::new();
    commands.iter().flat_map(|command| command.facts.iter()).any(|fact| {
        match seen.insert((is_claim(fact), &fact.name), fact.kind) {
            Some(before) => !independent(before, fact.kind),
            None => false,
        }
    })
}

/// True if two facts of the same name give the same result in any order.
fn independent(one: FactKind, other: FactKind) -> bool {
    use FactKind::{ClearMark, MarkAbsent, MarkPresent, SetMark};
    matches!(
        (one, other),
        (SetMark, SetMark)
            | (ClearMark, ClearMark)
            | (MarkPresent | MarkAbsent, MarkPresent | MarkAbsent)
    )
}

fn is_claim(fact: &Fact) -> bool {
    matches!(fact.kind, FactKind::TakeClaim | FactKind::FreeClaim)
}

#[cfg(test)]
mod tests {
    use headwater_kernel::StreamId;

    use super::*;

    fn command(stream: u128, facts: &[(FactKind, &str)]) -> Command {
        Command {
            stream: StreamId(Uuid::from_u128(stream)),
            expected: StreamVersion(0),
            command_id: Uuid::nil(),
            caller: None,
            traceparent: None,
            key: None,
            events: Vec::new(),
            facts: facts
                .iter()
                .map(|(kind, name)| Fact { kind: *kind, name: (*name).to_owned() })
                .collect(),
        }
    }

    #[test]
    fn facts_that_depend_on_each_other_are_recognised() {
        use FactKind::{ClearMark, FreeClaim, MarkAbsent, MarkPresent, SetMark, TakeClaim};
        let check = |facts: &[&[(FactKind, &str)]], expected: bool| {
            let commands: Vec<_> =
                facts.iter().enumerate().map(|(i, f)| command(i as u128, f)).collect();
            assert_eq!(depend_on_each_other(&commands), expected, "{facts:?}");
        };
        check(&[], false);
        check(&[&[(TakeClaim, "a")], &[(TakeClaim, "b")]], false);
        check(&[&[(TakeClaim, "a")], &[(TakeClaim, "a")]], true);
        check(&[&[(FreeClaim, "a")], &[(TakeClaim, "a")]], true);
        check(&[&[(MarkPresent, "a")], &[(MarkPresent, "a")], &[(MarkAbsent, "a")]], false);
        check(&[&[(MarkPresent, "a")], &[(ClearMark, "a")]], true);
        check(&[&[(SetMark, "a")], &[(MarkPresent, "a")]], true);
        check(&[&[(SetMark, "a")], &[(ClearMark, "a")]], true);
        check(&[&[(SetMark, "a")], &[(SetMark, "a")]], false);
        check(&[&[(ClearMark, "a")], &[(ClearMark, "a")]], false);
        check(&[&[(SetMark, "a")], &[(TakeClaim, "a")]], false);
    }
}
