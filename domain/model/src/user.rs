//! Users: registered with an e-mail address that no other user has, renamed, deactivated for good.

use headwater_domain_proto::users::v1::{
    UserDeactivated, UserEmailChanged, UserRegistered, UserRenamed,
};
use headwater_kernel::envelope::own_subject;
use headwater_kernel::{
    Aggregate, Context, Decided, Decision, Holdings, Rejection, StreamId, event_set,
};

use crate::reasons;
use crate::values::Email;

event_set! {
    /// Events of a user.
    pub enum UserEvent {
        Registered(UserRegistered) = "users.v1.UserRegistered" @ 1, subject own_subject;
        Renamed(UserRenamed) = "users.v1.UserRenamed" @ 1, subject own_subject;
        EmailChanged(UserEmailChanged) = "users.v1.UserEmailChanged" @ 1, subject own_subject;
        Deactivated(UserDeactivated) = "users.v1.UserDeactivated" @ 1;
    }
}

/// Commands on a user.
#[derive(Clone, Debug)]
pub enum UserCommand {
    /// Join.
    Register {
        /// No other user's.
        email: Email,
        /// 1 to 200 characters.
        name: String,
    },
    /// Take another name, of 1 to 200 characters.
    Rename(String),
    /// Take another e-mail address, and free the one before.
    ChangeEmail(Email),
    /// Leave for good. The e-mail address stays taken, so that nobody else can pass for the user.
    Deactivate,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum User {
    /// Not registered yet.
    #[default]
    Absent,
    /// Registered.
    Active {
        /// The e-mail address it has taken.
        email: String,
        /// The name.
        name: String,
    },
    /// Gone for good.
    Deactivated {
        /// The e-mail address, which stays taken.
        email: String,
    },
}

impl Aggregate for User {
    const NAME: &'static str = "user";
    type Command = UserCommand;
    type Event = UserEvent;

    fn decide(&self, command: &UserCommand, context: &Context) -> Decided<UserEvent> {
        let id = context.stream;
        match (self, command) {
            (Self::Absent, UserCommand::Register { email, name }) => {
                let registered =
                    UserRegistered { email: email.as_str().to_owned(), name: name.clone() };
                Ok(Decision::event(registered).taking(claim(email.as_str()), taken(email)))
            }
            (Self::Absent, _) => {
                Err(reasons::USER_NOT_FOUND.because(format!("there is no user {id}")))
            }
            (_, UserCommand::Register { .. }) => Err(reasons::USER_EXISTS
                .because(format!("user {id} was registered before; ids are never used again"))),
            (Self::Active { name: old, .. }, UserCommand::Rename(new)) if old != new => {
                Ok(Decision::event(UserRenamed { name: new.clone() }))
            }
            (Self::Active { email, .. }, UserCommand::ChangeEmail(new))
                if email != new.as_str() =>
            {
                Ok(change_email(email, new))
            }
            (Self::Active { .. }, UserCommand::Deactivate) => {
                Ok(Decision::event(UserDeactivated {}))
            }
            // The name or address it has already; or gone already.
            (Self::Active { .. }, UserCommand::Rename(_) | UserCommand::ChangeEmail(_))
            | (Self::Deactivated { .. }, UserCommand::Deactivate) => Ok(Decision::nothing()),
            (Self::Deactivated { .. }, UserCommand::Rename(_) | UserCommand::ChangeEmail(_)) => {
                Err(reasons::USER_DEACTIVATED.because(format!("user {id} has been deactivated")))
            }
        }
    }

    fn holdings(&self, _stream: StreamId) -> Option<Holdings> {
        let mut holdings = Holdings::default();
        if let Self::Active { email, .. } | Self::Deactivated { email } = self {
            holdings.claims.push(claim(email));
        }
        Some(holdings)
    }

    fn evolve(&mut self, event: &UserEvent) {
        match (&mut *self, event) {
            (_, UserEvent::Registered(event)) => {
                *self = Self::Active { email: event.email.clone(), name: event.name.clone() };
            }
            (Self::Active { email, .. }, UserEvent::Deactivated(_)) => {
                *self = Self::Deactivated { email: std::mem::take(email) };
            }
            (Self::Active { name, .. }, UserEvent::Renamed(event)) => name.clone_from(&event.name),
            (Self::Active { email, .. }, UserEvent::EmailChanged(event)) => {
                email.clone_from(&event.new_email);
            }
            (Self::Absent | Self::Deactivated { .. }, _) => {}
        }
    }
}

fn change_email(old: &str, new: &Email) -> Decision<UserEvent> {
    let changed =
        UserEmailChanged { old_email: old.to_owned(), new_email: new.as_str().to_owned() };
    Decision::event(changed).freeing(claim(old)).taking(claim(new.as_str()), taken(new))
}

fn claim(email: &str) -> String {
    format!("email/{email}")
}

fn taken(email: &Email) -> Rejection {
    reasons::EMAIL_TAKEN.because(format!("another user has the address {}", email.as_str()))
}
