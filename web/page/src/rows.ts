// The rows of the log: the items of the library's timeline as texts. Pure values: no page, no socket, no clock.

import type { OutboxEntry } from 'seawall-client';
import type { TimelineItem, TimelineMessage } from 'seawall-client/timeline';
import { questionOf } from '../../client/src/question.ts';
import { WORDS } from '../../react/src/words.ts';
import type { Progress } from './words.ts';

/** A publication of this browser that is not known to be stored. */
export interface Outgoing {
  readonly key: string;
  readonly kind: 'original' | 'edits' | 'deletes';
  readonly progress: Progress;
}

/** A line of the log, as `MessageList` takes it. An unchanged row is the same object. */
export type Row = MessageRow | NoticeRow;

export interface NoticeRow {
  readonly kind: 'notice';
  readonly id: string;
  readonly data: string;
  readonly isFirstNew?: false;
}

export interface MessageRow {
  readonly kind: 'message';
  readonly id: string;
  /** The item of the timeline. */
  readonly source: TimelineMessage;
  /** Absent until it is stored. */
  readonly offset: number | undefined;
  /** The author as shown. */
  readonly user: string;
  readonly own: boolean;
  /** True if the row above is by the same author and a few minutes older at most. */
  readonly next: boolean;
  readonly time: number;
  /** The text. */
  readonly data: string;
  readonly edited: boolean;
  readonly deleted: boolean;
  /** True while its deletion can be undone. */
  readonly isGoing: boolean;
  /** True if the line "New" is above it. */
  readonly isFirstNew: boolean;
  readonly outgoing: Outgoing | undefined;
  readonly pending?: OutboxEntry;
  /** `begun` while its text is written, else how that ended. */
  readonly stream: TimelineMessage['stream'];
  /** The offset of the user's message that it answers, if it is one. */
  readonly question: number | undefined;
}

/** The state that rows depend on, in addition to the items. */
export interface Situation {
  /** Names the messages that this browser sent, in addition to those of this tab. */
  readonly isOwn: (key: string | undefined) => boolean;
  readonly progress: (entry: OutboxEntry) => Progress;
  /** The offsets of messages whose deletion can be undone. */
  readonly going: ReadonlySet<number>;
  /** The id of the first message that was not seen. */
  readonly firstNew: string | undefined;
  /** The text above the first message, if earlier ones cannot be loaded. */
  readonly beginning: string | undefined;
}

/** The longest time between messages of one author that are shown under one name. */
const TOGETHER_MS = 5 * 60_000;
const NAME_MAX = 40;

export class Rows {
  /** The row last made of an item. */
  private readonly made = new WeakMap<TimelineItem, Row>();
  /** The last list, by id. */
  private shown = new Map<string, Row>();
  private first: NoticeRow = { kind: 'notice', id: 'beginning', data: '' };

  list(items: readonly TimelineItem[], situation: Situation): Row[] {
    const rows: Row[] = [];
    const { beginning } = situation;
    if (beginning !== undefined && items.length > 0) {
      if (this.first.data !== beginning) this.first = { ...this.first, data: beginning };
      rows.push(this.first);
    }
    const own = new Set<number | undefined>();
    for (const item of items) {
      const last = this.made.get(item);
      const row = item.kind === 'message' ? messageRow(item, situation, own, rows.at(-1), last, this.shown.get(item.id)) : last ?? notice(item);
      if (row.kind === 'message' && row.own && !row.deleted) own.add(row.offset);
      this.made.set(item, row);
      rows.push(row);
    }
    this.shown = new Map(rows.map((row) => [row.id, row]));
    return rows;
  }
}

function notice(item: TimelineItem & { kind: 'gap' | 'reset' }): NoticeRow {
  return { kind: 'notice', id: item.id, data: item.kind === 'gap' ? WORDS.gap(item.to - item.from + 1) : WORDS.reset };
}

function messageRow(item: TimelineMessage, situation: Situation, questions: ReadonlySet<number | undefined>, above: Row | undefined, last: Row | undefined, before: Row | undefined): MessageRow {
  const { id, offset, user: sender = 'anonymous', time, data, edited, deleted, pending, stream } = item;
  // The name went with the data. A reader who saw the message keeps seeing it under the same name.
  const user = deleted && before?.kind === 'message' ? before.user : authorOf(sender, data);
  const own = item.own || (sender === 'anonymous' && situation.isOwn(item.key));
  const isFirstNew = id === situation.firstNew;
  const next = !isFirstNew && above?.kind === 'message' && above.user === user && above.own === own && Math.abs(time - above.time) < TOGETHER_MS
    && new Date(time).getDate() === new Date(above.time).getDate();
  const outgoing = pending && outgoingOf(pending, situation.progress(pending));
  const isGoing = offset !== undefined && situation.going.has(offset);
  const asked = stream && questionOf(data);
  const question = questions.has(asked) ? asked : undefined;
  if (last?.kind === 'message' && last.question === question && last.own === own && last.next === next && last.isGoing === isGoing && last.isFirstNew === isFirstNew
    && isSame(last.outgoing?.progress, outgoing?.progress)) return last;
  return {
    kind: 'message', id, source: item, offset, user, own, next, time, data: deleted ? WORDS.deleted : stream === 'begun' ? '' : textOf(data), edited, deleted, isGoing, isFirstNew, outgoing, stream, question,
    ...(pending && { pending }),
  };
}

function outgoingOf({ key, edits, deletes }: OutboxEntry, progress: Progress): Outgoing {
  return { key, kind: edits !== undefined ? 'edits' : deletes !== undefined ? 'deletes' : 'original', progress };
}

const noteOf = (progress: Progress | undefined): string => (progress !== undefined && 'note' in progress ? progress.note : '');
const isSame = (one: Progress | undefined, other: Progress | undefined): boolean => one?.state === other?.state && noteOf(one) === noteOf(other);

/** Returns the first of the newest `unread` messages of others. */
export function firstUnread(items: readonly TimelineItem[], unread: number): string | undefined {
  let left = unread;
  for (let at = items.length - 1; at >= 0 && left > 0; at -= 1) {
    const item = items[at]!;
    if (item.kind === 'message' && item.offset !== undefined && !item.own && !item.deleted && (left -= 1) === 0) return item.id;
  }
  return undefined;
}

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

/** The number of colours of faces in the style sheet. */
export const FACES = 8;

/** The face of a user: initials, and which colour. */
export function faceOf(name: string): { readonly initials: string; readonly colour: number } {
  const words = name.split(/[\s·._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [...words[0]!].slice(0, 1).concat([...words[1]!].slice(0, 1)) : [...(words[0] ?? '?')].slice(0, 2);
  let hash = 0;
  for (const letter of name) hash = (Math.imul(hash, 31) + letter.codePointAt(0)!) >>> 0;
  return { initials: letters.join('').toUpperCase(), colour: hash % FACES };
}
