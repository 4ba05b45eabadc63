//! Connecting to a coordinator as the command line says: where, as whom, trusting which certificates.

use std::io::{BufRead, IsTerminal, stdin};

use client::{ConnectOptions, Credentials};

use crate::cli;
use crate::exit::Failure;

/// What `--user`, `--tls-ca` and the environment say; a password that nobody has given is asked for.
///
/// # Errors
/// A file that cannot be read, a password that nobody can be asked for.
pub(crate) fn connect_options(credentials: &cli::Credentials) -> Result<ConnectOptions, Failure> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|error| Failure::ours(format!("cannot read {}: {error}", path.display())))
    };
    let tls_ca = credentials.tls_ca.as_ref().map(read).transpose()?;
    let who = |user: &String| -> Result<Credentials, Failure> {
        let password = match &credentials.password {
            Some(password) => password.clone(),
            None => ask(&format!("Password for user {user}: "))?,
        };
        Ok(Credentials { user: user.clone(), password })
    };
    let credentials = credentials.user.as_ref().map(who).transpose()?;
    Ok(ConnectOptions { credentials, tls_ca, ..ConnectOptions::default() })
}

fn ask(prompt: &str) -> Result<String, Failure> {
    rpassword::prompt_password(prompt)
        .map_err(|error| Failure::connection(format!("cannot ask for the password: {error}; set GRAPPE_PASSWORD")))
}

/// A new password: asked for twice in a terminal, else the first line of standard input.
///
/// # Errors
/// Two passwords that differ, an empty one, or none.
pub(crate) fn new_password() -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| Failure::ours(format!("cannot read the password: {error}"));
    let password = if stdin().is_terminal() {
        let password = rpassword::prompt_password("Password: ").map_err(unreadable)?;
        if rpassword::prompt_password("Again: ").map_err(unreadable)? != password {
            return Err(Failure::ours("the two passwords differ"));
        }
        password
    } else {
        let mut line = String::new();
        stdin().lock().read_line(&mut line).map_err(unreadable)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if password.is_empty() {
        return Err(Failure::ours("a password must not be empty"));
    }
    Ok(password)
}
