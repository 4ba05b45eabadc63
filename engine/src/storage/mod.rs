//! Where bytes lie: object stores by URL, made on first use from the process's settings.
//!
//! Must not know tables or SQL.

mod culprit;
mod directory;
mod listed_again;
mod options;
mod pinned;
mod registry;
mod roots;

pub(crate) use culprit::name_the_file;
pub use directory::directory_url;
pub use options::{Secret, StorageOptions};
pub use pinned::{Listed, pinned};
pub use registry::StoreRegistry;
pub(crate) use roots::check_allowed;
