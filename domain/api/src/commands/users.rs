//! `users.v1.UserCommandService`.

use std::sync::Arc;

use headwater_domain_model::{User, UserCommand};
use headwater_domain_proto::users::v1::user_command_service_server::UserCommandService;
use headwater_domain_proto::users::v1::{
    ChangeEmailRequest, ChangeEmailResponse, DeactivateUserRequest, DeactivateUserResponse,
    RegisterUserRequest, RegisterUserResponse, RenameUserRequest, RenameUserResponse,
};
use headwater_edge::{CommandRequest, Failure, Violations, id_or_new, read_command};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::fields::{TEXT_LEN_MAX, email};
use headwater_command_svc::{Committed, Executor};

/// Hands commands on users to the executor.
pub struct UserCommands(pub Arc<Executor>);

impl UserCommands {
    async fn execute<M: CommandRequest>(
        &self,
        request: Request<M>,
        fields: impl FnOnce(&M, &mut Violations) -> Option<(Uuid, UserCommand)>,
    ) -> Result<Committed, Failure> {
        let (envelope, (user_id, command)) = read_command(request, fields)?;
        self.0.execute::<User>(envelope.call("users", user_id), command).await
    }
}

#[tonic::async_trait]
impl UserCommandService for UserCommands {
    async fn register_user(
        &self,
        request: Request<RegisterUserRequest>,
    ) -> Result<Response<RegisterUserResponse>, Status> {
        let fields = |r: &RegisterUserRequest, v: &mut Violations| {
            let id = id_or_new(v, "user_id", &r.user_id);
            let email = email(v, "email", &r.email);
            let name = v.text("name", &r.name, 1..=TEXT_LEN_MAX);
            Some((id?, UserCommand::Register { email: email?, name: name? }))
        };
        let done = self.execute(request, fields).await?;
        let user_id = done.receipt.stream.to_string();
        Ok(done.reply(|receipt| RegisterUserResponse { user_id, receipt: Some(receipt) }))
    }

    async fn rename_user(
        &self,
        request: Request<RenameUserRequest>,
    ) -> Result<Response<RenameUserResponse>, Status> {
        let fields = |r: &RenameUserRequest, v: &mut Violations| {
            let id = v.uuid("user_id", &r.user_id);
            let name = v.text("name", &r.name, 1..=TEXT_LEN_MAX);
            Some((id?, UserCommand::Rename(name?)))
        };
        let done = self.execute(request, fields).await?;
        Ok(done.reply(|receipt| RenameUserResponse { receipt: Some(receipt) }))
    }

    async fn change_email(
        &self,
        request: Request<ChangeEmailRequest>,
    ) -> Result<Response<ChangeEmailResponse>, Status> {
        let fields = |r: &ChangeEmailRequest, v: &mut Violations| {
            let id = v.uuid("user_id", &r.user_id);
            let email = email(v, "email", &r.email);
            Some((id?, UserCommand::ChangeEmail(email?)))
        };
        let done = self.execute(request, fields).await?;
        Ok(done.reply(|receipt| ChangeEmailResponse { receipt: Some(receipt) }))
    }

    async fn deactivate_user(
        &self,
        request: Request<DeactivateUserRequest>,
    ) -> Result<Response<DeactivateUserResponse>, Status> {
        let fields = |r: &DeactivateUserRequest, v: &mut Violations| {
            Some((v.uuid("user_id", &r.user_id)?, UserCommand::Deactivate))
        };
        let done = self.execute(request, fields).await?;
        Ok(done.reply(|receipt| DeactivateUserResponse { receipt: Some(receipt) }))
    }
}
