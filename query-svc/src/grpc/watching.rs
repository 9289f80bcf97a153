//! What the streams of changes have in common on the wire.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Stream, unfold};
use headwater_chassis::{ErrorReason, Failure};
use headwater_proto::headwater::v1;
use tonic::{Response, Status};

use super::asked::{Asked, token_failure};
use super::call::{failure, freshness};
use crate::read::{Need, Reads};
use crate::sighting::Shown;
use crate::watch::change::{Seen, Selector};
use crate::watch::hub::Hub;
use crate::watch::{Message, Resume, Start, Watch, WatchError};

/// A stream of changes, as messages.
pub type Changes<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// Watches what is selected, from where the client says. What goes wrong before the first message
/// is the answer to the call.
pub async fn watch<R, M, C>(
    hub: &Arc<Hub<R>>,
    selector: Selector,
    asked: Asked<'_>,
    options: Option<v1::WatchOptions>,
    message: fn(Vec<C>, String, Option<v1::Freshness>) -> M,
) -> Result<Response<Changes<M>>, Status>
where
    R: Clone + Send + Sync + 'static,
    C: From<Seen<R>> + Send + 'static,
    M: Send + 'static,
{
    let resume_after = options.unwrap_or_default().resume_after;
    let start = match resume_after.as_str() {
        // What follows an older state than was asked for could not be told from what does not.
        "" => Start::State(Need { or_stale: false, ..asked.need }),
        text => Start::Resume(Resume::read(text).map_err(token_failure)?),
    };
    let watch = Watch::begin(hub, selector, start).await.map_err(watch_failure)?;
    let reads = asked.reads.clone();
    let stream = unfold(Some((watch, reads)), move |under_way| async move {
        let (mut watch, reads) = under_way?;
        match watch.next().await {
            Ok(told) => {
                let freshness = told_freshness(&reads, &told);
                let resume = told.resume();
                let changes = told.changes.into_iter().map(C::from).collect();
                Some((Ok(message(changes, resume, Some(freshness))), Some((watch, reads))))
            }
            Err(error) => Some((Err(watch_failure(error).into()), None)),
        }
    });
    Ok(Response::new(Box::pin(stream)))
}

fn told_freshness<R>(reads: &Reads, told: &Message<R>) -> v1::Freshness {
    let shown = Shown { sighting: told.at.sighting.clone(), stale: false };
    let freshness = freshness(reads, &shown);
    match told.whole {
        true => freshness,
        false => v1::Freshness { token: String::new(), ..freshness },
    }
}

fn watch_failure(error: WatchError) -> Failure {
    match error {
        WatchError::Read(error) => failure(error),
        WatchError::Expired => Failure::new(
            ErrorReason::ResumeExpired,
            "the changes after this token are not kept any more; read anew, and resume from that \
             reply's token",
        ),
        WatchError::Ending => Failure::new(
            ErrorReason::ShuttingDown,
            "the service is shutting down; resume the watch",
        ),
    }
}

/// How the change of a row is written.
macro_rules! change_message {
    ($change:ident of $row:ident as $kind:ident::{$there:ident, $gone:ident}) => {
        impl From<$crate::watch::change::Seen<$row>> for $change {
            fn from(seen: $crate::watch::change::Seen<$row>) -> Self {
                let change = match seen.row {
                    Some(row) => $kind::$there(std::sync::Arc::unwrap_or_clone(row)),
                    None => $kind::$gone(seen.key.to_string()),
                };
                Self { change: Some(change) }
            }
        }
    };
}
pub(super) use change_message;
