// The open channel: collects its publications, outbox entries and signals as rows for the log.

import type { Channel, Client, PublishOptions } from 'seawall-client';
import { timeline, type Timeline } from 'seawall-client/timeline';
import type { Top } from './log.ts';
import type { OwnKeys } from './memory.ts';
import { authorOf, isolated, Rows, textOf, type Row } from './rows.ts';
import { beginning, failure, progress, refusal, typing } from './words.ts';

/** Publications loaded when a channel is opened, and with each step back. */
const PAGE = 50;
/** The most missed publications to catch up on. If more were missed, only the newest are shown. */
const CATCH_UP = 1000;
/** Messages kept in the page. Older ones are loaded again when a person scrolls up. */
const KEPT = 2000;
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
  private readonly timeline: Timeline;
  private readonly drawn = new Rows();
  private readonly typists = new Map<string, { who: string; until: number }>();
  /** True once the newest messages were loaded. */
  private isLoaded = false;
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
    this.timeline = timeline(client, this.channel, { window: KEPT });
    this.timeline.subscribe(changed);
    this.channel.on('publication', ({ user, data }) => void this.typists.delete(typist(user, data)));
    this.channel.on('signal', ({ user, data }) => this.onSignal(user, data));
    this.channel.on('synced', () => {
      this.isLoaded = true;
      changed();
    });
    this.channel.state.subscribe(changed);
  }

  leave(): void {
    this.channel.leave();
  }

  rows(atEnd: boolean): Row[] {
    if (atEnd) this.timeline.newest();
    const { state, outbox } = this.client;
    return this.drawn.list(this.timeline.value.items, (key) => this.keys.has(key), (entry) => progress(entry, state.value, outbox.storage.value));
  }

  /** Returns the content above the first row. */
  top(): Top {
    const refused = refusal(this.channel.state.value);
    if (refused !== undefined) return { more: false, text: refused };
    if (!this.isLoaded) return { more: false, text: '' };
    const { hasOlder, loading, floor, items } = this.timeline.value;
    return hasOlder ? { more: true, loading } : { more: false, text: beginning(floor, items.length === 0) };
  }

  /** Loads one page of earlier messages. */
  older(): void {
    this.timeline.older(PAGE).catch((error: unknown) => this.fault(`Could not load earlier messages: ${failureOf(error)}`));
  }

  /** Returns the current text of a message. */
  text(offset: number): string {
    const item = this.timeline.value.items.find((one) => one.kind === 'message' && one.offset === offset);
    return item?.kind === 'message' ? textOf(item.data) : '';
  }

  /** Queues a message or an edit. Calls `refused` with the reason if it could not be queued. */
  send(message: MessageData, edits: number | undefined, refused: (why: string) => void): void {
    // The message ends what others see of this user's typing, so the next key signals it again.
    this.typedAt = 0;
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
    return typing([...this.typists.values()].map(({ who }) => isolated(who)));
  }
}

const typist = (user: string, data: unknown): string => `${user} ${authorOf(user, data)}`;

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

const failureOf = (error: unknown): string => (error instanceof Error ? failure({ code: 'invalid', message: error.message }) : String(error));
