//! `users.v1.UserCommandService`.

use headwater_command_svc::command_service;
use headwater_domain_model::{User, UserCommand};
use headwater_domain_proto::users::v1::{
    ChangeEmailRequest, ChangeEmailResponse, DeactivateUserRequest, DeactivateUserResponse,
    RegisterUserRequest, RegisterUserResponse, RenameUserRequest, RenameUserResponse,
    user_command_service,
};
use headwater_edge::id_or_new;

use super::fields::{TEXT_LEN_MAX, email};

command_service! {
    user_command_service for UserCommands on User;

    register_user(RegisterUserRequest) -> RegisterUserResponse = |r, v| {
        let id = id_or_new(v, "user_id", &r.user_id);
        let email = email(v, "email", &r.email);
        let name = v.text("name", &r.name, 1..=TEXT_LEN_MAX);
        Some((id?, UserCommand::Register { email: email?, name: name? }))
    };
    rename_user(RenameUserRequest) -> RenameUserResponse, by user_id = |r, v| {
        v.text("name", &r.name, 1..=TEXT_LEN_MAX).map(UserCommand::Rename)
    };
    change_email(ChangeEmailRequest) -> ChangeEmailResponse, by user_id = |r, v| {
        email(v, "email", &r.email).map(UserCommand::ChangeEmail)
    };
    deactivate_user(DeactivateUserRequest) -> DeactivateUserResponse, by user_id = |r, v| {
        Some(UserCommand::Deactivate)
    };
}
