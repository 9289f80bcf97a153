//! The admin port over real HTTP.

use headwater_chassis::{Metrics, Readiness, admin, bind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn what_the_admin_port_answers() {
    let readiness = Readiness::new(&["database"]);
    let metrics = Metrics::new();
    metrics.counter("headwater_reads_total", "Reads").inc();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(admin::serve(listener, metrics, readiness.clone()));

    let check = async |path: &str, status: u16, body: &str| {
        assert_eq!(get(address, path).await, (status, body.to_owned()));
    };
    check("/livez", 200, "ok\n").await;
    check("/readyz", 503, "not ready\ndatabase: failed: starting\n").await;
    readiness.set("database", Ok(()));
    check("/readyz", 200, "ready\ndatabase: ok\n").await;
    readiness.report("sync", Err("9 s behind".to_owned()));
    check("/readyz", 200, "ready\ndatabase: ok\nsync: warning: 9 s behind\n").await;
    readiness.drain();
    let draining =
        "not ready\nprocess: failed: shutting down\ndatabase: ok\nsync: warning: 9 s behind\n";
    check("/readyz", 503, draining).await;
    check("/livez", 200, "ok\n").await;
    assert!(get(address, "/metrics").await.1.contains("headwater_reads_total 1\n"));
    assert_eq!(get(address, "/other").await.0, 404);
    server.abort();
}
