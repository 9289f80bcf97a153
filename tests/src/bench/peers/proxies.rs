//! Proxies that stand where the router stands: one address, HTTP/2 without TLS on both sides, every
//! request passed on to one upstream.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::programs::program;
use super::server::{Server, free_address};

/// Envoy, with as many workers as the router has threads.
///
/// # Errors
/// It is not installed, or does not start.
pub async fn envoy(upstream: SocketAddr) -> anyhow::Result<Server> {
    let program = program("envoy/envoy/_bin/envoy")?;
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let config = folder.path().join("envoy.json");
    std::fs::write(&config, envoy_config(address, upstream).to_string())?;
    let args = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error", "-c"];
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let args = [args, vec![config.display().to_string()]].concat();
    Server::start(&program, &args, address, folder).await
}

fn envoy_config(address: SocketAddr, upstream: SocketAddr) -> serde_json::Value {
    let at = |address: SocketAddr| {
        let (ip, port) = (address.ip().to_string(), address.port());
        serde_json::json!({ "socket_address": { "address": ip, "port_value": port } })
    };
    let (http, options) = (
        "envoy.extensions.filters.network.http_connection_manager.v3",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    );
    serde_json::json!({ "static_resources": {
        "listeners": [{
            "address": at(address),
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": format!("type.googleapis.com/{http}.HttpConnectionManager"),
                    "stat_prefix": "in",
                    "codec_type": "HTTP2",
                    "route_config": { "virtual_hosts": [{
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{
                            "match": { "prefix": "/" },
                            "route": { "cluster": "upstream", "timeout": "0s" },
                        }],
                    }] },
                    "http_filters": [{
                        "name": "envoy.filters.http.router",
                        "typed_config": { "@type": concat!("type.googleapis.com/",
                            "envoy.extensions.filters.http.router.v3.Router") },
                    }],
                },
            }] }],
        }],
        "clusters": [{
            "name": "upstream",
            "type": "STATIC",
            "typed_extension_protocol_options": { options: {
                "@type": format!("type.googleapis.com/{options}"),
                "explicit_http_config": { "http2_protocol_options": {} },
            } },
            "load_assignment": { "cluster_name": "upstream", "endpoints": [{
                "lb_endpoints": [{ "endpoint": { "address": at(upstream) } }],
            }] },
        }],
    } })
}

/// HAProxy, of this machine or of the peers' folder, with one thread as the router has.
///
/// # Errors
/// It is not installed, or does not start.
pub async fn haproxy(upstream: SocketAddr) -> anyhow::Result<Server> {
    let of_the_machine = PathBuf::from("/usr/sbin/haproxy");
    let program = match program("haproxy/run") {
        Err(_) if of_the_machine.exists() => of_the_machine,
        program => program?,
    };
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let config = folder.path().join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 1\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 5s\n  \
         timeout client 60s\n  timeout server 60s\nfrontend in\n  bind {address} proto h2\n  \
         default_backend upstream\nbackend upstream\n  server upstream {upstream} proto h2\n"
    );
    std::fs::write(&config, text)?;
    let args = ["-db".to_owned(), "-f".to_owned(), config.display().to_string()];
    Server::start(&program, &args, address, folder).await
}
