//! How far a load has come: a bar on a terminal, a line now and then elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::lanes::Posted;
use crate::cli::output::Output;
use crate::env::BootTime;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{bar:30} {human_pos}/{human_len} rows  {rate}  {eta} left{msg}";

/// Shows how far a load has come.
pub struct Meter {
    total: u64,
    bar: Option<ProgressBar>,
    began: Option<BootTime>,
    lines: u32,
}

impl Meter {
    /// A bar if `standard` and standard error is a terminal, lines otherwise.
    pub fn new(total: u64, standard: bool) -> Self {
        let terminal = standard && std::io::stderr().is_terminal();
        Self {
            total,
            bar: terminal.then(|| bar(total)),
            began: None,
            lines: 0,
        }
    }

    /// Shows what was posted by now.
    pub fn show(&mut self, posted: &Posted, now: BootTime, out: &mut Output<'_>) {
        let retries = posted.retries();
        if let Some(bar) = &self.bar {
            if retries > 0 {
                bar.set_message(format!("  {retries} retries"));
            }
            bar.set_position(posted.rows());
            return;
        }
        let elapsed = now.saturating_sub(*self.began.get_or_insert(now));
        if elapsed >= LINE_EVERY * (self.lines + 1) {
            self.lines += 1;
            out.note(line(posted.rows(), self.total, elapsed, retries));
        }
    }

    /// Takes the bar off the terminal.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    // A template that does not parse would lose the bar's looks, not the load.
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let _ = write!(text, "{:.0} rows/s", state.per_sec());
        };
        bar.set_style(style.with_key("rate", rate));
    }
    bar
}

/// `12000 of 27004 rows, 2400 rows/s, 6 s left`.
fn line(rows: u64, total: u64, elapsed: Duration, retries: u64) -> String {
    let rate = rows as f64 / elapsed.as_secs_f64().max(0.001);
    let mut text = format!("{rows} of {total} rows, {rate:.0} rows/s");
    // Writing to a string cannot fail.
    if rows > 0 {
        let left = total.saturating_sub(rows) as f64 / rate;
        let _ = write!(text, ", {left:.0} s left");
    }
    if retries > 0 {
        let _ = write!(text, ", {retries} retries");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_long_it_will_take() {
        let five = Duration::from_secs(5);
        assert_eq!(
            line(12_000, 27_000, five, 0),
            "12000 of 27000 rows, 2400 rows/s, 6 s left"
        );
        assert_eq!(line(0, 10, five, 3), "0 of 10 rows, 0 rows/s, 3 retries");
    }

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
