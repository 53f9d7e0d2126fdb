/** The reasons for failures. */
/**
 * The reason for a failure.
 *
 * From the gateway: `malformed`, `unknown_command`, `unauthorized`, `forbidden`, `not_subscribed`,
 * `too_large`, `rate_limited`, `not_found`, `key_conflict`, `unavailable`, `overloaded`, `draining`, `unconfirmed`.
 *
 * From this package:
 * - `invalid`: an argument is invalid; nothing was sent
 * - `outbox_full`: {@link OUTBOX_ENTRIES_MAX} publications are waiting; this one was not queued
 * - `expired`: the publication could not be sent for {@link OUTBOX_AGE_MAX_MS}
 * - `discarded`: the app discarded the publication
 * - `timeout`: no reply arrived in time
 * - `too_many`: {@link REQUESTS_MAX} history requests are already in progress
 * - `overrun`: an iteration fell {@link ITERATION_MAX} publications behind
 * - `closed`: the client was closed; for `history`, also when the gateway has closed the connection for good
 */
export type ErrorCode = 'malformed' | 'unknown_command' | 'unauthorized' | 'forbidden' | 'not_subscribed' | 'too_large' | 'rate_limited' | 'not_found' | 'key_conflict' | 'unavailable' | 'overloaded' | 'draining' | 'unconfirmed' | 'invalid' | 'outbox_full' | 'expired' | 'discarded' | 'timeout' | 'too_many' | 'overrun' | 'closed';
/** A failure as plain data; {@link SeawallError} has the same members. */
export interface Failure {
    readonly code: ErrorCode;
    /** Explains to people what is wrong and what to do. The text may change between versions. */
    readonly message: string;
    /** How long to wait before trying again. Absent if trying again does not help. */
    readonly retryMs?: number;
    /** The gateway dependency that caused the failure, if one did. */
    readonly dependency?: string;
}
