//! Who looks at pages: everything that stays the same from one hit of a visitor to the next.

use super::hit::{mixed, skewed};

/// A visitor; all follows from the number.
pub(crate) struct Visitor {
    pub(crate) user_id: i64,
    pub(crate) client_ip: i32,
    pub(crate) region_id: i32,
    pub(crate) os: i16,
    pub(crate) user_agent: i16,
    /// 0 if the visitor sits at a desk.
    pub(crate) mobile_phone: i16,
    pub(crate) mobile_phone_model: &'static str,
    pub(crate) browser_language: &'static str,
    pub(crate) browser_country: &'static str,
    pub(crate) age: i16,
    pub(crate) sex: i16,
    pub(crate) income: i16,
    pub(crate) resolution: (i16, i16),
}

const REGIONS: u64 = 5_000;
const PHONES: [&str; 12] = [
    "Sonata 4",
    "Sonata 5",
    "Sonata 5 Pro",
    "Pebble",
    "Pebble 2",
    "Pebble Mini",
    "Orion X",
    "Orion XL",
    "Tern",
    "Tern S",
    "K-700",
    "K-900",
];
const PLACES: [(&str, &str); 8] =
    [("en", "US"), ("de", "DE"), ("fr", "FR"), ("es", "ES"), ("it", "IT"), ("fr", "CH"), ("pt", "BR"), ("ja", "JP")];
const DESKS: [(i16, i16); 6] = [(1920, 1080), (1366, 768), (1536, 864), (1440, 900), (2560, 1440), (1280, 1024)];
const HANDS: [(i16, i16); 3] = [(390, 844), (360, 800), (414, 896)];

impl Visitor {
    /// Visitor `number`, from 0.
    pub(crate) fn of(number: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(mixed(number));
        let phone =
            if random.u8(..100) < 25 { Some(skewed(&mut random, PHONES.len() as u64, 2) as usize) } else { None };
        // One phone in three says nothing of its model.
        let model = phone.filter(|_| random.u8(..3) > 0).map_or("", |phone| PHONES[phone]);
        let (browser_language, browser_country) = PLACES[skewed(&mut random, PLACES.len() as u64, 2) as usize];
        let screens = if phone.is_some() { &HANDS[..] } else { &DESKS[..] };
        Self {
            user_id: (mixed(number) >> 2) as i64,
            // Some share an address.
            client_ip: mixed(number - number % 8 + random.u64(..8).min(4)) as i32,
            region_id: 1 + skewed(&mut random, REGIONS, 3) as i32,
            os: random.i16(1..=4) + if phone.is_some() { 40 } else { 0 },
            user_agent: skewed(&mut random, 80, 3) as i16,
            mobile_phone: phone.map_or(0, |phone| phone as i16 / 3 + 1),
            mobile_phone_model: model,
            browser_language,
            browser_country,
            age: if random.bool() { 0 } else { random.i16(16..80) },
            sex: random.i16(0..=2),
            income: skewed(&mut random, 5, 2) as i16,
            resolution: screens[skewed(&mut random, screens.len() as u64, 2) as usize],
        }
    }
}
