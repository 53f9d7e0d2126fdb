// Draws the rows of the log: each once, again only when it looks different, and without moving what is being read.

import { at, button, make, say } from './dom.ts';
import type { MessageRow, Outgoing, Row } from './timeline.ts';

/** What a person can do with a message. */
export interface Acts {
  edit(row: MessageRow): void;
  remove(row: MessageRow): void;
  retry(one: Outgoing): void;
  editFailed(one: Outgoing): void;
  discard(one: Outgoing): void;
}

/** What stands above the first row. */
export type Top = { more: true; loading: boolean } | { more: false; text: string };

/** From this far away the end counts as reached, and the beginning as wanted. */
const NEAR_END = 60;
const NEAR_TOP = 200;
const SURE_MS = 4000;

const scroll = at('scroll');
const log = at('log');
const older = at<HTMLButtonElement>('older');
const beginning = at('beginning');
const newer = at<HTMLButtonElement>('newer');

const drawn = new Map<string, Line>();

export const isAtEnd = (): boolean => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_END;

export function toEnd(): void {
  scroll.scrollTop = scroll.scrollHeight;
  newer.hidden = true;
}

/** Shows exactly these rows. */
export function paint(rows: readonly Row[], top: Top, acts: Acts): void {
  const end = isAtEnd();
  // The line that is being read stays where it is; its distance from the top says how far to scroll.
  const anchor = end ? undefined : firstVisible();
  const before = anchor?.getBoundingClientRect().top ?? 0;
  const last = log.lastElementChild;
  paintTop(top);
  arrange(rows, acts);
  if (end) return toEnd();
  if (anchor?.isConnected) scroll.scrollTop += anchor.getBoundingClientRect().top - before;
  if (log.lastElementChild !== last && last !== null) newer.hidden = false;
}

function firstVisible(): Element | undefined {
  const edge = scroll.getBoundingClientRect().top;
  // Lines stand one below the other, so the first that ends below the edge is found by halves.
  let low = 0;
  let high = log.children.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((log.children[middle] as Element).getBoundingClientRect().bottom <= edge) low = middle + 1;
    else high = middle;
  }
  return log.children[low];
}

function arrange(rows: readonly Row[], acts: Acts): void {
  const wanted = new Set(rows.map((row) => row.id));
  for (const [id, { node }] of drawn) {
    if (wanted.has(id)) continue;
    node.remove();
    drawn.delete(id);
  }
  let place = log.firstElementChild;
  for (const row of rows) {
    let line = drawn.get(row.id);
    if (line === undefined) {
      line = row.kind === 'notice' ? new Notice() : new Message(acts);
      drawn.set(row.id, line);
    }
    line.show(row);
    if (line.node === place) place = place.nextElementSibling;
    else log.insertBefore(line.node, place);
  }
}

function paintTop(top: Top): void {
  older.hidden = !top.more;
  older.disabled = top.more && top.loading;
  // What was said earlier is not read out as if it were said now.
  log.setAttribute('aria-busy', String(top.more && top.loading));
  say(beginning, top.more ? '' : top.text);
}

/** One row's element, for as long as the row is shown. It changes only where the row did. */
interface Line {
  readonly node: HTMLElement;
  show(row: Row): void;
}

class Notice implements Line {
  private readonly text = make('span', '');
  readonly node = make('li', 'notice', this.text);

  show(row: Row): void {
    if (row.kind === 'notice') say(this.text, row.text);
  }
}

class Message implements Line {
  private readonly author = make('span', 'author');
  private readonly time = make('time', '') as HTMLTimeElement;
  private readonly edited = make('span', '', 'edited');
  private readonly actions = make('span', 'actions');
  private readonly text = make('p', 'text');
  private readonly progress = make('div', 'progress');
  private readonly about = make('div', 'about', this.author, this.time, this.edited, this.actions);
  readonly node = make('li', 'message', this.about, this.text, this.progress);
  private row: MessageRow | undefined;
  private mark = '';

  constructor(private readonly acts: Acts) {}

  show(row: Row): void {
    if (row.kind !== 'message') return;
    this.row = row;
    if (row.mark === this.mark) return;
    this.mark = row.mark;
    const state = row.outgoing?.progress.state;
    const names = ['message', row.own && 'own', row.next && 'next', row.deleted && 'deleted', state === 'failed' && 'failed',
      row.offset === 0 && state !== 'failed' && 'waiting'];
    this.node.className = names.filter(Boolean).join(' ');
    if (row.offset !== 0) this.node.dataset['offset'] = String(row.offset);
    say(this.author, row.author);
    showTime(this.time, row.time);
    this.edited.hidden = !row.edited;
    say(this.text, row.text);
    this.showActions(row.own && row.offset !== 0 && !row.deleted && row.outgoing === undefined);
    this.showProgress(row.outgoing);
  }

  private showActions(wanted: boolean): void {
    this.actions.hidden = !wanted;
    if (!wanted || this.actions.childElementCount > 0) return;
    const remove = button('Delete', (element) => {
      if (element.dataset['sure'] !== undefined) return this.act(this.acts.remove);
      element.dataset['sure'] = '';
      say(element, 'Really delete');
      setTimeout(() => {
        delete element.dataset['sure'];
        say(element, 'Delete');
      }, SURE_MS);
    });
    this.actions.append(button('Edit', () => this.act(this.acts.edit)), remove);
  }

  private act(what: (row: MessageRow) => void): void {
    if (this.row !== undefined) what(this.row);
  }

  /** How far a publication of ours is, in words in its message. */
  private showProgress(one: Outgoing | undefined): void {
    this.progress.hidden = one === undefined;
    if (one === undefined) return this.progress.replaceChildren();
    const { progress } = one;
    const words = WORDS[one.kind];
    switch (progress.state) {
      case 'waiting':
        return this.progress.replaceChildren(progress.note === '' ? 'waiting' : `waiting: ${progress.note}`);
      case 'sending':
        return this.progress.replaceChildren(words.sending);
      case 'sent':
        return this.progress.replaceChildren(words.sent);
      case 'failed': {
        const buttons = [button('Retry', () => this.acts.retry(one)), button('Discard', () => this.acts.discard(one))];
        if (one.kind !== 'deletes') buttons.splice(1, 0, button('Edit', () => this.acts.editFailed(one)));
        return this.progress.replaceChildren(`${words.failed}: ${progress.note} `, ...buttons);
      }
    }
  }
}

const WORDS = {
  original: { sending: 'sending…', sent: 'sent', failed: 'Not sent' },
  edits: { sending: 'saving…', sent: 'saved', failed: 'Not saved' },
  deletes: { sending: 'deleting…', sent: 'deleted', failed: 'Not deleted' },
};

function showTime(node: HTMLTimeElement, ms: number): void {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  const clock = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  say(node, today ? clock : `${date.toLocaleDateString()} ${clock}`);
  if (!Number.isNaN(date.getTime())) node.dateTime = date.toISOString();
}

/** Calls `load` when somebody comes near the beginning, or asks for what is before it. */
export function onOlder(load: () => void): void {
  older.addEventListener('click', load);
  scroll.addEventListener('scroll', () => {
    if (isAtEnd()) newer.hidden = true;
    if (scroll.scrollTop < NEAR_TOP && !older.hidden && !older.disabled) load();
  }, { passive: true });
  newer.addEventListener('click', () => {
    toEnd();
    at('draft').focus();
  });
}
