//! Users, and their e-mail addresses, which are unique across all partitions.

use futures_util::future::join_all;
use headwater_domain_proto::users::v1::{
    ChangeEmailRequest, DeactivateUserRequest, GetUserByEmailRequest, RegisterUserRequest, User,
    UserStatus,
};
use headwater_proto::headwater::v1::Receipt;
use tonic::{Response, Status};

use super::client::{Client, address, after, at_least, done, receipt, register};
use super::refusal::{reason, refused};

async fn change(client: &Client, user: &str, email: &str) -> Result<Receipt, Status> {
    let (user_id, email) = (user.to_owned(), email.to_owned());
    let request = ChangeEmailRequest { user_id, email, options: None };
    let changed = client.user_commands().change_email(request).await?.into_inner();
    Ok(receipt(changed.receipt))
}

async fn by_email(client: &Client, email: &str, token: &str) -> Result<User, Status> {
    let request = GetUserByEmailRequest { email: email.to_owned(), consistency: at_least(token) };
    let found = client.user_queries().get_user_by_email(request).await?.into_inner();
    Ok(found.user.expect("a user"))
}

pub async fn a_user_registers_changes_and_leaves(client: Client) {
    let (first, second) = (address("Ada"), address("ada.l"));
    let (user, registered) = client.register(&first, "Ada").await;
    let mut expected = User {
        user_id: user.clone(),
        email: first.to_lowercase(),
        name: "Ada".to_owned(),
        status: UserStatus::Active.into(),
        version: 1,
        registered_time: registered.recorded_time,
    };
    assert_eq!(client.user(&user, &registered.token).await, expected);
    let found = by_email(&client, &first.to_uppercase(), &registered.token).await;
    assert_eq!(found.expect("in any case"), expected);

    let renamed = client.rename_user(&user, "Ada L.").await;
    (expected.name, expected.version) = ("Ada L.".to_owned(), 2);
    assert_eq!(client.user(&user, &renamed.token).await, expected);

    let changed = change(&client, &user, &second).await.expect("changed");
    (expected.email, expected.version) = (second.clone(), 3);
    assert_eq!(client.user(&user, &changed.token).await, expected);
    assert_eq!(by_email(&client, &second, &changed.token).await.expect("by the new"), expected);
    let old = by_email(&client, &first, &changed.token).await.expect_err("freed");
    assert_eq!(reason(&old), "NOT_FOUND");

    let mut commands = client.user_commands();
    let leave = DeactivateUserRequest { user_id: user.clone(), options: None };
    let left = receipt(done(commands.deactivate_user(leave).await).receipt);
    (expected.status, expected.version) = (UserStatus::Deactivated.into(), 4);
    assert_eq!(client.user(&user, &left.token).await, expected);
    let status = change(&client, &user, &first).await.expect_err("gone");
    assert_eq!(reason(&status), "USER_DEACTIVATED");
    let again = RegisterUserRequest { user_id: user.clone(), ..register(&first, "Ada") };
    refused(commands.register_user(again).await, "USER_EXISTS");
}

pub async fn an_address_is_one_users(client: Client) {
    let (first, second) = (address("eve"), address("bob"));
    let mut commands = client.user_commands();
    let (eve, _) = client.register(&first, "Eve").await;
    refused(commands.register_user(register(&first.to_uppercase(), "Eva")).await, "EMAIL_TAKEN");
    // The users of either address live in any partition.
    let (bob, _) = client.register(&second, "Bob").await;
    let status = change(&client, &bob, &first).await.expect_err("taken");
    assert_eq!(reason(&status), "EMAIL_TAKEN");

    // Changed, the old one is free, for anybody.
    change(&client, &eve, &address("eve")).await.expect("changed");
    let moved = change(&client, &bob, &first).await.expect("freed");
    let (third, registered) = client.register(&second, "Third").await;
    assert_eq!(by_email(&client, &first, &moved.token).await.expect("Bob's").user_id, bob);
    let found = by_email(&client, &second, &registered.token).await;
    assert_eq!(found.expect("the third one's").user_id, third);

    // Deactivated, it stays taken, so that nobody can pass for the user.
    let leave = DeactivateUserRequest { user_id: third.clone(), options: None };
    done(commands.deactivate_user(leave).await);
    refused(commands.register_user(register(&second, "Fourth")).await, "EMAIL_TAKEN");
    let status = change(&client, &bob, &second).await.expect_err("kept");
    assert_eq!(reason(&status), "EMAIL_TAKEN");
}

pub async fn twenty_register_one_address(client: Client) {
    let email = address("crowd");
    let registrations = (0..20).map(|number| {
        let mut commands = client.user_commands();
        let user_id = client.id_in(number);
        let request = RegisterUserRequest { user_id, ..register(&email, "One of many") };
        async move { commands.register_user(request).await }
    });
    let (won, lost): (Vec<_>, Vec<_>) =
        join_all(registrations).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 19));
    lost.into_iter().for_each(|lost| drop(refused(lost, "EMAIL_TAKEN")));
    let winner = won.into_iter().map(done).next().expect("one");
    let token = receipt(winner.receipt).token;
    let found = by_email(&client, &email, &token).await.expect("the winner");
    assert_eq!(found.user_id, winner.user_id);

    // The same for changes, from users of all partitions.
    let coveted = address("coveted");
    let wishes = (0..8).map(|number| {
        let (client, coveted) = (client.clone(), coveted.clone());
        let user_id = client.id_in(number);
        async move {
            let request = RegisterUserRequest { user_id, ..register(&address("w"), "Wisher") };
            let user = done(client.user_commands().register_user(request).await).user_id;
            change(&client, &user, &coveted).await.map(Response::new)
        }
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(wishes).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    lost.into_iter().for_each(|lost| drop(refused(lost, "EMAIL_TAKEN")));
}

/// Each frees what the other one takes, over a third address, in whatever partitions they live.
pub async fn two_exchange_their_addresses(client: Client) {
    let (first, second) = (address("first"), address("second"));
    let mut users = Vec::new();
    for (partition, email) in [(0, &first), (1, &second)] {
        let user_id = client.id_in(partition);
        let request = RegisterUserRequest { user_id, ..register(email, "Somebody") };
        users.push(done(client.user_commands().register_user(request).await).user_id);
    }
    change(&client, &users[0], &address("between")).await.expect("out of the way");
    let one = change(&client, &users[1], &first).await.expect("the first is free");
    let request = ChangeEmailRequest {
        user_id: users[0].clone(),
        email: second.clone(),
        options: after(&one.token),
    };
    let both = receipt(done(client.user_commands().change_email(request).await).receipt);
    let owner = |email: String| {
        let (client, token) = (client.clone(), both.token.clone());
        async move { by_email(&client, &email, &token).await.expect("taken").user_id }
    };
    assert_eq!((owner(first).await, owner(second).await), (users[1].clone(), users[0].clone()));
}
