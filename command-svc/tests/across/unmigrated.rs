//! A log of the last release, whose schema has no tags: what needs them is refused, nothing else.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use headwater_edge::Failure;
use headwater_kernel::{
    Aggregate, Context, Decided, Decision, DecodeError, EventSet, NewEvent, StreamId,
};
use tonic::Code;
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use uuid::Uuid;

use super::courses::{Rig, outcome};
use super::{define, enrol};

/// A room is entered, with a tag or without.
#[derive(Clone, Default)]
struct Room;

struct Entered {
    tag: Option<&'static str>,
}

impl EventSet for Entered {
    fn encode(&self) -> NewEvent {
        let tags = self.tag.map(str::to_owned).into_iter().collect();
        NewEvent {
            type_name: "rooms.v1.Entered",
            schema_version: 1,
            payload: Vec::new(),
            tags,
            subject: None,
        }
    }

    fn decode(_: &str, _: u16, _: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { tag: None })
    }
}

impl Aggregate for Room {
    const NAME: &'static str = "room";
    type Command = Option<&'static str>;
    type Event = Entered;

    fn decide(&self, tag: &Option<&'static str>, _: &Context) -> Decided<Entered> {
        Ok(Decision::event(Entered { tag: *tag }))
    }

    fn evolve(&mut self, _: &Entered) {}
}

/// The warnings and errors of our crates in the log of this thread, which runs the whole test.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(Level, String)>>>);

impl Told {
    fn all(&self) -> Vec<(Level, String)> {
        self.0.lock().expect("nobody panicked").clone()
    }
}

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("headwater")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event
            .record(&mut |field: &Field, value: &dyn Debug| text += &format!("{field}={value:?} "));
        self.0.lock().expect("nobody panicked").push((*event.metadata().level(), text));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn needs_a_migration(failure: &Failure) {
    assert_eq!((failure.reason(), failure.code()), ("MIGRATION_NEEDED", Code::FailedPrecondition));
    assert!(failure.message().contains("headwater migrate"), "{}", failure.message());
}

#[tokio::test]
async fn what_needs_tags_is_refused_until_the_log_is_migrated() {
    let told = Told::default();
    let _guard = tracing::subscriber::set_default(told.clone());
    let rig = Rig::unmigrated().await;
    let room = StreamId(Uuid::now_v7());
    let enter = |stream, tag| rig.send_alone::<Room>(stream, tag);
    assert_eq!(outcome(enter(room, None).await), "v1");
    for _ in 0..3 {
        needs_a_migration(&rig.send(0, define("c", 3), None).await.expect_err("refused"));
        // Those that share its batch are appended without it.
        let elsewhere = || StreamId(Uuid::now_v7());
        let (plain, tagged, another) = tokio::join!(
            enter(elsewhere(), None),
            enter(elsewhere(), Some("door/1")),
            enter(elsewhere(), None)
        );
        assert_eq!((outcome(plain), outcome(another)), ("v1".to_owned(), "v1".to_owned()));
        needs_a_migration(&tagged.expect_err("refused"));
    }
    // Operators are told once, and not that it is a defect.
    let all = told.all();
    let [(level, text)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(*level, Level::WARN);
    assert!(text.contains("headwater migrate"), "{text}");

    rig.migrate().await;
    assert_eq!(outcome(enter(room, Some("door/1")).await), "v2");
    assert_eq!(outcome(rig.send(0, define("c", 3), None).await), "v1");
    assert_eq!(outcome(rig.send(0, enrol("c", "s"), None).await), "v1");
    assert_eq!(told.all().len(), 1, "{:?}", told.all());
}
