//! The PostgreSQL wire protocol: a second door to the same sessions and queries, for tools that know nothing else.
//!
//! Messages are read and written by `pgwire`, values by `arrow-pg`, and `pg_catalog` is that of `datafusion-pg-catalog`.
//! The service of `datafusion-postgres` itself is not used: it plans and runs statements in one DataFusion context for
//! all connections, while ours go through [`Queries`], each connection in a session of its own. `pgwire`'s loop is not
//! used either: it collects a whole answer in the extended protocol and does not see a client that goes away.
//!
//! The way of a connection: `door` accepts it, `startup` finds out who it is, `conversation` reads its messages and
//! answers. A text becomes `command`s; `extended` keeps prepared statements and portals; `settings` holds what drivers
//! set and show; `parameters` reads values, `rows` and `values` write them; `errors` gives each error its SQLSTATE;
//! `browsing` is `pg_catalog`. This door is for tools of that protocol only: nothing else may depend on it.

mod browsing;
mod cancel;
mod codec;
mod command;
mod conversation;
mod door;
mod errors;
mod extended;
mod parameters;
mod rows;
mod settings;
mod startup;
mod statements;
mod types;
mod values;

pub(crate) use door::PostgresDoor;
