//! Epochs of histories that went different ways.

use crate::probe::{ProbeCommand, Rig, version};

#[tokio::test]
async fn no_command_is_decided_on_a_history_that_another_one_has_replaced() {
    let mut rig = Rig::start().await;
    rig.postgres.run("UPDATE headwater_log.log SET epoch = 150000").await;
    rig.start_again().await;
    let [other, id] = rig.known().await;
    assert_eq!(version(rig.send(id, ProbeCommand::Tell).await), Err("SOUND".to_owned()));
    // Another server takes over: its epoch is of a lower number, which was drawn, and in its
    // history the stream went another way up to the same version.
    let replaced = format!(
        "UPDATE headwater_log.log SET epoch = 90000; \
         UPDATE headwater_log.event SET type = 'probe.v1.Embrittled' WHERE stream = '{id}'"
    );
    rig.postgres.run(&replaced).await;
    assert_eq!(version(rig.send(other, ProbeCommand::Add).await), Ok(2));
    assert_eq!(version(rig.send(id, ProbeCommand::Tell).await), Err("BRITTLE".to_owned()));
}

#[tokio::test]
async fn an_appender_follows_when_it_meets_a_state_of_an_epoch_that_it_does_not_know() {
    let rig = Rig::start().await;
    let [known] = rig.known().await;
    for epoch in [150_000, 90_000, 120_000] {
        rig.postgres.run(&format!("UPDATE headwater_log.log SET epoch = {epoch}")).await;
        // Its state is loaded in the new epoch, while the appender is in the old one.
        let [fresh] = rig.known().await;
        let tell = rig.send(fresh, ProbeCommand::Tell).await;
        assert_eq!(version(tell), Err("SOUND".to_owned()));
        assert_eq!(version(rig.send(known, ProbeCommand::Tell).await), Err("SOUND".to_owned()));
    }
}
