//! One page view: who, when, what, and where from.

use super::page::{self, Page, SITES};
use super::visitor::Visitor;

/// A log of so many hits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    rows: u64,
}

/// A row of the table.
pub(crate) struct Hit {
    pub(crate) watch_id: i64,
    /// Seconds since 1970.
    pub(crate) event_time: i64,
    pub(crate) visitor: Visitor,
    pub(crate) session_id: i64,
    pub(crate) counter_id: i32,
    pub(crate) page: Page,
    pub(crate) source: Source,
    pub(crate) is_refresh: bool,
    pub(crate) dont_count_hits: bool,
    pub(crate) is_link: bool,
    pub(crate) is_download: bool,
    pub(crate) window: (i16, i16),
    pub(crate) timings: [i32; 4],
    pub(crate) http_error: i16,
    pub(crate) goals_reached: i16,
    /// Cents of what was bought; mostly nothing was.
    pub(crate) price: i64,
    pub(crate) currency: &'static str,
    pub(crate) social_network: &'static str,
}

/// Where a visitor comes from.
#[derive(Default)]
pub(crate) struct Source {
    /// -1 the site itself, 0 nowhere, 1 an advertisement, 2 a search engine, 3 another site.
    pub(crate) traffic_source_id: i16,
    pub(crate) referer: String,
    pub(crate) search_engine_id: i16,
    pub(crate) search_phrase: String,
    pub(crate) adv_engine_id: i16,
    pub(crate) utm_source: &'static str,
    pub(crate) utm_campaign: String,
}

/// The first second of 2024-07-01; the log goes on for 31 days.
const START: i64 = 19_905 * DAY;
const DAY: i64 = 86_400;
const DAYS: i64 = 31;
/// Seconds by which hits are written late.
const LATE_MAX: i64 = 600;
/// Hits of the average visitor.
const VISITOR_HITS: u64 = 6;

const SEARCH_ENGINES: [&str; 6] = ["seek", "lantern", "askaway", "compass", "trove", "whereis"];
const ADVERTISERS: [&str; 5] = ["banners", "mailing", "partners", "print", "radio"];
const SOCIAL_NETWORKS: [&str; 4] = ["agora", "chatter", "village", "wire"];

impl Log {
    pub(crate) fn of(rows: u64) -> Self {
        Self { rows }
    }

    /// Row `row`, from 0; nothing else decides what is in it but how many rows there are.
    pub(crate) fn hit(&self, row: u64) -> Hit {
        let mut random = fastrand::Rng::with_seed(mixed(row) ^ self.rows);
        let number = skewed(&mut random, (self.rows / VISITOR_HITS).max(1), 2);
        let visitor = Visitor::of(number);
        let event_time = self.time(row, &mut random);
        let site = skewed(&mut random, SITES, 3);
        let page = Page::of(site, &mut random);
        let source = Source::of(site, &mut random);
        let one_of = |random: &mut fastrand::Rng, many: u16| random.u16(..many) == 0;
        let buys = one_of(&mut random, 50);
        let (width, height) = visitor.resolution;
        Hit {
            watch_id: (mixed(row) >> 1) as i64,
            event_time,
            session_id: (mixed(number ^ ((event_time / 3_600) as u64) << 32) >> 2) as i64,
            counter_id: page::counter(site),
            is_refresh: one_of(&mut random, 8),
            dont_count_hits: one_of(&mut random, 20),
            is_link: one_of(&mut random, 30),
            is_download: one_of(&mut random, 200),
            window: (width - random.i16(0..3) * 17, height - 100 - random.i16(0..8) * 10),
            timings: [(); 4].map(|()| skewed(&mut random, 20_000, 4) as i32),
            http_error: if one_of(&mut random, 300) { [404, 403, 500, 503][random.usize(..4)] } else { 0 },
            goals_reached: if buys { random.i16(1..4) } else { 0 },
            price: if buys { 99 + 100 * skewed(&mut random, 1_000, 2) as i64 } else { 0 },
            currency: if buys { ["EUR", "USD", "CHF"][random.usize(..3)] } else { "" },
            social_network: if one_of(&mut random, 40) { SOCIAL_NETWORKS[random.usize(..4)] } else { "" },
            visitor,
            page,
            source,
        }
    }

    /// Rows are written about in the order of time, more of them by day than by night.
    fn time(&self, row: u64, random: &mut fastrand::Rng) -> i64 {
        let elapsed = (i128::from(row) * i128::from(DAYS * DAY) / i128::from(self.rows.max(1))) as i64;
        let (day, of_day) = (elapsed / DAY, (elapsed % DAY) as f64 / DAY as f64);
        // Few hits before seven in the morning: the first tenth of a day's rows are spread over 30 % of it.
        let clock = if of_day < 0.1 { of_day * 3.0 } else { 0.3 + (of_day - 0.1) * 0.7 / 0.9 };
        let late = random.i64(0..LATE_MAX);
        (START + day * DAY + (clock * DAY as f64) as i64 - late).max(START)
    }
}

impl Source {
    fn of(site: u64, random: &mut fastrand::Rng) -> Self {
        match random.u8(..100) {
            0..45 => Self { traffic_source_id: -1, referer: Page::of(site, random).url, ..Self::default() },
            45..70 => Self::default(),
            70..73 => Self::advertisement(random),
            73..90 => Self::search(random),
            _ => {
                let other = skewed(random, SITES, 3);
                Self { traffic_source_id: 3, referer: Page::of(other, random).url, ..Self::default() }
            }
        }
    }

    fn advertisement(random: &mut fastrand::Rng) -> Self {
        let place = skewed(random, ADVERTISERS.len() as u64, 2) as usize;
        let utm_campaign = format!("summer-{}", random.u8(1..=12));
        Self {
            traffic_source_id: 1,
            adv_engine_id: 2 + 5 * place as i16,
            referer: format!("https://{}.example/click?campaign={utm_campaign}", ADVERTISERS[place]),
            utm_source: ADVERTISERS[place],
            utm_campaign,
            ..Self::default()
        }
    }

    fn search(random: &mut fastrand::Rng) -> Self {
        let engine = skewed(random, SEARCH_ENGINES.len() as u64, 2) as usize;
        // Some engines keep to themselves what was searched.
        let search_phrase = if random.u8(..10) < 2 { String::new() } else { page::search_phrase(random) };
        let asked = search_phrase.replace(' ', "+");
        Self {
            traffic_source_id: 2,
            search_engine_id: engine as i16 + 1,
            referer: format!("https://www.{}.example/find?q={asked}", SEARCH_ENGINES[engine]),
            search_phrase,
            ..Self::default()
        }
    }
}

/// A number below `count`, 0 more often than the others: the larger `power`, the more so.
pub(crate) fn skewed(random: &mut fastrand::Rng, count: u64, power: i32) -> u64 {
    ((random.f64().powi(power) * count as f64) as u64).min(count.saturating_sub(1))
}

/// Another number for each number, far from those of its neighbours (the finalizer of SplitMix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
