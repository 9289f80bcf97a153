//! Random schedules: nodes are lost and show less, changes are forgotten, rows are revised, epochs
//! begin, clients stall and resume. Whatever happens, a client knows the whole state that it was
//! told of, or was told that it has to begin anew.

use std::collections::{BTreeMap, HashSet};

use super::model::{Chance, KEYS, Snapshot, Unread, World, uuid};
use super::*;
use crate::watch::change::{Change, Seen, Selector};
use crate::watch::tail::{Tail, Turn};
use crate::watch::topics::{HeldMax, Subscription, Taken, Topics, Update};

const SCHEDULES: u64 = 1_000;
const STEPS: usize = 250;
/// Looks of the hub in a row that fail before it gives up.
const FAILURES_MAX: usize = 3;

/// How often each thing happened, over all schedules: a schedule in which nothing happens proves
/// nothing.
type Counts = BTreeMap<&'static str, usize>;

/// The hub: the same pieces as in the service, and the reads between them.
struct Hub {
    topics: Topics<u32>,
    begun: Option<(Arc<Mark>, Arc<Mark>)>,
    tail: Option<(Tail, HashSet<Selector>)>,
    failures: usize,
}

impl Hub {
    fn new() -> Self {
        // Little enough for a client that stalls to miss something now and then.
        let topics = Topics::holding(HeldMax { updates: 2, rows: 6 });
        Self { topics, begun: None, tail: None, failures: 0 }
    }

    /// Reads one page.
    fn step(&mut self, world: &World, chance: &mut Chance, counts: &mut Counts) {
        let Some((_, whole)) = self.begun.clone() else {
            if let Ok(state) = world.read(None, chance) {
                self.begun = Some((state.mark(), state.mark()));
            }
            return;
        };
        let (mut tail, mut partly) =
            self.tail.take().unwrap_or_else(|| (Tail::after(&whole), HashSet::new()));
        let least = tail.floor().token().into();
        let state = match world.read(Some(&least), chance) {
            Ok(state) => state,
            Err(unread) => return self.failed(unread == Unread::Lost, counts),
        };
        let (changes, kept, next) = state.page(tail.place());
        let at = state.mark();
        match tail.page(&at, kept, next) {
            Turn::HandOut(next) => {
                self.failures = 0;
                self.hand_out(&changes, &at, next.as_ref(), &mut partly);
                self.tail = next.is_some().then_some((tail, partly));
            }
            Turn::Older => {}
            Turn::OtherHistory | Turn::Expired => self.failed(true, counts),
        }
    }

    fn hand_out(
        &mut self,
        changes: &[Change<u32>],
        at: &Arc<Mark>,
        next: Option<&Place>,
        partly: &mut HashSet<Selector>,
    ) {
        let mut concerned = self.topics.concerned(changes);
        match next {
            Some(_) => partly.extend(concerned.keys().cloned()),
            None => partly.drain().for_each(|selector| {
                concerned.entry(selector).or_default();
            }),
        }
        for (selector, concerned) in concerned {
            let seen = concerned.iter().map(|(index, there)| changes[*index].seen(*there));
            let (changes, next) = (seen.collect(), next.cloned());
            self.topics.put(&selector, Update { changes, at: Arc::clone(at), next });
        }
        let whole = self.begun.as_ref().map(|(_, whole)| Arc::clone(whole));
        let whole = whole.filter(|_| next.is_some()).unwrap_or_else(|| Arc::clone(at));
        self.begun = Some((Arc::clone(at), whole));
    }

    fn failed(&mut self, for_good: bool, counts: &mut Counts) {
        self.failures += 1;
        if for_good || self.failures > FAILURES_MAX {
            *counts.entry("the hub gave up").or_default() += 1;
            self.topics.close();
            (self.begun, self.failures) = (None, 0);
        }
    }
}

/// A client, and its watch while there is one.
struct Client {
    selector: Selector,
    watch: Option<(Protocol, Subscription<u32>)>,
    /// What it sends to resume; nothing if it has to begin anew.
    resume: Option<String>,
    /// Its last whole state, and whether that is the last that it was told.
    whole: Option<Arc<Mark>>,
    is_whole: bool,
    known: [u32; KEYS],
    /// The last change told of each row: none comes twice.
    last: [Option<(u32, Point)>; KEYS],
}

impl Client {
    fn new(selector: Selector) -> Self {
        let (known, last) = ([0; KEYS], [None; KEYS]);
        Self { selector, watch: None, resume: None, whole: None, is_whole: false, known, last }
    }

    fn end(&mut self, hub: &mut Hub) {
        if let Some((_, subscription)) = self.watch.take() {
            hub.topics.leave(&subscription);
        }
    }

    fn begin_anew(&mut self, hub: &mut Hub) {
        self.end(hub);
        *self = Self::new(self.selector.clone());
    }

