/**
 * A reader's position in one channel, and what it is missing.
 *
 * Publications that arrive early are dropped, because the log has them. So following a channel takes four values,
 * however far it has run ahead.
 */

/** Invariant: `last` and `heard` never decrease within an epoch. */
export interface Cursor {
  /** The offset of the last publication applied. */
  last: number;
  /** The highest offset known to exist. */
  heard: number;
  /** True exactly while a page is requested. */
  asked: boolean;
  /** True exactly between `subscribed` and `synced`, while the gateway replays what is missing. */
  replaying: boolean;
}

/** Records that there is a publication at `offset`. */
export function hear(cursor: Cursor, offset: number): void {
  if (offset > cursor.heard) cursor.heard = offset;
}

/** Decides what to do with a publication: `apply` it, `drop` a duplicate, or drop one that is `ahead` of a missing one. */
export function take(cursor: Cursor, offset: number): 'apply' | 'drop' | 'ahead' {
  hear(cursor, offset);
  if (offset <= cursor.last) return 'drop';
  if (offset !== cursor.last + 1) return 'ahead';
  cursor.last = offset;
  return 'apply';
}

/** Advances to `last`, because earlier publications will not arrive. Returns the gap, both ends included. */
export function skip(cursor: Cursor, last: number): { from: number; to: number } | undefined {
  if (last <= cursor.last) return undefined;
  const gap = { from: cursor.last + 1, to: last };
  cursor.last = last;
  hear(cursor, last);
  return gap;
}

/** Starts a new log whose oldest publication is `floor`. */
export function reset(cursor: Cursor, floor: number): void {
  cursor.last = cursor.heard = floor - 1;
}

/** True exactly when a page after `last` has to be requested. */
export const wants = (cursor: Cursor): boolean =>
  cursor.heard > cursor.last && !cursor.asked && !cursor.replaying;
