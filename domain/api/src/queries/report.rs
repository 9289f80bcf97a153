//! `StoreQueryService.GetStoreReport`: three statements that see one snapshot.

use futures_util::future::try_join;
use headwater_domain_proto::stores::v1::{
    GetStoreReportRequest, GetStoreReportResponse, StockItem, StoreManager, StoreReport,
};
use headwater_domain_proto::users::v1::User;
use headwater_kernel::Access;
use headwater_query_svc::{Entity, NodeError, Reads, Statement, Transaction, failure, found};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::stock::item;
use super::stores::OVERVIEW_BY_ID;
use super::users;
use crate::PROJECTION;

/// Items of a report at most.
const BEST_SELLERS_MAX: i64 = 10;

static BEST_SELLING: Statement<(Uuid, StockItem)> = Statement {
    name: "items_best_selling",
    projection: PROJECTION,
    sql: include_str!("../../sql/items_best_selling.sql"),
    decode: item,
};

/// Answers a request for a report.
pub async fn get_store_report(
    reads: &Reads,
    request: Request<GetStoreReportRequest>,
) -> Result<Response<GetStoreReportResponse>, Status> {
    let (query, id) = reads.query(request, |r, v| v.uuid("store_id", &r.store_id))?;
    let work = |transaction| report(transaction, id);
    let answer = reads.transaction(Access::ReadOnly, PROJECTION, query.need(), work).await;
    let (report, shown) = found(answer.map_err(failure)?, "store", id)?;
    let entity = Entity::of_content(report);
    Ok(query.reply_one(&shown, entity, |report, freshness| GetStoreReportResponse {
        report,
        freshness,
    }))
}

/// The report on a store, if there is such a store.
async fn report(transaction: Transaction, id: Uuid) -> Result<Option<StoreReport>, NodeError> {
    let stores = vec![id];
    let overview = transaction.rows(&OVERVIEW_BY_ID, &[&stores]).await?;
    let Some((_, overview)) = overview.into_iter().next() else { return Ok(None) };
    // Empty, and so no id, if the store has no manager.
    let managers: Vec<Uuid> = overview.manager_id.parse().into_iter().collect();
    let (items, users) = try_join(
        transaction.rows(&BEST_SELLING, &[&id, &BEST_SELLERS_MAX]),
        transaction.rows(&users::BY_ID, &[&managers]),
    )
    .await?;
    Ok(Some(StoreReport {
        overview: Some(overview),
        best_sellers: items.into_iter().map(|(_, item)| item).collect(),
        manager: users.into_iter().next().map(|(_, user)| manager(user)),
    }))
}

fn manager(user: User) -> StoreManager {
    StoreManager { user_id: user.user_id, name: user.name, email: user.email }
}
