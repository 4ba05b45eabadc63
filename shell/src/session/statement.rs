//! Runs one statement: sends it, watches it and Ctrl-C, prints what comes back.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use client::{BatchStream, Canceller, Client, Query, Tries};
use futures::TryStreamExt;

use super::Session;
use super::failure::Failure;
use super::output::Output;
use crate::environment::Interrupts;
use crate::progress::Progress;
use crate::render::{Format, RenderError, Rendering, Style};
use crate::split::Statement;

/// How long to wait for a server to take a cancel.
const CANCEL_DURATION_MAX: Duration = Duration::from_secs(5);

/// Commands whose answer is a table even if it has no columns.
const READING_TAGS: [&str; 4] = ["SELECT", "SHOW", "EXPLAIN", "DESCRIBE"];

impl Session {
    /// Runs a statement and prints its result, in another format than the session's if one is given.
    pub(crate) async fn run_statement(&mut self, statement: Statement, format: Option<Format>) -> Result<(), Failure> {
        let text = statement.text.clone();
        self.last = Some(statement);
        let format = format.unwrap_or_else(|| self.format.clone());
        let started = Instant::now();
        // Boxed, since scripts that include each other would hold its large state on the stack once for each.
        let answered = Box::pin(self.answer_in_time(&text, &format)).await;
        if self.timing {
            self.output.message(&timing(started.elapsed()))?;
        }
        answered?;
        self.output.flush()
    }

