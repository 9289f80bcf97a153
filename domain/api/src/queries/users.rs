//! `users.v1.UserQueryService`.

use headwater_domain_model::views::user::{ACTIVE, UserRow};
use headwater_domain_proto::users::v1::user_query_service_server::UserQueryService;
use headwater_domain_proto::users::v1::{
    BatchGetUsersRequest, BatchGetUsersResponse, GetUserByEmailRequest, GetUserByEmailResponse,
    GetUserRequest, GetUserResponse, User, UserStatus, WatchUserRequest, WatchUserResponse,
};
use headwater_edge::timestamp;
use headwater_kernel::row::Row as _;
use headwater_query_svc::{
    Changes, PointReader, Reads, ServedView, Statement, ViewReader, Watched, failure, found,
};
use tonic::{Request, Response, Status};

use crate::PROJECTION;

/// Users, as the view `user` holds them.
pub struct Users;

impl ServedView for Users {
    const NAME: &'static str = "user";
    const PROJECTION: &'static str = PROJECTION;
    type View = UserRow;
    type Message = User;

    fn message(row: UserRow) -> User {
        let status =
            if row.status == ACTIVE { UserStatus::Active } else { UserStatus::Deactivated };
        User {
            user_id: row.user_id.to_string(),
            email: row.email,
            name: row.name,
            status: status.into(),
            registered_time: Some(timestamp(row.registered_at)),
            version: row.version.unsigned_abs(),
        }
    }
}

static BY_EMAIL: Statement<(String, User)> = Statement {
    name: "users_by_email",
    projection: PROJECTION,
    sql: include_str!("../../sql/users_by_email.sql"),
    decode: |columns| {
        let row = UserRow::read(columns)?;
        Ok((row.email.clone(), Users::message(row)))
    },
};

/// Answers from the view `user`.
pub struct UserQueries {
    reads: Reads,
    users: ViewReader<Users>,
    by_email: PointReader<String, User>,
}

impl UserQueries {
    /// On these reads.
    pub fn new(reads: &Reads) -> Self {
        let users = ViewReader::new(reads);
        Self { reads: reads.clone(), users, by_email: reads.reader(&BY_EMAIL) }
    }
}

#[tonic::async_trait]
impl UserQueryService for UserQueries {
    async fn get_user(
        &self,
        request: Request<GetUserRequest>,
    ) -> Result<Response<GetUserResponse>, Status> {
        self.users.get(request, |r, v| v.uuid("user_id", &r.user_id)).await
    }

    async fn get_user_by_email(
        &self,
        request: Request<GetUserByEmailRequest>,
    ) -> Result<Response<GetUserByEmailResponse>, Status> {
        let (query, email) = self
            .reads
            .query(request, |r: &GetUserByEmailRequest, v| v.text("email", &r.email, 3..=254))?;
        let key = email.to_lowercase();
        let answer = self.reads.point(&self.by_email, key, query.need()).await.map_err(failure)?;
        let (user, shown) = found(answer, "user with the e-mail address", email)?;
        Ok(query.reply_one(&shown, user))
    }

    async fn batch_get_users(
        &self,
        request: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        self.users.batch(request, |r| ("user_ids", &r.user_ids)).await
    }

    type WatchUserStream = Changes<WatchUserResponse>;

    async fn watch_user(
        &self,
        request: Request<WatchUserRequest>,
    ) -> Result<Response<Self::WatchUserStream>, Status> {
        self.users.watch(request, |r, v| v.uuid("user_id", &r.user_id).map(Watched::Row)).await
    }
}
