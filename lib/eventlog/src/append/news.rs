//! The events that other programs append to a partition between the batches of an appender.

use headwater_kernel::{Position, RecordedEvent};

use super::seen::{EVENTS_MAX, Seen};
use super::{Appender, Command, Outcome};
use crate::answer::answer;
use crate::decode;
use crate::error::LogError;

impl Appender {
    /// Takes in where a batch was appended; of one that was refused as a whole that is not known.
    pub(super) fn appended(&mut self, commands: &[Command], outcomes: &[Outcome]) {
        let place = |(command, outcome): (&Command, &Outcome)| match outcome {
            Outcome::Committed(receipt) => {
                let events = command.events.len() as u64;
                Some((Position(receipt.position.0.saturating_sub(events)), receipt.position))
            }
            _ => None,
        };
        let mut places = commands.iter().zip(outcomes).filter_map(place);
        let Some((before, first)) = places.next() else { return };
        let last = places.next_back().map_or(first, |(_, last)| last);
        let here = || Seen::until(last);
        self.seen = Some(self.seen.map_or_else(here, |seen| seen.appended(before, last)));
    }

    /// The events of others since the last batches, in order of position; none before the first
    /// batch in this epoch, or if there are more than are read at once.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn news(&mut self) -> Result<Vec<RecordedEvent>, LogError> {
        let Some(seen) = self.seen else { return Ok(Vec::new()) };
        let (partition, epoch) = (self.partition, self.epoch);
        let session = self.session().await?;
        let query = sqlx::query(include_str!("../../sql/news.sql"))
            .bind(i32::from(partition.0))
            .bind(seen.until.0 as i64)
            .bind(EVENTS_MAX as i64 + 1)
            .bind(seen.own.0.0 as i64)
            .bind(seen.own.1.0 as i64);
        let rows = answer(query.fetch_all(&mut session.connection)).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            if decode::epoch(row)? != epoch {
                self.seen = None;
                return Ok(Vec::new());
            }
            events.extend(decode::event(row)?);
        }
        if events.len() as u64 > EVENTS_MAX {
            self.seen = None;
            return Ok(Vec::new());
        }
        let last = events.last().map_or(seen.until, |event| event.position);
        self.seen = Some(seen.read(last));
        Ok(events)
    }
}
