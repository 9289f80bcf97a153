//! Sends commands to the router until each has an answer.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use headwater_chassis::{Backoff, Delays};
use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_proto::headwater::v1::Receipt;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request as Call, Status};

use super::commands::{Command, Request};
use super::retry::{Verdict, judge};

/// Of one try. A command waits behind a queue at most, so an answer that takes longer is lost.
const TRY_MAX: Duration = Duration::from_secs(15);
const CONNECT_MAX: Duration = Duration::from_secs(5);
const DELAYS: Delays =
    Delays { first: Duration::from_millis(50), max: Duration::from_secs(5), factor: 2.0 };

/// The way to the router.
pub struct Sender {
    stores: StoreCommandServiceClient<Channel>,
    stock: StockCommandServiceClient<Channel>,
    patience: Duration,
}

/// Counts of commands, by how they were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Now.
    pub applied: u64,
    /// By the receipt of an earlier run.
    pub replays: u64,
    /// The store or the item was there.
    pub found: u64,
    /// Tries that were repeated.
    pub retries: u64,
}

impl Sent {
    /// All that were answered.
    pub fn commands(&self) -> u64 {
        self.applied + self.replays + self.found
    }
}

impl AddAssign for Sent {
    fn add_assign(&mut self, other: Sent) {
        self.applied += other.applied;
        self.replays += other.replays;
        self.found += other.found;
        self.retries += other.retries;
    }
}

impl Sender {
    /// Connects. `patience` is how long one command is tried.
    pub async fn connect(router: &str, patience: Duration) -> anyhow::Result<Sender> {
        let endpoint = Endpoint::from_shared(format!("http://{router}"))
            .with_context(|| format!("{router:?} is not an address such as 127.0.0.1:50050"))?
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5));
        let channel = endpoint.connect().await.with_context(|| {
            format!("cannot reach the router at {router}; is it running (headwater up)?")
        })?;
        Ok(Sender {
            stores: StoreCommandServiceClient::new(channel.clone()),
            stock: StockCommandServiceClient::new(channel),
            patience,
        })
    }

    /// Sends one command, again and again while it is worth it.
    pub async fn send(&self, command: Command) -> anyhow::Result<Sent> {
        let began = Instant::now();
        let mut backoff = Backoff::new(DELAYS);
        let mut sent = Sent::default();
        loop {
            let status = match self.attempt(&command.request).await {
                Ok(receipt) if receipt.replayed => return Ok(Sent { replays: 1, ..sent }),
                Ok(_) => return Ok(Sent { applied: 1, ..sent }),
                Err(status) => status,
            };
            let pause = match judge(&status) {
                Verdict::There => return Ok(Sent { found: 1, ..sent }),
                Verdict::Again(pause) if began.elapsed() < self.patience => pause,
                Verdict::Again(_) | Verdict::GiveUp => return Err(failed(&command, &status)),
            };
            sent.retries += 1;
            let wished = pause.unwrap_or_default();
            tokio::time::sleep(wished + backoff.next(rand::random())).await;
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Receipt, Status> {
        let (mut stores, mut stock) = (self.stores.clone(), self.stock.clone());
        let receipt = match request.clone() {
            Request::Open(request) => stores.open_store(call(request)).await?.into_inner().receipt,
            Request::List(request) => stock.list_item(call(request)).await?.into_inner().receipt,
            Request::Receive(request) => {
                stock.receive_stock(call(request)).await?.into_inner().receipt
            }
            Request::Sell(request) => stock.record_sale(call(request)).await?.into_inner().receipt,
        };
        receipt.ok_or_else(|| Status::internal("the reply has no receipt"))
    }
}

fn call<T>(request: T) -> Call<T> {
    let mut call = Call::new(request);
    call.set_timeout(TRY_MAX);
    call
}

fn failed(command: &Command, status: &Status) -> anyhow::Error {
    let what = match command.request {
        Request::Open(_) => "opening the store",
        Request::List(_) => "listing the item",
        Request::Receive(_) => "receiving the item's stock",
        Request::Sell(_) => "recording the sale",
    };
    let line = command.line;
    anyhow!("line {line}: {what} failed: {:?}: {}", status.code(), status.message())
}
