/** Messages as plain text. */

import type { State } from 'seawall-client';
import type { TimelineItem } from 'seawall-client/timeline';
import { WORDS, type Words } from './words.js';

/** Returns the text in the data of a message: `data.text`, the data itself if it is a text, else its JSON. It never throws. */
export function textOf(item: unknown): string {
  try {
    const data = (item as { data?: unknown }).data;
    const text = (data as { text?: unknown } | null)?.text ?? data;
    return typeof text === 'string' ? text : JSON.stringify(text) ?? '';
  } catch {
    return '';
  }
}

/** Returns the author of a message, or an empty text. */
export const userOf = (item: unknown): string => String((item as { user?: unknown } | null)?.user ?? '');

/** Returns an item as a line of plain text, without its author. It never throws. */
export function lineOf(item: unknown, words: Words): string {
  const it = item as Partial<TimelineItem> & { deleted?: boolean };
  if (it?.kind === 'gap') return words.gap(it.to! - it.from! + 1);
  if (it?.kind === 'reset') return words.reset;
  return it?.deleted ? words.deleted : textOf(it);
}

/** Returns an item as plain text with its author, as a boundary shows it and a screen reader reads it. It never throws. */
export function plainText(item: unknown, words: Words = WORDS): string {
  const user = userOf(item);
  return `${user && `${user}: `}${lineOf(item, words)}`;
}

/** Says how the connection is. */
export const stateText = (phase: State['phase'], words: Words): string =>
  ({ online: words.online, moving: words.online, closed: words.stopped, offline: words.offline } as { readonly [P in State['phase']]?: string })[phase] ?? words.reconnecting;
