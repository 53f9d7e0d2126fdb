// Draws the rows of the log. A row is redrawn only if it changed, and the text being read does not move.

import { at, button, make, setText } from './dom.ts';
import type { MessageRow, Outgoing, Row } from './rows.ts';

/** The actions on a message. */
export interface MessageActions {
  edit(row: MessageRow): void;
  remove(row: MessageRow): void;
  retry(one: Outgoing): void;
  editFailed(one: Outgoing): void;
  discard(one: Outgoing): void;
}

/** The content above the first row: a button for earlier messages, or a text. */
export type Top = { more: true; loading: boolean } | { more: false; text: string };

/** Distance in pixels within which the view counts as being at the end. */
const NEAR_END = 60;
/** Distance in pixels from the top at which earlier messages are loaded. */
const NEAR_TOP = 200;
/** How long the button `Delete` asks for confirmation. */
const CONFIRM_MS = 4000;

const scroll = at('scroll');
const log = at('log');
/** Not the list itself, which would not be a list then. */
const region = log.parentElement as HTMLElement;
const older = at<HTMLButtonElement>('older');
const beginning = at('beginning');
const newer = at<HTMLButtonElement>('newer');

const drawn = new Map<string, Line>();

export const isAtEnd = (): boolean => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_END;

export function toEnd(): void {
  scroll.scrollTop = scroll.scrollHeight;
  newer.hidden = true;
}

/** Shows exactly these rows, and follows the end if the view was there. */
export function paint(rows: readonly Row[], top: Top, actions: MessageActions): void {
  const end = isAtEnd();
  // Keep the first visible row where it is: scroll by the distance that it moved.
  const anchor = end ? undefined : firstVisible();
  const before = anchor?.getBoundingClientRect().top ?? 0;
  const last = log.lastElementChild;
  paintTop(top);
  arrange(rows, actions);
  if (end) return toEnd();
  if (anchor?.isConnected) scroll.scrollTop += anchor.getBoundingClientRect().top - before;
  if (log.lastElementChild !== last && last !== null) newer.hidden = false;
}

function firstVisible(): Element | undefined {
  const edge = scroll.getBoundingClientRect().top;
  // Rows are in vertical order, so a binary search finds the first one that ends below the edge.
  let low = 0;
  let high = log.children.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((log.children[middle] as Element).getBoundingClientRect().bottom <= edge) low = middle + 1;
    else high = middle;
  }
  return log.children[low];
}

function arrange(rows: readonly Row[], actions: MessageActions): void {
  const wanted = new Set(rows.map((row) => row.id));
  for (const [id, { node }] of drawn) {
    if (wanted.has(id)) continue;
    node.remove();
    drawn.delete(id);
  }
  let place = log.firstElementChild;
  for (const [index, row] of rows.entries()) {
    let line = drawn.get(row.id);
    if (line === undefined) {
      line = row.kind === 'notice' ? new Notice() : new Message(actions);
      drawn.set(row.id, line);
    }
    line.show(row);
    const following = rows[index + 1];
    // A class, because a selector with `:has` has the browser match all rows again at each change.
    line.node.classList.toggle('above-next', following?.kind === 'message' && following.next);
    if (line.node === place) place = place.nextElementSibling;
    else log.insertBefore(line.node, place);
  }
}

function paintTop(top: Top): void {
  older.hidden = !top.more;
  older.disabled = top.more && top.loading;
  // A screen reader must not read earlier messages as if they were new.
  region.setAttribute('aria-busy', String(top.more && top.loading));
  setText(beginning, top.more ? '' : top.text);
}

/** The element of one row, which is updated as the row changes. */
interface Line {
  readonly node: HTMLElement;
  show(row: Row): void;
}

class Notice implements Line {
  private readonly text = make('span', '');
  readonly node = make('li', 'notice', this.text);

  show(row: Row): void {
    if (row.kind === 'notice') setText(this.text, row.text);
  }
}

class Message implements Line {
  private readonly author = make('bdi', 'author');
  private readonly time = make('time', '') as HTMLTimeElement;
  private readonly edited = make('span', '', 'edited');
  private readonly buttons = make('span', 'actions');
  private readonly text = make('p', 'text');
  private readonly progress = make('div', 'progress');
  private readonly about = make('div', 'about', this.author, this.time, this.edited, this.buttons);
  readonly node = make('li', 'message', this.about, this.text, this.progress);
  private row: MessageRow | undefined;

  constructor(private readonly actions: MessageActions) {
    // The direction is that of the text, as in Arabic and Hebrew.
    this.text.dir = this.author.dir = 'auto';
  }

  show(row: Row): void {
    if (row.kind !== 'message' || row === this.row) return;
    this.row = row;
    const state = row.outgoing?.progress.state;
    const names = ['message', row.own && 'own', row.next && 'next', row.edited && 'edited', row.deleted && 'deleted', state === 'failed' && 'failed',
      row.offset === 0 && state !== 'failed' && 'waiting'];
    this.node.className = names.filter(Boolean).join(' ');
    if (row.offset !== 0) this.node.dataset['offset'] = String(row.offset);
    setText(this.author, row.author);
    showTime(this.time, row.time);
    this.edited.hidden = !row.edited;
    setText(this.text, row.text);
    this.showActions(row.own && row.offset !== 0 && !row.deleted && row.outgoing === undefined);
    this.showProgress(row.outgoing);
  }

  private showActions(wanted: boolean): void {
    this.buttons.hidden = !wanted;
    if (!wanted || this.buttons.childElementCount > 0) return;
    const remove = button('Delete', (element) => {
      if (element.dataset['confirm'] !== undefined) return this.act(this.actions.remove);
      element.dataset['confirm'] = '';
      setText(element, 'Really delete?');
      setTimeout(() => {
        delete element.dataset['confirm'];
        setText(element, 'Delete');
      }, CONFIRM_MS);
    });
    this.buttons.append(button('Edit', () => this.act(this.actions.edit)), remove);
  }

  private act(what: (row: MessageRow) => void): void {
    if (this.row !== undefined) what(this.row);
  }

  /** Shows the progress of an outgoing publication in its message. */
  private showProgress(one: Outgoing | undefined): void {
    this.progress.hidden = one === undefined;
    if (one === undefined) return this.progress.replaceChildren();
    const { progress } = one;
    const texts = PROGRESS[one.kind];
    switch (progress.state) {
      case 'waiting':
        return this.progress.replaceChildren(progress.note === '' ? 'waiting' : `waiting: ${progress.note}`);
      case 'sending':
        return this.progress.replaceChildren(texts.sending);
      case 'sent':
        return this.progress.replaceChildren(texts.sent);
      case 'failed': {
        const buttons = [button('Retry', () => this.actions.retry(one)), button('Discard', () => this.actions.discard(one))];
        if (one.kind !== 'deletes') buttons.splice(1, 0, button('Edit', () => this.actions.editFailed(one)));
        return this.progress.replaceChildren(`${texts.failed}: ${progress.note} `, ...buttons);
      }
    }
  }
}

const PROGRESS = {
  original: { sending: 'sending…', sent: 'sent', failed: 'Not sent' },
  edits: { sending: 'saving…', sent: 'saved', failed: 'Not saved' },
  deletes: { sending: 'deleting…', sent: 'deleted', failed: 'Not deleted' },
};

function showTime(node: HTMLTimeElement, ms: number): void {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  const clock = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  setText(node, today ? clock : `${date.toLocaleDateString()} ${clock}`);
  if (!Number.isNaN(date.getTime())) node.dateTime = date.toISOString();
}

/** Calls `load` when a person scrolls near the top or presses the button for earlier messages. */
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
