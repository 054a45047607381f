//! Plots as SVG, to be put into a page.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::{Axes, Plot};

const SIZE: (u32, u32) = (860, 360);
/// Colours that differ on white, also for most who see fewer.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
];
/// The nearest to 1 that a share is drawn.
const NINES_MAX: f64 = 6.0;

type Failed = DrawingAreaErrorKind<std::io::Error>;

/// The plot as an `<svg>` element; empty if it has no points.
#[must_use]
pub(super) fn to_svg(plot: &Plot) -> String {
    let points = plot.lines.iter().flat_map(|(_, points)| points);
    let places: Vec<_> = points.map(|&(x, y)| (place(plot.axes, x), y)).collect();
    let Some((left, right)) = bounds(places.iter().map(|(x, _)| *x)) else {
        return String::new();
    };
    let Some((low, high)) = bounds(places.iter().map(|(_, y)| *y)) else {
        return String::new();
    };
    let across = left..if right > left { right } else { left + 1.0 };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let drawn = match plot.axes {
            Axes::Quantiles => {
                let up = (low.max(0.1)..(high * 1.2).max(1.0)).log_scale();
                draw(plot, &root, across, up)
            }
            Axes::Seconds | Axes::Steps(_) => {
                draw(plot, &root, across, 0.0..(high * 1.05).max(1.0))
            }
        };
        // It is drawn into a string, which takes everything.
        drawn
            .and_then(|()| root.present())
            .expect("a string can be written to");
    }
    svg
}

fn draw<Y>(
    plot: &Plot,
    root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    across: std::ops::Range<f64>,
    up: Y,
) -> Result<(), Failed>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let (lowest, line_of) = (0.1_f64, plot.axes);
    let mut chart = ChartBuilder::on(root)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d::<std::ops::Range<f64>, Y>(across, up)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(8)
        .x_label_formatter(&|&x| label(line_of, x))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .x_desc(name(plot.axes))
        .y_desc(&plot.y)
        .draw()?;
    for ((_, points), colour) in plot.lines.iter().zip(COLOURS.iter().cycle()) {
        let points = points.iter().map(|&(x, y)| {
            let y = if line_of == Axes::Quantiles {
                y.max(lowest)
            } else {
                y
            };
            (place(line_of, x), y)
        });
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    }
    let rows = plot.lines.iter().zip(COLOURS.iter().cycle()).zip(0_i32..);
    for (((line, _), colour), row) in rows.filter(|_| plot.lines.len() > 1) {
        let y = 18 + row * 16;
        root.draw(&PathElement::new(
            [(100, y), (120, y)],
            colour.stroke_width(3),
        ))?;
        root.draw(&Text::new(line.as_str(), (126, y - 6), ("sans-serif", 13)))?;
    }
    Ok(())
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    finite.fold(None, |bounds, value| {
        let (low, high) = bounds.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// Where a value stands on the horizontal axis.
fn place(axes: Axes, x: f64) -> f64 {
    match axes {
        Axes::Quantiles => (-(1.0 - x).max(0.0).log10()).clamp(0.0, NINES_MAX),
        Axes::Seconds | Axes::Steps(_) => x,
    }
}

fn label(axes: Axes, x: f64) -> String {
    match axes {
        Axes::Quantiles => format!("{} %", 100.0 - 100.0 / 10_f64.powf(x)),
        Axes::Seconds | Axes::Steps(_) => format!("{x:.0}"),
    }
}

fn name(axes: Axes) -> &'static str {
    match axes {
        Axes::Quantiles => "share of datagrams",
        Axes::Seconds => "seconds",
        Axes::Steps(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_spread_towards_one() {
        let places = [0.0, 0.9, 0.99, 1.0].map(|share| place(Axes::Quantiles, share));
        assert!(
            places.is_sorted() && (places[2] - 2.0).abs() < 1e-9 && places[3] == NINES_MAX,
            "{places:?}"
        );
        assert_eq!(label(Axes::Quantiles, 1.0), "90 %");
    }

    #[test]
    fn no_points_no_plot() {
        let mut plot = super::super::tests::sample().plots.remove(0);
        assert!(to_svg(&plot).contains("polyline"));
        plot.lines[0].1.clear();
        assert_eq!(to_svg(&plot), "");
        plot.lines[0].1.push((0.5, f64::NAN));
        assert_eq!(to_svg(&plot), "");
        // A single point is drawn, too.
        plot.lines[0].1 = vec![(0.5, 7.0)];
        assert!(to_svg(&plot).starts_with("<svg"));
    }
}
