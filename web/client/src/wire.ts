/** Frames: commands as text, received frames as values. */

import type { Failure, Limits, Page, PresenceFrame, Publication, Published, Signal, Status, PublicationHead } from './api.js';
import type { Bye } from './close.js';
import type { StreamEnd, StreamFrame } from './stream.js';

/** The stream that a frame is about. */
interface StreamPlace {
  readonly channel: string;
  readonly offset: number;
}

/** The start of a subscription, in `subscribed` and in each element of `recovered`. */
export interface Begin {
  readonly channel: string;
  readonly epoch: string;
  readonly head: number;
  readonly floor: number;
  readonly because?: 'too_far' | 'expired' | 'epoch_changed' | 'forbidden' | 'unavailable';
  readonly rights?: readonly string[];
  readonly retry_ms?: number;
}

/** The limits of a connection as the gateway sends them. */
export interface WireLimits {
  readonly frame_bytes: number;
  readonly publishes_per_s: number;
  readonly publishes_burst: number;
  readonly subscriptions: number;
}

/** A publication as the gateway sends it. */
export interface WirePublication extends PublicationHead {
  readonly data: unknown;
  readonly edits?: number;
  readonly deletes?: number;
  readonly deleted_by?: number;
}

/** A page of history as the gateway sends it. */
export interface WirePage extends Omit<Page, 'publications'> {
  readonly publications: readonly WirePublication[];
}

/** The reply to `connect`. */
export interface Connected {
  readonly connection: string;
  readonly instance: string;
  readonly user: string;
  /** Absent with auth off. */
  readonly personal?: string;
  readonly ping_ms: number;
  readonly stable_ms: number;
  readonly limits: WireLimits;
  readonly expires?: number;
  readonly expires_in_ms?: number;
  readonly status: Status;
  /** The flags that are on. Absent if the gateway has none. */
  readonly flags?: readonly string[];
  readonly recovered: readonly Begin[];
}

/** The end of a token; absent if it has none. */
export type Expiry = Pick<Connected, 'expires' | 'expires_in_ms'>;

/** An error as the gateway sends it. */
export interface WireError extends Omit<Failure, 'retryMs'> {
  readonly retry_ms?: number;
  /** The stream, in an error about one. */
  readonly channel?: string;
  readonly offset?: number;
}

/** The request to move to another connection. `to` is the instance to ask a load balancer for. */
export interface Drain {
  readonly reason: string;
  readonly slot_ms: number;
  readonly deadline_ms: number;
  readonly to?: string;
}

/** A received frame. It has exactly one of these members; a reply also has `id`. */
export interface Frame {
  readonly id?: number;
  readonly error?: WireError;
  readonly connected?: Connected;
  /** The reply to `refresh` or, as a push, rights or an expiry that changed without a command. */
  readonly refreshed?: Expiry;
  readonly subscribed?: Begin;
  /** The reply to `unsubscribe` or, as a push, the end of a subscription by the server. */
  readonly unsubscribed?: { readonly channel: string; readonly because?: string };
  readonly published?: Published;
  readonly history?: WirePage;
  readonly publication?: WirePublication;
  readonly signal?: Signal;
  readonly presence?: PresenceFrame;
  /** The replies and pushes that other modules of this package read. */
  readonly reported?: object;
  readonly stream?: StreamFrame;
  readonly appended?: StreamPlace & { readonly gen: number; readonly next: number };
  readonly restarted?: StreamPlace & { readonly gen: number; readonly next: number };
  readonly ended?: StreamPlace & { readonly edit: number; readonly state: StreamEnd; readonly duplicate: boolean };
  readonly cancelling?: StreamPlace;
  readonly cancel?: StreamPlace & { readonly gen: number; readonly user: string; readonly end_ms: number };
  readonly synced?: { readonly channel: string; readonly offset: number };
  readonly status?: Status;
  readonly beat?: { readonly revision: number; readonly heads?: Readonly<Record<string, number>> };
  readonly lag?: { readonly channel: string; readonly from: number; readonly head: number };
  readonly drain?: Drain;
  readonly flags?: { readonly on: readonly string[] };
  readonly bye?: Bye;
}

/** Converts limits for apps. */
export const limitsOf = ({ frame_bytes: frameBytes, publishes_per_s: publishesPerSecond, publishes_burst: publishesBurst, subscriptions }: WireLimits): Limits =>
  ({ frameBytes, publishesPerSecond, publishesBurst, subscriptions });

/** Converts a publication for apps. */
export function publicationOf({ deleted_by: deletedBy, ...more }: WirePublication): Publication {
  return (deletedBy === undefined ? more : { ...more, deletedBy }) as Publication;
}

/** Converts a page of history for apps. */
export const pageOf = (page: WirePage): Page => ({ ...page, publications: page.publications.map(publicationOf) });

/** Parses a frame. Returns `undefined` if it is not a JSON object. */
export function read(text: unknown): Frame | undefined {
  try {
    const value = JSON.parse(text as string);
    return value && typeof value === 'object' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Builds a command frame. `data`, if given, is JSON text and is inserted byte for byte. */
export function command(id: number | undefined, name: string, body: object, data?: string): string {
  const head = JSON.stringify(body);
  const whole = data === undefined ? head : `${head.slice(0, -1)},"data":${data}}`;
  return `{${id === undefined ? '' : `"id":${id},`}"${name}":${whole}}`;
}

/** Returns the length of a text in UTF-8 bytes. */
export const bytes = (text: string): number => new TextEncoder().encode(text).length;
