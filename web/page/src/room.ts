// The open channel: collects its publications, outbox entries and signals as rows for the log.

import type { Channel, Client, Page, PublishOptions } from 'seawall-client';
import type { Top } from './log.ts';
import type { OwnKeys } from './memory.ts';
import { authorOf, Timeline, type Outgoing, type Row } from './timeline.ts';
import { beginning, failure, gap, progress, refusal, RESET, typing } from './words.ts';

/** Publications loaded when a channel is opened, and with each step back. */
const PAGE = 50;
/** The most missed publications to catch up on. If more were missed, only the newest are shown. */
const CATCH_UP = 1000;
const TYPING_EVERY_MS = 3000;
const TYPING_SHOWN_MS = 5000;
const TYPING_MAX = 50;

/** The data of a message that this page publishes. */
interface MessageData {
  name: string;
  text: string;
}

export class Room {
  private readonly channel: Channel;
  private readonly timeline = new Timeline();
  private readonly typists = new Map<string, { who: string; until: number }>();
  /** The offset at which the loaded part of the log starts. */
  private oldest: number | undefined;
  private loading = false;
  private typedAt = 0;

  /** `changed` requests a redraw. `fault` shows an error to the user. */
  constructor(
    private readonly client: Client,
    readonly name: string,
    private readonly keys: OwnKeys,
    private readonly tab: string,
    private readonly changed: () => void,
    private readonly fault: (text: string) => void,
  ) {
    this.channel = client.channel(name, { last: PAGE, catchUp: CATCH_UP });
    this.listen();
  }

  private listen(): void {
    this.channel.on('publication', (publication) => {
      this.oldest ??= publication.offset;
      this.timeline.absorb(publication);
      this.typists.delete(typist(publication.user, publication.data));
      this.changed();
    });
    this.channel.on('synced', ({ offset }) => {
      this.oldest ??= offset + 1;
      this.changed();
    });
    this.channel.on('gap', (missing) => {
      if (missing.because === 'skipped') this.beginAt(missing.to + 1);
      else this.timeline.notice(missing.to + 1, gap(missing));
      this.changed();
    });
    this.channel.on('reset', ({ offset }) => {
      this.beginAt(offset + 1);
      this.timeline.notice(offset + 1, RESET);
      this.changed();
    });
    this.channel.on('signal', ({ user, data }) => this.onSignal(user, data));
    this.channel.state.subscribe(this.changed);
  }

  /** Restarts the view at `offset`. Earlier messages are loaded when a person scrolls up. */
  private beginAt(offset: number): void {
    this.timeline.clear();
    this.oldest = offset;
  }

  leave(): void {
    this.channel.leave();
  }

  rows(atEnd: boolean): Row[] {
    if (atEnd) this.oldest = this.timeline.trim() ?? this.oldest;
    const state = this.client.state.value;
    const user = 'session' in state ? state.session.user : 'anonymous';
    return this.timeline.rows(user, this.outgoing(), (entry) =>
      entry.user === 'anonymous' ? this.keys.has(entry.key) : entry.user === user);
  }

  private outgoing(): Outgoing[] {
    const { state, outbox } = this.client;
    return outbox.value.filter((entry) => entry.channel === this.name).map((entry) => ({
      key: entry.key,
      at: entry.at,
      kind: entry.edits !== undefined ? 'edits' : entry.deletes !== undefined ? 'deletes' : 'original',
      of: entry.edits ?? entry.deletes ?? 0,
      data: entry.data,
      progress: progress(entry, state.value, outbox.storage.value),
    }));
  }

  /** Returns the content above the first row. */
  top(): Top {
    const state = this.channel.state.value;
    const refused = refusal(state);
    if (refused !== undefined) return { more: false, text: refused };
    if (this.oldest === undefined) return { more: false, text: '' };
    const floor = state.floor ?? 1;
    if (this.oldest > floor) return { more: true, loading: this.loading };
    return { more: false, text: beginning(floor, this.timeline.size === 0 && this.outgoing().length === 0) };
  }

  /** Loads one page of earlier messages. */
  async older(): Promise<void> {
    const before = this.oldest;
    if (this.loading || before === undefined || before <= (this.channel.state.value.floor ?? 1)) return;
    this.loading = true;
    this.changed();
    try {
      this.take(await this.channel.history({ before, limit: PAGE }), before);
    } catch (error) {
      this.fault(`Could not load earlier messages: ${failureOf(error)}`);
    }
    this.loading = false;
    this.changed();
  }

  private take(page: Page, before: number): void {
    // The log may have been reset or restarted at another offset during the request.
    if (page.epoch !== this.channel.cursor?.epoch || this.oldest !== before) return;
    page.publications.forEach((publication) => this.timeline.absorb(publication));
    this.oldest = page.publications[0]?.offset ?? page.floor;
  }

  text(offset: number): string {
    return this.timeline.text(offset) ?? '';
  }

  /** Queues a message or an edit. Calls `refused` with the reason if it could not be queued. */
  send(message: MessageData, edits: number | undefined, refused: (why: string) => void): void {
    this.publish({ ...message }, edits === undefined ? {} : { edits }, refused);
  }

  remove(offset: number): void {
    this.publish(null, { deletes: offset }, this.fault);
  }

  private publish(data: unknown, options: PublishOptions, refused: (why: string) => void): void {
    this.channel.publish(data, options).catch((error: unknown) => {
      // A queued message shows its own result in the log.
      const code = codeOf(error);
      if (code === 'invalid' || code === 'too_large' || code === 'outbox_full') refused(failureOf(error));
    });
  }

  /** Signals that this user is typing, at most once per `TYPING_EVERY_MS`. */
  typed(name: string, now: number): void {
    if (now - this.typedAt < TYPING_EVERY_MS) return;
    if (this.channel.signal({ typing: true, name, tab: this.tab })) this.typedAt = now;
  }

  private onSignal(user: string, data: unknown): void {
    const { typing, tab } = (data ?? {}) as { typing?: unknown; tab?: unknown };
    if (typing !== true || tab === this.tab) return;
    if (this.typists.size >= TYPING_MAX) this.typists.clear();
    this.typists.set(typist(user, data), { who: authorOf(user, data), until: Date.now() + TYPING_SHOWN_MS });
    this.changed();
  }

  typing(now: number): string {
    for (const [one, { until }] of this.typists) if (until < now) this.typists.delete(one);
    return typing([...this.typists.values()].map(({ who }) => who));
  }
}

const typist = (user: string, data: unknown): string => `${user} ${authorOf(user, data)}`;

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

const failureOf = (error: unknown): string => (error instanceof Error ? failure({ code: 'invalid', message: error.message }) : String(error));
