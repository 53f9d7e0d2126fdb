// The fragment of the address: `#channel=NAME`, with `&token=…` in a link to sign in, and `&demo` in that of `seawall demo`.

import { isChannelName } from './words.ts';

export interface PageLink {
  /** Empty without one. */
  readonly token: string;
  /** Empty without one. */
  readonly channel: string;
  readonly isDemo: boolean;
  /** A fault of the link, for the person. */
  readonly notice: string;
}

/** True unless the operator turned tokens in links off (`server.link_tokens`). */
const TAKES_TOKENS = document.documentElement.dataset['linkTokens'] === 'on';

export function readLink(): PageLink {
  const given = new URLSearchParams(location.hash.slice(1));
  const [token, channel] = [given.get('token') ?? '', given.get('channel') ?? ''];
  return {
    token: TAKES_TOKENS ? token : '',
    channel: isChannelName(channel) ? channel : '',
    isDemo: given.has('demo'),
    notice: token !== '' && !TAKES_TOKENS ? 'Tokens in links are turned off here. Enter yours instead.' : '',
  };
}

export function writeLink(channel: string, isDemo: boolean): void {
  history.replaceState(null, '', `#channel=${encodeURIComponent(channel)}${isDemo ? '&demo' : ''}`);
}
