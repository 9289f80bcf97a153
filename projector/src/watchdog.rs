//! The watchdog: reads the log's heads and the stored checkpoint by itself and says how far apart
//! they are, since a lag that the projector reports reads zero when the projector is dead.

use std::time::Duration;

use headwater_chassis::Metrics;
use headwater_chassis::metrics::{Family, Gauge, GaugeF64, Labels};
use headwater_eventlog::{EventLog, Servers};
use headwater_kernel::Access;

use crate::health::Health;
use crate::lag::{Lag, LagLimits};
use crate::primary::ReadDatabase;
use crate::session::read_checkpoint;
use crate::stop::{Stop, within};

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Watches one projection.
pub struct Watchdog {
    /// The servers of the write database.
    pub write: Servers,
    /// Read primary and replicas.
    pub read: Servers,
    /// The projection's name.
    pub projection: &'static str,
    /// The lag from which on the projection is unhealthy.
    pub limits: LagLimits,
    /// Health check that is told.
    pub health: Health,
    /// Metrics that show the lag.
    pub gauges: LagGauges,
}

/// The exported lag.
#[derive(Clone)]
pub struct LagGauges {
    events: Family<Labels<2>, Gauge>,
    seconds: Family<Labels<1>, GaugeF64>,
}

impl LagGauges {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            events: metrics.gauges(
                "headwater_lag_events",
                "Events of the log that a projection has not applied",
            ),
            seconds: metrics.gauges_f64(
                "headwater_lag_seconds",
                "Age of the state that a projection shows, by the write database's clock",
            ),
        }
    }

    fn show(&self, projection: &str, lag: &Lag) {
        for (partition, events) in lag.events.iter().enumerate() {
            let labels =
                [("projection", projection.to_owned()), ("partition", partition.to_string())];
            self.events.get_or_create(&labels).set(*events as i64);
        }
        let labels = [("projection", projection.to_owned())];
        self.seconds.get_or_create(&labels).set(lag.age.as_secs_f64());
    }
}

impl Watchdog {
    /// Watches until it is dropped.
    pub async fn run(self) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            // A failure costs the connections; they are made anew at the next look.
            let Err(stop) = self.watch(&mut tick).await;
            let what = format!("the lag cannot be measured: {stop}");
            self.health.note(self.part(), Err(what));
            tick.tick().await;
        }
    }

    async fn watch(
        &self,
        tick: &mut tokio::time::Interval,
    ) -> Result<std::convert::Infallible, Stop> {
        let log = within("connecting to the log", EventLog::open(&self.write, 1)).await?;
        let place = self.read.find().await?;
        // The primary, though it only looks: what replicas lack is their lag, not the projection's.
        let url = self.read.url(place);
        let read = ReadDatabase::open(Access::ReadOnly, url, "headwater-watchdog");
        let read = within("connecting to the read primary", read).await?;
        loop {
            tick.tick().await;
            if !self.read.is_at(place) {
                return Err(Stop::Moved("the read primary"));
            }
            let checkpoint = read_checkpoint(&read, self.projection).await?;
            let heads = within("reading the log's heads", log.heads()).await?;
            let lag = Lag::of(checkpoint.as_ref(), &heads);
            self.gauges.show(self.projection, &lag);
            self.health.note(self.part(), lag.within(&self.limits));
        }
    }

    fn part(&self) -> String {
        format!("lag of {}", self.projection)
    }
}
