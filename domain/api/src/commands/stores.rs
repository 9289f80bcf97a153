//! `stores.v1.StoreCommandService`.

use std::sync::Arc;

use headwater_domain_model::{Store, StoreCommand};
use headwater_domain_proto::stores::v1::store_command_service_server::StoreCommandService;
use headwater_domain_proto::stores::v1::{
    AssignManagerRequest, AssignManagerResponse, CloseStoreRequest, CloseStoreResponse,
    OpenStoreRequest, OpenStoreResponse, RelocateStoreRequest, RelocateStoreResponse,
    RemoveManagerRequest, RemoveManagerResponse, RenameStoreRequest, RenameStoreResponse,
};
use headwater_edge::{CommandRequest, Failure, Violations, id_or_new, read_command};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::fields::{CITY_LEN_MAX, TEXT_LEN_MAX, currency};
use headwater_command_svc::{Committed, Executor};

/// Hands commands on stores to the executor.
pub struct StoreCommands(pub Arc<Executor>);

impl StoreCommands {
    async fn execute<M: CommandRequest>(
        &self,
        request: Request<M>,
        fields: impl FnOnce(&M, &mut Violations) -> Option<(Uuid, StoreCommand)>,
    ) -> Result<Committed, Failure> {
        let (envelope, (store_id, command)) = read_command(request, fields)?;
        self.0.execute::<Store>(envelope.call("stores", store_id), command).await
    }
}

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
        let done = self.execute(request, fields).await?;
        let store_id = done.receipt.stream.to_string();
        Ok(done.reply(|receipt| OpenStoreResponse { store_id, receipt: Some(receipt) }))
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
        let done = self.execute(request, fields).await?;
        Ok(done.reply(|receipt| RenameStoreResponse { receipt: Some(receipt) }))
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
        let done = self.execute(request, fields).await?;
        Ok(done.reply(|receipt| RelocateStoreResponse { receipt: Some(receipt) }))
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
        let done = self.execute(request, fields).await?;
        Ok(done.reply(|receipt| AssignManagerResponse { receipt: Some(receipt) }))
    }

    async fn remove_manager(
        &self,
        request: Request<RemoveManagerRequest>,
    ) -> Result<Response<RemoveManagerResponse>, Status> {
        let fields = |r: &RemoveManagerRequest, v: &mut Violations| {
            Some((v.uuid("store_id", &r.store_id)?, StoreCommand::RemoveManager))
        };
        let done = self.execute(request, fields).await?;
        Ok(done.reply(|receipt| RemoveManagerResponse { receipt: Some(receipt) }))
    }

    async fn close_store(
        &self,
        request: Request<CloseStoreRequest>,
    ) -> Result<Response<CloseStoreResponse>, Status> {
        let fields = |r: &CloseStoreRequest, v: &mut Violations| {
            Some((v.uuid("store_id", &r.store_id)?, StoreCommand::Close))
        };
        let done = self.execute(request, fields).await?;
        Ok(done.reply(|receipt| CloseStoreResponse { receipt: Some(receipt) }))
    }
}
