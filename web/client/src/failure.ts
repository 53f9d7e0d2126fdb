/** The reasons for failures. */

import type { StreamEnd } from './stream.js';

/**
 * The reason for a failure.
 *
 * From the gateway: `malformed`, `unknown_command`, `unauthorized`, `forbidden`, `not_subscribed`,
 * `too_large`, `rate_limited`, `not_found`, `key_conflict`, `unavailable`, `overloaded`, `draining`, `unconfirmed`;
 * and about a stream: `stale`, `gap`, `diverged`, `ended`.
 *
 * From this package:
 * - `invalid`: an argument is invalid; nothing was sent
 * - `outbox_full`: {@link OUTBOX_ENTRIES_MAX} publications are waiting; this one was not queued
 * - `expired`: the publication could not be sent for {@link OUTBOX_AGE_MAX_MS}
 * - `discarded`: the app discarded the publication
 * - `timeout`: no reply arrived in time
 * - `too_many`: {@link REQUESTS_MAX} history requests are already in progress
 * - `overrun`: an iteration fell {@link ITERATION_MAX} publications behind
 * - `cancelled`: a stream that this program writes was cancelled by a reader
 * - `closed`: the client was closed; for `history`, also when the gateway has closed the connection for good
 */
export type ErrorCode =
  | 'malformed' | 'unknown_command' | 'unauthorized' | 'forbidden' | 'not_subscribed' | 'too_large' | 'rate_limited'
  | 'not_found' | 'key_conflict' | 'unavailable' | 'overloaded' | 'draining' | 'unconfirmed' | 'stale' | 'gap' | 'diverged' | 'ended'
  | 'invalid' | 'outbox_full' | 'expired' | 'discarded' | 'timeout' | 'too_many' | 'overrun' | 'cancelled' | 'closed';

/** A failure as plain data; {@link SeawallError} has the same members. */
export interface Failure {
  readonly code: ErrorCode;
  /** Explains to people what is wrong and what to do. The text may change between versions. */
  readonly message: string;
  /** How long to wait before trying again. Absent if trying again does not help. */
  readonly retryMs?: number;
  /** The gateway dependency that caused the failure, if one did. */
  readonly dependency?: string;
  /** Of `stale`: the stream's generation. */
  readonly gen?: number;
  /** Of `gap` and `diverged`: the position to continue from. */
  readonly next?: number;
  /** Of `ended`: how the stream ended, and the offset of the publication that ended it. */
  readonly state?: StreamEnd;
  readonly edit?: number;
}
