/** Every bound of the client, with its reason. */

/** Publications that may wait. A person does not type more offline, and a program is told. */
export const OUTBOX_ENTRIES_MAX = 500;
/** How long a publication may wait: a day less than the gateway remembers its key. */
export const OUTBOX_AGE_MAX_MS = 7 * 86_400_000;
/** Pages of history that may be asked for at once. */
export const REQUESTS_MAX = 32;
/** How long a page of history may take, waiting for a connection included. */
export const REQUEST_MS = 15_000;
/** Publications an iteration may be behind its channel. */
export const ITERATION_MAX = 1000;

/** After this time storage that does not answer is storage that failed. */
export const STORAGE_MS = 5_000;
/** How often entries of clients that are gone are looked for. */
export const LOOK_MS = 30_000;

/** From dialling to `connected`, the token callback included. The gateway allows 10 s for the part after the upgrade. */
export const CONNECT_MS = 15_000;
/** The gateway promises 5 s; twice that is a gateway that does not answer. */
export const ANSWER_MS = 10_000;
/** After a doubt (the network came back, the page is looked at again) an answer has to come in this time. */
export const PROBE_MS = 5_000;
/** A connection that was left may take so long to answer what it was asked. */
export const LEAVE_MS = 5_000;
/** An impatient attempt (network back, page visible) comes no sooner than this after the last one. */
export const HURRY_MS = 1_000;
/** Publications of a page that fills a hole: the protocol's most. */
export const PAGE = 300;
/** Unanswered subscribes and pages: well under the gateway's 64. */
export const WINDOW = 16;
/** Bytes of `recover` in a connect; channels past it are subscribed one by one. */
export const RECOVER_BYTES = 30_000;
/** Bytes of a connect beside its token and its `recover`. */
export const CONNECT_BYTES = 500;
/** Bytes waiting for the socket past which signals are dropped. */
export const SIGNAL_BYTES = 65_536;
/** Between two signals, on average: 80 a second. The gateway takes 100 commands of all kinds. */
export const SIGNAL_MS = 12.5;
/** So much of it may be spent at once: 200 signals, of the gateway's 300 commands. */
export const SIGNAL_BURST_MS = 2_500;
/** No signal follows one that the gateway refused: after 100 refusals a minute it ends the connection. */
export const SIGNAL_REST_MS = 3_000;
/** Bytes of a frame until the gateway has said what it takes: its default. */
export const FRAME_BYTES = 65_536;
