//! The pipeline of a request: path -> route -> upstream -> endpoint -> forward.

use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Instant;

use headwater_chassis::Backoff;
use headwater_edge::{ErrorReason, Failure};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes as Services;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::config::Limits;
use crate::endpoint::{Endpoint, Lease, Worker};
use crate::fault::{Fault, FaultKind};
use crate::in_flight_request::InFlightRequest;
use crate::link::NoStream;
use crate::meters::Meters;
use crate::outbound::Outbound;
use crate::pool::{Pool, Tried};
use crate::replay_body::ReplayBody;
use crate::reply::{End, Platform, Relay, Reply, speaks_against_endpoint};
use crate::respond;
use crate::retry::{self, Attempt, Fate, PAUSE, Verdict};
use crate::routes::{Route, Routes, Target, Upstream};

/// Parts that all workers share.
pub struct Shared {
    /// Targets of all paths.
    pub routes: Routes,
    /// The upstreams, by their index.
    pub pools: [Arc<Pool>; Upstream::ALL.len()],
    /// Metrics of the router.
    pub meters: Arc<Meters>,
    /// Health and reflection.
    pub platform: Services,
    /// Bounds.
    pub limits: Limits,
    /// True if spans are exported; otherwise none is made.
    pub traced: bool,
    /// Ends the streams that outlast a drain's patience.
    pub cut: CancellationToken,
}

/// One worker's pipeline.
pub struct Forward {
    /// Worker whose connections are used.
    pub worker: Worker,
    /// Parts shared with the other workers.
    pub shared: Arc<Shared>,
}

/// An answer in the making. Boxed, since it is then small enough for the allocator's fast path: in
/// line it would make the server's task so large that each request spends microseconds on it.
pub type Answering = Pin<Box<dyn Future<Output = Response<Reply>> + Send>>;

impl Forward {
    /// Answers a request.
    pub fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Answering {
        if let Some(refusal) = respond::not_grpc(&request) {
            return at_once(refusal);
        }
        // First of all, so that no way to end goes uncounted.
        let target = self.shared.routes.target(request.uri().path());
        let in_flight =
            InFlightRequest::open(&self.shared.meters, self.shared.meters.entry(target));
        match target {
            Target::Method(route) => self.admit(route, request, in_flight),
            Target::Platform => Box::pin(self.clone().answer_itself(request, in_flight)),
            Target::Unknown => {
                at_once(respond::failed(respond::unknown_method(request.uri().path()), in_flight))
            }
        }
    }

    fn admit(
        self: &Arc<Self>,
        route: Route,
        request: Request<Incoming>,
        mut in_flight: InFlightRequest,
    ) -> Answering {
        let limits = &self.shared.limits;
        if !in_flight.admit(limits.in_flight_max) {
            return at_once(respond::failed(respond::overloaded(), in_flight));
        }
        let (begun, deadline) = (in_flight.begun(), limits.deadline);
        if !self.shared.traced {
            let outbound = Outbound::new(request, route, begun, deadline);
            return Box::pin(self.clone().forward(outbound, in_flight));
        }
        let span = in_flight.trace(request.headers());
        let outbound = span.in_scope(|| Outbound::new(request, route, begun, deadline));
        Box::pin(self.clone().forward(outbound, in_flight).instrument(span))
    }

    #[allow(clippy::manual_async_fn, reason = "an async fn would hold its arguments twice")]
    fn forward(
        self: Arc<Self>,
        outbound: Outbound,
        in_flight: InFlightRequest,
    ) -> impl Future<Output = Response<Reply>> {
        async move {
            let answered = within(outbound.deadline, pin!(self.attempts(&outbound))).await;
            let (upstream, stated) = (outbound.route.upstream, outbound.stated);
            match answered {
                Some(Ok((response, lease))) => self.relay(response, lease, outbound, in_flight),
                Some(Err(failure)) => respond::failed(failure, in_flight),
                None => respond::failed(respond::deadline_exceeded(upstream, stated), in_flight),
            }
        }
    }

    /// Sends it until it is answered, or must not be sent again.
    async fn attempts(&self, outbound: &Outbound) -> Result<(Response<Incoming>, Lease), Failure> {
        let upstream = outbound.route.upstream;
        let pool = &self.shared.pools[upstream.index()];
        pool.budget.deposit();
        let mut tried = Tried::default();
        let mut pauses = Backoff::new(PAUSE);
        loop {
            let endpoint = pool
                .choose(self.worker, &tried, rand::random())
                .map_err(|none| with_retry_delay(none.failure(upstream)))?;
            if tried.contains(endpoint.address()) {
                sleep(pauses.next(rand::random())).await;
            }
            tried.push(endpoint.address());
            match self.attempt(endpoint, outbound, tried.count()).await {
                Ok(answer) => return Ok(answer),
                Err(fault) if !may_repeat(fault, outbound, pool, tried.count()) => {
                    return Err(with_retry_delay(
                        fault.failure(outbound.route, outbound.has_key()),
                    ));
                }
                Err(fault) => self.shared.meters.repeated(upstream, fault.label()),
            }
        }
    }

