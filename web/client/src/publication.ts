/** Publications and positions in a channel's log. */

import type { StreamEnd } from './stream.js';

/** Any JSON value. The gateway stores and returns it exactly as published. For apps without a type of their own: `channel<Json>(name)`. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** The members that every publication has. */
export interface PublicationHead {
  readonly channel: string;
  /** Consecutive within an epoch. A new channel starts at 1, or higher if the store has removed channels. */
  readonly offset: number;
  /** The key that its author published it with. It equals the key of the author's outbox entry. */
  readonly key?: string;
  readonly user: string;
  /** When it was stored. */
  readonly time: number;
  /** `begun`: a stream begins here, and its text follows in pieces. Else how one ended, of the edit or delete that ended it. */
  readonly stream?: 'begun' | StreamEnd;
}

/** A publication with its data: an original or an edit. */
export interface DataPublication<T = unknown> extends PublicationHead {
  readonly data: T;
  /** The offset whose data this publication replaces. */
  readonly edits?: number;
  readonly deletes?: undefined;
  readonly deletedBy?: undefined;
}

/** A publication that deletes another. */
export interface DeletePublication<T = unknown> extends PublicationHead {
  /** `null`, unless its author gave it data. */
  readonly data: T | null;
  readonly edits?: undefined;
  /** The offset that this publication deletes. */
  readonly deletes: number;
  readonly deletedBy?: undefined;
}

/** A publication whose data was deleted. */
export interface DeletedPublication extends PublicationHead {
  readonly data: null;
  readonly edits?: number;
  readonly deletes?: undefined;
  /** The offset of the publication that deleted this one. */
  readonly deletedBy: number;
}

/**
 * A publication. Edits and deletes are publications too, with offsets of their own. `data` is of type `T` if neither `deletes` nor
 * `deletedBy` is set. `T` is the app's claim: nothing checks what other clients publish.
 */
export type Publication<T = unknown> = DataPublication<T> | DeletePublication<T> | DeletedPublication;

/** The reply to a publish. The publication is committed to the store. */
export interface Published {
  readonly channel: string;
  readonly key: string;
  readonly epoch: string;
  readonly offset: number;
  readonly time: number;
  /** True if an earlier attempt with the same key had already been stored. */
  readonly duplicate: boolean;
  /**
   * The offset of its answer, which was stored with it, if the gateway relays this channel to a backend that answers: `of()` of
   * `seawall-client/streams` returns its stream.
   */
  readonly answer?: number;
}

/** A message that is not stored. */
export interface Signal<T = unknown> {
  readonly channel: string;
  readonly user: string;
  readonly data: T;
}

/** A part of a channel's log, in ascending order. */
export interface Page<T = unknown> {
  readonly channel: string;
  readonly epoch: string;
  /** The newest offset of the log; 0 if nothing was ever published. */
  readonly head: number;
  /** The oldest offset that the gateway keeps. */
  readonly floor: number;
  readonly publications: readonly Publication<T>[];
}

/** A position in a channel's log. Store it together with the data you keep, and pass it as `from` to resume there. */
export interface Cursor {
  readonly epoch: string;
  /** The offset of the last publication delivered. */
  readonly offset: number;
}

/** A range of publications that will not be delivered, both ends included. */
export interface Gap {
  readonly from: number;
  readonly to: number;
  /** `expired`: no longer kept. `skipped`: more than {@link ChannelOptions.catchUp} were missed. */
  readonly because: 'expired' | 'skipped';
}

/** The channel has a new log, because the old one was lost or restored. Clear your view; the new log's publications follow. */
export interface Reset {
  readonly epoch: string;
  /** The cursor's offset in the new log. */
  readonly offset: number;
}
