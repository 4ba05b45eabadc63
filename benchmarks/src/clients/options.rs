//! What can be asked of the benchmark on the command line.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::kinds::Kind;
use crate::Error;
use crate::suites::{Mode, Place, Suite, parse_scale};

/// Ask from many connections at once: throughput, and how long small queries take beside large ones.
#[derive(Debug, Clone, clap::Args)]
pub struct ClientsOptions {
    /// Scale factor of the TPC-H tables that are asked about
    #[arg(long, value_name = "SF", default_value_t = 0.1, value_parser = parse_scale)]
    pub scale: f64,
    /// Directory of the data, made if they are not there; or a URL that the server can read, where they are already
    /// [default: bench/tpch-sf<SF> in the data directory]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Numbers of clients, one step after the other
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,8,32,128",
          value_parser = parse_clients)]
    pub clients: Vec<usize>,
    /// Seconds that each step lasts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// How often each kind of query is asked, such as point=90,q6=9,q18=1
    #[arg(long, value_name = "LIST", default_value = "point=1")]
    pub mix: Mix,
    /// Execution mode to ask for
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,
    /// Of the random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl ClientsOptions {
    pub(super) fn place(&self, data_dir: &Path) -> Result<Place, Error> {
        Place::of(Suite::Tpch, self.data.as_deref(), self.scale, data_dir)
    }
}

/// Shares of the kinds of queries, in the order of [`Kind::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix([u32; Kind::ALL.len()]);

impl Mix {
    pub(super) fn draw(self, random: &mut fastrand::Rng) -> Kind {
        let mut drawn = random.u32(0..self.0.iter().sum());
        for (kind, share) in Kind::ALL.into_iter().zip(self.0) {
            if drawn < share {
                return kind;
            }
            drawn -= share;
        }
        Kind::Point
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let asked = Kind::ALL.into_iter().zip(self.0).filter(|(_, share)| *share > 0);
        let parts: Vec<_> = asked.map(|(kind, share)| format!("{}={share}", kind.name())).collect();
        f.write_str(&parts.join(","))
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut shares = [0; Kind::ALL.len()];
        for part in text.split(',') {
            let wrong = || format!("'{part}' is no share: write point, q6 or q18, =, and a number up to 1000");
            let (name, share) = part.split_once('=').ok_or_else(wrong)?;
            let index = Kind::ALL.iter().position(|kind| kind.name() == name.trim()).ok_or_else(wrong)?;
            shares[index] = share.trim().parse().ok().filter(|share| *share <= 1_000).ok_or_else(wrong)?;
        }
        if shares.iter().all(|share| *share == 0) { Err("nothing is asked".to_owned()) } else { Ok(Self(shares)) }
    }
}

fn parse_clients(text: &str) -> Result<usize, String> {
    let clients = text.trim().parse().ok().filter(|clients| (1..=CLIENTS_MAX).contains(clients));
    clients.ok_or_else(|| format!("use numbers from 1 to {CLIENTS_MAX}"))
}

/// As many as a coordinator gives sessions to by default.
const CLIENTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_drawn_as_it_says() {
        let mix: Mix = "point=3, q18=1".parse().unwrap();
        assert_eq!(mix.to_string(), "point=3,q18=1");
        let mut random = fastrand::Rng::with_seed(1);
        let drawn: Vec<_> = (0..1_000).map(|_| mix.draw(&mut random)).collect();
        let count = |kind| drawn.iter().filter(|drawn| **drawn == kind).count();
        assert!((700..800).contains(&count(Kind::Point)) && count(Kind::Q6) == 0, "{}", count(Kind::Point));
        for wrong in ["", "point", "q7=1", "q6=-1", "q6=0", "q6=1001"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }
}
