/** Every bound of the client, with its reason. */

/** Entries that the outbox holds. A person does not type more while offline, and a program gets an error. */
export const OUTBOX_ENTRIES_MAX = 500;
/** How long a publication may wait: a day less than the gateway remembers keys. */
export const OUTBOX_AGE_MAX_MS = 7 * 86_400_000;
/** Concurrent history requests. */
export const REQUESTS_MAX = 32;
/** Timeout of a history request, including the wait for a connection. */
export const REQUEST_MS = 15_000;
/** Publications that an iteration may be behind its channel. */
export const ITERATION_MAX = 1000;

/** Storage that does not answer within this time has failed. */
export const STORAGE_MS = 5_000;
/** Interval between searches for entries of clients that are gone. */
export const LOOK_MS = 30_000;

/** From dialing to `connected`, including the token callback. The gateway allows 10 s for the part after the upgrade. */
export const CONNECT_MS = 15_000;
/** The gateway promises a reply within 5 s. After twice that, it is considered unresponsive. */
export const ANSWER_MS = 10_000;
/** Reply timeout of the probe sent when the network came back or the page became visible. */
export const PROBE_MS = 5_000;
/** A token that is refused is tried again for this time: the gateway's keys or a clock may be late. The gateway fetches keys every 5 s. */
export const REFUSAL_MS = 30_000;
/** After a lost connection, how long an attempt may ask for the same instance. */
export const AFFINITY_MS = 60_000;
/** How long a replaced connection may take to answer its pending commands. */
export const LEAVE_MS = 5_000;
/** The least time between an attempt and one brought forward because the network is back or the page visible. */
export const EARLY_RETRY_MS = 1_000;
/** Publications per history page that fills a hole: the protocol's maximum. */
export const PAGE = 300;
/** Unanswered subscribes and history requests, well under the gateway's 64. */
export const WINDOW = 16;
/** Bytes of `recover` in a connect. Channels that do not fit are subscribed one by one. */
export const RECOVER_BYTES = 30_000;
/** Bytes of a connect without its token and its `recover`. */
export const CONNECT_BYTES = 500;
/** Bytes buffered in the socket above which signals are not sent. */
export const SIGNAL_BYTES = 65_536;
/** Average interval between signals: 80 per second. The gateway accepts 100 commands of all kinds per second. */
export const SIGNAL_MS = 12.5;
/** The burst, as time: 200 signals, of the gateway's 300 commands. */
export const SIGNAL_BURST_MS = 2_500;
/** Pause after the gateway refused a signal: it ends a connection after 100 refusals per minute. */
export const SIGNAL_REST_MS = 3_000;
/** The largest frame, in bytes, until the gateway reports its limit: the gateway's default. */
export const FRAME_BYTES = 65_536;
