//! Ways into the nodes of a cluster, one per user.

use headwater_cli::logins;
use headwater_cli::plan::Plan;
use headwater_cli::postgres::node::Node;
use headwater_cli::postgres::users::{DATABASE, OWNER};

use super::cluster::Cluster;

impl Cluster {
    /// The owner's way into a node; on a replica it can only read.
    pub fn owner_url(&self, node: &str) -> String {
        self.node(node).url(OWNER, &self.plan().secrets.owner, DATABASE)
    }

    /// The superuser's way into a node.
    pub fn superuser_url(&self, node: &str) -> String {
        self.plan().superuser_url(self.node(node), DATABASE)
    }

    /// The owner's way to the log.
    pub fn write_owner_url(&self) -> String {
        self.plan().write_owner_url()
    }

    /// The owner's way to the views.
    pub fn read_owner_url(&self) -> String {
        self.plan().read_owner_url()
    }

    /// command-svc's way to the log.
    pub fn command_url(&self) -> String {
        let plan = self.plan();
        plan.log_primary().url(logins::COMMAND, &plan.secrets.command, DATABASE)
    }

    /// The projector's way to the log.
    pub fn feed_url(&self) -> String {
        let plan = self.plan();
        plan.log_primary().url(logins::PROJECTOR, &plan.secrets.projector, DATABASE)
    }

    /// The projector's way to the views.
    pub fn projector_url(&self) -> String {
        let plan = self.plan();
        plan.view_primary().url(logins::PROJECTOR, &plan.secrets.projector, DATABASE)
    }

    /// query-svc's way into a node.
    pub fn query_url(&self, node: &str) -> String {
        self.node(node).url(logins::QUERY, &self.plan().secrets.query, DATABASE)
    }

    /// Name of the node that holds the log.
    pub fn log_node(&self) -> &str {
        &self.plan().log_primary().name
    }

    /// Name of the primary that holds the views.
    pub fn view_node(&self) -> &str {
        &self.plan().view_primary().name
    }

    fn node(&self, name: &str) -> &Node {
        let plan: &Plan = self.plan();
        plan.node(name).unwrap_or_else(|| panic!("the cluster has no node '{name}'"))
    }
}
