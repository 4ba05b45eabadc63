//! The line on standard error that says how far a statement is, if it takes long and somebody looks.

use std::time::Duration;

use client::ProgressWatch;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a statement runs before anything is shown.
const QUIET_DURATION: Duration = Duration::from_millis(500);

/// How often the server is asked and the line drawn.
const INTERVAL: Duration = Duration::from_millis(250);

/// Steps of a full bar.
const STEPS: u64 = 1_000;

/// The progress of one statement; gone when dropped.
pub(crate) struct Progress {
    shown: bool,
    started: Instant,
    next: Instant,
    latest: watch::Receiver<Option<client::Progress>>,
    sender: watch::Sender<Option<client::Progress>>,
    /// Asks the server; ends when this is dropped.
    polls: JoinSet<()>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts the clock; nothing ever happens unless it is `shown`.
    pub(crate) fn new(shown: bool) -> Self {
        let started = Instant::now();
        let (sender, latest) = watch::channel(None);
        Self { shown, started, next: started + QUIET_DURATION, latest, sender, polls: JoinSet::new(), bar: None }
    }

    /// Asks the server about a statement from now on.
    pub(crate) fn follow(&mut self, watch: ProgressWatch) {
        if !self.shown {
            return;
        }
        let sender = self.sender.clone();
        self.polls.spawn(async move {
            loop {
                sleep(INTERVAL).await;
                if let Some(progress) = watch.get().await {
                    sender.send_replace(Some(progress));
                }
            }
        });
    }

    /// Waits until the line is due, and draws it.
    pub(crate) async fn tick(&mut self) {
        if !self.shown {
            return std::future::pending().await;
        }
        sleep_until(self.next).await;
        self.next = Instant::now() + INTERVAL;
        self.draw();
    }

    /// Removes the line for good.
    pub(crate) fn clear(&mut self) {
        self.shown = false;
        self.polls.abort_all();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn draw(&mut self) {
        let progress = *self.latest.borrow();
        let bar = self.bar.get_or_insert_with(|| {
            ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr())
                .with_style(style("{spinner} {wide_msg}"))
        });
        if let Some(fraction) = progress.and_then(|progress| progress.fraction) {
            bar.set_style(style("{bar:24} {percent:>3}% {wide_msg}"));
            bar.set_position(steps(fraction));
        }
        bar.set_message(describe(progress.unwrap_or_default(), self.started.elapsed()));
        bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn steps(fraction: f64) -> u64 {
    // A conversion from a float stays within the integer's range, and makes zero of what is no number.
    (fraction.clamp(0.0, 1.0) * STEPS as f64) as u64
}

/// `1,234,567 rows scanned, 3/16 tasks, 00:12`.
fn describe(progress: client::Progress, elapsed: Duration) -> String {
    let mut parts = Vec::new();
    if progress.rows_scanned > 0 {
        parts.push(format!("{} rows scanned", HumanCount(progress.rows_scanned)));
    }
    if progress.tasks_total > 0 {
        parts.push(format!("{}/{} tasks", progress.tasks_done, progress.tasks_total));
    }
    let seconds = elapsed.as_secs();
    parts.push(format!("{:02}:{:02}", seconds / 60, seconds % 60));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_only_what_is_known() {
        let elapsed = Duration::from_secs(72);
        assert_eq!(describe(client::Progress::default(), elapsed), "01:12");
        let progress = client::Progress { rows_scanned: 1_234_567, tasks_done: 3, tasks_total: 16, fraction: None };
        assert_eq!(describe(progress, elapsed), "1,234,567 rows scanned, 3/16 tasks, 01:12");
    }

    #[test]
    fn fractions_outside_of_the_bar_stay_on_it() {
        assert_eq!([-1.0, 0.5, 7.0, f64::NAN].map(steps), [0, 500, 1_000, 0]);
    }
}
