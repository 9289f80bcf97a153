//! A query under way: what it asks for, by its fields, its metadata and its method's policy.

use headwater_edge::{Failure, Need, QueryOptions, QueryRequest, Violations};
use tonic::Request;

use crate::read::Reads;

/// A query whose request has been read, and by which its replies are made.
pub struct Query<'r> {
    pub(super) options: QueryOptions,
    pub(super) reads: &'r Reads,
}

impl Query<'_> {
    /// What the answer must be, for the read.
    pub fn need(&self) -> &Need {
        &self.options.need
    }
}

impl Reads {
    /// Reads a request: its consistency and metadata, and what `fields` makes of the rest.
    ///
    /// # Errors
    /// A token that is malformed or of another log, or every violation that `fields` recorded.
    pub fn query<M: QueryRequest, T>(
        &self,
        request: Request<M>,
        fields: impl FnOnce(&M, &mut Violations) -> Option<T>,
    ) -> Result<(Query<'_>, T), Failure> {
        let (metadata, _, mut message) = request.into_parts();
        let mut violations = Violations::new();
        let consistency = message.take_consistency();
        let policy = self.policies().of(M::METHOD);
        let options = QueryOptions::read(&policy, &metadata, consistency, &mut violations)?;
        let value = fields(&message, &mut violations);
        let (options, value) = violations.finish(options.zip(value))?;
        Ok((Query { options, reads: self }, value))
    }
}
