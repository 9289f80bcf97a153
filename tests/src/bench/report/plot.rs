//! Line plots in SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Room for the labels: left, top, right, bottom.
const MARGIN: [f64; 4] = [80.0, 40.0, 20.0, 80.0];
/// Told apart by people who do not see all colours
/// (<https://jfly.uni-koeln.de/color/>, Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

/// Axis of a plot.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with the unit.
    pub label: &'static str,
    /// True if equal steps are equal factors.
    pub is_logarithmic: bool,
}

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name of the line.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A plot of some lines.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Name of its file, without the ending.
    pub name: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Axis along the bottom.
    pub x: Axis,
    /// Axis along the side.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// From values to places along one axis.
struct Scale {
    is_logarithmic: bool,
    values: (f64, f64),
    places: (f64, f64),
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>, places: (f64, f64)) -> Scale {
        let is_logarithmic = axis.is_logarithmic;
        let seen: Vec<f64> =
            values.filter(|v| v.is_finite() && (!is_logarithmic || *v > 0.0)).collect();
        let lowest = seen.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = seen.iter().copied().fold(1e-3, f64::max);
        let values = if is_logarithmic {
            let lowest = if lowest.is_finite() { lowest } else { highest / 10.0 };
            // 0.01 is not quite 10 to the power of -2.
            let lowest = 10_f64.powf((lowest.log10() + 1e-9).floor());
            (lowest, 10_f64.powf((highest.log10() - 1e-9).ceil()).max(lowest * 10.0))
        } else {
            let step = step(highest);
            (0.0, (highest / step).ceil() * step)
        };
        Scale { is_logarithmic, values, places }
    }

    fn place(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let part = if self.is_logarithmic {
            (value.max(low) / low).ln() / (high / low).ln()
        } else {
            value / high
        };
        self.places.0 + part * (self.places.1 - self.places.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.values;
        if self.is_logarithmic {
            let decades = (low.log10().round() as i32)..=(high.log10().round() as i32);
            return decades.map(|exponent| 10_f64.powi(exponent)).collect();
        }
        let step = step(high);
        (0..=(high / step).round() as u32).map(|number| f64::from(number) * step).collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that up to ten of them reach the value.
fn step(value: f64) -> f64 {
    let power = 10_f64.powf((value / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    steps.into_iter().find(|step| value / step <= 6.0).unwrap_or(10.0 * power)
}

fn label(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{}", (v * 1e6).round() / 1e6),
    }
}

impl Plot {
    /// The picture. It brings its own background, so that it can be read on a dark page too.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let [left, top, right, bottom] = MARGIN;
        let x = Scale::new(&self.x, points().map(|point| point.0), (left, WIDTH - right));
        let y = Scale::new(&self.y, points().map(|point| point.1), (HEIGHT - bottom, top));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        text(
            &mut svg,
            (left, 22.0),
            "start",
            &format!("<tspan font-size=\"15\">{}</tspan>", self.title),
        );
        self.axes(&mut svg, &x, &y);
        for (number, series) in self.series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let places =
                series.points.iter().filter(|point| point.0.is_finite() && point.1.is_finite());
            let places: Vec<(f64, f64)> =
                places.map(|point| (x.place(point.0), y.place(point.1))).collect();
            let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            for (x, y) in places {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
                );
            }
            let at = (
                left + 10.0 + 165.0 * (number % 4) as f64,
                HEIGHT - 26.0 + 16.0 * (number / 4) as f64,
            );
            let _ = writeln!(
                svg,
                "<circle cx=\"{}\" cy=\"{}\" r=\"4\" fill=\"{colour}\"/>",
                at.0,
                at.1 - 4.0
            );
            text(&mut svg, (at.0 + 9.0, at.1), "start", &series.name);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, x: &Scale, y: &Scale) {
        let grid = |svg: &mut String, from: (f64, f64), to: (f64, f64)| {
            let _ = writeln!(
                svg,
                "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
                from.0, from.1, to.0, to.1
            );
        };
        for tick in x.ticks() {
            let at = x.place(tick);
            grid(svg, (at, y.places.0), (at, y.places.1));
            text(svg, (at, y.places.0 + 16.0), "middle", &label(tick));
        }
        for tick in y.ticks() {
            let at = y.place(tick);
            grid(svg, (x.places.0, at), (x.places.1, at));
            text(svg, (x.places.0 - 6.0, at + 4.0), "end", &label(tick));
        }
        let middle = f64::midpoint(x.places.0, x.places.1);
        text(svg, (middle, y.places.0 + 34.0), "middle", self.x.label);
        let side = f64::midpoint(y.places.0, y.places.1);
        let _ = writeln!(
            svg,
            "<text transform=\"translate(18 {side:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            self.y.label
        );
    }
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
        at.0, at.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_lies_where_its_axes_say() {
        let axis = |is_logarithmic| Axis { label: "", is_logarithmic };
        let linear = Scale::new(&axis(false), [3.0, 9.0].into_iter(), (0.0, 100.0));
        assert_eq!(linear.values, (0.0, 10.0));
        assert!((linear.place(5.0) - 50.0).abs() < 1e-9);
        let logarithmic = Scale::new(&axis(true), [2.0, 900.0].into_iter(), (0.0, 300.0));
        assert_eq!(logarithmic.values, (1.0, 1_000.0));
        assert!((logarithmic.place(10.0) - 100.0).abs() < 1e-9);
        assert_eq!(logarithmic.ticks().len(), 4);
    }

    #[test]
    fn a_plot_shows_every_point_and_name() {
        let (x, y) = (
            Axis { label: "clients", is_logarithmic: true },
            Axis { label: "commands/s", is_logarithmic: false },
        );
        let points = vec![(1.0, 1_500.0), (64.0, 12_000.0)];
        let series = vec![Series { name: "Headwater".to_owned(), points }];
        let svg = Plot { name: "clients", title: "Throughput", x, y, series }.svg();
        assert_eq!(svg.matches("<circle").count(), 3);
        for words in ["Headwater", "clients", "commands/s", "10k", "100"] {
            assert!(svg.contains(words), "{words} in\n{svg}");
        }
    }
}
