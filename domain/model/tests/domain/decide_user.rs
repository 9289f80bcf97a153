//! Decisions on users.

use headwater_domain_model::values::Email;
use headwater_domain_model::{User, UserCommand, UserEvent, reasons};
use headwater_domain_proto::users::v1::{
    UserDeactivated, UserEmailChanged, UserRegistered, UserRenamed,
};
use headwater_kernel::envelope::Subject;
use headwater_kernel::{Decision, EventSet as _};

use crate::check::check;

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

fn registered() -> UserEvent {
    UserRegistered { email: "ada@example.org".into(), name: "Ada".into() }.into()
}

fn changed() -> UserEvent {
    let (old_email, new_email) = ("ada@example.org".into(), "al@example.org".into());
    UserEmailChanged { old_email, new_email }.into()
}

fn deactivated() -> UserEvent {
    UserDeactivated {}.into()
}

fn register() -> UserCommand {
    UserCommand::Register { email: email("Ada@Example.org"), name: "Ada".into() }
}

#[test]
fn registers_once_with_an_address_of_its_own() {
    let taken = reasons::EMAIL_TAKEN.because("");
    let decision = Decision::event(registered()).taking("email/ada@example.org", taken);
    check::<User>(&[], register(), Ok(decision));
    check::<User>(&[registered()], register(), Err(reasons::USER_EXISTS));
    check::<User>(&[registered(), deactivated()], register(), Err(reasons::USER_EXISTS));
}

#[test]
fn takes_another_name() {
    let renamed = UserRenamed { name: "Ada L.".into() };
    let rename = || UserCommand::Rename("Ada L.".into());
    check::<User>(&[registered()], rename(), Ok(Decision::event(renamed.clone())));
    check::<User>(&[registered(), renamed.into()], rename(), Ok(Decision::nothing()));
}

#[test]
fn frees_its_address_for_another() {
    let change = || UserCommand::ChangeEmail(email("AL@example.org"));
    let decision = Decision::event(changed())
        .freeing("email/ada@example.org")
        .taking("email/al@example.org", reasons::EMAIL_TAKEN.because(""));
    check::<User>(&[registered()], change(), Ok(decision));
    check::<User>(&[registered(), changed()], change(), Ok(Decision::nothing()));
}

#[test]
fn leaves_for_good_and_keeps_its_address() {
    let decision = Decision::event(deactivated());
    check::<User>(&[registered()], UserCommand::Deactivate, Ok(decision));
    let gone = [registered(), deactivated()];
    check::<User>(&gone, UserCommand::Deactivate, Ok(Decision::nothing()));
}

#[test]
fn must_be_active_for_everything_else() {
    let commands =
        [UserCommand::Rename("Ada".into()), UserCommand::ChangeEmail(email("ada@example.org"))];
    for command in commands {
        check::<User>(&[], command.clone(), Err(reasons::USER_NOT_FOUND));
        check::<User>(&[registered(), deactivated()], command, Err(reasons::USER_DEACTIVATED));
    }
    check::<User>(&[], UserCommand::Deactivate, Err(reasons::USER_NOT_FOUND));
}

#[test]
fn what_tells_of_a_person_names_whom() {
    for event in [registered(), changed()] {
        assert_eq!(event.encode().subject, Some(Subject::Own), "{event:?}");
    }
    assert_eq!(deactivated().encode().subject, None);
}
