//! What the store workers count.
