/**
 * The knowledge of one stream that a reader has, by the rules of docs/protocol.md: values in, values out.
 *
 * A position is a number of the gateway's, which is compared and never counted here. Pieces that arrive ahead of a missing one wait,
 * because the gateway sends each of them once.
 */
/** How a stream ended. */
export type StreamEnd = 'completed' | 'failed' | 'cancelled' | 'interrupted' | 'replaced' | 'deleted';
/**
 * `accepted`: an answer that is stored with its question, and waits for the backend. `processing`: the backend has the question. Both have
 * no text yet. `paused`: its producer is gone, and may come back. `cancelling`: a user asked it to stop.
 */
export type StreamState = 'accepted' | 'processing' | 'streaming' | 'paused' | 'cancelling' | StreamEnd;
/** True if nothing follows in this state. */
export declare const isEnd: (state: StreamState) => state is StreamEnd;
/** Something that happened while a text was written, such as the call of a tool. */
export interface StreamEvent {
    readonly type: string;
    readonly data: unknown;
    /** Its place among the text and the other events. */
    readonly position: number;
}
/** The object `stream` as the gateway sends it: a piece, a state, or the whole with `at`, `next` and `state`. */
export interface StreamFrame {
    readonly channel: string;
    readonly offset: number;
    readonly gen: number;
    readonly at?: number;
    readonly next?: number;
    readonly text?: string;
    readonly event?: Omit<StreamEvent, 'position'>;
    readonly events?: readonly (readonly [position: number, type: string, data: unknown])[];
    readonly state?: StreamState;
}
/** Invariant: within a generation, `text` only grows and `next` never decreases. */
export interface Reading {
    /** The generation: 0 before the first frame. A higher one starts over. */
    gen: number;
    /** The position after `text` and `events`. */
    next: number;
    text: string;
    /** Replaced at each change. */
    events: readonly StreamEvent[];
    state: StreamState;
    /** True exactly while something before a known piece, or all of a known generation, is missing. */
    missing: boolean;
    /** True exactly while the missing part is requested. */
    asked: boolean;
    held: StreamFrame[];
}
export declare const unread: () => Reading;
/** True exactly when the part after `next` has to be requested. */
export declare const wants: ({ missing, asked }: Reading) => boolean;
/** Adds a piece that adjoins, replaces the text by the whole, drops what is known, and holds what is ahead of a missing piece. */
export declare function take(reading: Reading, frame: StreamFrame): 'take' | 'state' | 'hold' | 'drop';
/** Takes in the reply to a request for the missing part. One about an earlier generation does not have it. */
export declare function answered(reading: Reading, frame: StreamFrame): ReturnType<typeof take>;
/** Ends the stream by the publication that replaces its begin. The data of an end has the whole text. */
export declare function end(reading: Reading, state: StreamEnd, data?: unknown): void;
