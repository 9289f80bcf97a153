//! `users.v1.UserCommandService`.

use headwater_domain_model::{User, UserCommand};
use headwater_domain_proto::users::v1::user_command_service_server::UserCommandService;
use headwater_domain_proto::users::v1::{
    ChangeEmailRequest, ChangeEmailResponse, DeactivateUserRequest, DeactivateUserResponse,
    RegisterUserRequest, RegisterUserResponse, RenameUserRequest, RenameUserResponse,
};
use headwater_edge::{Violations, id_or_new};
use tonic::{Request, Response, Status};

use super::fields::{TEXT_LEN_MAX, email};
use headwater_command_svc::Commands;

/// Hands commands on users to the executor.
pub struct UserCommands(pub Commands<User>);

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
        self.0.execute(request, fields).await
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
        self.0.execute(request, fields).await
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
        self.0.execute(request, fields).await
    }

    async fn deactivate_user(
        &self,
        request: Request<DeactivateUserRequest>,
    ) -> Result<Response<DeactivateUserResponse>, Status> {
        let fields = |r: &DeactivateUserRequest, v: &mut Violations| {
            Some((v.uuid("user_id", &r.user_id)?, UserCommand::Deactivate))
        };
        self.0.execute(request, fields).await
    }
}
