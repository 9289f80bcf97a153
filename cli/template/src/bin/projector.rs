//! Turns the log into rows of the read database.

fn main() -> anyhow::Result<()> {
    headwater_projector::run_program(counter::projections())
}
