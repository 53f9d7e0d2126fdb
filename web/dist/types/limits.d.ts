/** Every bound of the client, with its reason. */
/** Entries that the outbox holds. A person does not type more while offline, and a program gets an error. */
export declare const OUTBOX_ENTRIES_MAX = 500;
/** How long a publication may wait: a day less than the gateway remembers keys. */
export declare const OUTBOX_AGE_MAX_MS: number;
/** Concurrent history requests. */
export declare const REQUESTS_MAX = 32;
/** Timeout of a history request, including the wait for a connection. */
export declare const REQUEST_MS = 15000;
/** Publications that an iteration may be behind its channel. */
export declare const ITERATION_MAX = 1000;
/** Storage that does not answer within this time has failed. */
export declare const STORAGE_MS = 5000;
/** Interval between searches for entries of clients that are gone. */
export declare const LOOK_MS = 30000;
/** From dialing to `connected`, including the token callback. The gateway allows 10 s for the part after the upgrade. */
export declare const CONNECT_MS = 15000;
/** The gateway promises a reply within 5 s. After twice that, it is considered unresponsive. */
export declare const ANSWER_MS = 10000;
/** Reply timeout of the probe sent when the network came back or the page became visible. */
export declare const PROBE_MS = 5000;
/** A token that is refused is tried again for this time: the gateway's keys or a clock may be late. The gateway fetches keys every 5 s. */
export declare const REFUSAL_MS = 30000;
/** After a lost connection, how long an attempt may ask for the same instance. */
export declare const AFFINITY_MS = 60000;
/** How long a replaced connection may take to answer its pending commands. */
export declare const LEAVE_MS = 5000;
/** The least time between an attempt and one brought forward because the network is back or the page visible. */
export declare const EARLY_RETRY_MS = 1000;
/** Publications per history page that fills a hole: the protocol's maximum. */
export declare const PAGE = 300;
/** Unanswered subscribes and history requests, well under the gateway's 64. */
export declare const WINDOW = 16;
/** Bytes of `recover` in a connect. Channels that do not fit are subscribed one by one. */
export declare const RECOVER_BYTES = 30000;
/** Bytes of a connect without its token and its `recover`. */
export declare const CONNECT_BYTES = 500;
/** Bytes buffered in the socket above which signals are not sent. */
export declare const SIGNAL_BYTES = 65536;
/** Average interval between signals: 80 per second. The gateway accepts 100 commands of all kinds per second. */
export declare const SIGNAL_MS = 12.5;
/** The burst, as time: 200 signals, of the gateway's 300 commands. */
export declare const SIGNAL_BURST_MS = 2500;
/** Pause after the gateway refused a signal: it ends a connection after 100 refusals per minute. */
export declare const SIGNAL_REST_MS = 3000;
/** The largest frame, in bytes, until the gateway reports its limit: the gateway's default. */
export declare const FRAME_BYTES = 65536;
