// What stands above the messages: how the connection is, which channel, who one is, and what does not work now.

import { at, say } from './dom.ts';

/** How the connection is, as a person is told. */
export interface Connection {
  state: 'connecting' | 'online' | 'waiting' | 'stopped';
  text: string;
  /** When the next attempt comes, `Date.now()` milliseconds; shown as a countdown while waiting. */
  retryAt: number | undefined;
  /** Whether nothing goes on without a token. */
  needsToken: boolean;
}

/** What does not work, by the gateway's own word; nothing when all does. */
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

let shown: Connection = { state: 'connecting', text: 'connecting', retryAt: undefined, needsToken: false };

export function showConnection(connection: Connection): void {
  shown = connection;
  state.dataset['state'] = connection.state;
  say(stateText, connection.text);
  // A token is asked for below: that is what to do then.
  now.hidden = connection.state !== 'waiting' && (connection.state !== 'stopped' || connection.needsToken);
  if (connection.needsToken) askForToken();
  tick();
}

/** Once a second. A countdown is not read out: its words would never end. */
export function tick(): void {
  const seconds = Math.max(0, Math.ceil(((shown.retryAt ?? 0) - Date.now()) / 1000));
  say(countdown, shown.state === 'waiting' && shown.retryAt !== undefined ? `, again in ${seconds} s` : '');
}

export function showBanner(what: Banner | undefined): void {
  banner.hidden = what === undefined;
  if (what === undefined) return say(banner, '');
  banner.dataset['level'] = what.level;
  say(banner, what.text);
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

export interface Wishes {
  /** Returns what is wrong with the name, or nothing. */
  open(channel: string): string | undefined;
  rename(name: string): void;
  useToken(token: string): void;
  connectNow(): void;
}

export function listen(wishes: Wishes, fault: (text: string) => void): void {
  channelForm.addEventListener('submit', (event) => {
    event.preventDefault();
    const wrong = wishes.open(channel.value.trim());
    channel.setAttribute('aria-invalid', String(wrong !== undefined));
    fault(wrong ?? '');
  });
  name.addEventListener('change', () => wishes.rename(name.value.trim()));
  tokenForm.addEventListener('submit', (event) => {
    event.preventDefault();
    wishes.useToken(token.value.trim());
  });
  now.addEventListener('click', () => wishes.connectNow());
}
