//! `stores.v1.StoreCommandService`.

use headwater_command_svc::command_service;
use headwater_domain_model::{Store, StoreCommand};
use headwater_domain_proto::stores::v1::{
    AssignManagerRequest, AssignManagerResponse, CloseStoreRequest, CloseStoreResponse,
    OpenStoreRequest, OpenStoreResponse, RelocateStoreRequest, RelocateStoreResponse,
    RemoveManagerRequest, RemoveManagerResponse, RenameStoreRequest, RenameStoreResponse,
    store_command_service,
};
use headwater_edge::id_or_new;

use super::fields::{CITY_LEN_MAX, TEXT_LEN_MAX, currency};

command_service! {
    store_command_service for StoreCommands on Store;

    open_store(OpenStoreRequest) -> OpenStoreResponse = |r, v| {
        let id = id_or_new(v, "store_id", &r.store_id);
        let name = v.text("name", &r.name, 1..=TEXT_LEN_MAX);
        let city = v.text("city", &r.city, 1..=CITY_LEN_MAX);
        let currency = currency(v, "currency", &r.currency);
        Some((id?, StoreCommand::Open { name: name?, city: city?, currency: currency? }))
    };
    rename_store(RenameStoreRequest) -> RenameStoreResponse, by store_id = |r, v| {
        v.text("name", &r.name, 1..=TEXT_LEN_MAX).map(StoreCommand::Rename)
    };
    relocate_store(RelocateStoreRequest) -> RelocateStoreResponse, by store_id = |r, v| {
        v.text("city", &r.city, 1..=CITY_LEN_MAX).map(StoreCommand::Relocate)
    };
    assign_manager(AssignManagerRequest) -> AssignManagerResponse, by store_id = |r, v| {
        v.uuid("user_id", &r.user_id).map(StoreCommand::AssignManager)
    };
    remove_manager(RemoveManagerRequest) -> RemoveManagerResponse, by store_id = |r, v| {
        Some(StoreCommand::RemoveManager)
    };
    close_store(CloseStoreRequest) -> CloseStoreResponse, by store_id = |r, v| {
        Some(StoreCommand::Close)
    };
}
