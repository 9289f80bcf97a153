//! What the streams of changes have in common on the wire.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Stream, unfold};
use headwater_edge::{ChangeMessage, ErrorReason, Failure, Need, WatchReply, token_failure_in};
use headwater_proto::headwater::v1;
use tonic::{Response, Status};

use super::query::Query;
use super::reply::{failure, freshness};
use crate::read::Reads;
use crate::seen::Shown;
use crate::watch::{Hub, Message, Resume, Seen, Selector, Start, Watch, WatchError};

/// A stream of changes, as messages.
pub type Changes<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// The message of the rows that a watch tells of.
type Watched<M> = <<M as WatchReply>::Change as ChangeMessage>::Entity;

/// Watches what is selected, from where the client says. What goes wrong before the first message
/// is the answer to the call.
pub async fn watch<M: WatchReply>(
    hub: &Arc<Hub<Watched<M>>>,
    selector: Selector,
    query: Query<'_>,
    options: Option<v1::WatchOptions>,
) -> Result<Response<Changes<M>>, Status> {
    let resume_after = options.unwrap_or_default().resume_after;
    let start = match resume_after.as_str() {
        // What follows an older state than was asked for could not be told from what does not.
        "" => Start::State(Need { or_stale: false, ..query.options.need }),
        text => {
            let wrong = |error| token_failure_in("options.resume_after", error);
            Start::Resume(Resume::read(text).map_err(wrong)?)
        }
    };
    let watch = Watch::begin(hub, selector, start).await.map_err(watch_failure)?;
    let reads = query.reads.clone();
    let stream = unfold(Some((watch, reads)), move |under_way| async move {
        let (mut watch, reads) = under_way?;
        match watch.next().await {
            Ok(told) => {
                let freshness = told_freshness(&reads, &told);
                let resume = told.resume();
                let changes = told.changes.into_iter().map(told_change).collect();
                Some((Ok(M::of(changes, resume, freshness)), Some((watch, reads))))
            }
            Err(error) => Some((Err(watch_failure(error).into()), None)),
        }
    });
    Ok(Response::new(Box::pin(stream)))
}

fn told_change<C: ChangeMessage>(seen: Seen<C::Entity>) -> C {
    C::of(seen.key, seen.row.map(Arc::unwrap_or_clone))
}

fn told_freshness<R>(reads: &Reads, told: &Message<R>) -> v1::Freshness {
    let shown = Shown { node_state: told.at.node_state.clone(), stale: false };
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
