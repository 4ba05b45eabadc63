//! The machine that a run was on, as far as Linux tells; figures without it say nothing.

use serde::Serialize;

/// What the figures of a run depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// Cores that this process may use; the peers are told to use as many.
    pub(crate) cores: usize,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) cpu: Option<String>,
    pub(crate) os: &'static str,
    pub(crate) architecture: &'static str,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            cores: cores(),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            cpu: value(&read("/proc/cpuinfo"), "model name").map(str::to_owned),
            os: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
        }
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let kibibytes = value(meminfo, "MemTotal")?.strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    kibibytes.checked_mul(1024)
}

/// What follows `name` and a colon in the first line that begins so.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_linux_writes_them() {
        assert_eq!(memory_bytes("MemTotal:       24589532 kB\nMemFree: 1 kB\n"), Some(24_589_532 * 1024));
        assert_eq!(memory_bytes(""), None);
        assert_eq!(value("processor\t: 0\nmodel name\t: A CPU @ 2:1\n", "model name"), Some("A CPU @ 2:1"));
    }
}
