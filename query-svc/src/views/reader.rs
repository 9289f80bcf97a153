//! Answers requests on a view.

use std::sync::Arc;

use headwater_edge::{
    BatchReply, ChangeMessage, EntityReply, ErrorReason, Failure, ListReply, ListRequest, Page,
    QueryRequest, Scope, Violations, WatchReply, WatchRequest, ids, page_size,
};
use headwater_kernel::row::{ColumnType, Row, Value};
use headwater_kernel::view::filter_columns;
use headwater_kernel::{List, View as _};
use postgres_types::ToSql;
use time::macros::datetime;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::filters::{Filters, Listing, Watched};
use super::served::{self, ServedView, Statements};
use super::value::Parameter;
use crate::grpc::{Changes, failure, found, in_order, watch};
use crate::nodes::PointReader;
use crate::read::Reads;
use crate::watch::{Hub, Selector};

/// Answers from one view.
pub struct ViewReader<S: ServedView> {
    reads: Reads,
    statements: &'static Statements<S>,
    by_key: PointReader<Uuid, S::Message>,
    hub: Arc<Hub<S::Message>>,
}

impl<S: ServedView> ViewReader<S> {
    /// On these reads; on the tokio runtime.
    pub fn new(reads: &Reads) -> Self {
        let statements = Statements::<S>::shared();
        Self {
            reads: reads.clone(),
            statements,
            by_key: reads.reader(statements.by_key),
            hub: Hub::new(reads, statements.source),
        }
    }

    /// The row whose key the request names.
    ///
    /// # Errors
    /// What is wrong with the request, NOT_FOUND, or why it cannot be read.
    pub async fn get<Q: QueryRequest, R: EntityReply<Entity = S::Message>>(
        &self,
        request: Request<Q>,
        key: impl FnOnce(&Q, &mut Violations) -> Option<Uuid>,
    ) -> Result<Response<R>, Status> {
        let (query, key) = self.reads.query(request, key)?;
        let answer = self.reads.point(&self.by_key, key, query.need()).await.map_err(failure)?;
        let (entity, shown) = found(answer, S::NAME, key)?;
        Ok(query.reply_one(&shown, entity))
    }

    /// The rows whose keys the request names, 1 to 100; `keys` gives the field and what it holds.
    ///
    /// # Errors
    /// What is wrong with the request, or why it cannot be read.
    pub async fn batch<Q: QueryRequest, R: BatchReply<Entity = S::Message>>(
        &self,
        request: Request<Q>,
        keys: impl FnOnce(&Q) -> (&'static str, &[String]),
    ) -> Result<Response<R>, Status> {
        let (query, keys) = self.reads.query(request, |request, violations| {
            let (field, keys) = keys(request);
            ids(field, keys, violations)
        })?;
        let answer = self.reads.rows(self.statements.by_key, &[&keys], query.need()).await;
        let (rows, shown) = answer.map_err(failure)?.split();
        let (entities, missing) = in_order(&keys, rows);
        Ok(query.reply_list(&shown, R::of(entities, missing)))
    }

    /// A page of one of the view's lists; `choose` says which, and what it is filtered by.
    ///
    /// # Errors
    /// What is wrong with the request, or why it cannot be read; INTERNAL if the view has no such
    /// list.
    pub async fn list<Q: ListRequest, R: ListReply<Entity = S::Message>>(
        &self,
        request: Request<Q>,
        choose: impl FnOnce(&Q, &mut Violations) -> Option<Listing>,
    ) -> Result<Response<R>, Status> {
        let (query, asked) = self.reads.query(request, |request, violations| {
            let listing = choose(request, violations);
            self.asked(listing, request.page(), violations)
        })?;
        let Asked { page, filters, cursor } = asked;
        let sort = Parameter(cursor.after.sort.clone());
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&sort, &cursor.after.id, &cursor.limit];
        params.extend(filters.iter().map(|filter| filter as &(dyn ToSql + Sync)));
        let answer = self.reads.rows(&page.statement, &params, query.need()).await;
        let (rows, shown) = answer.map_err(failure)?.split();
        let (rows, next) = cursor.cut(rows, |row| value_of(row, page.list.order));
        Ok(query.reply_list(&shown, R::of(rows.into_iter().map(S::message).collect(), next)))
    }

