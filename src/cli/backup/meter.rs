//! How far a backup has come: a bar on a terminal, a line now and then elsewhere.

use std::future::Future;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::backup::{Progress, Reached};
use crate::cli::output::Output;
use crate::env::{BootTime, ClockSource as _, SystemClock};

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{spinner} {prefix:24} {bar:30} {human_pos}/{human_len}  {msg}  {eta} left";
/// Where nobody knows how many steps there are.
const SPINNER: &str = "{spinner} {prefix:24} {msg}";

/// Does something, and shows how far it has come meanwhile.
pub(super) async fn shown<T>(
    progress: &Progress,
    out: &mut Output<'_>,
    work: impl Future<Output = T>,
) -> T {
    let mut meter = Meter::new(out.is_standard());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                meter.clear();
                return done;
            }
            _ = ticks.tick() => meter.show(progress.reached(), SystemClock.boot(), out),
        }
    }
}

struct Meter {
    bar: Option<ProgressBar>,
    stage: &'static str,
    began: Option<BootTime>,
    lines: u32,
}

impl Meter {
    /// A bar if `standard` and standard error is a terminal, lines otherwise.
    fn new(standard: bool) -> Self {
        let terminal = standard && std::io::stderr().is_terminal();
        Self {
            bar: terminal
                .then(|| ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())),
            stage: "",
            began: None,
            lines: 0,
        }
    }

    fn show(&mut self, reached: Reached, now: BootTime, out: &mut Output<'_>) {
        if let Some(bar) = &self.bar {
            if self.stage != reached.stage {
                self.stage = reached.stage;
                let template = if reached.total > 0 { BAR } else { SPINNER };
                // A template that does not parse would lose the bar's looks, nothing else.
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.reset();
                bar.set_prefix(reached.stage);
            }
            bar.set_length(reached.total);
            bar.set_position(reached.done);
            if reached.bytes > 0 {
                bar.set_message(HumanBytes(reached.bytes).to_string());
            }
            bar.tick();
            return;
        }
        let elapsed = now.saturating_sub(*self.began.get_or_insert(now));
        if elapsed >= LINE_EVERY * (self.lines + 1) {
            self.lines += 1;
            out.note(line(reached));
        }
    }

    /// Takes the bar off the terminal.
    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// `months: 3 of 12, 1.50 GiB`.
fn line(reached: Reached) -> String {
    let Reached {
        stage,
        total,
        done,
        bytes,
    } = reached;
    let mut text = stage.to_owned();
    if total > 0 {
        text = format!("{text}: {done} of {total}");
    }
    if bytes > 0 {
        text = format!("{text}, {}", HumanBytes(bytes));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let reached = |total, done, bytes| Reached {
            stage: "months",
            total,
            done,
            bytes,
        };
        assert_eq!(line(reached(12, 3, 1 << 20)), "months: 3 of 12, 1.00 MiB");
        assert_eq!(line(reached(0, 0, 0)), "months");
    }

    #[test]
    fn the_templates_parse() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
        assert!(ProgressStyle::with_template(SPINNER).is_ok());
    }
}
