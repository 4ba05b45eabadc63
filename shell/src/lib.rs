//! A shell for SQL that looks, prints and behaves like psql, over the [`client`] crate.
//!
//! ```text
//!  options ─► session ─► lines (prompt, file, standard input, -c)
//!                           │ split: statements and meta commands, variables inserted
//!                           ▼
//!                 statement ─► client ─► batches ─► render ─► output
//!                 meta (\d, \x, \i, ...)
//! ```
//!
//! It knows the client, Arrow and terminals. It must not know DataFusion, nor read the environment: what the protocol
//! and [`Environment`] do not tell it, it does not know.
//!
//! # Exit codes
//!
//! | code | when |
//! |---|---|
//! | 0 | everything went well, or the shell was interactive |
//! | 1 | a `-c` failed; a file could not be read, or the output could not be written |
//! | 2 | there was no connection, or it was lost while no one was at the prompt |
//! | 3 | a statement or meta command of a script (`-f`, standard input) failed, or the script was interrupted |
//! | 141 | whoever read the output closed it; nothing is said |
//!
//! A failed statement ends its `-c`. It ends a script only if the variable `ON_ERROR_STOP` is on; without it the script
//! goes on to its end, as psql's does, but unlike psql it still ends with 3. Of several `-c` and `-f` each is run, unless
//! `ON_ERROR_STOP` is on and one failed; the code is that of the first that failed. Ctrl-C ends all of them.
//!
//! # Where it differs from psql
//!
//! - `-c` may mix statements, meta commands and variables, as a script may; statements are sent one by one.
//! - An error in a file names the line of the mistake (`FILE:LINE: ERROR:  ...`), where psql names the last line read.
//! - `--json` prints one object a line, and no command tags.
//! - Aligned tables take their widths from the first rows (about a thousand), so that a result of any size streams.
//! - There is no pager, and nothing runs other programs.

mod environment;
mod meta;
mod options;
mod progress;
mod prompt;
mod render;
mod session;
mod split;
mod variables;

pub use environment::{Environment, Input, Interrupts, Streams};
pub use options::Options;

use client::{Client, Error};

/// Runs the shell over the streams of this process and returns its exit code.
///
/// An error in place of the connection is told to the user.
pub async fn run(options: Options, connection: Result<Client, Error>, environment: Environment) -> i32 {
    run_over(options, connection, environment, Streams::of_process()).await
}

/// Runs the shell over other streams, for programs that keep the process's own for themselves.
pub async fn run_over(
    options: Options,
    connection: Result<Client, Error>,
    environment: Environment,
    streams: Streams,
) -> i32 {
    session::run(options, connection, environment, streams).await.code()
}
