//! The order in which items of one channel are sent to its other replicas: that of their keys.
//!
//! Writes are stamped one after the other and then run side by side, and a replica that has taken a
//! later key refuses an earlier one for good. If the other replica dies with the earlier one on its
//! way, nobody can tell what became of that for as long as it is gone. So each write waits until the
//! one that was stamped before it is on its way: no longer than a moment, as nothing but speed and
//! the wish for few refusals hangs on it.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::spoke::ids::ChannelId;

/// The longest that a write waits for the one before it.
const MOMENT: Duration = Duration::from_millis(50);

/// The last write of each channel that was stamped here.
#[derive(Debug, Default)]
pub(super) struct SendingOrder(Mutex<HashMap<ChannelId, oneshot::Receiver<()>>>);

/// The place of one write in it. Dropped, it holds up nobody.
#[derive(Debug)]
pub(super) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    /// Dropped or used, it lets the next one go.
    sent: oneshot::Sender<()>,
}

impl SendingOrder {
    /// A place behind all that were taken before; to be taken where the key is stamped.
    pub(super) fn take(&self, channel: ChannelId) -> Turn {
        let (sent, next) = oneshot::channel();
        let before = self.0.lock().insert(channel, next);
        Turn { before, sent }
    }

    /// Forgets channels in which nothing waits to be sent.
    pub(super) fn forget_idle(&self) {
        use oneshot::error::TryRecvError::Empty;
        self.0
            .lock()
            .retain(|_, last| last.try_recv() == Err(Empty));
    }
}

impl Turn {
    /// Waits until the write before is on its way, and gives what says that this one is.
    pub(super) async fn come(self) -> oneshot::Sender<()> {
        if let Some(before) = self.before {
            // Whether it was sent or given up, and however long it takes: this one goes.
            let _ = tokio::time::timeout(MOMENT, before).await;
        }
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelId = ChannelId(1);

    #[tokio::test(start_paused = true)]
    async fn each_goes_after_the_one_before() {
        let order = SendingOrder::default();
        let (first, second, third) = (
            order.take(CHANNEL),
            order.take(CHANNEL),
            order.take(CHANNEL),
        );
        let other = order.take(ChannelId(2)).come().await;
        drop(other);
        let began = tokio::time::Instant::now();
        let first = first.come().await;
        let waiting = tokio::spawn(second.come());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.send(()).unwrap();
        let second = waiting.await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        // One that fails holds up nobody, and one that hangs not for long.
        let waiting = tokio::spawn(third.come());
        drop(second);
        let third = waiting.await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        order.forget_idle();
        assert_eq!(order.0.lock().len(), 1);
        drop(order.take(CHANNEL).come().await);
        assert!(began.elapsed() <= MOMENT + Duration::from_millis(1));
        drop(third);
        order.forget_idle();
        assert_eq!(order.0.lock().len(), 0);
    }
}
