//! What should be there: said by one, taken up by the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Says which objects should be there. When it is dropped, they are to be as was said last.
///
/// Nothing is written before it is [complete](Self::complete), nor while it is [suspended](Self::suspend).
#[derive(Debug)]
pub struct Wanted<S>(Arc<Shared<S>>);

/// Where what is said arrives.
#[derive(Debug)]
pub struct Receiver<S>(Arc<Shared<S>>);

/// What was said since the last time.
#[derive(Debug, PartialEq, Eq)]
pub struct Said<S> {
    /// Whether no object should be there of those that were named before.
    pub none: bool,
    /// By name, what each object should be from now on; `None` for one that should not be there.
    pub each: BTreeMap<String, Option<S>>,
    /// Whether all objects that should be there have been named, and this program is to write them.
    pub complete: bool,
    /// Whether nothing more will be said.
    pub ended: bool,
}

#[derive(Debug)]
struct Shared<S> {
    said: Mutex<Said<S>>,
    news: Notify,
}

/// The two ends.
pub fn wanted<S>() -> (Wanted<S>, Receiver<S>) {
    let said = Mutex::new(Said { none: false, each: BTreeMap::new(), complete: false, ended: false });
    let shared = Arc::new(Shared { said, news: Notify::new() });
    (Wanted(Arc::clone(&shared)), Receiver(shared))
}

impl<S> Wanted<S> {
    /// The object of this name should be this, or not be there.
    pub fn set(&self, name: String, object: Option<S>) {
        self.0.say(|said| _ = said.each.insert(name, object));
    }

    /// No object should be there any more, whichever was named.
    pub fn none(&self) {
        self.0.say(|said| {
            said.none = true;
            said.each.clear();
        });
    }

    /// All objects that should be there have been named: others are deleted from now on.
    pub fn complete(&self) {
        self.0.say(|said| said.complete = true);
    }

    /// It is not this program's turn to write them.
    pub fn suspend(&self) {
        self.0.say(|said| said.complete = false);
    }
}

impl<S> Drop for Wanted<S> {
    fn drop(&mut self) {
        self.0.say(|said| said.ended = true);
    }
}

impl<S> Receiver<S> {
    /// Takes what was said since the last time.
    pub fn take(&self) -> Said<S> {
        let mut said = self.0.lock();
        let Said { ref mut none, ref mut each, complete, ended } = *said;
        Said { none: std::mem::take(none), each: std::mem::take(each), complete, ended }
    }

    /// Waits until something is said. What was said since the last [`Self::take`] is enough.
    pub(super) async fn changed(&self) {
        self.0.news.notified().await;
    }
}

impl<S> Shared<S> {
    fn say(&self, what: impl FnOnce(&mut Said<S>)) {
        what(&mut self.lock());
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Said<S>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
