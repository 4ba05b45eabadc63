//! Who runs now and who waits: a queue with room for small statements beside large ones, and fair to users.
//!
//! Knows users, groups, sizes and numbers; must not know what a statement does.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::limits::{LayeredLimits, Limit, Rules};
use engine::{Error, ErrorKind, Priority, Result};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Who has waited for so long is next, whatever else waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// A statement that was taken for small and has run for so long is large.
const SMALL_TIME_MAX: Duration = Duration::from_secs(5);

/// A statement that asks to run.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) id: String,
    pub(crate) user: Arc<str>,
    pub(crate) priority: Priority,
    pub(crate) is_large: bool,
    pub(crate) limits: LayeredLimits,
}

/// Where a statement stands in the queue, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) place: usize,
    pub(crate) reason: String,
}

/// The queue of a coordinator.
#[derive(Debug)]
pub(crate) struct Admission {
    rules: Arc<Rules>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    running: HashMap<u64, Runner>,
    /// In the order of their arrival.
    waiting: Vec<Waiter>,
    next: u64,
}

#[derive(Debug)]
struct Runner {
    user: Arc<str>,
    group: Option<String>,
    is_large: bool,
    since: Instant,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    ask: Ask,
    group: Option<String>,
    since: Instant,
    admit: oneshot::Sender<()>,
}

/// The right to run; dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    number: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.leave(self.number);
    }
}

impl Admission {
    pub(crate) fn new(rules: Arc<Rules>) -> Arc<Self> {
        Arc::new(Self { rules, queue: Mutex::default() })
    }

    /// Waits until the statement may run. Dropping the future takes it out of the queue.
    ///
    /// # Errors
    /// `Exhausted` at once when the queue is full, and when it has waited for too long.
    pub(crate) async fn admit(self: &Arc<Self>, ask: Ask) -> Result<Permit> {
        let limit = ask.limits.limit(Limit::QueryQueue);
        let (permit, admitted) = self.enter(ask)?;
        let Some(admitted) = admitted else { return Ok(permit) };
        let admitted = async {
            // The sender is dropped only after it was used, or with the queue.
            let _ = admitted.await;
        };
        match limit {
            None => admitted.await,
            Some(seconds) => {
                if timeout(Duration::from_secs(seconds), admitted).await.is_err() {
                    let why = self.reason(permit.number).unwrap_or_default();
                    let message =
                        format!("the statement waited in the queue for {} = {seconds}: {why}", Limit::QueryQueue);
                    return Err(Error::new(ErrorKind::Exhausted, message));
                }
            }
        }
        Ok(permit)
    }

    /// A number in the queue, and what tells when to go if that is not now.
    fn enter(self: &Arc<Self>, ask: Ask) -> Result<(Permit, Option<oneshot::Receiver<()>>)> {
        let group = self.rules.group_of(&ask.user).map(str::to_owned);
        let mut queue = self.queue.lock();
        let number = queue.next;
        let permit = |number| Permit { admission: Arc::clone(self), number };
        if self.obstacle(&queue, &ask, group.as_deref()).is_none() {
            queue.next += 1;
            queue.run(number, &ask, group);
            return Ok((permit(number), None));
        }
        let most = self.rules.system_limit(Limit::QueuedQueries);
        if let Some(most) = most.filter(|most| queue.waiting.len() as u64 >= *most) {
            let message = format!("{most} statements wait already ({}): try again later", Limit::QueuedQueries);
            return Err(Error::new(ErrorKind::Exhausted, message));
        }
        queue.next += 1;
        let (admit, admitted) = oneshot::channel();
        queue.waiting.push(Waiter { number, ask, group, since: Instant::now(), admit });
        Ok((permit(number), Some(admitted)))
    }

    /// Lets in who may run now: after limits have changed, too.
    pub(crate) fn dispatch(&self) {
        let mut queue = self.queue.lock();
        while let Some(next) = self.next(&queue) {
            let waiter = queue.waiting.remove(next);
            queue.run(waiter.number, &waiter.ask, waiter.group);
            // Who has gone away leaves by itself.
            let _ = waiter.admit.send(());
        }
    }

    /// Counts statements that turned out not to be small as what they are.
    pub(crate) fn reclassify(&self) {
        for runner in self.queue.lock().running.values_mut() {
            runner.is_large |= runner.since.elapsed() > SMALL_TIME_MAX;
        }
    }

