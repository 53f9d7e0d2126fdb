// One channel as shown: its publications with edits and deletes applied, notices about missing ones, and outgoing
// messages. Pure values: no page, no socket, no clock.

/** A publication as the gateway sends it. */
export interface LogEntry {
  offset: number;
  key?: string | undefined;
  user: string;
  time: number;
  data: unknown;
  edits?: number | undefined;
  deletes?: number | undefined;
  deletedBy?: number | undefined;
}

/** A publication of this browser that is not known to be stored. */
export interface Outgoing {
  key: string;
  at: number;
  kind: 'original' | 'edits' | 'deletes';
  /** The offset of the message to edit or delete; 0 for a new message. */
  of: number;
  data: unknown;
  progress: Progress;
}

export type Progress =
  | { state: 'waiting'; note: string }
  | { state: 'sending' }
  | { state: 'sent' }
  | { state: 'failed'; note: string };

/** A line of the log. Rows with equal `id` and `mark` look the same. */
export type Row = MessageRow | NoticeRow;

export interface NoticeRow {
  kind: 'notice';
  id: string;
  mark: string;
  text: string;
}

export interface MessageRow {
  kind: 'message';
  id: string;
  mark: string;
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

/** Messages kept in the page. Older ones are loaded again when a person scrolls up. */
const KEPT = 2000;
const SLACK = 100;
/** The most edits, and deletes, kept after a trim. */
const CHANGES_KEPT = 4000;
/** The longest time between messages of one author that are shown under one name. */
const TOGETHER_MS = 5 * 60_000;
const NAME_MAX = 40;

export class Timeline {
  private readonly messages = new Map<number, LogEntry>();
  private readonly edits = new Map<number, LogEntry>();
  private readonly deletes = new Set<number>();
  /** Texts shown before the message with this offset. */
  private readonly notices = new Map<number, string>();
  /** Offsets of `messages`, ascending. */
  private order: number[] = [];

  absorb(entry: LogEntry): void {
    if (entry.deletes !== undefined) {
      this.deletes.add(entry.deletes);
    } else if (entry.edits !== undefined) {
      const known = this.edits.get(entry.edits);
      if (known === undefined || known.offset < entry.offset) this.edits.set(entry.edits, entry);
    } else {
      if (!this.messages.has(entry.offset)) this.place(entry.offset);
      this.messages.set(entry.offset, entry);
    }
  }

  private place(offset: number): void {
    const last = this.order.at(-1);
    if (last === undefined || last < offset) {
      this.order.push(offset);
      return;
    }
    let low = 0;
    let high = this.order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.order[middle] as number) < offset) low = middle + 1;
      else high = middle;
    }
    this.order.splice(low, 0, offset);
  }

  /** Adds a notice about publications that are missing before `offset`. */
  notice(offset: number, text: string): void {
    this.notices.set(offset, text);
  }

  clear(): void {
    for (const each of [this.messages, this.edits, this.deletes, this.notices]) each.clear();
    this.order = [];
  }

  get size(): number {
    return this.order.length;
  }

  /** Drops the oldest messages over the bound. Returns the offset of the first one left if any were dropped. */
  trim(): number | undefined {
    if (this.order.length <= KEPT + SLACK) return undefined;
    for (const offset of this.order.splice(0, this.order.length - KEPT)) this.messages.delete(offset);
    const first = this.order[0] as number;
    for (const offset of this.notices.keys()) if (offset < first) this.notices.delete(offset);
    // Edits and deletes have later offsets than their messages, so they are still needed when those are loaded again.
    for (const changes of [this.edits, this.deletes]) {
      for (const offset of changes.keys()) {
        if (changes.size <= CHANGES_KEPT) break;
        changes.delete(offset);
      }
    }
    return first;
  }

  /** Returns the current text of a message. */
  text(offset: number): string | undefined {
    const entry = this.messages.get(offset);
    return entry === undefined ? undefined : textOf(this.current(entry));
  }

  private current(entry: LogEntry): unknown {
    const edit = this.edits.get(entry.offset);
    return edit !== undefined && edit.data !== null ? edit.data : entry.data;
  }

  rows(user: string, outgoing: readonly Outgoing[], isOwn: (entry: LogEntry) => boolean): Row[] {
    const rows: Row[] = [];
    const changes = new Map(outgoing.filter((one) => one.kind !== 'original').map((one) => [one.of, one]));
    const notices = [...this.notices].sort(([a], [b]) => a - b);
    const stored = new Set<string>();
    for (const offset of this.order) {
      while (notices[0] !== undefined && notices[0][0] <= offset) rows.push(noticeRow(...notices.shift() as [number, string]));
      const entry = this.messages.get(offset) as LogEntry;
      const own = isOwn(entry);
      if (own && entry.key !== undefined) stored.add(entry.key);
      rows.push(this.storedRow(entry, own, changes.get(offset), rows.at(-1)));
    }
    for (const [offset, text] of notices) rows.push(noticeRow(offset, text));
    for (const one of outgoing) {
      if (one.kind === 'original' && !stored.has(one.key)) rows.push(waitingRow(one, user, rows.at(-1)));
    }
    return rows;
  }

  private storedRow(entry: LogEntry, own: boolean, outgoing: Outgoing | undefined, above: Row | undefined): MessageRow {
    const data = this.current(entry);
    const deleted = entry.deletedBy !== undefined || this.deletes.has(entry.offset);
    return finished({
      kind: 'message',
      // An outgoing message keeps its row, identified by the key, once it is stored.
      id: entry.key !== undefined && own ? `k${entry.key}` : `m${entry.offset}`,
      mark: '',
      offset: entry.offset,
      author: authorOf(entry.user, data ?? entry.data),
      own,
      next: false,
      time: entry.time,
      text: deleted ? 'deleted' : textOf(data),
      edited: this.edits.has(entry.offset) && !deleted,
      deleted,
      outgoing,
    }, above);
  }
}

function waitingRow(one: Outgoing, user: string, above: Row | undefined): MessageRow {
  return finished({
    kind: 'message', id: `k${one.key}`, mark: '', offset: 0, author: authorOf(user, one.data), own: true, next: false,
    time: one.at, text: textOf(one.data), edited: false, deleted: false, outgoing: one,
  }, above);
}

function noticeRow(offset: number, text: string): NoticeRow {
  return { kind: 'notice', id: `n${offset}`, mark: text, text };
}

function finished(row: MessageRow, above: Row | undefined): MessageRow {
  row.next = above?.kind === 'message' && above.author === row.author && above.own === row.own
    && Math.abs(row.time - above.time) < TOGETHER_MS;
  const progress = row.outgoing?.progress;
  const note = progress !== undefined && 'note' in progress ? progress.note : '';
  row.mark = JSON.stringify([row.offset, row.author, row.own, row.next, row.time, row.text, row.edited, row.deleted,
    row.outgoing?.kind, progress?.state, note]);
  return row;
}

export function textOf(data: unknown): string {
  if (typeof data === 'object' && data !== null && 'text' in data && typeof data.text === 'string') return data.text;
  return typeof data === 'string' ? data : JSON.stringify(data);
}

/** The author as shown. The sender chooses the name, but the gateway vouches for the user, so the user is always shown. */
export function authorOf(user: string, data: unknown): string {
  const given = typeof data === 'object' && data !== null && 'name' in data && typeof data.name === 'string' ? data.name : '';
  const name = given.trim().slice(0, NAME_MAX);
  if (user === 'anonymous') return name || user;
  return name !== '' && name !== user ? `${name} · ${user}` : user;
}
