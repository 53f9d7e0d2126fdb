/** The shell around the session: the one file that touches sockets, timers and the page. */
import type { Client, Options } from './api.js';
/**
 * Connects to a gateway and stays connected: after every loss it comes back, where it was.
 *
 * `url` is `wss://HOST/ws`; in a page it may be relative (`/ws`), and `https:` is taken for `wss:`.
 * Returns at once; what follows is in {@link Client.state}.
 * @throws {@link SeawallError} `invalid` for an address that is none
 */
export declare function connect(url: string, options?: Options): Client;
