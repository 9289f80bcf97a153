//! Expected versions, and commands that change nothing.

use futures_util::future::join_all;
use headwater_domain_proto::stores::v1::{
    AssignManagerRequest, CloseStoreRequest, DelistItemRequest, OpenStoreRequest,
    RelocateStoreRequest, RemoveManagerRequest, RenameStoreRequest, RepriceItemRequest,
};
use headwater_domain_proto::users::v1::{
    ChangeEmailRequest, DeactivateUserRequest, RenameUserRequest,
};
use headwater_proto::headwater::v1::{CommandOptions, Receipt};
use tonic::Status;
use uuid::Uuid;

use super::client::{Client, address, done, eur, expecting, key, receipt};
use super::refusal::{fact, must_be};

async fn open(
    client: &Client,
    store: &str,
    options: Option<CommandOptions>,
) -> Result<Receipt, Status> {
    let request = OpenStoreRequest {
        store_id: store.to_owned(),
        name: "Versioned".to_owned(),
        city: "Bern".to_owned(),
        currency: "EUR".to_owned(),
        options,
    };
    let opened = client.store_commands().open_store(request).await?;
    Ok(receipt(opened.into_inner().receipt))
}

async fn rename(
    client: &Client,
    store: &str,
    name: &str,
    options: Option<CommandOptions>,
) -> Result<Receipt, Status> {
    let (store_id, name) = (store.to_owned(), name.to_owned());
    let request = RenameStoreRequest { store_id, name, options };
    let renamed = client.store_commands().rename_store(request).await?;
    Ok(receipt(renamed.into_inner().receipt))
}

/// The conflict names the version that is the current one.
#[track_caller]
fn assert_conflict(result: Result<Receipt, Status>, current: u64) {
    let status = result.expect_err("a conflict");
    must_be(&status, "VERSION_CONFLICT");
    assert_eq!(fact(&status, "current_version"), Some(current.to_string()));
}

pub async fn an_expected_version_is_checked(client: Client) {
    let store = Uuid::now_v7().to_string();
    assert_conflict(open(&client, &store, expecting(1)).await, 0);
    assert_conflict(rename(&client, &store, "Early", expecting(3)).await, 0);
    let opened = open(&client, &store, expecting(0)).await.expect("it does not exist yet");
    assert_eq!(opened.version, 1);
    assert_conflict(open(&client, &store, expecting(0)).await, 1);
    assert_conflict(rename(&client, &store, "Never", expecting(0)).await, 1);
    let renamed = rename(&client, &store, "Second", expecting(1)).await.expect("as expected");
    assert_eq!(renamed.version, 2);
    for passed in [1, 3, u64::MAX] {
        assert_conflict(rename(&client, &store, "Never", expecting(passed)).await, 2);
    }
    // What would change nothing is checked all the same.
    assert_conflict(rename(&client, &store, "Second", expecting(1)).await, 2);

    // Eight have read version 2 and each wants to write version 3.
    let wanted = (0..8).map(|number| {
        let (client, store) = (client.clone(), store.clone());
        async move { rename(&client, &store, &format!("Racer {number}"), expecting(2)).await }
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(wanted).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    lost.into_iter().for_each(|lost| assert_conflict(lost, 3));
    let won = won.into_iter().flatten().next().expect("one");
    let shown = client.store(&store, &won.token).await;
    assert_eq!(shown.version, 3);
    assert!(shown.name.starts_with("Racer"), "{}", shown.name);
}

/// Nothing recorded: the receipt names the version there was, and its token covers it.
#[track_caller]
fn assert_unchanged(receipt: Option<Receipt>, version: u64) {
    let receipt = super::client::receipt(receipt);
    assert_eq!((receipt.version, receipt.replayed), (version, false));
}

pub async fn what_changes_nothing_records_nothing(client: Client) {
    let shop = client.shop(0).await;
    let mut stores = client.store_commands();
    let store_id = || shop.store.clone();
    let (name, city) = ("Shop".to_owned(), "Bern".to_owned());
    let request = RenameStoreRequest { store_id: store_id(), name, options: None };
    assert_unchanged(done(stores.rename_store(request).await).receipt, 1);
    let request = RelocateStoreRequest { store_id: store_id(), city, options: None };
    assert_unchanged(done(stores.relocate_store(request).await).receipt, 1);
    let request = RemoveManagerRequest { store_id: store_id(), options: None };
    assert_unchanged(done(stores.remove_manager(request).await).receipt, 1);
    let user_id = Uuid::now_v7().to_string();
    let assign = AssignManagerRequest { store_id: store_id(), user_id, options: None };
    assert_eq!(receipt(done(stores.assign_manager(assign.clone()).await).receipt).version, 2);
    assert_unchanged(done(stores.assign_manager(assign).await).receipt, 2);

    let mut stock = client.stock_commands();
    let item_id = || shop.item.clone();
    let request = RepriceItemRequest {
        store_id: store_id(),
        item_id: item_id(),
        price: eur(250),
        options: None,
    };
    assert_unchanged(done(stock.reprice_item(request).await).receipt, 1);
    let request = DelistItemRequest { store_id: store_id(), item_id: item_id(), options: None };
    assert_eq!(receipt(done(stock.delist_item(request.clone()).await).receipt).version, 2);
    assert_unchanged(done(stock.delist_item(request).await).receipt, 2);

    assert_eq!(client.close(&shop.store).await.version, 3);
    // Under a key, too, and then again.
    let request = CloseStoreRequest { store_id: store_id(), options: key(&shop.store) };
    assert_unchanged(done(stores.close_store(request.clone()).await).receipt, 3);
    let again = receipt(done(stores.close_store(request).await).receipt);
    assert_eq!((again.version, again.replayed), (3, true));
    assert_eq!(client.store(&shop.store, &again.token).await.version, 3);
    a_user_stays_as_it_is(&client).await;
}

async fn a_user_stays_as_it_is(client: &Client) {
    let email = address("same");
    let (user, _) = client.register(&email, "Same").await;
    let mut users = client.user_commands();
    let user_id = || user.clone();
    let request = RenameUserRequest { user_id: user_id(), name: "Same".to_owned(), options: None };
    assert_unchanged(done(users.rename_user(request).await).receipt, 1);
    let email = email.to_uppercase();
    let request = ChangeEmailRequest { user_id: user_id(), email, options: None };
    assert_unchanged(done(users.change_email(request).await).receipt, 1);
    let request = DeactivateUserRequest { user_id: user_id(), options: None };
    assert_eq!(receipt(done(users.deactivate_user(request.clone()).await).receipt).version, 2);
    let last = done(users.deactivate_user(request).await).receipt;
    assert_unchanged(last.clone(), 2);
    let token = receipt(last).token;
    assert_eq!(client.user(&user, &token).await.version, 2);
}
