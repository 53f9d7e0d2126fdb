//! The answers whose responses are being read, so that a cancel at any instance closes them.

use crate::net::http_reading::CallControl;
use crate::wire::stream::StreamId;
use ahash::AHashMap;
use parking_lot::Mutex;
use std::sync::Arc;

/// The calls with the answers that their responses carry.
#[derive(Clone, Default)]
pub(super) struct AnswerReadings(Arc<Mutex<AHashMap<StreamId, Arc<CallControl>>>>);

/// The place of one call, until it is dropped.
pub(super) struct AnswerReading {
    readings: AnswerReadings,
    id: StreamId,
    control: Arc<CallControl>,
}

impl AnswerReadings {
    /// Enters a call. The one of an earlier attempt, whose pieces are for an earlier generation, is not closed any more.
    pub(super) fn enter(&self, id: &StreamId, control: &Arc<CallControl>) -> AnswerReading {
        self.0.lock().insert(id.clone(), Arc::clone(control));
        AnswerReading { readings: self.clone(), id: id.clone(), control: Arc::clone(control) }
    }

    /// Closes the response with an answer, if there is one.
    pub(super) fn end(&self, id: &StreamId) {
        if let Some(control) = self.0.lock().get(id) {
            control.end();
        }
    }

    pub(super) fn end_all(&self) {
        self.0.lock().values().for_each(|control| control.end());
    }
}

impl Drop for AnswerReading {
    fn drop(&mut self) {
        let mut readings = self.readings.0.lock();
        // A later attempt may have the place by now.
        if readings.get(&self.id).is_some_and(|control| Arc::ptr_eq(control, &self.control)) {
            readings.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelName, Offset};

    #[test]
    fn call_is_closed_while_it_has_the_place() {
        let id = StreamId { channel: ChannelName::parse("t").expect("a name"), offset: Offset(2) };
        let readings = AnswerReadings::default();
        let [first, second, third] = [(); 3].map(|()| Arc::new(CallControl::new()));
        let early = readings.enter(&id, &first);
        let late = readings.enter(&id, &second);
        drop(early);
        readings.end(&id);
        assert!(
            second.is_ended() && !first.is_ended(),
            "an attempt that is over takes no place from a later one"
        );
        drop(late);
        let last = readings.enter(&id, &third);
        readings.end_all();
        assert!(third.is_ended());
        drop(last);
        assert!(readings.0.lock().is_empty());
    }
}
