//! Lines and bars as SVG: panels, two in a row. Panels of lines share their axes' names and their lines' colours.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::stats::Spread;

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// One line: a value at each place of the horizontal axis.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// Its values.
    pub values: Vec<f64>,
}

/// The names of both axes, and of the places on the horizontal one.
#[derive(Clone, Debug)]
pub struct Axes {
    /// What the places are.
    pub x: String,
    /// What is measured.
    pub y: String,
    /// The places, evenly spaced.
    pub places: Vec<String>,
}

/// A panel of bars in groups.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What stands above it.
    pub title: String,
    /// What is measured.
    pub y: String,
    /// What the legend calls the bars of each group.
    pub bars: Vec<String>,
    /// The groups, from left to right.
    pub groups: Vec<Group>,
}

/// Bars that stand together.
#[derive(Clone, Debug)]
pub struct Group {
    /// What stands below it.
    pub name: String,
    /// A bar up to each median, with a line from the least to the greatest.
    pub values: Vec<Spread>,
}

/// Width and height of a panel.
const PANEL: (u32, u32) = (640, 480);
/// Panels of a row.
const COLUMNS: usize = 2;
/// Height of a panel with bars, in heights of its greatest value: groups' names stand above them, upright.
const HEADROOM: f64 = 1.6;
/// Width of the legend, right of a panel's lines, and height of its lines.
const LEGEND: (u32, u32) = (150, 18);
/// Colours that differ on white, also for most who see fewer.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 60, 150),
    RGBColor(150, 20, 40),
    RGBColor(60, 60, 60),
    RGBColor(160, 160, 160),
];

/// Draws the panels into the file.
///
/// # Errors
/// If there is nothing to draw, or the file cannot be written.
pub fn lines(file: &Path, axes: &Axes, panels: &[Panel]) -> anyhow::Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", file.display());
    if axes.places.is_empty() {
        return Err(failed(&"nothing to draw"));
    }
    in_rows(file, panels, |panel, area| draw(panel, axes, area))
}

/// Draws the panels of bars into the file.
///
/// # Errors
/// If there is nothing to draw, or the file cannot be written.
pub fn bars(file: &Path, panels: &[Bars]) -> anyhow::Result<()> {
    in_rows(file, panels, draw_bars)
}

/// Draws each panel where it belongs.
fn in_rows<Panel>(
    file: &Path,
    panels: &[Panel],
    draw: impl Fn(&Panel, &Area<'_>) -> Result<(), DrawError>,
) -> anyhow::Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", file.display());
    if panels.is_empty() {
        return Err(failed(&"nothing to draw"));
    }
    let columns = panels.len().min(COLUMNS);
    let rows = panels.len().div_ceil(columns);
    let times = |length: u32, count: usize| u32::try_from(count).map(|count| count * length);
    let width = times(PANEL.0, columns).map_err(|error| failed(&error))?;
    let height = times(PANEL.1, rows).map_err(|error| failed(&error))?;
    let root = SVGBackend::new(file, (width, height)).into_drawing_area();
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    for (panel, area) in panels.iter().zip(root.split_evenly((rows, columns))) {
        draw(panel, &area).map_err(|error| failed(&error))?;
    }
    root.present().map_err(|error| failed(&error))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

type DrawError = DrawingAreaErrorKind<std::io::Error>;

fn draw(panel: &Panel, axes: &Axes, area: &Area<'_>) -> Result<(), DrawError> {
    let values = panel.lines.iter().flat_map(|line| &line.values);
    let top = values.copied().fold(0.0, f64::max) * 1.05;
    let last = axes.places.len() as f64 - 1.0;
    let (left, right) = area.split_horizontally(PANEL.0 - LEGEND.0);
    let mut chart = ChartBuilder::on(&left)
        .caption(&panel.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d(-0.1..last + 0.1, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(axes.places.len())
        .x_label_formatter(&|&x| place(axes, x))
        .x_desc(&axes.x)
        .y_desc(&axes.y)
        .draw()?;
    for (line, colour) in panel.lines.iter().zip(COLOURS.iter().cycle()) {
        let points = (0_u32..).map(f64::from).zip(line.values.iter().copied());
        let style = colour.stroke_width(2);
        chart.draw_series(LineSeries::new(points, style).point_size(3))?;
    }
    legend(panel.lines.iter().map(|line| line.name.as_str()), &right)
}

fn draw_bars(panel: &Bars, area: &Area<'_>) -> Result<(), DrawError> {
    let values = panel.groups.iter().flat_map(|group| &group.values);
    let top = values.map(|value| value.max).fold(0.0, f64::max) * HEADROOM;
    let (left, right) = area.split_horizontally(PANEL.0 - LEGEND.0);
    let mut chart = ChartBuilder::on(&left)
        .caption(&panel.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(10)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..panel.groups.len() as f64, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(TRANSPARENT)
        .y_desc(&panel.y)
        .draw()?;
    // Between two groups, the width of a bar.
    let width = 1.0 / (panel.bars.len() as f64 + 1.0);
    for (group, start) in panel.groups.iter().zip((0_u32..).map(f64::from)) {
        let places = (0_u32..).map(|bar| start + width * (f64::from(bar) + 0.5));
        let bars = group.values.iter().zip(places).zip(COLOURS.iter().cycle());
        for ((value, x), colour) in bars {
            let bar = [(x, 0.0), (x + width, value.median)];
            let middle = x + width / 2.0;
            let range = vec![(middle, value.min), (middle, value.max)];
            chart.draw_series([Rectangle::new(bar, colour.filled())])?;
            chart.draw_series([PathElement::new(range, BLACK.stroke_width(1))])?;
        }
        let name = (start + width * 1.5, top);
        let style = ("sans-serif", 12)
            .into_font()
            .transform(FontTransform::Rotate90);
        chart.draw_series([Text::new(group.name.clone(), name, style)])?;
    }
    legend(panel.bars.iter().map(String::as_str), &right)
}

/// Names beside the colours in which their lines or bars are drawn.
fn legend<'a>(names: impl Iterator<Item = &'a str>, area: &Area<'_>) -> Result<(), DrawError> {
    let step = i32::try_from(LEGEND.1).unwrap_or(i32::MAX);
    let colours = COLOURS.iter().cycle();
    for ((name, colour), index) in names.zip(colours).zip(3..) {
        let y = index * step;
        let stroke = PathElement::new([(0, y), (16, y)], colour.stroke_width(2));
        area.draw(&stroke)?;
        let text = Text::new(name, (22, y - 6), ("sans-serif", 14));
        area.draw(&text)?;
    }
    Ok(())
}

/// The name of the place at `x`, if there is one.
fn place(axes: &Axes, x: f64) -> String {
    let places = (0_u32..).map(f64::from).zip(&axes.places);
    places
        .filter(|(at, _)| (at - x).abs() < 0.01)
        .map(|(_, name)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_lines_and_places() {
        let folder = std::env::temp_dir().join(format!("sealcast-plot-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("plot.svg");
        let axes = Axes {
            x: "bytes".to_owned(),
            y: "GB/s".to_owned(),
            places: vec!["188".to_owned(), "1316".to_owned()],
        };
        let panel = Panel {
            title: "seal".to_owned(),
            lines: vec![Line {
                name: "sealcast".to_owned(),
                values: vec![3.0, 18.0],
            }],
        };
        lines(&file, &axes, &[panel.clone(), panel]).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        for text in ["<svg", "bytes", "GB/s", "188", "1316", "seal", "sealcast"] {
            assert!(svg.contains(text), "{text} is missing");
        }
        assert!(lines(&file, &axes, &[]).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