    /// Runs a statement of the shell's own and returns its rows, which must be few.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<RecordBatch>, Failure> {
        let mut watch = Watch::new(&mut self.interrupts, self.errors_are_terminal);
        let answered = Box::pin(async {
            let mut query = watch.execute(&self.client, sql).await?;
            let stream = watch.until(query.stream()).await?;
            watch.until(stream.try_collect()).await
        });
        answered.await.map_err(|failure| match failure {
            // Nobody has typed the statement, so that a place in it says nothing.
            Failure::Server(error) => Failure::Server(client::Error { position: None, ..error }),
            other => other,
        })
    }

    /// Prints a table of the shell's own.
    pub(crate) fn show(&mut self, format: &Format, batch: RecordBatch) -> Result<(), Failure> {
        let columns_max = self.output.columns_max();
        let mut rendering = Rendering::new(format, batch.schema(), columns_max);
        let results = self.output.results();
        rendering.push(batch);
        rendering.finish(results).map_err(|error| render_failure(&self.output, error))
    }

    /// Answers, and answers again if the coordinator was lost before anything was shown.
    async fn answer_in_time(&mut self, sql: &str, format: &Format) -> Result<(), Failure> {
        let mut tries = Tries::within(self.retry_time_max);
        let mut shown = false;
        loop {
            let failure = match self.answer(sql, format, &mut shown).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let is_lost = matches!(&failure, Failure::Server(error) if error.is_retryable());
            let wait = if is_lost && !shown && self.told.allows(sql) { tries.next_wait() } else { None };
            let Some(wait) = wait else { return Err(failure) };
            self.told.forget_session();
            tokio::select! {
                biased;
                () = self.interrupts.next() => return Err(Failure::Interrupted),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn answer(&mut self, sql: &str, format: &Format, shown: &mut bool) -> Result<(), Failure> {
        let quiet = self.is_quiet();
        let mut watch = Watch::new(&mut self.interrupts, self.errors_are_terminal);
        let session = self.client.connections_lost();
        for setting in self.told.unknown_to(session) {
            let mut query = watch.execute(&self.client, setting).await?;
            watch.until(query.ready()).await?;
        }
        self.told.knows(session);
        let mut query = watch.execute(&self.client, sql).await?;
        let mut stream = watch.until(query.stream()).await?;
        let Some(tag) = effect(&query, &stream.schema()) else {
            return print(&mut watch, stream, format, &mut self.output, shown).await;
        };
        while watch.until(stream.try_next()).await?.is_some() {}
        self.told.note(sql);
        watch.progress.clear();
        if quiet || tag.is_empty() || format.style == Style::Json {
            return Ok(());
        }
        self.output.result(&tag)
    }
}

/// What a statement with an effect is answered with; nothing if it has a table.
fn effect(query: &Query, schema: &Schema) -> Option<String> {
    let tag = query.tag();
    match query.rows_affected() {
        // The zero was once an object id; psql has kept it.
        Some(rows) if tag == "INSERT" => Some(format!("INSERT 0 {rows}")),
        Some(rows) => Some(format!("{tag} {rows}")),
        None if schema.fields().is_empty() && !READING_TAGS.contains(&tag) => Some(tag.to_owned()),
        None => None,
    }
}

async fn print(
    watch: &mut Watch<'_>,
    mut stream: BatchStream,
    format: &Format,
    output: &mut Output,
    shown: &mut bool,
) -> Result<(), Failure> {
    let schema: SchemaRef = stream.schema();
    let mut rendering = Rendering::new(format, schema, output.columns_max());
    while let Some(batch) = watch.until(stream.try_next()).await? {
        rendering.push(batch);
        if !rendering.is_due() {
            continue;
        }
        if output.is_terminal() {
            watch.progress.clear();
        }
        *shown = true;
        let written = rendering.write(output.results());
        written.map_err(|error| render_failure(output, error))?;
        output.flush()?;
    }
    watch.progress.clear();
    let written = rendering.finish(output.results());
    written.map_err(|error| render_failure(output, error))
}

fn render_failure(output: &Output, error: RenderError) -> Failure {
    match error {
        RenderError::Output(error) => output.failure(error),
        RenderError::Value(error) => Failure::Value(format!("cannot display the result: {error}")),
    }
}

/// Waits for a statement while it shows its progress and listens to Ctrl-C.
struct Watch<'a> {
    interrupts: &'a mut Interrupts,
    progress: Progress,
    canceller: Option<Canceller>,
}

impl<'a> Watch<'a> {
    fn new(interrupts: &'a mut Interrupts, shown: bool) -> Self {
        Self { interrupts, progress: Progress::new(shown), canceller: None }
    }

    /// Takes up a statement that the server knows.
    fn follow(&mut self, query: &Query) {
        self.progress.follow(query.progress());
        self.canceller = Some(query.canceller());
    }

    /// Starts a statement. After Ctrl-C the server's answer is still waited for: it may have begun to work, and can be
    /// told to stop only by the name that the answer brings.
    async fn execute(&mut self, client: &Client, sql: &str) -> Result<Query, Failure> {
        let work = client.execute(sql);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.interrupts.next() => break,
                done = &mut work => {
                    let query = done?;
                    self.follow(&query);
                    return Ok(query);
                }
                () = self.progress.tick() => {}
            }
        }
        self.progress.clear();
        tokio::select! {
            done = work => if let Ok(query) = done {
                self.canceller = Some(query.canceller());
                return Err(self.cancel().await);
            },
            () = self.interrupts.next() => {}
            () = tokio::time::sleep(CANCEL_DURATION_MAX) => {}
        }
        Err(Failure::Interrupted)
    }

    /// Waits for a part of the work; Ctrl-C cancels the whole statement.
    async fn until<T>(&mut self, work: impl Future<Output = Result<T, client::Error>>) -> Result<T, Failure> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.interrupts.next() => return Err(self.cancel().await),
                done = &mut work => return Ok(done?),
                () = self.progress.tick() => {}
            }
        }
    }

    /// Tells the server; a second Ctrl-C waits no longer. What is being waited for is dropped afterwards.
    async fn cancel(&mut self) -> Failure {
        self.progress.clear();
        if let Some(canceller) = &self.canceller {
            tokio::select! {
                // The statement is given up whether or not the server still knew it.
                _ = canceller.cancel() => {}
                () = self.interrupts.next() => {}
                () = tokio::time::sleep(CANCEL_DURATION_MAX) => {}
            }
        }
        Failure::Interrupted
    }
}

/// `Time: 12.345 ms`, with minutes, hours and days if there are any.
fn timing(elapsed: Duration) -> String {
    let milliseconds = elapsed.as_secs_f64() * 1_000.0;
    let seconds = elapsed.as_secs_f64() % 60.0;
    let minutes = elapsed.as_secs() / 60;
    let (hours, days) = (minutes / 60, minutes / 60 / 24);
    if elapsed < Duration::from_secs(1) {
        return format!("Time: {milliseconds:.3} ms");
    }
    let clock = format!("{:02}:{seconds:06.3}", minutes % 60);
    match (days, hours) {
        (0, 0) => format!("Time: {milliseconds:.3} ms ({clock})"),
        (0, hours) => format!("Time: {milliseconds:.3} ms ({hours:02}:{clock})"),
        (days, hours) => format!("Time: {milliseconds:.3} ms ({days} d {:02}:{clock})", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_as_in_psql() {
        let shown = |milliseconds: u64| timing(Duration::from_millis(milliseconds));
        assert_eq!(timing(Duration::from_micros(12_345)), "Time: 12.345 ms");
        assert_eq!(shown(1_234), "Time: 1234.000 ms (00:01.234)");
        assert_eq!(shown(3_600_000), "Time: 3600000.000 ms (01:00:00.000)");
        assert_eq!(shown(90_061_001), "Time: 90061001.000 ms (1 d 01:01:01.001)");
    }
}
