//! Answers queries from the nodes of the read database.

use counter::{FILE_DESCRIPTOR_SET, PROJECTIONS, queries};

fn main() -> anyhow::Result<()> {
    headwater_query_svc::run_program(PROJECTIONS, FILE_DESCRIPTOR_SET, queries)
}