    /// Where each statement that waits stands, by its id.
    pub(crate) fn places(&self) -> HashMap<String, Place> {
        let queue = self.queue.lock();
        let mut waiting: Vec<_> = queue.waiting.iter().collect();
        waiting.sort_by_cached_key(|waiter| queue.rank(waiter));
        let place = |(index, waiter): (usize, &&Waiter)| {
            let reason = self.obstacle(&queue, &waiter.ask, waiter.group.as_deref()).unwrap_or_default();
            (waiter.ask.id.clone(), Place { place: index + 1, reason })
        };
        waiting.iter().enumerate().map(place).collect()
    }

    fn reason(&self, number: u64) -> Option<String> {
        let queue = self.queue.lock();
        let waiter = queue.waiting.iter().find(|waiter| waiter.number == number)?;
        self.obstacle(&queue, &waiter.ask, waiter.group.as_deref())
    }

    fn leave(&self, number: u64) {
        let mut queue = self.queue.lock();
        queue.waiting.retain(|waiter| waiter.number != number);
        queue.running.remove(&number);
        drop(queue);
        self.dispatch();
    }

    /// The best of those that may run.
    fn next(&self, queue: &Queue) -> Option<usize> {
        let may_run = |waiter: &Waiter| self.obstacle(queue, &waiter.ask, waiter.group.as_deref()).is_none();
        let able = queue.waiting.iter().enumerate().filter(|(_, waiter)| may_run(waiter));
        able.min_by_key(|(_, waiter)| queue.rank(waiter)).map(|(index, _)| index)
    }

    /// What keeps a statement from running.
    fn obstacle(&self, queue: &Queue, ask: &Ask, group: Option<&str>) -> Option<String> {
        let running = |what: &str, is_counted: &dyn Fn(&Runner) -> bool, limit: Limit, most: Option<u64>| {
            let count = queue.running.values().filter(|runner| is_counted(runner)).count() as u64;
            most.filter(|most| count >= *most).map(|most| format!("{count} {what} run ({limit} = {most})"))
        };
        let of_system = |limit| self.rules.system_limit(limit);
        let of_user = self.rules.limits_of(&ask.user);
        let of_users = |limit| of_user.limit(limit);
        running("statements", &|_| true, Limit::Queries, of_system(Limit::Queries))
            .or_else(|| {
                let most = of_system(Limit::LargeQueries).filter(|_| ask.is_large);
                running("large statements", &|runner| runner.is_large, Limit::LargeQueries, most)
            })
            .or_else(|| {
                let what = format!("statements of user {}", ask.user);
                running(&what, &|runner| runner.user == ask.user, Limit::UserQueries, of_users(Limit::UserQueries))
            })
            .or_else(|| {
                let what = format!("statements of group {}", group?);
                let is_counted = |runner: &Runner| runner.group.as_deref() == group;
                running(&what, &is_counted, Limit::GroupQueries, of_users(Limit::GroupQueries))
            })
    }
}

impl Queue {
    fn run(&mut self, number: u64, ask: &Ask, group: Option<String>) {
        let (user, is_large) = (Arc::clone(&ask.user), ask.is_large);
        self.running.insert(number, Runner { user, group, is_large, since: Instant::now() });
    }

