//! The heads of a checkpoint, and the epochs of its log, as their columns hold them.

use headwater_eventlog::Head;
use headwater_kernel::{Digest, Lineage, Position, ViewError};

use crate::projection::checkpoint::Checkpoint;

/// One element a partition, from 0.
pub(super) struct Stored {
    pub positions: Vec<i64>,
    pub digests: Vec<Vec<u8>>,
}

impl Stored {
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let heads = &checkpoint.heads;
        Self {
            positions: heads.iter().map(|head| head.position.0 as i64).collect(),
            digests: heads.iter().map(|head| head.digest.0.to_vec()).collect(),
        }
    }

    pub fn heads(self) -> Result<Vec<Head>, ViewError> {
        let head = |(position, digest): (&i64, &Vec<u8>)| {
            let digest = Digest::from_slice(digest)?;
            Some(Head { position: Position(position.unsigned_abs()), digest })
        };
        let heads: Option<Vec<Head>> = self.positions.iter().zip(&self.digests).map(head).collect();
        heads.ok_or_else(|| ViewError("the stored checkpoint has a malformed digest".to_owned()))
    }
}

/// The epochs of a log in rising order, and where they began: for each of them one position a
/// partition, one after the other.
pub(super) struct StoredStarts {
    pub epochs: Vec<i32>,
    pub positions: Vec<i64>,
}

impl StoredStarts {
    pub fn of(lineage: &Lineage) -> Self {
        let starts = lineage.starts();
        let positions = starts.iter().flat_map(|start| &start.positions);
        Self {
            epochs: starts.iter().map(|start| start.epoch.0 as i32).collect(),
            positions: positions.map(|position| position.0 as i64).collect(),
        }
    }
}
