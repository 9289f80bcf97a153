//! What is exported, and under which names.

use headwater_chassis::Metrics;
use headwater_chassis::metrics::{BATCH_SIZES, Labels};

#[test]
fn names_are_exported_as_they_are_written() {
    let metrics = Metrics::new();
    metrics.counter("headwater_reads_total", "Reads").inc();
    metrics.gauge("headwater_queue_commands", "Commands in the queue").set(3);
    let lag = metrics.gauges_f64::<Labels<1>>("headwater_lag_seconds", "Lag");
    lag.get_or_create(&[("projection", "retail".to_owned())]).set(1.5);
    let sizes = metrics.histogram("headwater_append_batch_commands", "Sizes", BATCH_SIZES);
    sizes.observe(3.0);
    let text = metrics.encode();
    for line in [
        "headwater_reads_total 1",
        "headwater_queue_commands 3",
        r#"headwater_lag_seconds{projection="retail"} 1.5"#,
        r#"headwater_append_batch_commands_bucket{le="4.0"} 1"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
}

#[test]
fn the_same_name_is_the_same_metric() {
    let metrics = Metrics::new();
    metrics.counter("headwater_reads_total", "Reads").inc();
    metrics.clone().counter("headwater_reads_total", "Reads").inc();
    assert_eq!(metrics.encode().matches("headwater_reads_total 2").count(), 1);
}

#[test]
#[should_panic(expected = "is of another kind already")]
fn a_name_has_one_kind() {
    let metrics = Metrics::new();
    metrics.counter("headwater_reads_total", "Reads");
    metrics.gauge("headwater_reads_total", "Reads");
}

#[test]
#[should_panic(expected = "start with headwater_")]
fn a_name_has_the_prefix() {
    Metrics::new().counter("reads_total", "Reads");
}
