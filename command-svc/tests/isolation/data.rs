//! Data that the database refuses.

use futures_util::future::join_all;

use crate::probe::{ProbeCommand, Rig, version};

/// What becomes of a command with such data and of its neighbours in the batch.
async fn neighbours_of(rig: &Rig, command: ProbeCommand) -> Vec<Result<u64, String>> {
    let [before, it, after] = rig.known().await;
    let commands = [(before, ProbeCommand::Add), (it, command), (after, ProbeCommand::Add)];
    let sent = commands.map(|(id, command)| rig.send(id, command));
    join_all(sent).await.into_iter().map(version).collect()
}

#[tokio::test]
async fn a_name_that_cannot_be_stored_fails_its_command_alone() {
    let rig = Rig::start().await;
    let names = ["x".repeat(401), "ü".repeat(201), "a\0b".to_owned()];
    for name in names {
        for command in [ProbeCommand::Claim(name.clone()), ProbeCommand::Mark(name)] {
            let answers = neighbours_of(&rig, command).await;
            assert_eq!(answers, [Ok(2), Err("INVALID_REQUEST".to_owned()), Ok(2)]);
        }
    }
    let longest = neighbours_of(&rig, ProbeCommand::Claim("x".repeat(400))).await;
    assert_eq!(longest, [Ok(2), Ok(2), Ok(2)]);
}

#[tokio::test]
async fn a_datum_that_the_database_refuses_fails_its_command_alone() {
    let rig = Rig::start().await;
    let refuse = "ALTER TABLE headwater_log.claim ADD CHECK (value NOT LIKE 'poison%')";
    rig.postgres.run(refuse).await;
    let raise = "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ \
                 BEGIN RAISE EXCEPTION 'no'; END $$; \
                 CREATE TRIGGER refuse BEFORE INSERT ON headwater_log.mark FOR EACH ROW \
                 WHEN (new.name = 'poison') EXECUTE FUNCTION public.refuse()";
    rig.postgres.run(raise).await;
    let poison = |n: u32| ProbeCommand::Claim(format!("poison {n}"));
    let answers = neighbours_of(&rig, poison(0)).await;
    assert_eq!(answers, [Ok(2), Err("INTERNAL".to_owned()), Ok(2)]);
    let answers = neighbours_of(&rig, ProbeCommand::Mark("poison".to_owned())).await;
    assert_eq!(answers, [Ok(2), Err("INTERNAL".to_owned()), Ok(2)]);

    // Several of them among many, one on a stream that more commands of the batch are about: what
    // was decided on top of it is decided anew.
    let ids = rig.known::<40>().await;
    let sent = ids.iter().enumerate().flat_map(|(n, id)| {
        let command = if n % 13 == 5 { poison(n as u32) } else { ProbeCommand::Add };
        let next = (n == 5).then(|| rig.send(*id, ProbeCommand::Add));
        [Some(rig.send(*id, command)), next].into_iter().flatten()
    });
    let answers = join_all(sent.collect::<Vec<_>>()).await;
    let failed: Vec<_> = answers.into_iter().map(version).collect();
    let refused = failed.iter().filter(|answer| **answer == Err("INTERNAL".to_owned())).count();
    let committed = failed.iter().filter(|answer| **answer == Ok(2)).count();
    assert_eq!((refused, committed), (3, 38), "{failed:?}");
}
