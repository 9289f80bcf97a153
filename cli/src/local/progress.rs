//! Says what is being done: a spinner on a terminal, a line when it is done anywhere else.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

/// Output of progress; clones show in the same place.
#[derive(Clone)]
pub struct Progress {
    bars: Option<MultiProgress>,
}

/// Something that is going on. Dropped without [`Step::done`], it vanishes: the error says what
/// happened.
pub(crate) struct Step {
    bar: Option<ProgressBar>,
    bars: Option<MultiProgress>,
    text: String,
    since: Instant,
}

impl Progress {
    /// On standard error.
    pub(crate) fn shown() -> Progress {
        Progress { bars: Some(MultiProgress::new()) }
    }

    /// NoPrimary: for tests.
    pub fn silent() -> Progress {
        Progress { bars: None }
    }

    /// Begins something that may take a while.
    pub(crate) fn step(&self, text: impl Into<String>) -> Step {
        let text = text.into();
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner().with_message(text.clone()));
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Step { bar, bars: self.bars.clone(), text, since: Instant::now() }
    }

    /// A line for the user.
    pub(crate) fn say(&self, text: &str) {
        let Some(bars) = &self.bars else { return };
        if bars.is_hidden() || bars.println(text).is_err() {
            eprintln!("{text}");
        }
    }
}

impl Step {
    /// Ends the step; says so with the time that it took.
    pub(crate) fn done(mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let seconds = self.since.elapsed().as_secs_f64();
        let progress = Progress { bars: self.bars.take() };
        progress.say(&format!("  ✓ {} ({seconds:.1} s)", self.text));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
