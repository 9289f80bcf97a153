//! Reading the log in order, verified.

use headwater_kernel::digest::Contents;
use headwater_kernel::envelope::EVENTS_PER_COMMAND_MAX;
use headwater_kernel::{Digest, Epoch, Partition, Position, RecordedEvent};
use sqlx::Row as _;
use time::OffsetDateTime;

use crate::answer::answer;
use crate::append::EVENTS_PER_BATCH_MAX;
use crate::error::LogError;
use crate::{EventLog, decode};

/// A place in a partition, with the digest of all history up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The position; 0 is before the first event.
    pub position: Position,
    /// The chained digest there.
    pub digest: Digest,
}

impl Head {
    /// Before the first event.
    pub const START: Self = Self { position: Position(0), digest: Digest::EMPTY };
}

/// The ends of all partitions at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The epoch that the log was in.
    pub epoch: Epoch,
    /// By partition, from 0.
    pub heads: Vec<Head>,
    /// The write database's time they are of.
    pub now: OffsetDateTime,
}

/// A verified piece of a partition that ends where an append ended.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The events, in order of position.
    pub events: Vec<RecordedEvent>,
    /// End of the piece: the place to read after next.
    pub end: Head,
    /// The epoch that the log was in when it was read: no event is of a later one.
    pub epoch: Epoch,
    /// The write database's time at which it was read.
    pub now: OffsetDateTime,
    /// True if these were all events committed before `now`.
    pub caught_up: bool,
}

/// An event with the chained digest it carries if it is the last of its append.
struct Link {
    event: RecordedEvent,
    digest: Option<Digest>,
}

impl EventLog {
    /// The heads of all partitions, in their order.
    ///
    /// # Errors
    /// The database cannot be reached, or is a standby, which may lack the newest events.
    pub async fn heads(&self) -> Result<Heads, LogError> {
        let query = sqlx::query(include_str!("../sql/heads.sql"));
        let rows = answer(query.fetch_all(&self.pool.current()?)).await?;
        let first = rows.first().ok_or_else(LogError::standby)?;
        let epoch = decode::epoch(first)?;
        let mut heads = Heads { epoch, heads: Vec::new(), now: OffsetDateTime::UNIX_EPOCH };
        for row in &rows {
            let position: i64 = row.try_get("position").map_err(LogError::from_sqlx)?;
            let digest: &[u8] = row.try_get("digest").map_err(LogError::from_sqlx)?;
            let partition = Partition(heads.heads.len() as u16);
            let position = Position(position.unsigned_abs());
            heads.heads.push(Head { position, digest: digest_of(digest, partition, position)? });
            heads.now = row.try_get("read_at").map_err(LogError::from_sqlx)?;
        }
        Ok(heads)
    }

    /// The newest place at or before `position` where an append ended: where reading can begin to
    /// see the event after `position`. The chain is taken on trust from there.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn place_before(
        &self,
        partition: Partition,
        position: Position,
    ) -> Result<Head, LogError> {
        let query = sqlx::query(include_str!("../sql/place_before.sql"))
            .bind(i32::from(partition.0))
            .bind(position.0 as i64);
        let row = answer(query.fetch_optional(&self.pool.current()?)).await?;
        let Some(row) = row else { return Ok(Head::START) };
        let found: i64 = row.try_get("position").map_err(LogError::from_sqlx)?;
        let digest: &[u8] = row.try_get("digest").map_err(LogError::from_sqlx)?;
        let position = Position(found.unsigned_abs());
        Ok(Head { position, digest: digest_of(digest, partition, position)? })
    }

    /// The events of a partition after `after`: about `limit` of them, cut where an append ends, so
    /// more if that is what an append has. Every event's digest and position is verified on the
    /// way.
    ///
    /// # Errors
    /// The database cannot be reached or is a standby, or the log is corrupt, or its history is not
    /// the one that `after` is of.
    pub async fn read(
        &self,
        partition: Partition,
        after: &Head,
        limit: u32,
    ) -> Result<Chunk, LogError> {
        // One append always fits, so a full read always contains the end of one.
        let limit = limit.max((EVENTS_PER_BATCH_MAX + EVENTS_PER_COMMAND_MAX) as u32);
        let query = sqlx::query(include_str!("../sql/read.sql"))
            .bind(i32::from(partition.0))
            .bind(after.position.0 as i64)
            .bind(i64::from(limit));
        let rows = answer(query.fetch_all(&self.pool.current()?)).await?;
        let epoch = decode::epoch(rows.first().ok_or_else(LogError::standby)?)?;
        let mut now = OffsetDateTime::UNIX_EPOCH;
        let mut links = Vec::with_capacity(rows.len());
        for row in &rows {
            now = row.try_get("read_at").map_err(LogError::from_sqlx)?;
            if let Some(event) = decode::event(row)? {
                let digest: Option<&[u8]> = row.try_get("digest").map_err(LogError::from_sqlx)?;
                let digest = digest.map(|d| digest_of(d, partition, event.position)).transpose()?;
                links.push(Link { event, digest });
            }
        }
        let caught_up = links.len() < limit as usize;
        if let (true, Some(Link { event, digest: None })) = (caught_up, links.last()) {
            return Err(corrupt(partition, event.position, "the last append has no digest"));
        }
        let (events, end) = verify(partition, after, links)?;
        Ok(Chunk { events, end, epoch, now, caught_up })
    }
}

/// Checks that the links continue `after` without a gap and that every digest fits; cuts what is
/// not a whole append.
fn verify(
    partition: Partition,
    after: &Head,
    links: Vec<Link>,
) -> Result<(Vec<RecordedEvent>, Head), LogError> {
    let mut end = *after;
    let mut events: Vec<RecordedEvent> = Vec::with_capacity(links.len());
    let mut pending = Vec::new();
    let mut whole = 0;
    for Link { event, digest } in links {
        let expected = end.position.plus(pending.len() as u64 + 1);
        if event.position != expected {
            let found = event.position;
            return Err(corrupt(partition, expected, &format!("the next event is at {found}")));
        }
        pending.push(content_digest(&event));
        let micros = (event.recorded_at.unix_timestamp_nanos() / 1_000) as i64;
        events.push(event);
        let Some(stored) = digest else { continue };
        if end.digest.chain(micros, pending.drain(..)) != stored {
            return Err(corrupt(
                partition,
                end.position.plus(1),
                "the digest does not fit what is stored: events were changed, or this is another history",
            ));
        }
        end = Head { position: expected, digest: stored };
        whole = events.len();
    }
    events.truncate(whole);
    Ok((events, end))
}

fn content_digest(event: &RecordedEvent) -> Digest {
    Digest::of_contents(&Contents {
        stream: event.stream,
        version: event.version,
        type_name: &event.type_name,
        schema_version: event.schema_version,
        payload: &event.payload,
        command_id: event.command_id,
        caller: event.caller.as_deref(),
        traceparent: event.traceparent.as_deref(),
    })
}

pub(crate) fn digest_of(
    bytes: &[u8],
    partition: Partition,
    position: Position,
) -> Result<Digest, LogError> {
    Digest::from_slice(bytes)
        .ok_or_else(|| corrupt(partition, position, "its digest is not 32 bytes"))
}

fn corrupt(partition: Partition, position: Position, what: &str) -> LogError {
    LogError::Corrupt { partition, position, what: what.to_owned() }
}
