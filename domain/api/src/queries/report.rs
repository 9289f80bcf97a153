//! `StoreQueryService.GetStoreReport`: three statements that see one snapshot.

use futures_util::future::try_join;
use headwater_domain_model::views::ItemRow;
use headwater_domain_proto::stores::v1::{
    GetStoreReportRequest, GetStoreReportResponse, StockItem, StoreManager, StoreReport,
};
use headwater_domain_proto::users::v1::User;
use headwater_kernel::Access;
use headwater_kernel::row::Row as _;
use headwater_query_svc::{
    NodeError, Reads, ServedView as _, Statement, Transaction, by_key, failure, found,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::stock::Items;
use super::stores::Overviews;
use super::users::Users;
use crate::PROJECTION;

/// Items of a report at most.
const BEST_SELLERS_MAX: i64 = 10;

static BEST_SELLING: Statement<StockItem> = Statement {
    name: "items_best_selling",
    projection: PROJECTION,
    sql: include_str!("../../sql/items_best_selling.sql"),
    decode: |columns| ItemRow::read(columns).map(Items::message),
};

/// Answers a request for a report.
pub async fn get_store_report(
    reads: &Reads,
    request: Request<GetStoreReportRequest>,
) -> Result<Response<GetStoreReportResponse>, Status> {
    let (query, id) =
        reads.query(request, |r: &GetStoreReportRequest, v| v.uuid("store_id", &r.store_id))?;
    let work = |transaction| report(transaction, id);
    let answer = reads.transaction(Access::ReadOnly, PROJECTION, query.need(), work).await;
    let (report, shown) = found(answer.map_err(failure)?, "store", id)?;
    Ok(query.reply_one(&shown, report))
}

/// The report on a store, if there is such a store.
async fn report(transaction: Transaction, id: Uuid) -> Result<Option<StoreReport>, NodeError> {
    let stores = vec![id];
    let overview = transaction.rows(by_key::<Overviews>(), &[&stores]).await?;
    let Some((_, overview)) = overview.into_iter().next() else { return Ok(None) };
    // Empty, and so no id, if the store has no manager.
    let managers: Vec<Uuid> = overview.manager_id.parse().into_iter().collect();
    let (best_sellers, users) = try_join(
        transaction.rows(&BEST_SELLING, &[&id, &BEST_SELLERS_MAX]),
        transaction.rows(by_key::<Users>(), &[&managers]),
    )
    .await?;
    let manager = users.into_iter().next().map(|(_, user)| manager(user));
    Ok(Some(StoreReport { overview: Some(overview), best_sellers, manager }))
}

fn manager(user: User) -> StoreManager {
    StoreManager { user_id: user.user_id, name: user.name, email: user.email }
}
