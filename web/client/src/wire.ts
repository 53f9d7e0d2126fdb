/** Frames: what is sent as text, what is received as values. */

import type { Failure, Limits, Page, Publication, Published, Signal, Status } from './api.js';
import type { Bye } from './close.js';

/** How a subscription begins: in `subscribed`, and in each of `recovered`. */
export interface Begin {
  readonly channel: string;
  readonly epoch: string;
  readonly head: number;
  readonly floor: number;
  readonly because?: 'too_far' | 'expired' | 'epoch_changed' | 'forbidden' | 'unavailable';
  readonly retry_ms?: number;
}

/** The reply to `connect`. */
export interface Connected {
  readonly connection: string;
  readonly instance: string;
  readonly user: string;
  readonly ping_ms: number;
  readonly stable_ms: number;
  readonly limits: Limits;
  readonly expires?: number;
  readonly expires_in_ms?: number;
  readonly status: Status;
  readonly recovered: readonly Begin[];
}

/** An error as the gateway writes it. */
export interface WireError extends Omit<Failure, 'retryMs'> {
  readonly retry_ms?: number;
}

/** All that may stand in a frame; one of them does, beside `id` in a reply. */
export interface Frame {
  readonly id?: number;
  readonly error?: WireError;
  readonly connected?: Connected;
  readonly refreshed?: Pick<Connected, 'expires' | 'expires_in_ms'>;
  readonly subscribed?: Begin;
  readonly published?: Published;
  readonly history?: Page;
  readonly publication?: Publication;
  readonly signal?: Signal;
  readonly synced?: { readonly channel: string; readonly offset: number };
  readonly status?: Status;
  readonly beat?: { readonly revision: number; readonly heads?: Readonly<Record<string, number>> };
  readonly lag?: { readonly channel: string; readonly from: number; readonly head: number };
  readonly drain?: { readonly reason: string; readonly slot_ms: number; readonly deadline_ms: number };
  readonly bye?: Bye;
}

/** A frame's value, or nothing when it is not one object. */
export function read(text: unknown): Frame | undefined {
  try {
    const value = JSON.parse(text as string);
    return value && typeof value === 'object' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A command's frame. `data`, when given, is JSON already and goes in byte for byte. */
export function command(id: number | undefined, name: string, body: object, data?: string): string {
  const head = JSON.stringify(body);
  const whole = data === undefined ? head : `${head.slice(0, -1)},"data":${data}}`;
  return `{${id === undefined ? '' : `"id":${id},`}"${name}":${whole}}`;
}

/** Bytes of a text in UTF-8. */
export const bytes = (text: string): number => new TextEncoder().encode(text).length;
