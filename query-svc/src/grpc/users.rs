//! `users.v1.UserQueryService`.

use std::sync::Arc;

use headwater_chassis::Violations;
use headwater_domain::views::UserView;
use headwater_domain::views::user::{ACTIVE, DEACTIVATED};
use headwater_kernel::View;
use headwater_proto::users::v1::user_query_service_server::UserQueryService;
use headwater_proto::users::v1::{
    BatchGetUsersRequest, BatchGetUsersResponse, GetUserByEmailRequest, GetUserByEmailResponse,
    GetUserRequest, GetUserResponse, User, UserChange, UserStatus, WatchUserRequest,
    WatchUserResponse, user_change,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::asked::asked;
use super::call::{Entity, failure, found, ids, in_order, timestamp};
use super::watching::{Changes, change_message, watch};
use crate::coalesce::PointReader;
use crate::read::Reads;
use crate::statement::{ColumnError, Columns, Statement};
use crate::watch::change::{Selector, change};
use crate::watch::hub::{Hub, Source};

type Registered = user_change::Change;
change_message!(UserChange of User as Registered::{User, RemovedUserId});

/// How users are watched, one by one.
static WATCHED: Source<User> = Source {
    view: UserView::NAME,
    changed: &Statement {
        name: "users_changed",
        sql: include_str!("../../sql/queries/users_changed.sql"),
        decode: |columns| change(columns, user),
    },
    by_id: &BY_ID,
};

static BY_ID: Statement<(Uuid, User)> = Statement {
    name: "users_by_id",
    sql: include_str!("../../sql/queries/users_by_id.sql"),
    decode: user,
};

static BY_EMAIL: Statement<(String, User)> = Statement {
    name: "users_by_email",
    sql: include_str!("../../sql/queries/users_by_email.sql"),
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
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let id = violations.uuid("user_id", &request.user_id);
        let (id, asked) = violations.finish(id.zip(asked))?;
        let answer = self.reads.point(&self.by_id, id, &asked.need).await.map_err(failure)?;
        let (user, shown) = found(answer, "user", &request.user_id)?;
        let entity = Entity::of_version(user.version, user);
        Ok(asked.reply_one(&shown, entity, |user, freshness| GetUserResponse { user, freshness }))
    }

    async fn get_user_by_email(
        &self,
        request: Request<GetUserByEmailRequest>,
    ) -> Result<Response<GetUserByEmailResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let email = violations.text("email", &request.email, 3..=254);
        let (email, asked) = violations.finish(email.zip(asked))?;
        let email = email.to_lowercase();
        let answer = self.reads.point(&self.by_email, email, &asked.need).await.map_err(failure)?;
        let (user, shown) = found(answer, "user with the e-mail address", &request.email)?;
        let entity = Entity::of_version(user.version, user);
        Ok(asked.reply_one(&shown, entity, |user, freshness| GetUserByEmailResponse {
            user,
            freshness,
        }))
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let ids = ids("user_ids", &request.user_ids, &mut violations);
        let (ids, asked) = violations.finish(ids.zip(asked))?;
        let answer = self.reads.rows(&BY_ID, &[&ids], &asked.need).await.map_err(failure)?;
        let (rows, shown) = answer.split();
        let (users, missing_ids) = in_order(&ids, rows);
        Ok(asked.reply_list(&shown, |freshness| BatchGetUsersResponse {
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
        let (metadata, extensions, request) = request.into_parts();
        let mut violations = Violations::new();
        let says = (&metadata, &extensions);
        let asked = asked(&self.reads, says, request.consistency, &mut violations)?;
        let id = violations.uuid("user_id", &request.user_id);
        let (id, asked) = violations.finish(id.zip(asked))?;
        let message = |changes, resume_token, freshness| WatchUserResponse {
            changes,
            resume_token,
            freshness,
        };
        watch(&self.watched, Selector::Key(id), asked, request.options, message).await
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
