//! What is looked at: sites, their pages, and the words of titles and searches.

use super::hit::{mixed, skewed};

/// Sites there are; the first ones are looked at most.
pub(crate) const SITES: u64 = 5_000;
/// Pages of a site.
const PAGES: u64 = 20_000;
/// Words that pages and searches are made of.
const WORDS: u64 = 8_000;

/// Sites that are asked for by name.
const NAMED_SITES: [&str; 8] = ["bazaar", "gazette", "cinema", "timetable", "recipes", "stadium", "library", "meteo"];
const SECTIONS: [&str; 10] =
    ["news", "catalog", "search", "forum", "video", "help", "offers", "travel", "archive", "members"];
const SYLLABLES: [&str; 32] = [
    "ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "qui", "ro", "su", "ta", "ve", "wi", "xo",
    "zu", "bra", "cle", "dri", "flo", "gru", "pla", "sne", "tri", "sto", "chu", "ran", "tel",
];

/// A page of a site; all follows from the two numbers.
pub(crate) struct Page {
    pub(crate) url: String,
    pub(crate) title: String,
}

impl Page {
    /// Some page of a site.
    pub(crate) fn of(site: u64, random: &mut fastrand::Rng) -> Self {
        let number = skewed(random, PAGES, 3);
        let mut random = fastrand::Rng::with_seed(mixed(site * PAGES + number));
        let section = SECTIONS[random.usize(..SECTIONS.len())];
        let scheme = if random.u8(..10) == 0 { "http" } else { "https" };
        let www = if site.is_multiple_of(3) { "www." } else { "" };
        let (name, slug) = (site_name(site), words(&mut random, 1..=3).replace(' ', "-"));
        let query = match random.u8(..10) {
            0 => format!("?page={}", random.u8(2..40)),
            1 => format!("?session={:016x}&from={section}", random.u64(..)),
            _ => String::new(),
        };
        let url = format!("{scheme}://{www}{name}.example/{section}/{slug}-{number}.html{query}");
        // Some pages have no title.
        let title = if random.u8(..20) == 0 { String::new() } else { words(&mut random, 2..=7) };
        let title = if title.is_empty() { title } else { format!("{} | {}", capitalized(&title), capitalized(&name)) };
        Self { url, title }
    }
}

/// The number that a site is counted under.
pub(crate) fn counter(site: u64) -> i32 {
    // A prime step: neighbours in rank are none in number.
    (site * 7_919 % 100_000) as i32 + 62
}

/// What somebody types into a search engine.
pub(crate) fn search_phrase(random: &mut fastrand::Rng) -> String {
    // Half of the searches are for what many look for.
    if random.bool() {
        let popular = skewed(random, 2_000, 2);
        return words(&mut fastrand::Rng::with_seed(mixed(popular)), 1..=3);
    }
    words(random, 1..=4)
}

fn site_name(site: u64) -> String {
    NAMED_SITES.get(site as usize).map_or_else(|| word(site), |name| (*name).to_owned())
}

fn words(random: &mut fastrand::Rng, count: std::ops::RangeInclusive<usize>) -> String {
    let count = random.usize(count);
    (0..count).map(|_| word(skewed(random, WORDS, 2))).collect::<Vec<_>>().join(" ")
}

/// Another word for each number.
fn word(number: u64) -> String {
    let base = SYLLABLES.len() as u64;
    let syllable = |place: u32| SYLLABLES[(number / base.pow(place) % base) as usize];
    let third = if number < base * base { "" } else { syllable(2) };
    [syllable(0), syllable(1), third].concat()
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
