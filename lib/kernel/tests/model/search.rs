//! Breadth-first search of all reachable states, so that a counterexample is as short as can be.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::progress;
use crate::properties::{self, Violation};
use crate::rules::{Bounds, Rules};
use crate::step::{Action, Step, steps};
use crate::world::World;

/// Result of a search.
pub struct Searched {
    /// States that were found, but for symmetry.
    pub states: usize,
    /// Steps that were made from them.
    pub steps: usize,
    /// Steps to the state that is farthest away.
    pub depth: usize,
    /// Kinds of actions, and the number of steps that each made.
    pub taken: BTreeMap<&'static str, usize>,
    /// The shortest way to a violation.
    pub counterexample: Option<Counterexample>,
}

/// A way to a violation.
pub struct Counterexample {
    /// Actions, in order.
    pub actions: Vec<Action>,
    /// Property that they violate.
    pub violation: Violation,
}

/// Searches until a property is violated, or nothing new is found.
pub fn search(rules: &Rules, bounds: &Bounds) -> Searched {
    let mut search = Search::new(rules, bounds);
    let start = World::start();
    search.add(&start, 0);
    let mut layer = vec![(start, 0)];
    let mut depth = 0;
    while !layer.is_empty() {
        match search.next(&layer) {
            Ok(next) => layer = next,
            Err((last, step)) => return search.finished(depth + 1, Some((last, step))),
        }
        depth += usize::from(!layer.is_empty());
    }
    search.finished(depth, None)
}

/// Index of a state that was found.
type Index = u32;

struct Search<'a> {
    rules: &'a Rules,
    bounds: &'a Bounds,
    found: HashSet<Fingerprint, Unhashed>,
    /// By index.
    fingerprints: Vec<Fingerprint>,
    /// By index: the state before.
    parents: Vec<Index>,
    /// What tokens were checked on: few of the states differ in that.
    checked: HashSet<Fingerprint, Unhashed>,
    steps: usize,
    taken: BTreeMap<&'static str, usize>,
}

impl<'a> Search<'a> {
    fn new(rules: &'a Rules, bounds: &'a Bounds) -> Self {
        Self {
            rules,
            bounds,
            found: HashSet::default(),
            fingerprints: Vec::new(),
            parents: Vec::new(),
            checked: HashSet::default(),
            steps: 0,
            taken: BTreeMap::new(),
        }
    }

    /// States one step beyond a layer; or the state and the step that violate a property.
    fn next(
        &mut self,
        layer: &[(World, Index)],
    ) -> Result<Vec<(World, Index)>, (Index, Violation)> {
        let mut beyond = Vec::new();
        for (world, index) in layer {
            for Step { action, next } in steps(world, self.rules, self.bounds) {
                self.steps += 1;
                *self.taken.entry(action.kind()).or_default() += 1;
                let next = next.map_err(|violation| (*index, violation))?;
                let next = next.canonical();
                if let Some(found) = self.add(&next, *index) {
                    self.check(&next).map_err(|violation| (found, violation))?;
                    beyond.push((next, found));
                }
            }
        }
        Ok(beyond)
    }

    /// Notes a state, if it is a new one.
    fn add(&mut self, world: &World, parent: Index) -> Option<Index> {
        let fingerprint = Fingerprint::of(world);
        let index = self.fingerprints.len() as Index;
        self.found.insert(fingerprint).then(|| {
            self.fingerprints.push(fingerprint);
            self.parents.push(parent);
            index
        })
    }

    fn check(&mut self, world: &World) -> Result<(), Violation> {
        let World { epochs, projector, .. } = world;
        let looked_at = (epochs, projector.epoch, projector.shown);
        let is_new = self.checked.insert(Fingerprint::of(&looked_at));
        if is_new || self.bounds.progress { self.check_again(world) } else { Ok(()) }
    }

    fn check_again(&self, world: &World) -> Result<(), Violation> {
        properties::tokens(&world.epochs, self.bounds)?;
        properties::reads(world)?;
        if self.bounds.progress { progress::check(world, self.rules, self.bounds) } else { Ok(()) }
    }

    fn finished(self, depth: usize, violated: Option<(Index, Violation)>) -> Searched {
        let counterexample = violated.map(|(last, violation)| {
            let actions = self.way(last);
            Counterexample { actions, violation }
        });
        let Self { fingerprints, steps, taken, .. } = self;
        Searched { states: fingerprints.len(), steps, depth, taken, counterexample }
    }

    /// Actions up to a state, and the one from there that violates a property. They are carried out
    /// again from the start without renaming anything, so that names stay what they are, and a
    /// mistake in the symmetry cannot pass for a counterexample.
    fn way(&self, last: Index) -> Vec<Action> {
        let before = |index: &Index| (*index > 0).then(|| self.parents[*index as usize]);
        let mut way: Vec<Index> = std::iter::successors(Some(last), before).collect();
        way.reverse();
        let mut world = World::start();
        let mut actions = Vec::with_capacity(way.len());
        for index in &way[1..] {
            let found = self.fingerprints[*index as usize];
            let leads_there = |step: &Step| {
                step.next.as_ref().is_ok_and(|next| Fingerprint::of(&next.canonical()) == found)
            };
            let step = steps(&world, self.rules, self.bounds).into_iter().find(leads_there);
            let Step { action, next } = step.expect("a step as in the search");
            actions.push(action);
            world = next.expect("as in the search");
        }
        if self.check_again(&world).is_ok() {
            let mut steps = steps(&world, self.rules, self.bounds).into_iter();
            let violates = steps.find(|step| step.next.is_err());
            actions.push(violates.expect("a violation as in the search").action);
        }
        actions
    }
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, taken, counterexample } = self;
        writeln!(f, "{states} states by {steps} steps, at most {depth} in a row: {taken:?}")?;
        counterexample.iter().try_for_each(|way| way.fmt(f))
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, action) in self.actions.iter().enumerate() {
            writeln!(f, "{:3}. {action}", number + 1)?;
        }
        write!(f, "     {}", self.violation)
    }
}

/// A state as the search remembers it: 64 bits. Two states that share them are taken for one; among
/// ten million states there are such two with a chance of one in 370,000.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Fingerprint(u64);

impl Fingerprint {
    fn of(value: &impl Hash) -> Self {
        let mut mixer = Mixer::default();
        value.hash(&mut mixer);
        Self(mixer.finish())
    }
}

/// Hash function that is quick without an optimizing compiler: one wide multiplication a value.
#[derive(Default)]
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, value: u64) {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15;
        const SALT: u64 = 0x2d35_8dcc_aa6c_78a5;
        let product = u128::from(self.0 ^ value ^ SALT) * ODD;
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(32);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.mix((*byte).into()));
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value as u64);
    }
}

/// Keys that are hashes already.
type Unhashed = BuildHasherDefault<First>;

#[derive(Default)]
struct First(u64);

impl Hasher for First {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
