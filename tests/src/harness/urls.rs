//! Ways into the nodes of a cluster, one per user.

use headwater_cli::local::{DATABASE, Node, OWNER, Plan, logins};

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
        self.owner_url(self.log_node())
    }

    /// The owner's way to the views.
    pub fn read_owner_url(&self) -> String {
        self.owner_url(self.view_node())
    }

    /// command-svc's way to the log.
    pub fn command_url(&self) -> String {
        let log = self.node(self.log_node());
        log.url(logins::COMMAND, &self.plan().secrets.command, DATABASE)
    }

    /// The projector's way to the log.
    pub fn feed_url(&self) -> String {
        let log = self.node(self.log_node());
        log.url(logins::PROJECTOR, &self.plan().secrets.projector, DATABASE)
    }

    /// The projector's way to the views.
    pub fn projector_url(&self) -> String {
        let views = self.node(self.view_node());
        views.url(logins::PROJECTOR, &self.plan().secrets.projector, DATABASE)
    }

    /// query-svc's way into a node.
    pub fn query_url(&self, node: &str) -> String {
        self.node(node).url(logins::QUERY, &self.plan().secrets.query, DATABASE)
    }

    pub(super) fn node(&self, name: &str) -> &Node {
        let plan: &Plan = self.plan();
        plan.node(name).unwrap_or_else(|| panic!("the cluster has no node '{name}'"))
    }
}
