//! Sends commands to the router until each has an answer.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use headwater_chassis::{Backoff, Delays};
use headwater_domain_proto::stores::v1::stock_command_service_client::StockCommandServiceClient;
use headwater_domain_proto::stores::v1::store_command_service_client::StoreCommandServiceClient;
use headwater_domain_proto::stores::v1::{
    BatchListItemsRequest, BatchReceiveStockRequest, BatchRecordSalesRequest, ListItemRequest,
    ReceiveStockRequest, RecordSaleRequest, list_item_result, receive_stock_result,
    record_sale_result,
};
use headwater_edge::RpcStatus;
use headwater_proto::headwater::v1::Receipt;
use prost::Message as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request as Call, Status};

use super::commands::{Command, Request};
use super::retry::{Verdict, judge};

/// Of one call. A command waits behind a queue at most, so an answer that takes longer is lost.
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
    /// Connects. `patience` is how long commands are tried.
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

    /// Sends commands of one kind in one call, again and again those for which it is worth it.
    pub async fn send(&self, mut commands: Vec<Command>) -> anyhow::Result<Sent> {
        let began = Instant::now();
        let mut backoff = Backoff::new(DELAYS);
        let mut sent = Sent::default();
        loop {
            let answers = self.attempt(&commands).await;
            let mut again = Vec::new();
            let mut wished = Duration::ZERO;
            for (index, command) in commands.into_iter().enumerate() {
                let answer = match &answers {
                    Ok(answers) => answers.get(index).cloned().unwrap_or_else(|| Err(no_answer())),
                    Err(status) => Err(status.clone()),
                };
                let status = match answer {
                    Ok(Receipt { replayed: true, .. }) => {
                        sent.replays += 1;
                        continue;
                    }
                    Ok(_) => {
                        sent.applied += 1;
                        continue;
                    }
                    Err(status) => status,
                };
                match judge(&status) {
                    Verdict::There => sent.found += 1,
                    Verdict::Again(pause) if began.elapsed() < self.patience => {
                        wished = wished.max(pause.unwrap_or_default());
                        again.push(command);
                    }
                    Verdict::Again(_) | Verdict::GiveUp => return Err(failed(&command, &status)),
                }
            }
            if again.is_empty() {
                return Ok(sent);
            }
            sent.retries += again.len() as u64;
            tokio::time::sleep(wished + backoff.next(rand::random())).await;
            commands = again;
        }
    }

    /// The answers, in the order of the commands; or what the whole call ended with.
    async fn attempt(&self, commands: &[Command]) -> Result<Vec<Answer>, Status> {
        let mut stock = self.stock.clone();
        let mut batch = Batch::default();
        for command in commands {
            match command.request.clone() {
                Request::Open(request) => {
                    let reply = self.stores.clone().open_store(call(request)).await?.into_inner();
                    return Ok(vec![receipt(reply.receipt)]);
                }
                Request::List(request) => batch.list.push(request),
                Request::Receive(request) => batch.receive.push(request),
                Request::Sell(request) => batch.sell.push(request),
            }
        }
        let Batch { list, receive, sell } = batch;
        if !list.is_empty() {
            let request = call(BatchListItemsRequest { requests: list });
            let reply = stock.batch_list_items(request).await?.into_inner();
            return Ok(reply.results.into_iter().map(|of| listed(of.result)).collect());
        }
        if !receive.is_empty() {
            let request = call(BatchReceiveStockRequest { requests: receive });
            let reply = stock.batch_receive_stock(request).await?.into_inner();
            return Ok(reply.results.into_iter().map(|of| received(of.result)).collect());
        }
        let request = call(BatchRecordSalesRequest { requests: sell });
        let reply = stock.batch_record_sales(request).await?.into_inner();
        Ok(reply.results.into_iter().map(|of| sold(of.result)).collect())
    }
}

/// Requests of one call; of one kind only.
#[derive(Default)]
struct Batch {
    list: Vec<ListItemRequest>,
    receive: Vec<ReceiveStockRequest>,
    sell: Vec<RecordSaleRequest>,
}

/// The answer to one command.
type Answer = Result<Receipt, Status>;

fn listed(result: Option<list_item_result::Result>) -> Answer {
    match result {
        Some(list_item_result::Result::Response(reply)) => receipt(reply.receipt),
        Some(list_item_result::Result::Error(error)) => Err(status(&error)),
        None => Err(no_answer()),
    }
}

fn received(result: Option<receive_stock_result::Result>) -> Answer {
    match result {
        Some(receive_stock_result::Result::Response(reply)) => receipt(reply.receipt),
        Some(receive_stock_result::Result::Error(error)) => Err(status(&error)),
        None => Err(no_answer()),
    }
}

fn sold(result: Option<record_sale_result::Result>) -> Answer {
    match result {
        Some(record_sale_result::Result::Response(reply)) => receipt(reply.receipt),
        Some(record_sale_result::Result::Error(error)) => Err(status(&error)),
        None => Err(no_answer()),
    }
}

fn receipt(receipt: Option<Receipt>) -> Answer {
    receipt.ok_or_else(no_answer)
}

fn no_answer() -> Status {
    Status::internal("the reply has no receipt")
}

/// The error of one command, as the status that a single call would end with.
fn status(error: &RpcStatus) -> Status {
    let code = Code::from_i32(error.code);
    Status::with_details(code, error.message.clone(), error.encode_to_vec().into())
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
