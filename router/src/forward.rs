//! The pipeline of a request: path -> route -> upstream -> endpoint -> forward.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use headwater_chassis::{Backoff, ErrorReason, Failure, trace};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes as Services;
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span};

use crate::account::Account;
use crate::config::Limits;
use crate::endpoint::{Endpoint, Lease, Worker};
use crate::fault::{Fault, FaultKind};
use crate::link::Unclaimed;
use crate::meters::Meters;
use crate::outbound::Outbound;
use crate::pool::{Pool, Tried};
use crate::reply::{End, Relay, Reply, speaks_against_endpoint};
use crate::respond;
use crate::retry::{self, Attempt, Fate, PAUSE, Verdict};
use crate::routes::{Route, Routes, Target, Upstream};

/// What all workers share.
pub struct Shared {
    /// Where each path leads.
    pub routes: Routes,
    /// The upstreams, by their index.
    pub pools: [Arc<Pool>; Upstream::ALL.len()],
    /// What is counted.
    pub meters: Arc<Meters>,
    /// Health and reflection.
    pub platform: Services,
    /// Bounds.
    pub limits: Limits,
    /// Whether spans are exported; otherwise none is made.
    pub traced: bool,
    /// Ends the streams that outlast a drain's patience.
    pub cut: CancellationToken,
}

/// One worker's pipeline.
pub struct Forward {
    /// Whose connections it uses.
    pub worker: Worker,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
}

impl Forward {
    /// Answers a request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        if let Some(refusal) = respond::not_grpc(&request) {
            return refusal;
        }
        // First of all, so that no way to end goes uncounted.
        let target = self.shared.routes.target(request.uri().path());
        let entry = self.shared.meters.entry(target);
        let account = Account::open(&self.shared.meters, entry);
        match target {
            Target::Method(route) => {
                let span = self.span(self.shared.meters.name(entry), request.headers());
                self.forward(route, request, account, span.clone()).instrument(span).await
            }
            Target::Platform => self.answer_itself(request, account).await,
            Target::Unknown => {
                respond::failed(respond::unknown_method(request.uri().path()), account)
            }
        }
    }

    async fn forward(
        &self,
        route: Route,
        request: Request<Incoming>,
        mut account: Account,
        span: Span,
    ) -> Response<Reply> {
        account.set_span(span);
        if !account.admit(self.shared.limits.in_flight_max) {
            return respond::failed(respond::overloaded(), account);
        }
        let limits = &self.shared.limits;
        let outbound = Outbound::new(request, route, account.begun(), limits.deadline);
        let answered = within(outbound.deadline, self.attempts(&outbound)).await;
        match answered {
            Some(Ok((response, lease))) => self.relay(response, lease, outbound, account),
            Some(Err(failure)) => respond::failed(failure, account),
            None => {
                let stated = outbound.stated;
                respond::failed(respond::deadline_exceeded(route.upstream, stated), account)
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
                .map_err(|none| delayed(none.failure(upstream)))?;
            if tried.contains(endpoint.address()) {
                sleep(pauses.next(rand::random())).await;
            }
            tried.push(endpoint.address());
            match self.attempt(endpoint, outbound, tried.count()).await {
                Ok(answer) => return Ok(answer),
                Err(fault) if !may_repeat(fault, outbound, pool, tried.count()) => {
                    return Err(delayed(fault.failure(outbound.route)));
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
        let mut lease = endpoint.lease(self.worker).await.map_err(unclaimed)?;
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
        mut account: Account,
    ) -> Response<Reply> {
        let Outbound { tape, route, deadline, stated, .. } = outbound;
        tape.commit();
        let code = account.learn(response.headers());
        if code.is_some_and(speaks_against_endpoint) || response.status().is_server_error() {
            lease.penalise();
        }
        let end = End { deadline, stated, cut: self.shared.cut.clone() };
        response.map(|incoming| {
            Reply::Relay(Relay {
                incoming,
                tape,
                lease,
                account,
                route,
                end,
                ending: None,
                done: false,
            })
        })
    }

    /// Health and reflection: also when overloaded, or nobody learns that it is.
    async fn answer_itself(
        &self,
        request: Request<Incoming>,
        mut account: Account,
    ) -> Response<Reply> {
        let services = self.shared.platform.clone();
        let Ok(response) = services.oneshot(request.map(tonic::body::Body::new)).await;
        account.learn(response.headers());
        response.map(|body| Reply::Platform(body, account))
    }

    /// Costs nothing unless traces are exported.
    fn span(&self, method: &str, headers: &HeaderMap) -> Span {
        if !self.shared.traced {
            return Span::none();
        }
        let span = tracing::info_span!(
            "forward",
            otel.name = method,
            otel.kind = "server",
            rpc.grpc.status_code = tracing::field::Empty,
        );
        trace::set_parent_from_headers(&span, headers);
        span
    }
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
        replayable: outbound.tape.replayable(),
    });
    match verdict {
        Verdict::Again => true,
        Verdict::AgainOnBudget => pool.budget.withdraw(),
        Verdict::GiveUp => false,
    }
}

fn unclaimed(why: Unclaimed) -> Fault {
    match why {
        Unclaimed::Broken(cause) => Fault::unsent(cause),
        Unclaimed::Full => Fault {
            fate: Fate::Unsent,
            kind: FaultKind::Overloaded,
            cause: "all connections are full",
        },
    }
}

/// With the delay after which another call makes sense.
fn delayed(failure: Failure) -> Failure {
    let reason = failure.reason();
    let is = |other: ErrorReason| reason == headwater_chassis::failure::reason_name(other);
    if is(ErrorReason::UpstreamUnavailable) {
        return failure.retry_after(respond::later());
    }
    if is(ErrorReason::Overloaded) {
        return failure.retry_after(respond::soon());
    }
    failure
}