    /// The page that is asked for, if nothing is wrong with it.
    fn asked(
        &self,
        listing: Option<Listing>,
        sized: (i32, &str),
        violations: &mut Violations,
    ) -> Option<Asked<S>> {
        let Some(listing) = listing else {
            page_size(sized.0, violations);
            return None;
        };
        let page = self.page(&listing).map_err(|failure| violations.fail(failure)).ok()?;
        let mut scope = Scope::new(S::View::NAME).with(page.list.order);
        let mut filters = Vec::new();
        for column in page.filter {
            let value = listing.filters.get(column).cloned().unwrap_or(Value::Null);
            scope = scope.with(column).with(&value.to_string());
            filters.push(Parameter(value));
        }
        let cursor = Page::read(scope, sized, first::<S::View>(page.list), violations)?;
        Some(Asked { page, filters, cursor })
    }

    fn page(&self, listing: &Listing) -> Result<&'static served::Page<S>, Failure> {
        let fits = |page: &&served::Page<S>| {
            page.list.order == listing.order && listing.filters.are_by(page.filter)
        };
        let page = self.statements.pages.iter().find(fits);
        page.ok_or_else(|| {
            let cause = format!("the view {} has no list {listing:?}", S::View::NAME);
            Failure::new(ErrorReason::Internal, "the list is not offered")
                .because(anyhow::anyhow!(cause))
        })
    }

    /// Changes of what `select` chooses, from a state on.
    ///
    /// # Errors
    /// What is wrong with the request, or why it cannot be watched.
    pub async fn watch<Q: WatchRequest, R: WatchReply>(
        &self,
        mut request: Request<Q>,
        select: impl FnOnce(&Q, &mut Violations) -> Option<Watched>,
    ) -> Result<Response<Changes<R>>, Status>
    where
        R::Change: ChangeMessage<Entity = S::Message>,
    {
        let options = request.get_mut().take_watch_options();
        let (query, watched) = self.reads.query(request, select)?;
        let selector = match watched {
            Watched::Row(key) => Selector::Key(key),
            Watched::Rows(filters) => Selector::Rows(self.selected(&filters)),
        };
        watch(&self.hub, selector, query, options).await
    }

    /// In the order of the view's filter columns; `None` is any value.
    fn selected(&self, filters: &Filters) -> Vec<Option<String>> {
        let only: Vec<&str> = S::View::LISTS.iter().filter_map(|list| list.only).collect();
        let value = |column: &&str| match filters.get(column) {
            Some(value) => Some(value.to_string()),
            None => only.contains(column).then(|| true.to_string()),
        };
        filter_columns::<S::View>().iter().map(value).collect()
    }
}

/// A page of a list that is asked for.
struct Asked<S: ServedView> {
    page: &'static served::Page<S>,
    filters: Vec<Parameter>,
    cursor: Page<Value>,
}

/// The value that sorts before those of every row of a list.
fn first<R: Row>(list: &List) -> Value {
    let column = R::COLUMNS.iter().find(|column| column.name == list.order);
    match (column.map(|column| column.kind), list.descending) {
        (Some(ColumnType::I64), false) => i64::MIN.into(),
        (Some(ColumnType::I64), true) => i64::MAX.into(),
        (Some(ColumnType::Time), false) => datetime!(0001-01-01 00:00:00 UTC).into(),
        (Some(ColumnType::Time), true) => datetime!(9999-12-31 23:59:59 UTC).into(),
        // Texts ascend; other types order no list.
        (_, _) => String::new().into(),
    }
}

/// The value in a row's column.
fn value_of<R: Row>(row: &R, column: &str) -> Value {
    let place = R::COLUMNS.iter().position(|other| other.name == column);
    let value = place.and_then(|place| row.clone().into_values().into_iter().nth(place));
    value.unwrap_or(Value::Null)
}
