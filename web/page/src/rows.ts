// The rows of the log: the items of the library's timeline as texts. Pure values: no page, no socket, no clock.

import type { OutboxEntry } from 'seawall-client';
import type { TimelineItem, TimelineMessage } from 'seawall-client/timeline';
import { gap, RESET, type Progress } from './words.ts';

/** A publication of this browser that is not known to be stored. */
export interface Outgoing {
  key: string;
  kind: 'original' | 'edits' | 'deletes';
  progress: Progress;
}

/** A line of the log. An unchanged row is the same object. */
export type Row = MessageRow | NoticeRow;

export interface NoticeRow {
  kind: 'notice';
  id: string;
  text: string;
}

export interface MessageRow {
  kind: 'message';
  id: string;
  /** 0 until it is stored. */
  offset: number;
  author: string;
  own: boolean;
  /** True if the row above is by the same author and a few minutes older at most. */
  next: boolean;
  time: number;
  text: string;
  edited: boolean;
  deleted: boolean;
  outgoing: Outgoing | undefined;
}

/** The longest time between messages of one author that are shown under one name. */
const TOGETHER_MS = 5 * 60_000;
const NAME_MAX = 40;

export class Rows {
  /** The row last made of an item. */
  private readonly made = new WeakMap<TimelineItem, Row>();
  /** The last list, by id. */
  private shown = new Map<string, Row>();

  /** `isOwn` names the messages that this browser sent, in addition to those of this tab. */
  list(items: readonly TimelineItem[], isOwn: (key: string | undefined) => boolean, progress: (entry: OutboxEntry) => Progress): Row[] {
    const rows: Row[] = [];
    for (const item of items) {
      const last = this.made.get(item);
      const row = item.kind === 'message' ? messageRow(item, isOwn, progress, rows.at(-1), last, this.shown.get(item.id)) : last ?? notice(item);
      this.made.set(item, row);
      rows.push(row);
    }
    this.shown = new Map(rows.map((row) => [row.id, row]));
    return rows;
  }
}

function notice(item: TimelineItem & { kind: 'gap' | 'reset' }): NoticeRow {
  return { kind: 'notice', id: item.id, text: item.kind === 'gap' ? gap(item) : RESET };
}

function messageRow(
  item: TimelineMessage, isOwn: (key: string | undefined) => boolean, progress: (entry: OutboxEntry) => Progress, above: Row | undefined, last: Row | undefined,
  before: Row | undefined,
): MessageRow {
  const { id, offset = 0, user = 'anonymous', time, data, edited, deleted, pending } = item;
  // The name went with the data. A reader who saw the message keeps seeing it under the same name.
  const author = deleted && before?.kind === 'message' ? before.author : authorOf(user, data);
  const own = item.own || (user === 'anonymous' && isOwn(item.key));
  const next = above?.kind === 'message' && above.author === author && above.own === own && Math.abs(time - above.time) < TOGETHER_MS;
  const outgoing = pending && outgoingOf(pending, progress(pending));
  if (last?.kind === 'message' && last.own === own && last.next === next && isSame(last.outgoing?.progress, outgoing?.progress)) return last;
  return { kind: 'message', id, offset, author, own, next, time, text: deleted ? 'deleted' : textOf(data), edited, deleted, outgoing };
}

function outgoingOf({ key, edits, deletes }: OutboxEntry, progress: Progress): Outgoing {
  return { key, kind: edits !== undefined ? 'edits' : deletes !== undefined ? 'deletes' : 'original', progress };
}

const noteOf = (progress: Progress | undefined): string => (progress !== undefined && 'note' in progress ? progress.note : '');
const isSame = (one: Progress | undefined, other: Progress | undefined): boolean => one?.state === other?.state && noteOf(one) === noteOf(other);

export function textOf(data: unknown): string {
  if (typeof data === 'object' && data !== null && 'text' in data && typeof data.text === 'string') return data.text;
  return typeof data === 'string' ? data : JSON.stringify(data);
}

/** Characters that change the direction of the text after them: a name could show what follows it in another order. */
const DIRECTIONS = /[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/g;

/** A name within other text, whose order it cannot change. */
export const isolated = (name: string): string => `\u2068${name.replace(DIRECTIONS, '')}\u2069`;

/** The author as shown. The sender chooses the name, but the gateway vouches for the user, so the user is always shown. */
export function authorOf(user: string, data: unknown): string {
  const given = typeof data === 'object' && data !== null && 'name' in data && typeof data.name === 'string' ? data.name : '';
  const name = given.replace(DIRECTIONS, '').trim().slice(0, NAME_MAX);
  if (user === 'anonymous') return name || user;
  return name !== '' && name !== user ? `${name} · ${user}` : user;
}
