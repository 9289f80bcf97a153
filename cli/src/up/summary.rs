//! Summary for the user when everything runs: one table, and what to type next.

use std::path::Path;

use crate::health;
use crate::local::{Kind, Node, Program, Role, Stack, connect, usual_root};
use crate::table;

const HEADER: [&str; 4] = ["PROGRAM", "ADDRESS", "ROLE", "HEALTH"];

/// Prints the table and the calls to try.
pub(super) async fn show(stack: &Stack) {
    let mut rows = Vec::new();
    for node in &stack.plan.nodes {
        rows.push(node_row(node, &stack.plan.superuser_url(node, "postgres")).await);
    }
    for program in &stack.plan.programs {
        rows.push(program_row(program).await);
    }
    println!("\n{}\n", table::lines(HEADER, rows).join("\n"));
    let router = stack.plan.programs.iter().find(|program| program.kind == Kind::Router);
    let address = router.map(|program| program.grpc.to_string()).unwrap_or_default();
    let data = match usual_root() {
        Ok(root) if root.canonicalize().is_ok_and(|root| root == stack.plan.root) => String::new(),
        _ => format!(" --data {}", stack.plan.root.display()),
    };
    println!("{}", invitation(&how_we_are_called(), &data, &address));
}

async fn node_row(node: &Node, url: &str) -> [String; 4] {
    let health = node_health(node.role, url).await;
    [
        node.name.clone(),
        node.address().to_string(),
        node.role.describe().to_owned(),
        health.unwrap_or_else(|error| format!("{error:#}")),
    ]
}

async fn node_health(role: Role, url: &str) -> anyhow::Result<String> {
    let client = connect(url).await?;
    if !role.is_standby() {
        return Ok("accepting".to_owned());
    }
    let receiver = client.query_opt("SELECT status FROM pg_stat_wal_receiver", &[]).await?;
    let status = receiver.and_then(|row| row.get::<_, Option<String>>(0));
    Ok(status.unwrap_or_else(|| "not connected to its primary".to_owned()))
}

async fn program_row(program: &Program) -> [String; 4] {
    let health = match health::ready(program.admin).await {
        Ok(()) => "ready".to_owned(),
        Err(error) => format!("{error:#}").lines().next().unwrap_or_default().to_owned(),
    };
    let role = format!("{} (metrics: {})", program.kind.describe(), program.admin);
    [program.name.clone(), program.grpc.to_string(), role, health]
}

fn invitation(headwater: &str, data: &str, router: &str) -> String {
    let store = r#"'{"name": "Harbour Street", "city": "Bergen", "currency": "NOK"}'"#;
    let city = r#"'{"city": "Bergen"}'"#;
    format!(
        "Clients talk gRPC to {router}. Try, in another terminal:\n\
         \n  {headwater} call{data} stores.v1.StoreCommandService/OpenStore {store}\
         \n  {headwater} call{data} stores.v1.StoreQueryService/ListStores {city}\
         \n  {headwater} status{data}\n\
         \nCtrl-C stops everything and keeps the data."
    )
}

/// `headwater` if the shell would find this program by that name, else the path that it was started
/// by.
fn how_we_are_called() -> String {
    let typed = std::env::args().next().unwrap_or_default();
    let own = std::env::current_exe().ok();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("headwater"));
    let first = found.into_iter().find(|candidate| candidate.exists());
    let is_found = own.is_some() && first.and_then(|path| path.canonicalize().ok()) == own;
    if is_found || !Path::new(&typed).exists() { "headwater".to_owned() } else { typed }
}
