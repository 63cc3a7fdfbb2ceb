//! Plots in SVG: bars a row, latency curves, throughput against writers and connections, cost against population size.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::figure;
use super::verdict::is_ours;
use crate::peer::Transport;
use crate::results::{Results, RowResult, Run};
use crate::rows::{Unit, row};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const PANEL_WIDTH: u32 = 420;
/// Of a panel's title, and of a bar with what parts it from the next.
const TITLE_HEIGHT: i32 = 48;
const BAR_HEIGHT: i32 = 24;
const COLUMNS: usize = 3;
const CHART: (u32, u32) = (560, 380);
const TEXT: RGBColor = RGBColor(60, 60, 60);

/// All plots that the results have something for: file name and SVG.
///
/// # Errors
/// If a plot cannot be drawn.
pub(super) fn all(results: &Results) -> Result<Vec<(String, String)>> {
    let mut plots = Vec::new();
    for run in &results.runs {
        let suffix = if results.runs.len() > 1 { format!("-{}", run.users) } else { String::new() };
        plots.push((format!("bars{suffix}.svg"), bars(run)?));
        let timed = |id: &&str| run.row(id).is_some_and(|row| row.figures.iter().any(|of| of.latency.is_some()));
        let rows: Vec<&str> =
            ["profile-1", "hash-1", "prefix", "update-1", "update-64", "create-64"].into_iter().filter(timed).collect();
        if !rows.is_empty() {
            plots.push((format!("latency{suffix}.svg"), latencies(run, &rows)?));
        }
        let served =
            run.rows.iter().filter(|result| row(&result.id).is_some_and(|row| row.transport == Transport::Tcp));
        let served: Vec<&str> = served.map(|result| result.id.as_str()).filter(timed).collect();
        if !served.is_empty() {
            plots.push((format!("latency-tcp{suffix}.svg"), latencies(run, &served)?));
        }
        let writers = [("update", "durable updates"), ("create", "durable creations, 3 aliases")];
        if let Some(svg) = throughput(run, &writers, "writers")? {
            plots.push((format!("writers{suffix}.svg"), svg));
        }
        let connections = [("tcp-profile", "TCP: e-mail → whole profile"), ("tcp-update", "TCP: durable updates")];
        if let Some(svg) = throughput(run, &connections, "connections")? {
            plots.push((format!("connections{suffix}.svg"), svg));
        }
    }
    if results.runs.len() > 1 {
        plots.push(("growth.svg".into(), growth(results)?));
    }
    Ok(plots)
}

/// One colour a system, Stoa's the strongest.
fn colour(system: &str) -> RGBColor {
    const OTHERS: [RGBColor; 9] = [
        RGBColor(31, 119, 180),
        RGBColor(127, 127, 127),
        RGBColor(148, 103, 189),
        RGBColor(44, 160, 44),
        RGBColor(140, 86, 75),
        RGBColor(188, 189, 34),
        RGBColor(23, 190, 207),
        RGBColor(227, 119, 194),
        RGBColor(255, 187, 120),
    ];
    const NAMES: [&str; 9] =
        ["lmdb", "rocksdb", "fjall", "redb", "sqlite", "sqlcipher", "postgresql", "redis", "slapd"];
    if is_ours(system) {
        return RGBColor(214, 72, 39);
    }
    OTHERS[NAMES.iter().position(|name| *name == system).unwrap_or_else(|| system.len() % OTHERS.len())]
}

/// Draws into SVG text.
fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        draw(&root)?;
        root.present().map_err(failed)?;
    }
    Ok(text)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a plot cannot be drawn: {error}")
}

fn words(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&TEXT)
}

/// A panel a row, a bar a system.
fn bars(run: &Run) -> Result<String> {
    let rows: Vec<&RowResult> = run.rows.iter().filter(|result| row(&result.id).is_some()).collect();
    let lines = rows.len().div_ceil(COLUMNS).max(1);
    let most = rows.iter().map(|result| result.figures.len()).max().unwrap_or(0);
    let height = TITLE_HEIGHT as u32 + BAR_HEIGHT as u32 * (most as u32 + 1);
    svg((PANEL_WIDTH * COLUMNS as u32, height * lines as u32), |root| {
        for (panel, result) in root.split_evenly((lines, COLUMNS)).iter().zip(&rows) {
            bars_of(panel, result)?;
        }
        Ok(())
    })
}

fn bars_of(panel: &Area<'_>, result: &RowResult) -> Result<()> {
    const NAMES_WIDTH: i32 = 80;
    const FIGURES_WIDTH: i32 = 70;
    let Some(row) = row(&result.id) else { return Ok(()) };
    let better = if row.unit.more_is_better() { "more is better" } else { "less is better" };
    panel.draw(&Text::new(row.title.clone(), (8, 8), words(16))).map_err(failed)?;
    panel.draw(&Text::new(better, (8, 27), words(12))).map_err(failed)?;
    let figures: Vec<_> = result.figures.iter().filter(|of| of.median().is_finite()).collect();
    let most = figures.iter().map(|of| of.range().1).fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(PANEL_WIDTH as i32 - NAMES_WIDTH - FIGURES_WIDTH - 16);
    for (at, of) in figures.iter().enumerate() {
        let top = TITLE_HEIGHT + at as i32 * BAR_HEIGHT;
        let bottom = top + BAR_HEIGHT - 5;
        let to = |value: f64| NAMES_WIDTH + (value / most * room).max(1.0) as i32;
        let (low, high) = of.range();
        let middle = (top + bottom) / 2;
        let bar = Rectangle::new([(NAMES_WIDTH, top), (to(of.median()), bottom)], colour(&of.system).filled());
        panel.draw(&Text::new(of.system.clone(), (8, top + 2), words(15))).map_err(failed)?;
        panel.draw(&bar).map_err(failed)?;
        panel.draw(&PathElement::new([(to(low), middle), (to(high), middle)], BLACK)).map_err(failed)?;
        let end = to(high).max(to(of.median())) + 6;
        panel.draw(&Text::new(figure(row.unit, of.median()), (end, top + 2), words(15))).map_err(failed)?;
    }
    Ok(())
}

