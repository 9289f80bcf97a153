//! Compiles the sample domain's protos, which use the platform's.

fn main() -> anyhow::Result<()> {
    headwater_codegen::compile(
        &[
            "stores/v1/types.proto",
            "stores/v1/events.proto",
            "stores/v1/commands.proto",
            "stores/v1/queries.proto",
            "users/v1/events.proto",
            "users/v1/users.proto",
        ],
        "../../proto",
    )
}
