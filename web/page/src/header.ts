// The header: the state of the connection, the channel, the user's name and token, and the banner for outages.

import { at, setText } from './dom.ts';

/** The connection state as shown to people. */
export interface Connection {
  state: 'connecting' | 'online' | 'waiting' | 'stopped';
  text: string;
  /** The time of the next attempt in Unix milliseconds, shown as a countdown while waiting. */
  retryAt: number | undefined;
  /** True if the page cannot connect without a valid token. */
  needsToken: boolean;
}

/** The gateway's report of an outage. */
export interface Banner {
  level: 'degraded' | 'down';
  text: string;
}

const state = at('state');
const stateText = at('state-text');
const countdown = at('countdown');
const now = at<HTMLButtonElement>('now');
const banner = at('banner');
const channelForm = at<HTMLFormElement>('channel-form');
const channel = at<HTMLInputElement>('channel');
const name = at<HTMLInputElement>('name');
const tokenForm = at<HTMLFormElement>('token-form');
const token = at<HTMLInputElement>('token');
const offer = at<HTMLFormElement>('offer');

/** True unless the operator turned tokens in links off (`server.link_tokens`). */
export const TAKES_LINK_TOKENS = document.documentElement.dataset['linkTokens'] === 'on';

let shown: Connection = { state: 'connecting', text: 'connecting', retryAt: undefined, needsToken: false };

export function showConnection(connection: Connection): void {
  shown = connection;
  state.dataset['state'] = connection.state;
  setText(stateText, connection.text);
  // If a token is needed, the token form replaces this button.
  now.hidden = connection.state !== 'waiting' && (connection.state !== 'stopped' || connection.needsToken);
  if (connection.needsToken) askForToken();
  tick();
}

/** Updates the countdown once a second. It is hidden from screen readers, which would read it without end. */
export function tick(): void {
  const seconds = Math.max(0, Math.ceil(((shown.retryAt ?? 0) - Date.now()) / 1000));
  setText(countdown, shown.state === 'waiting' && shown.retryAt !== undefined ? `, retrying in ${seconds} s` : '');
}

export function showBanner(what: Banner | undefined): void {
  banner.hidden = what === undefined;
  if (what === undefined) return setText(banner, '');
  banner.dataset['level'] = what.level;
  setText(banner, what.text);
}

export function showChannel(wanted: string): void {
  channel.value = wanted;
  channel.removeAttribute('aria-invalid');
  document.title = `${wanted} · Seawall`;
}

export function showName(own: string): void {
  name.value = own;
}

function askForToken(): void {
  if (!tokenForm.hidden) return;
  tokenForm.hidden = false;
  token.focus();
}

export function showToken(given: string): void {
  token.value = given;
  tokenForm.hidden = given === '';
}

let offered = '';

/** Asks whether to sign in with the token of a link, because the person may not know where the link comes from. */
export function offerToken(found: string): void {
  offered = found;
  offer.hidden = false;
}

export interface HeaderActions {
  /** Opens a channel, or returns what is wrong with the name. */
  open(channel: string): string | undefined;
  rename(name: string): void;
  useToken(token: string): void;
  connectNow(): void;
}

export function listen(actions: HeaderActions, fault: (text: string) => void): void {
  channelForm.addEventListener('submit', (event) => {
    event.preventDefault();
    const wrong = actions.open(channel.value.trim());
    channel.setAttribute('aria-invalid', String(wrong !== undefined));
    fault(wrong ?? '');
  });
  name.addEventListener('change', () => actions.rename(name.value.trim()));
  tokenForm.addEventListener('submit', (event) => {
    event.preventDefault();
    actions.useToken(token.value.trim());
  });
  offer.addEventListener('submit', (event) => {
    event.preventDefault();
    offer.hidden = true;
    showToken(offered);
    actions.useToken(offered);
  });
  at('offer-ignore').addEventListener('click', () => { offer.hidden = true; });
  now.addEventListener('click', () => actions.connectNow());
}
