/** The channels that components of one client use. Components of one channel share its subscription and its messages. */

import type { Channel, ChannelOptions, ChannelState, Client, Cursor } from 'seawall-client';
import type { Presence, PresenceState } from 'seawall-client/presence';
import { timeline, type Timeline, type TimelineItem, type TimelineOptions } from 'seawall-client/timeline';
import { Cell } from './cell.js';
import { made } from './made.js';

export type RoomOptions = ChannelOptions & TimelineOptions;

/** A channel as components see it. */
export interface ChannelView<T = unknown> {
  /** Messages, gaps and resets in their order. An unchanged item is the same object. */
  readonly messages: readonly TimelineItem<T>[];
  readonly state: ChannelState;
  readonly hasOlder: boolean;
  readonly loading: boolean;
  readonly unread: number;
  /** The users that are writing a message now. */
  readonly typing: readonly string[];
}

export const EMPTY: ChannelView<never> = { messages: [], state: { phase: 'waiting' }, hasOlder: false, loading: false, unread: 0, typing: [] };
export const NO_ROSTER: PresenceState = { complete: false, users: 0, connections: 0, counted: false, members: new Map() };

const TYPING_EVERY_MS = 3_000;
const TYPING_SHOWN_MS = 5_000;
const TYPING_MAX = 50;
/** The shortest time between two changes that are shown. A frame of a page that is not visible never comes, so it is also the longest wait for one. */
const FRAME_MS = 100;

/** A room that no component has opened after this time belongs to a render that was thrown away. */
const UNUSED_MS = 10_000;

/** Of a message: false if it was in the log when its channel was opened, true if it was the first to arrive in an empty log after that. */
export const arrived = new WeakMap<object, boolean>();

interface Opened {
  readonly channel: Channel;
  readonly timeline: Timeline;
  /** True if the subscription watches the roster. */
  readonly watches: boolean;
  roster?: Presence | undefined;
}

export class Room {
  readonly view = new Cell<ChannelView>(EMPTY);
  readonly roster = new Cell<PresenceState>(NO_ROSTER);
  opened: Opened | undefined;
  #options: RoomOptions = {};
  #presence: ((channel: Channel) => Presence) | undefined;
  #users = 0;
  #closing: ReturnType<typeof setTimeout> | undefined;
  /** Set while changes wait to be shown. */
  #due: ReturnType<typeof setTimeout> | undefined;
  /** No change is shown before this time. */
  #next = 0;
  /** True once the log that the channel had when it was opened is shown. */
  #begun = false;
  readonly #made = performance.now();
  /** By user: the name to show. The newest signal of a user has its own object. */
  readonly #typing = new Map<string, { readonly who: string }>();
  #typedAt = 0;
  /** Tells the user's own signals from those of other tabs. */
  readonly #tab = Math.random().toString(36).slice(2);

  constructor(readonly client: Client, readonly name: string, readonly all: Map<string, Room>) {}

  /** Adds what a component asks of the channel. It counts if the channel is opened after it: in the commit in which its first component is mounted. */
  want(options: RoomOptions, presence?: (channel: Channel) => Presence): this {
    this.#options = { ...this.#options, ...options };
    this.#presence ??= presence;
    return this;
  }

