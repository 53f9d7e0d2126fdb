// One channel as it reads now: what was published, with later edits and deletes applied, what is missing, and what
// still waits here. Values only: no page, no socket, no clock.

/** A publication as the gateway sends it. */
export interface Said {
  offset: number;
  key?: string | undefined;
  user: string;
  time: number;
  data: unknown;
  edits?: number | undefined;
  deletes?: number | undefined;
  deleted_by?: number | undefined;
}

/** One of ours that is not known to be stored. */
export interface Outgoing {
  key: string;
  at: number;
  kind: 'original' | 'edits' | 'deletes';
  /** The offset of what is edited or deleted. */
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
  /** 0 while it is not stored. */
  offset: number;
  author: string;
  own: boolean;
  /** Said by the same author within a few minutes of the one above. */
  next: boolean;
  time: number;
  text: string;
  edited: boolean;
  deleted: boolean;
  outgoing: Outgoing | undefined;
}

/** Messages kept in the page; older ones are read again when somebody scrolls there. */
const KEPT = 2000;
const SLACK = 100;
/** Edits of messages that are not here. */
const CHANGES_KEPT = 4000;
/** How long one author's messages stand under one name. */
const TOGETHER_MS = 5 * 60_000;
const NAME_MAX = 40;

export class Timeline {
  private readonly messages = new Map<number, Said>();
  private readonly edits = new Map<number, Said>();
  private readonly deletes = new Set<number>();
  /** Text that stands before the message with this offset. */
  private readonly notices = new Map<number, string>();
  /** Offsets of `messages`, ascending. */
  private order: number[] = [];

  absorb(said: Said): void {
    if (said.deletes !== undefined) {
      this.deletes.add(said.deletes);
    } else if (said.edits !== undefined) {
      const known = this.edits.get(said.edits);
      if (known === undefined || known.offset < said.offset) this.edits.set(said.edits, said);
    } else {
      if (!this.messages.has(said.offset)) this.place(said.offset);
      this.messages.set(said.offset, said);
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

  /** Something is missing before `offset`, and stays so. */
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

  /** Forgets the oldest past the bound. Returns the offset of the first that is left, if any went. */
  trim(): number | undefined {
    if (this.order.length <= KEPT + SLACK) return undefined;
    for (const offset of this.order.splice(0, this.order.length - KEPT)) this.messages.delete(offset);
    const first = this.order[0] as number;
    for (const offset of this.notices.keys()) if (offset < first) this.notices.delete(offset);
    // Edits and deletes come after what they are about: they are still needed when that is read again.
    for (const changes of [this.edits, this.deletes]) {
      for (const offset of changes.keys()) {
        if (changes.size <= CHANGES_KEPT) break;
        changes.delete(offset);
      }
    }
    return first;
  }

  /** A message as it reads now. */
  text(offset: number): string | undefined {
    const said = this.messages.get(offset);
    return said === undefined ? undefined : textOf(this.current(said));
  }

  private current(said: Said): unknown {
    const edit = this.edits.get(said.offset);
    return edit !== undefined && edit.data !== null ? edit.data : said.data;
  }

  rows(user: string, outgoing: readonly Outgoing[], isOwn: (said: Said) => boolean): Row[] {
    const rows: Row[] = [];
    const changes = new Map(outgoing.filter((one) => one.kind !== 'original').map((one) => [one.of, one]));
    const notices = [...this.notices].sort(([a], [b]) => a - b);
    const stored = new Set<string>();
    for (const offset of this.order) {
      while (notices[0] !== undefined && notices[0][0] <= offset) rows.push(noticeRow(...notices.shift() as [number, string]));
      const said = this.messages.get(offset) as Said;
      const own = isOwn(said);
      if (own && said.key !== undefined) stored.add(said.key);
      rows.push(this.storedRow(said, own, changes.get(offset), rows.at(-1)));
    }
    for (const [offset, text] of notices) rows.push(noticeRow(offset, text));
    for (const one of outgoing) {
      if (one.kind === 'original' && !stored.has(one.key)) rows.push(waitingRow(one, user, rows.at(-1)));
    }
    return rows;
  }

  private storedRow(said: Said, own: boolean, outgoing: Outgoing | undefined, above: Row | undefined): MessageRow {
    const data = this.current(said);
    const deleted = said.deleted_by !== undefined || this.deletes.has(said.offset);
    return finished({
      kind: 'message',
      // What waited under its key and is now stored is the same line.
      id: said.key !== undefined && own ? `k${said.key}` : `m${said.offset}`,
      mark: '',
      offset: said.offset,
      author: authorOf(said.user, data ?? said.data),
      own,
      next: false,
      time: said.time,
      text: deleted ? 'deleted' : textOf(data),
      edited: this.edits.has(said.offset) && !deleted,
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

/** A name is what its sender says; the user is what the gateway knows, so it is always shown. */
export function authorOf(user: string, data: unknown): string {
  const given = typeof data === 'object' && data !== null && 'name' in data && typeof data.name === 'string' ? data.name : '';
  const name = given.trim().slice(0, NAME_MAX);
  if (user === 'anonymous') return name || user;
  return name !== '' && name !== user ? `${name} · ${user}` : user;
}
