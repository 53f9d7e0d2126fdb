/** Which rows of a long list are in the document. Values in, values out. */

/** An item of a list. */
export interface ListItem {
  /** The key of its row. */
  readonly id: string;
  readonly kind?: string;
  readonly time?: number;
  readonly own?: boolean;
  /** Set for a text that is being written, or was: `Answer` of `seawall-react/streams` reads it out. */
  readonly stream?: string | undefined;
  /** The item of `useChannel` that it was made of, if the app makes its own. */
  readonly source?: object;
  readonly pending?: { readonly key: string; readonly state: string; readonly error?: { readonly message: string } };
}

/** The rows while the end is followed. */
export const FOLLOWED = 100;
/** The rows at most, for a reader further up. */
export const ROWS_MAX = 150;
/** By how many rows the window moves. */
const STEP = 50;

export interface Range {
  readonly from: number;
  /** The first row after the window. */
  readonly to: number;
}

/** Returns the window that begins with the item `first`, or the one at the end. If the item was dropped, it was among the oldest. */
export function range(items: readonly ListItem[], first: string | undefined): Range {
  if (first === undefined) return { from: Math.max(0, items.length - FOLLOWED), to: items.length };
  const from = Math.max(0, indexOf(items, first));
  return { from, to: Math.min(items.length, from + ROWS_MAX) };
}

/** Returns the first item of the window that is further up. */
export const above = (items: readonly ListItem[], { from }: Range): string => items[Math.max(0, from - STEP)]!.id;

/** Returns the first item of the window that is further down. */
export const below = (items: readonly ListItem[], { from }: Range): string => items[Math.max(0, Math.min(from + STEP, items.length - FOLLOWED))]!.id;

/** Finds an item, from the end. */
function indexOf(items: readonly ListItem[], id: string): number {
  let at = items.length - 1;
  while (at >= 0 && items[at]!.id !== id) at -= 1;
  return at;
}

/** Returns the last item that is stored. The user's waiting messages follow it, and new messages of others come before those. */
export function lastStored(items: readonly ListItem[]): string | undefined {
  let at = items.length - 1;
  while (at >= 0 && items[at]!.pending) at -= 1;
  return items[at]?.id;
}

/** Returns the stored items after one: none if there is no such item. */
export function storedAfter<T extends ListItem>(items: readonly T[], seen: string | undefined): readonly T[] {
  const at = seen === undefined ? -1 : indexOf(items, seen);
  return at < 0 ? [] : items.slice(at + 1).filter(({ pending }) => !pending);
}

const dayOf = (time: number | undefined): string => (time === undefined ? '' : new Date(time).toDateString());

/** Returns true if a day begins with this item. */
export const isNewDay = (item: ListItem, before: ListItem | undefined): boolean => item.time !== undefined && dayOf(item.time) !== dayOf(before?.time ?? undefined);
