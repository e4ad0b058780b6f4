//! What holds for the connections of a listener until the next reload.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use crate::config::{Generation, ListenerSettings};
use crate::http::Scheme;

/// A listener's settings as they are now; the listener and its connections see each change.
///
/// Holds a copy of this worker's own: connections count their shares of it where no other worker counts.
#[derive(Clone, Default)]
pub struct LiveSettings(Rc<RefCell<Rc<ListenerSettings>>>);

impl LiveSettings {
    /// Takes what a generation says of the listener with this address as bound. One that has the listener no more
    /// changes nothing for the connections it has left.
    pub fn update(&self, (scheme, address): (Scheme, SocketAddr), generation: &Generation) {
        if let Some(settings) = generation.listener(scheme, address) {
            self.0.replace(Rc::new(settings.clone()));
        }
    }

    /// Whether the word of this peer counts.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.0.borrow().trusts(peer)
    }
}
