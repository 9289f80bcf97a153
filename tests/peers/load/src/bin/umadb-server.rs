//! The server of UmaDB, with its own options and defaults.

fn main() {
    let options = match umadb::parse_cli_options(std::env::args()) {
        Ok(options) => options,
        Err(error) => panic!("{error}"),
    };
    if let Err(error) = umadb::start_server_with_cli_options(options) {
        panic!("{error}");
    }
}