    async fn attempt(
        &self,
        endpoint: Arc<Endpoint>,
        outbound: &Outbound,
        number: usize,
    ) -> Result<(Response<Incoming>, Lease), Fault> {
        let mut lease = endpoint.lease(self.worker).await.map_err(no_stream)?;
        let request = outbound.attempt(lease.endpoint().authority(), number > 1);
        match lease.claim().send(request).await {
            Ok(response) => {
                lease.answered();
                Ok((response, lease))
            }
            // hyper gives the request back: not a byte of it was sent.
            Err(error) if error.message().is_some() => Err(Fault::unsent("connection closed")),
            Err(error) => {
                let fault = Fault::of(error.error());
                lease.lost(fault);
                Err(fault)
            }
        }
    }

    /// Passes the answer on as it comes.
    fn relay(
        &self,
        response: Response<Incoming>,
        lease: Lease,
        outbound: Outbound,
        mut in_flight: InFlightRequest,
    ) -> Response<Reply> {
        let has_key = outbound.has_key();
        let Outbound { body_replay, route, deadline, stated, .. } = outbound;
        body_replay.commit();
        let code = in_flight.learn(response.headers());
        if code.is_some_and(speaks_against_endpoint) || response.status().is_server_error() {
            lease.penalise();
        }
        let (cut, waiting_max) = (self.shared.cut.clone(), self.shared.limits.waiting_max);
        let end = End { deadline, stated, cut, waiting_max };
        response.map(|incoming| {
            Reply::Relay(Relay {
                incoming,
                body_replay,
                lease,
                in_flight,
                route,
                has_key,
                end,
                ending: None,
                done: false,
            })
        })
    }

    /// Health and reflection: also when overloaded, or nobody learns that it is.
    async fn answer_itself(
        self: Arc<Self>,
        request: Request<Incoming>,
        mut in_flight: InFlightRequest,
    ) -> Response<Reply> {
        let services = self.shared.platform.clone();
        let (parts, incoming) = request.into_parts();
        let body_replay = ReplayBody::new(incoming);
        body_replay.commit();
        let body = tonic::body::Body::new(body_replay.play());
        let Ok(response) = services.oneshot(Request::from_parts(parts, body)).await;
        in_flight.learn(response.headers());
        let cut = Box::pin(self.shared.cut.clone().cancelled_owned());
        response.map(|body| {
            Reply::Platform(Platform { body, body_replay, in_flight, cut, done: false })
        })
    }
}

fn at_once(response: Response<Reply>) -> Answering {
    Box::pin(ready(response))
}

/// None if the deadline passed first; then the attempt is dropped, which resets its stream.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline.into(), work).await.ok(),
        None => Some(work.await),
    }
}

fn may_repeat(fault: Fault, outbound: &Outbound, pool: &Pool, made: usize) -> bool {
    let verdict = retry::judge(Attempt {
        fate: fault.fate,
        made,
        repeatable: outbound.route.repeatable(),
        replayable: outbound.body_replay.replayable(),
    });
    match verdict {
        Verdict::Again => true,
        Verdict::AgainOnBudget => pool.budget.withdraw(),
        Verdict::GiveUp => false,
    }
}

fn no_stream(why: NoStream) -> Fault {
    match why {
        NoStream::Broken(cause) => Fault::unsent(cause),
        NoStream::Full => Fault {
            fate: Fate::Unsent,
            kind: FaultKind::Overloaded,
            cause: "all connections are full",
        },
    }
}

/// Adds the delay after which another call makes sense.
fn with_retry_delay(failure: Failure) -> Failure {
    let reason = failure.platform_reason();
    if reason == Some(ErrorReason::UpstreamUnavailable) {
        return failure.retry_after(respond::later());
    }
    if reason == Some(ErrorReason::Overloaded) {
        return failure.retry_after(respond::soon());
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// glibc serves up to 1032 bytes from its fast path. What pushes a request's future over that
    /// (a buffer, an argument held twice, a rare way that is not boxed) costs every request.
    #[test]
    fn a_requests_future_stays_small() {
        type Parts = (Arc<Forward>, Outbound, InFlightRequest);
        let forward =
            size(|(forward, outbound, in_flight): Parts| forward.forward(outbound, in_flight));
        assert!(forward <= 1024, "{forward} bytes");
        assert!(size_of::<Reply>() <= 256, "{} bytes", size_of::<Reply>());
    }
}
