//! The heads of a checkpoint as its columns hold them.

use headwater_eventlog::Head;
use headwater_kernel::{Digest, Position, ViewError};

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
