//! Choice of the one of several servers that takes writes. Pure.

use std::cmp::Reverse;

/// State that a server last reported of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not asked yet.
    Unasked,
    /// Primary: takes writes, on this timeline.
    Primary(u32),
    /// Standby: follows another server.
    Standby,
    /// No answer.
    Silent {
        /// Reason, for operators.
        why: String,
        /// True if the problem may pass by itself.
        passes: bool,
    },
}

/// The server that takes writes, and the timeline on which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) server: usize,
    pub(super) timeline: u32,
}

/// Knowledge of the servers.
#[derive(Debug)]
pub(super) struct Known {
    /// By server.
    pub answers: Vec<Answer>,
    /// The newest timeline on which any of them ever said that it takes writes.
    newest: u32,
    /// The one to use.
    pub place: Option<Place>,
}

impl Known {
    /// Nothing, of this many servers.
    pub fn nothing(servers: usize) -> Self {
        Self { answers: vec![Answer::Unasked; servers], newest: 0, place: None }
    }

    /// True if every server has been asked.
    pub fn is_complete(&self) -> bool {
        !self.answers.contains(&Answer::Unasked)
    }

    /// True if a promotion left behind what takes writes on this timeline.
    pub fn is_past(&self, timeline: u32) -> bool {
        timeline < self.newest
    }

    /// Takes note of a server's answer, and chooses anew.
    pub fn note(&mut self, server: usize, answer: Answer) {
        if let Answer::Primary(timeline) = answer {
            self.newest = self.newest.max(timeline);
        }
        self.answers[server] = answer;
        self.place = self.choose();
    }

    /// Of those that take writes the one on the newest timeline: a promotion starts a new one, so
    /// any other is a primary that was replaced and does not know. Never one that is older than
    /// what was seen before. One that is silent is kept until another one takes writes.
    fn choose(&self) -> Option<Place> {
        if !self.is_complete() {
            return None;
        }
        let before = self.place;
        let primary = |(server, answer): (usize, &Answer)| match answer {
            Answer::Primary(timeline) if !self.is_past(*timeline) => {
                Some(Place { server, timeline: *timeline })
            }
            _ => None,
        };
        let was = |place: &Place| before.is_some_and(|before| before.server == place.server);
        let primaries = self.answers.iter().enumerate().filter_map(primary);
        let best = primaries.max_by_key(|place| (was(place), Reverse(place.server)));
        let silent = |place: &Place| matches!(self.answers[place.server], Answer::Silent { .. });
        best.or_else(|| before.filter(silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `P3` a primary on timeline 3, `S` a standby, `-` silent.
    fn answer(text: &str) -> Answer {
        match text.split_at(1) {
            ("P", timeline) => Answer::Primary(timeline.parse().expect("a timeline")),
            ("S", _) => Answer::Standby,
            _ => Answer::Silent { why: String::new(), passes: true },
        }
    }

    /// Answers of every server at a step, and the server that is chosen then.
    type Step = (&'static str, Option<usize>);

    #[test]
    fn the_newest_timeline_is_followed_and_never_left_for_an_older_one() {
        let cases: &[(&str, &[Step])] = &[
            ("the one that takes writes", &[("S P1 S", Some(1))]),
            ("nobody does", &[("S S", None), ("S P2", Some(1))]),
            ("nobody answers", &[("- -", None), ("P1 -", Some(0))]),
            ("a crash is waited out", &[("P1 S", Some(0)), ("- S", Some(0)), ("P1 S", Some(0))]),
            ("a promotion", &[("P1 S", Some(0)), ("- S", Some(0)), ("- P2", Some(1))]),
            ("both take writes", &[("P1 S", Some(0)), ("P1 P2", Some(1))]),
            ("both, at the start", &[("P1 P2", Some(1))]),
            ("the old one comes back", &[("P1 S", Some(0)), ("- P2", Some(1)), ("P1 P2", Some(1))]),
            ("and is all there is", &[("P1 P2", Some(1)), ("P1 -", Some(1)), ("P1 S", None)]),
            ("a switch there and back", &[("P1 S", Some(0)), ("S P2", Some(1)), ("P3 S", Some(0))]),
            ("it became a standby", &[("P1 S", Some(0)), ("S S", None)]),
            ("a copy on one timeline", &[("S P1", Some(1)), ("P1 P1", Some(1)), ("P1 -", Some(0))]),
            ("a name that moved back", &[("P2", Some(0)), ("P1", None), ("P2", Some(0))]),
        ];
        for (story, steps) in cases {
            let mut known = Known::nothing(steps[0].0.split(' ').count());
            for (number, (said, expected)) in steps.iter().enumerate() {
                for (server, text) in said.split(' ').enumerate() {
                    known.note(server, answer(text));
                }
                let chosen = known.place.map(|place| place.server);
                assert_eq!(chosen, *expected, "{story}, step {number}");
            }
        }
    }

    #[test]
    fn nothing_is_chosen_before_every_server_was_asked() {
        let mut known = Known::nothing(2);
        known.note(0, answer("P1"));
        assert_eq!(known.place, None);
        known.note(1, answer("-"));
        assert_eq!(known.place, Some(Place { server: 0, timeline: 1 }));
    }
}
