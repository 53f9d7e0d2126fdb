/** The module `seawall-client/producer`: writes streams, such as the answers of a model. For backends; separate, so that only they load it. */
import type { Client } from './api.js';
import type { StreamEnd } from './stream.js';
/** Bytes that are kept until the gateway has stored them: as many as it takes of a stream before it stores them. */
export declare const WINDOW_BYTES = 65536;
/** How a stream begins. All are optional. */
export interface BeginOptions {
    /** Identifies the run: the same key continues it, also from another process. Default: {@link newKey}. */
    readonly key?: string;
    /** The data of the begin, which readers see until the end. Default: `{}`. */
    readonly data?: unknown;
    /** The user that the stream is for, who may cancel it. */
    readonly for?: string;
    /** The stream ends as `interrupted` if nothing is written for this time. Default: the gateway's. */
    readonly idleMs?: number;
    /** `keep`: events stay in the data of the end. Default: `drop`. */
    readonly events?: 'drop' | 'keep';
}
/** The end of a stream, which is stored. */
export interface Ended {
    readonly state: StreamEnd;
    /** The offset of the publication that ended it. */
    readonly edit: number;
}
/** A stream that is being written. */
export interface Producer {
    readonly channel: string;
    readonly key: string;
    /** The offset of the begin. */
    readonly offset: number;
    /** The position of what is stored: not 0 if the key was used before. The next text follows it; call {@link restart} to drop it. */
    readonly stored: number;
    /**
     * Aborted once nothing more is wanted: a reader cancelled it, or it ended without this producer. Pass it to `fetch`. Its reason is a
     * {@link SeawallError} with the code `cancelled`, or the failure.
     */
    readonly cancelled: AbortSignal;
    /**
     * Adds a text, and sends it at once. Resolves when less than {@link WINDOW_BYTES} wait to be stored, so await it. Works through
     * lost connections. Rejects with a {@link SeawallError} once the stream has ended, or if too much waits because calls were not awaited.
     */
    write(text: string): Promise<void>;
    /** Adds an event of this type: 1 to 32 of `a-z`, `0-9` and `_`, with at most 4 KiB of JSON. As {@link write} otherwise. */
    event(type: string, data?: unknown): Promise<void>;
    /** Says that the run is alive, although there is nothing to write. Call it more often than `idleMs`. */
    alive(): void;
    /** Starts the text over, for a repeated call of the model. Readers drop what they have. */
    restart(): Promise<void>;
    /**
     * Ends the stream, once everything that was written is stored. `data`: replaces that of the gateway, which has the whole text. A
     * stream that had ended before is not an error: look at the state.
     */
    end(state?: 'completed' | 'failed' | 'cancelled', data?: unknown): Promise<Ended>;
}
/** The place of an answer that was stored with its question, as the relay's request has it. */
export interface Place {
    readonly channel: string;
    readonly offset: number;
    /** The generation. Another request for the same question has a higher one, after which this one writes nothing more. */
    readonly gen: number;
}
/**
 * Begins a stream in a channel, or continues the one with the same key: `const out = await begin(client, 'thread.7', { for: 'ann' })`. The
 * token needs the rights `publish` and `stream`; the client need not subscribe. Rejects with a {@link SeawallError}: `ended` if the
 * stream with this key has ended, `key_conflict` if the key was used for something else, `overloaded` if too many are open.
 */
export declare function begin(client: Client, channel: string, options?: BeginOptions): Promise<Producer>;
/**
 * Continues a stream at its place: `const out = await resume(client, request.data.answer)` writes the answer to a question that the gateway
 * relayed to this backend. The user of the token is the author of the stream. Rejects with a {@link SeawallError}: `stale` if the
 * question was sent again since, `ended` if it was stopped.
 */
export declare function resume(client: Client, place: Place): Promise<Producer>;