    /// Opens the watch: with its resume token, now and then with a plain one.
    fn open(&mut self, world: &World, hub: &mut Hub, chance: &mut Chance, counts: &mut Counts) {
        // Not while it knows more than its last whole state, nor a revision that a node may lack
        // which shows the same positions: that is what a plain token does not say.
        let may = |whole: &&Arc<Mark>| {
            self.is_whole && !world.states.iter().any(|state| state.is_revised_by(whole))
        };
        if let Some(whole) = self.whole.as_ref().filter(may).filter(|_| chance.one_in(4)) {
            // Revisions at just these positions may come once more.
            self.last = [None; KEYS];
            self.resume = Some(whole.token().encode());
        }
        let protocol = match &self.resume {
            Some(text) => {
                *counts.entry("resumed").or_default() += 1;
                Protocol::resuming(Resume::read(text).expect("it was given it"))
            }
            None => Protocol::beginning(),
        };
        self.watch = Some((protocol, hub.topics.join(self.selector.clone())));
    }

    /// One step of the watch: at most one read.
    fn step(&mut self, world: &World, hub: &mut Hub, chance: &mut Chance, counts: &mut Counts) {
        let Some((protocol, _)) = &self.watch else { return self.open(world, hub, chance, counts) };
        let done = match protocol.state() {
            State::Beginning => self.begin(world, hub, chance),
            State::Locating => self.locate(world, chance, counts),
            State::Reading(place) => {
                let place = place.clone();
                self.read(world, hub, &place, chance)
            }
            State::Following(_) => {
                self.follow(world, hub, chance, counts);
                Ok(())
            }
            State::Expired => {
                *counts.entry("expired").or_default() += 1;
                self.begin_anew(hub);
                Ok(())
            }
        };
        match done {
            Ok(()) => {}
            Err(Unread::Lost) => {
                *counts.entry("lost").or_default() += 1;
                self.begin_anew(hub);
            }
            // Some clients are patient, others come again.
            Err(Unread::NotFreshEnough) if chance.one_in(3) => self.end(hub),
            Err(Unread::NotFreshEnough) => *counts.entry("not fresh enough").or_default() += 1,
        }
    }

    fn begin(&mut self, world: &World, hub: &Hub, chance: &mut Chance) -> Result<(), Unread> {
        let Some((begun, _)) = &hub.begun else { return Ok(()) };
        let Some((protocol, _)) = &mut self.watch else { return Ok(()) };
        let state = world.read(None, chance)?;
        let at = state.mark();
        if let Step::Tell(tell) = protocol.begun(&at, begun) {
            self.known = state.rows;
            self.learn(world, &at, &[], &tell);
        }
        Ok(())
    }

    fn locate(
        &mut self,
        world: &World,
        chance: &mut Chance,
        counts: &mut Counts,
    ) -> Result<(), Unread> {
        let Some((protocol, _)) = &mut self.watch else { return Ok(()) };
        let least = protocol.least().expect("it was told something");
        let state = world.read(Some(&least), chance)?;
        let (kept, covered) = state.locate(protocol.told().expect("it was told something"));
        *counts.entry("located").or_default() += 1;
        protocol.located(PlaceFound { at: &state.mark(), kept, covered });
        Ok(())
    }

    fn read(
        &mut self,
        world: &World,
        hub: &Hub,
        place: &Place,
        chance: &mut Chance,
    ) -> Result<(), Unread> {
        let Some((begun, _)) = &hub.begun else { return Ok(()) };
        let Some((protocol, _)) = &mut self.watch else { return Ok(()) };
        let mut least = Tokens::from(begun.token());
        least.merge(&protocol.least().expect("it was told something")).expect("there is one log");
        let state: &Snapshot = world.read(Some(&least), chance)?;
        let (changes, kept, next) = state.page(place);
        let at = state.mark();
        if let Step::Tell(tell) = protocol.page(PageRead { at: &at, begun, kept, next }) {
            let seen: Vec<_> =
                changes.iter().filter_map(|change| change.seen_by(&self.selector)).collect();
            self.learn(world, &at, &seen, &tell);
        }
        Ok(())
    }

