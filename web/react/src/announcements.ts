/** The texts that wait to be read by a screen reader. Values in, values out. */

export interface Announcement {
  readonly text: string;
  /** Read before all others, and interrupts what is being read. */
  readonly urgent: boolean;
  /** The number of texts in it, if it sums up several. */
  readonly count?: number;
}

/** A screen reader falls behind when each message of a busy channel is read, so more than these are summed up. */
export const WAITING_MAX = 3;
/** Urgent texts that wait at most. */
const URGENT_MAX = 5;
/** How long a text stays in its region before the next one replaces it. */
export const PACE_MS = 1_500;

/** Adds a text. `sum` words a number of texts that are not read one by one. */
export function enqueue(queue: readonly Announcement[], one: Announcement, sum: (count: number) => string): readonly Announcement[] {
  const urgent = queue.filter((each) => each.urgent);
  const calm = queue.filter((each) => !each.urgent);
  if (one.urgent) return [...urgent.slice(1 - URGENT_MAX), one, ...calm];
  if (calm.length < WAITING_MAX) return [...queue, one];
  const count = calm.reduce((all, each) => all + (each.count ?? 1), 1);
  return [...urgent, { text: sum(count), urgent: false, count }];
}
