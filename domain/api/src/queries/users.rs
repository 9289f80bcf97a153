//! `users.v1.UserQueryService`.

use headwater_edge::{ids, timestamp};
use headwater_query_svc::{
    Changes, ColumnError, Columns, Entity, Hub, PointReader, Reads, Selector, Source, Statement,
    change, failure, found, in_order, watch,
};
use std::sync::Arc;

use crate::PROJECTION;
use headwater_domain_model::views::UserView;
use headwater_domain_model::views::user::{ACTIVE, DEACTIVATED};
use headwater_domain_proto::users::v1::user_query_service_server::UserQueryService;
use headwater_domain_proto::users::v1::{
    BatchGetUsersRequest, BatchGetUsersResponse, GetUserByEmailRequest, GetUserByEmailResponse,
    GetUserRequest, GetUserResponse, User, UserStatus, WatchUserRequest, WatchUserResponse,
};
use headwater_kernel::View;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// How users are watched, one by one.
static WATCHED: Source<User> = Source {
    view: UserView::NAME,
    changed: &Statement {
        name: "users_changed",
        projection: PROJECTION,
        sql: include_str!("../../sql/users_changed.sql"),
        decode: |columns| change(columns, user),
    },
    by_id: &BY_ID,
};

/// Users by their ids.
pub static BY_ID: Statement<(Uuid, User)> = Statement {
    name: "users_by_id",
    projection: PROJECTION,
    sql: include_str!("../../sql/users_by_id.sql"),
    decode: user,
};

static BY_EMAIL: Statement<(String, User)> = Statement {
    name: "users_by_email",
    projection: PROJECTION,
    sql: include_str!("../../sql/users_by_email.sql"),
    decode: |columns| user(columns).map(|(_, user)| (user.email.clone(), user)),
};

/// Answers from the view `user`.
pub struct UserQueries {
    reads: Reads,
    by_id: PointReader<Uuid, User>,
    by_email: PointReader<String, User>,
    watched: Arc<Hub<User>>,
}

impl UserQueries {
    /// On these reads.
    pub fn new(reads: &Reads) -> Self {
        let (by_id, by_email) = (reads.reader(&BY_ID), reads.reader(&BY_EMAIL));
        Self { reads: reads.clone(), by_id, by_email, watched: Hub::new(reads, &WATCHED) }
    }
}

#[tonic::async_trait]
impl UserQueryService for UserQueries {
    async fn get_user(
        &self,
        request: Request<GetUserRequest>,
    ) -> Result<Response<GetUserResponse>, Status> {
        let (query, id) = self.reads.query(request, |r, v| {
            let id = v.uuid("user_id", &r.user_id);
            Some(id?)
        })?;
        let answer = self.reads.point(&self.by_id, id, query.need()).await.map_err(failure)?;
        let (user, shown) = found(answer, "user", id)?;
        let entity = Entity::of_version(user.version, user);
        Ok(query.reply_one(&shown, entity, |user, freshness| GetUserResponse { user, freshness }))
    }

    async fn get_user_by_email(
        &self,
        request: Request<GetUserByEmailRequest>,
    ) -> Result<Response<GetUserByEmailResponse>, Status> {
        let (query, email) = self.reads.query(request, |r, v| {
            let email = v.text("email", &r.email, 3..=254);
            Some(email?)
        })?;
        let email = email.to_lowercase();
        let answer =
            self.reads.point(&self.by_email, email.clone(), query.need()).await.map_err(failure)?;
        let (user, shown) = found(answer, "user with the e-mail address", &email)?;
        let entity = Entity::of_version(user.version, user);
        Ok(query.reply_one(&shown, entity, |user, freshness| GetUserByEmailResponse {
            user,
            freshness,
        }))
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        let (query, ids) = self.reads.query(request, |r, v| {
            let ids = ids("user_ids", &r.user_ids, v);
            Some(ids?)
        })?;
        let answer = self.reads.rows(&BY_ID, &[&ids], query.need()).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (users, missing_ids) = in_order(&ids, rows);
        Ok(query.reply_list(&shown, |freshness| BatchGetUsersResponse {
            users,
            missing_ids,
            freshness,
        }))
    }

    type WatchUserStream = Changes<WatchUserResponse>;

    async fn watch_user(
        &self,
        request: Request<WatchUserRequest>,
    ) -> Result<Response<Self::WatchUserStream>, Status> {
        let (query, (id, options)) = self.reads.query(request, |r, v| {
            let id = v.uuid("user_id", &r.user_id);
            Some((id?, r.options.clone()))
        })?;
        watch(&self.watched, Selector::Key(id), query, options).await
    }
}

fn user(columns: &mut Columns<'_>) -> Result<(Uuid, User), ColumnError> {
    let id: Uuid = columns.take()?;
    let user = User {
        user_id: id.to_string(),
        email: columns.take()?,
        name: columns.take()?,
        status: status(columns.take()?)?.into(),
        registered_time: Some(timestamp(columns.take()?)),
        version: columns.take_u64()?,
    };
    Ok((id, user))
}

fn status(stored: &str) -> Result<UserStatus, ColumnError> {
    match stored {
        ACTIVE => Ok(UserStatus::Active),
        DEACTIVATED => Ok(UserStatus::Deactivated),
        other => Err(ColumnError::Value(other.to_owned())),
    }
}
