//! `stores.v1.StoreCommandService`.

use headwater_domain_model::{Store, StoreCommand};
use headwater_domain_proto::stores::v1::store_command_service_server::StoreCommandService;
use headwater_domain_proto::stores::v1::{
    AssignManagerRequest, AssignManagerResponse, CloseStoreRequest, CloseStoreResponse,
    OpenStoreRequest, OpenStoreResponse, RelocateStoreRequest, RelocateStoreResponse,
    RemoveManagerRequest, RemoveManagerResponse, RenameStoreRequest, RenameStoreResponse,
};
use headwater_edge::{Violations, id_or_new};
use tonic::{Request, Response, Status};

use super::fields::{CITY_LEN_MAX, TEXT_LEN_MAX, currency};
use headwater_command_svc::Commands;

/// Hands commands on stores to the executor.
pub struct StoreCommands(pub Commands<Store>);

#[tonic::async_trait]
impl StoreCommandService for StoreCommands {
    async fn open_store(
        &self,
        request: Request<OpenStoreRequest>,
    ) -> Result<Response<OpenStoreResponse>, Status> {
        let fields = |r: &OpenStoreRequest, v: &mut Violations| {
            let id = id_or_new(v, "store_id", &r.store_id);
            let name = v.text("name", &r.name, 1..=TEXT_LEN_MAX);
            let city = v.text("city", &r.city, 1..=CITY_LEN_MAX);
            let currency = currency(v, "currency", &r.currency);
            Some((id?, StoreCommand::Open { name: name?, city: city?, currency: currency? }))
        };
        self.0.execute(request, fields).await
    }

    async fn rename_store(
        &self,
        request: Request<RenameStoreRequest>,
    ) -> Result<Response<RenameStoreResponse>, Status> {
        let fields = |r: &RenameStoreRequest, v: &mut Violations| {
            let id = v.uuid("store_id", &r.store_id);
            let name = v.text("name", &r.name, 1..=TEXT_LEN_MAX);
            Some((id?, StoreCommand::Rename(name?)))
        };
        self.0.execute(request, fields).await
    }

    async fn relocate_store(
        &self,
        request: Request<RelocateStoreRequest>,
    ) -> Result<Response<RelocateStoreResponse>, Status> {
        let fields = |r: &RelocateStoreRequest, v: &mut Violations| {
            let id = v.uuid("store_id", &r.store_id);
            let city = v.text("city", &r.city, 1..=CITY_LEN_MAX);
            Some((id?, StoreCommand::Relocate(city?)))
        };
        self.0.execute(request, fields).await
    }

    async fn assign_manager(
        &self,
        request: Request<AssignManagerRequest>,
    ) -> Result<Response<AssignManagerResponse>, Status> {
        let fields = |r: &AssignManagerRequest, v: &mut Violations| {
            let id = v.uuid("store_id", &r.store_id);
            let user = v.uuid("user_id", &r.user_id);
            Some((id?, StoreCommand::AssignManager(user?)))
        };
        self.0.execute(request, fields).await
    }

    async fn remove_manager(
        &self,
        request: Request<RemoveManagerRequest>,
    ) -> Result<Response<RemoveManagerResponse>, Status> {
        let fields = |r: &RemoveManagerRequest, v: &mut Violations| {
            Some((v.uuid("store_id", &r.store_id)?, StoreCommand::RemoveManager))
        };
        self.0.execute(request, fields).await
    }

    async fn close_store(
        &self,
        request: Request<CloseStoreRequest>,
    ) -> Result<Response<CloseStoreResponse>, Status> {
        let fields = |r: &CloseStoreRequest, v: &mut Violations| {
            Some((v.uuid("store_id", &r.store_id)?, StoreCommand::Close))
        };
        self.0.execute(request, fields).await
    }
}
