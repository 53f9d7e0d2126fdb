/** The shell around the session: the one file that touches sockets, timers and the page. */
import type { Client, Options } from './api.js';
/**
 * Connects to a gateway and stays connected: after every loss it reconnects and resumes where it was.
 *
 * `url` is `wss://HOST/ws`. In a page it may be relative (`/ws`); `https:` is treated as `wss:`, and `http:` as `ws:`.
 * Returns at once and reports progress in {@link Client.state}.
 * @throws {@link SeawallError} `invalid` if `url` is not a gateway address, or there is no `WebSocket` class; not if `idle` is set
 */
export declare function connect(url: string, options?: Options): Client;
