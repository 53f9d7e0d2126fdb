/**
 * Where a reader of one channel stands, and what it lacks.
 *
 * Nothing that comes early is kept: the log has it. So following a channel takes four numbers, however
 * far it has run ahead.
 */

/** Invariant: `last` and `heard` never shrink within an epoch. */
export interface Cursor {
  /** The last publication applied. */
  last: number;
  /** The highest offset heard of. */
  heard: number;
  /** True exactly while a page is asked for. */
  asked: boolean;
  /** True exactly between `subscribed` and `synced`: what is missing comes by itself. */
  replaying: boolean;
}

/** There is a publication at `offset`. */
export function hear(cursor: Cursor, offset: number): void {
  if (offset > cursor.heard) cursor.heard = offset;
}

/** Takes a publication: `apply` it, `drop` it, or it is `ahead` of something missing. */
export function take(cursor: Cursor, offset: number): 'apply' | 'drop' | 'ahead' {
  hear(cursor, offset);
  if (offset <= cursor.last) return 'drop';
  if (offset !== cursor.last + 1) return 'ahead';
  cursor.last = offset;
  return 'apply';
}

/** Moves on to `last`: what lies before it will not come. Returns the gap, both ends included. */
export function skip(cursor: Cursor, last: number): { from: number; to: number } | undefined {
  if (last <= cursor.last) return undefined;
  const gap = { from: cursor.last + 1, to: last };
  cursor.last = last;
  hear(cursor, last);
  return gap;
}

/** Begins another log, whose oldest publication is `floor`. */
export function reset(cursor: Cursor, floor: number): void {
  cursor.last = cursor.heard = floor - 1;
}

/** True exactly when a page after `last` is to be asked for. */
export const wants = (cursor: Cursor): boolean =>
  cursor.heard > cursor.last && !cursor.asked && !cursor.replaying;