    /// The order in which those that wait go: the impatient, then small before large, then users who have the least for
    /// their weight, then a user's more important statements, then as they came.
    fn rank(&self, waiter: &Waiter) -> (Reverse<bool>, bool, usize, Reverse<Priority>, u64) {
        let has_waited = waiter.since.elapsed() > PATIENCE;
        let of_user = self.running.values().filter(|runner| runner.user == waiter.ask.user).count();
        let shares = match waiter.ask.priority {
            Priority::Low => of_user * 4 + 2,
            Priority::Normal => of_user * 2,
            Priority::High => of_user,
        };
        if has_waited {
            return (Reverse(true), false, 0, Reverse(Priority::Normal), waiter.number);
        }
        (Reverse(false), waiter.ask.is_large, shares, Reverse(waiter.ask.priority), waiter.number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::limits::Limits;
    use futures::FutureExt;

    use super::*;

    fn admission(limits: &[(Limit, u64)]) -> Arc<Admission> {
        let mut process = Limits::default();
        limits.iter().for_each(|(limit, value)| process.set(*limit, Some(*value)));
        let groups = BTreeMap::from([("etl".to_owned(), vec!["ana".to_owned(), "bob".to_owned()])]);
        Admission::new(Rules::new(process, &groups, Vec::new()).unwrap())
    }

    fn ask(id: &str, user: &str, is_large: bool) -> Ask {
        let (priority, limits) = (Priority::Normal, LayeredLimits::default());
        Ask { id: id.to_owned(), user: user.into(), priority, is_large, limits }
    }

    type Waiting = std::pin::Pin<Box<dyn Future<Output = Result<Permit>> + Send>>;

    fn asked(admission: &Arc<Admission>, ask: Ask) -> Waiting {
        let admission = Arc::clone(admission);
        let mut waiting: Waiting = Box::pin(async move { admission.admit(ask).await });
        assert!(waiting.as_mut().now_or_never().is_none());
        waiting
    }

    async fn running(admission: &Arc<Admission>, ask: Ask) -> Permit {
        admission.admit(ask).now_or_never().expect("it waits").unwrap()
    }

    #[tokio::test]
    async fn small_statements_pass_large_ones_that_wait() {
        let admission = admission(&[(Limit::LargeQueries, 1)]);
        let large = running(&admission, ask("1", "ana", true)).await;
        let mut second = asked(&admission, ask("2", "ana", true));
        let small = running(&admission, ask("3", "ana", false)).await;
        let place = admission.places().remove("2").unwrap();
        assert_eq!(
            (place.place, place.reason.as_str()),
            (1, "1 large statements run (grappe.large_queries_running_max = 1)")
        );
        drop(small);
        assert!(second.as_mut().now_or_never().is_none());
        drop(large);
        assert!(second.now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn the_user_with_the_least_goes_first() {
        let admission = admission(&[(Limit::Queries, 3)]);
        let of_ana = [
            running(&admission, ask("1", "ana", false)).await,
            running(&admission, ask("2", "ana", false)).await,
            running(&admission, ask("3", "ana", false)).await,
        ];
        let mut more_of_ana = asked(&admission, ask("4", "ana", false));
        let mut of_bob = asked(&admission, ask("5", "bob", false));
        let high = Ask { priority: Priority::High, ..ask("6", "bob", false) };
        let high_of_bob = asked(&admission, high);
        let [first, second, _third] = of_ana;
        drop(first);
        let bob = high_of_bob.now_or_never().unwrap().unwrap();
        assert!(more_of_ana.as_mut().now_or_never().is_none());
        // Now both have as much, and she asked first.
        drop(second);
        let more = more_of_ana.now_or_never().unwrap().unwrap();
        assert!(of_bob.as_mut().now_or_never().is_none());
        drop((bob, more));
        assert!(of_bob.now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn users_and_groups_have_limits() {
        let limits = [(Limit::UserQueries, 2), (Limit::GroupQueries, 3)];
        let admission = admission(&limits);
        let mut permits = Vec::new();
        for (id, user) in [("1", "ana"), ("2", "ana"), ("3", "bob"), ("4", "eve")] {
            permits.push(running(&admission, ask(id, user, false)).await);
        }
        let _waiting = (asked(&admission, ask("5", "ana", false)), asked(&admission, ask("6", "bob", false)));
        let places = admission.places();
        assert!(places["5"].reason.contains("2 statements of user ana"), "{:?}", places["5"]);
        assert!(places["6"].reason.contains("3 statements of group etl"), "{:?}", places["6"]);
    }

    #[tokio::test]
    async fn a_full_queue_says_so_and_who_leaves_makes_room() {
        let admission = admission(&[(Limit::Queries, 1), (Limit::QueuedQueries, 1)]);
        let first = running(&admission, ask("1", "ana", false)).await;
        let waiting = asked(&admission, ask("2", "ana", false));
        let refused = admission.admit(ask("3", "bob", false)).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Exhausted);
        assert!(refused.message.contains("queries_queued_max"), "{}", refused.message);
        drop(waiting);
        let next = asked(&admission, ask("4", "bob", false));
        drop(first);
        drop(next.now_or_never().unwrap().unwrap());
        assert!(admission.queue.lock().running.is_empty());
    }

    #[tokio::test]
    async fn waiting_has_an_end() {
        let admission = admission(&[(Limit::Queries, 1)]);
        let _first = running(&admission, ask("1", "ana", false)).await;
        let mut late = ask("2", "ana", false);
        late.limits.session.set(Limit::QueryQueue, Some(1));
        let refused = admission.admit(late).await.unwrap_err();
        assert!(refused.message.contains("query_queue_seconds_max = 1: 1 statements run"), "{}", refused.message);
        assert!(admission.queue.lock().waiting.is_empty());
    }
}