  /** Opens the channel for a component, and returns the end of that. */
  readonly use = (): (() => void) => {
    clearTimeout(this.#closing);
    this.#users += 1;
    if (!this.opened) this.#open();
    this.#enrol(this.opened!);
    return () => {
      this.#users -= 1;
      // Strict mode, and a list that is keyed again, use it again in this turn.
      if (this.#users === 0) this.#closing = setTimeout(() => this.#close());
    };
  };

  readonly older = (limit?: number): Promise<void> => this.opened?.timeline.older(limit) ?? Promise.resolve();
  readonly newest = (): void => this.opened?.timeline.newest();
  readonly read = (): Cursor | undefined => this.opened?.timeline.read();

  /** Signals that the user is writing, at most once in three seconds. */
  readonly typed = (name?: string): void => {
    const now = Date.now();
    if (now - this.#typedAt >= TYPING_EVERY_MS && this.opened?.channel.signal({ typing: true, tab: this.#tab, name })) this.#typedAt = now;
  };

  /** Others stop seeing the user as writing when a message arrives, so the next key signals again. The user sees it at the next frame. */
  readonly sent = (): void => { this.#typedAt = this.#next = 0; };

  #open(): void {
    const { window, read, ...options } = { ...(this.#presence && { watch: 'members' as const }), ...this.#options };
    const channel = this.client.channel(this.name, options);
    const messages = timeline(this.client, channel, { ...(window && { window }), ...(read && { read }) });
    this.opened = { channel, timeline: messages, watches: !!options.watch };
    this.#begun = false;
    // A component whose effects ran again may hold a room that was closed.
    this.all.set(this.name, this);
    for (const [name, room] of this.all) if (!room.opened && performance.now() - room.#made > UNUSED_MS) this.all.delete(name);
    messages.subscribe(this.#changed);
    channel.state.subscribe(this.#changed);
    channel.on('publication', ({ user, data }) => void this.#typing.delete(typist(user, data)));
    channel.on('signal', ({ user, data }) => this.#signal(user, data));
    this.#changed();
  }

  /** Follows the roster once a component asks for it. The channel has to watch it for that. */
  #enrol(opened: Opened): void {
    if (!opened.roster && opened.watches) (opened.roster = this.#presence?.(opened.channel))?.subscribe((value) => this.roster.set(value));
  }

  #close(): void {
    this.opened?.channel.leave();
    this.opened = undefined;
    this.view.set(EMPTY);
    this.roster.set(NO_ROSTER);
    if (this.all.get(this.name) === this) this.all.delete(this.name);
  }

  #signal(user: string, data: unknown): void {
    const { typing, tab } = (data ?? {}) as { typing?: unknown; tab?: unknown };
    const one = typist(user, data);
    if (typing !== true || tab === this.#tab || (this.#typing.size >= TYPING_MAX && !this.#typing.has(one))) return;
    // Anybody can write any name into a signal; only the user is vouched for.
    const newest = { who: (user === 'anonymous' && nameIn(data)) || user };
    this.#typing.set(one, newest);
    setTimeout(() => {
      if (this.#typing.get(one) === newest) this.#typing.delete(one);
      this.#changed();
    }, TYPING_SHOWN_MS);
    this.#changed();
  }

  /**
   * Shows the first change at the next frame, and those of the time after it together: at a hundred messages a second, a list drawn at each
   * frame keeps the keyboard waiting.
   */
  readonly #changed = (): void => {
    if (this.#due) return;
    const show = () => {
      if (!this.#due) return;
      clearTimeout(this.#due);
      this.#due = undefined;
      if (this.#begun) this.#next = performance.now() + FRAME_MS;
      const { opened } = this;
      if (!opened) return;
      const { items, hasOlder, loading, unread } = opened.timeline.value;
      const state = opened.channel.state.value;
      if (!this.#begun || this.view.value.messages.length === 0) for (const one of items) arrived.set(one, this.#begun);
      this.#begun ||= state.phase === 'live';
      const typing = [...this.#typing.values()].map(({ who }) => who);
      const last = this.view.value.typing;
      const same = typing.join('\n') === last.join('\n');
      this.view.set({ messages: items, state, hasOlder, loading, unread, typing: same ? last : typing });
    };
    const wait = this.#next - performance.now();
    if (wait < 0) globalThis.requestAnimationFrame?.(show);
    this.#due = setTimeout(show, wait < 0 ? FRAME_MS : wait);
  };
}

function nameIn(data: unknown): string | undefined {
  const name = (data as { name?: unknown } | null)?.name;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

const typist = (user: string, data: unknown): string => `${user} ${nameIn(data) ?? ''}`;

const rooms = new WeakMap<Client, Map<string, Room>>();

/** True while a channel of the client is open that watches its roster. */
export const isWatching = (client: Client): boolean => [...rooms.get(client)?.values() ?? []].some(({ opened }) => opened?.watches);

/** Returns the room of a channel, or a new one that is not open. */
export function roomOf(client: Client, name: string): Room {
  const all = made(rooms, client, () => new Map<string, Room>());
  return made(all, name, () => new Room(client, name, all));
}