/// A line of a chart: whose, and its points.
type Line = (String, Vec<(f64, f64)>);

/// One chart with both axes logarithmic and a line a system.
fn chart(
    area: &Area<'_>,
    title: &str,
    axes: (&str, &str),
    lines: &[Line],
    labels: (&dyn Fn(&f64) -> String, &dyn Fn(&f64) -> String),
) -> Result<()> {
    let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let bounds = |of: fn((f64, f64)) -> f64| {
        let least = points().map(of).fold(f64::INFINITY, f64::min);
        let most = points().map(of).fold(f64::NEG_INFINITY, f64::max);
        (least.max(1e-9), most.max(least.max(1e-9) * 1.5))
    };
    if points().next().is_none() {
        return Ok(());
    }
    let (x, y) = (bounds(|point| point.0), bounds(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(title, words(17))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((x.0..x.1).log_scale(), (y.0 * 0.8..y.1 * 1.25).log_scale())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(axes.0)
        .y_desc(axes.1)
        .x_label_formatter(labels.0)
        .y_label_formatter(labels.1)
        .label_style(words(14))
        .draw()
        .map_err(failed)?;
    for (system, points) in lines {
        let style = ShapeStyle::from(colour(system)).stroke_width(if is_ours(system) { 3 } else { 1 });
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))
            .map_err(failed)?
            .label(system.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .label_font(words(14))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()
        .map_err(failed)
}

/// Charts side by side.
fn charts(count: usize, mut draw: impl FnMut(usize, &Area<'_>) -> Result<()>) -> Result<String> {
    let columns = count.clamp(1, 2);
    let lines = count.div_ceil(columns).max(1);
    svg((CHART.0 * columns as u32, CHART.1 * lines as u32), |root| {
        root.split_evenly((lines, columns)).iter().take(count).enumerate().try_for_each(|(at, area)| draw(at, area))
    })
}

/// Within which time which share of operations ended. The axis shows what is left: one in ten, in a hundred, ….
fn latencies(run: &Run, rows: &[&str]) -> Result<String> {
    charts(rows.len(), |at, area| {
        let Some(result) = run.row(rows[at]) else { return Ok(()) };
        let line = |latency: &crate::results::Latency| -> Vec<(f64, f64)> {
            let left = |share: f64| 100.0 / (100.0 - share);
            let points = latency.curve.iter().filter(|(share, us)| *share < 100.0 && *us > 0.0);
            points.map(|(share, us)| (left(*share), us / 1e6)).collect()
        };
        let lines: Vec<Line> = result
            .figures
            .iter()
            .filter_map(|of| Some((of.system.clone(), line(of.latency.as_ref()?))))
            .filter(|(_, points)| points.len() > 1)
            .collect();
        let title = row(rows[at]).map_or_else(String::new, |row| row.title);
        let share = |left: &f64| format!("1 in {left:.0}");
        chart(area, &title, ("slower than this", "time"), &lines, (&share, &|s| figure(Unit::Seconds, *s)))
    })
}

/// Throughput of these rows, with their titles, against writers or connections; none where there was one count only.
fn throughput(run: &Run, kinds: &[(&str, &str)], against: &str) -> Result<Option<String>> {
    let kinds: Vec<(&str, Vec<Line>)> = kinds
        .iter()
        .map(|(stem, title)| (*title, by_system(run.rows.iter().filter_map(|result| count_of(result, stem)))))
        .filter(|(_, lines)| lines.iter().any(|(_, points)| points.len() > 1))
        .collect();
    if kinds.is_empty() {
        return Ok(None);
    }
    let svg = charts(kinds.len(), |at, area| {
        let (title, lines) = &kinds[at];
        let count = |count: &f64| format!("{count:.0}");
        chart(area, title, (against, "a second"), lines, (&count, &|rate| figure(Unit::PerSecond, *rate)))
    })?;
    Ok(Some(svg))
}

/// The count in a row's id, if it is of that kind.
fn count_of<'r>(result: &'r RowResult, stem: &str) -> Option<(f64, &'r RowResult)> {
    let count: u32 = result.id.strip_prefix(stem)?.strip_prefix('-')?.parse().ok()?;
    Some((f64::from(count), result))
}

/// The rows' medians as a line a system.
fn by_system<'r>(rows: impl Iterator<Item = (f64, &'r RowResult)>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (x, result) in rows {
        for of in result.figures.iter().filter(|of| of.median().is_finite() && of.median() > 0.0) {
            match lines.iter_mut().find(|(system, _)| *system == of.system) {
                Some((_, points)) => points.push((x, of.median())),
                None => lines.push((of.system.clone(), vec![(x, of.median())])),
            }
        }
    }
    for (_, points) in &mut lines {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

/// How rows change with the size of the population.
fn growth(results: &Results) -> Result<String> {
    const ROWS: [&str; 6] = ["load", "profile-1", "hash-1", "update-64", "filter", "prefix"];
    charts(ROWS.len(), |at, area| {
        let of_runs = results.runs.iter().filter_map(|run| Some((run.users as f64, run.row(ROWS[at])?)));
        let lines = by_system(of_runs);
        let Some(row) = row(ROWS[at]) else { return Ok(()) };
        let users = |users: &f64| figure(Unit::PerSecond, *users);
        chart(area, &row.title, ("users", ""), &lines, (&users, &|value| figure(row.unit, *value)))
    })
}
