//! The hot paths, each prepared once and repeated: `timing` times them and `instructions` counts them.
//!
//! A path is the code that a reactor runs, without its sockets. No path reads a clock or draws a random number, so each
//! repetition executes the same instructions.

pub mod availability;
pub mod bounds;
pub mod command;
pub mod encode;
pub mod fan_out;
pub mod frames;
pub mod handshake;
pub mod outbox;
mod reactor;
pub mod session;

/// One repeatable operation of the gateway.
pub trait Path {
    /// Operations per call of [`Path::once`].
    const OPERATIONS: u32 = 1;

    /// Prepares the path up to its steady state, so that first-time costs are not measured.
    fn prepare() -> Self;

    /// Runs the operation.
    fn once(&mut self);
}

/// A text frame as a client sends it. The mask is zero: unmasking costs the same, and the frame, which is unmasked in
/// place, can be read again.
pub fn text_frame(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload.as_bytes());
    frame
}