    fn follow(&mut self, world: &World, hub: &mut Hub, chance: &mut Chance, counts: &mut Counts) {
        // What the service reads before it looks for updates.
        let whole = hub.begun.as_ref().map(|(_, whole)| Arc::clone(whole));
        let Some((protocol, subscription)) = &mut self.watch else { return };
        match subscription.take() {
            Taken::Update(update) => {
                if let Some(tell) = protocol.handed(&update.at, update.next.as_ref()) {
                    let news = update.changes.iter().filter(|seen| tell.after.is_before(seen));
                    let news: Vec<_> = news.cloned().collect();
                    self.learn(world, &update.at, &news, &tell);
                }
            }
            Taken::Missed => {
                *counts.entry("missed").or_default() += 1;
                protocol.missed();
            }
            Taken::Closed => {
                protocol.missed();
                hub.topics.leave(subscription);
                *subscription = hub.topics.join(self.selector.clone());
            }
            Taken::Nothing if chance.one_in(4) => {
                if let Some(whole) = whole
                    && let Some(tell) = protocol.time_passed(&whole)
                {
                    self.learn(world, &whole, &[], &tell);
                }
            }
            Taken::Nothing => {}
        }
    }

    /// Takes a message, and compares what it knows with the state that the message proves.
    fn learn(&mut self, world: &World, at: &Arc<Mark>, seen: &[Seen<u32>], tell: &Tell) {
        assert!(tell.after <= tell.reached, "back from {:?} to {:?}", tell.after, tell.reached);
        for change in seen {
            let key = (0..KEYS).find(|key| uuid(*key) == change.key).expect("a row");
            let told = Some((at.epoch().0, change.at));
            assert!(
                self.last[key].is_none_or(|(epoch, _)| epoch != at.epoch().0)
                    || self.last[key] < told,
                "{key} was told {told:?} after {:?}",
                self.last[key]
            );
            self.last[key] = told;
            self.known[key] = *change.row.as_deref().expect("no row goes");
        }
        let token = at.token().encode();
        self.resume = Some(match tell.whole {
            true => crate::watch::resume::whole(&token, at.point.revision),
            false => crate::watch::resume::partly(&token, at.point.revision, &tell.reached),
        });
        self.is_whole = tell.whole;
        if !tell.whole {
            return;
        }
        if let Some(before) = &self.whole {
            assert_ne!(
                at.age(before),
                Age::Older,
                "from {:?} back to {:?}",
                before.point,
                at.point
            );
        }
        self.whole = Some(Arc::clone(at));
        let state = world.states.iter().find(|state| state.is(at)).expect("a state that was");
        for key in (0..KEYS).filter(|key| self.watches(*key)) {
            assert_eq!(self.known[key], state.rows[key], "row {key} at {:?}", at.point);
        }
    }

    fn watches(&self, key: usize) -> bool {
        match &self.selector {
            Selector::Key(watched) => *watched == uuid(key),
            Selector::Rows(_) => true,
        }
    }
}

/// What one schedule goes through.
fn play(seed: u64, counts: &mut Counts) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut world, mut hub) = (World::new(), Hub::new());
    // What is made anew from the log has no revisions of before: one or the other happens.
    let revises = seed.is_multiple_of(2);
    let selectors =
        [Selector::Rows(Vec::new()), Selector::Key(uuid(1)), Selector::Rows(Vec::new())];
    let mut clients = selectors.map(Client::new);
    for _ in 0..STEPS {
        match chance.below(24) {
            0..=2 => world.append(&mut chance),
            3..=5 => world.commit(&mut chance),
            6 if revises => world.revise(&mut chance),
            7 if chance.one_in(4) => world.prune(&mut chance),
            8 if chance.one_in(4) => world.adopt_epoch(),
            9 if !revises && chance.one_in(4) => world.make_anew(&mut chance),
            10..=13 => world.trouble(&mut chance),
            14..=17 => hub.step(&world, &mut chance, counts),
            18 => clients[chance.below(3)].end(&mut hub),
            number => clients[number % 3].step(&world, &mut hub, &mut chance, counts),
        }
    }
    settle(&mut world, &mut hub, &mut clients, (&mut chance, counts));
}

/// Once nothing happens any more, every client comes to know the last state.
fn settle(
    world: &mut World,
    hub: &mut Hub,
    clients: &mut [Client; 3],
    (chance, counts): (&mut Chance, &mut Counts),
) {
    while !world.is_caught_up() {
        world.commit(chance);
    }
    world.heal();
    for _ in 0..100 {
        for _ in 0..4 {
            hub.step(world, chance, counts);
        }
        clients.iter_mut().for_each(|client| client.step(world, hub, chance, counts));
    }
    for client in clients {
        let whole = client.whole.as_ref().expect("a whole state");
        assert!(world.last().is(whole), "it stays at {:?}", whole.point);
    }
}

#[test]
fn nothing_is_lost_or_told_twice_or_out_of_order() {
    let mut counts = Counts::new();
    for seed in 0..SCHEDULES {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            play(seed, &mut counts);
        }));
        assert!(played.is_ok(), "by seed {seed}");
    }
    let expected =
        ["expired", "located", "lost", "missed", "not fresh enough", "resumed", "the hub gave up"];
    for what in expected {
        assert!(counts.get(what).is_some_and(|count| *count > 100), "{what}: {counts:?}");
    }
}
