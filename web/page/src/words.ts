// The texts that the page shows for the states and errors of the kit. Pure functions.

import type { ChannelState, Ending, Failure, OutboxEntry } from 'seawall-client';
import type { Connection } from 'seawall-react';

/** The progress of a publication that is not known to be stored. */
export type Progress =
  | { readonly state: 'waiting'; readonly note: string }
  | { readonly state: 'sending' }
  | { readonly state: 'sent' }
  | { readonly state: 'failed'; readonly note: string };

/** The connection as shown to people. */
export interface ShownConnection {
  readonly state: 'connecting' | 'online' | 'waiting' | 'stopped';
  readonly text: string;
  /** True if the page cannot connect without a valid token. */
  readonly needsToken: boolean;
}

/** Explains why a connection ended or could not be made. */
export function why(ending: Ending): string {
  const reference = ending.reference === undefined ? '' : ` (reference ${ending.reference})`;
  switch (ending.reason) {
    case 'unavailable': return `${ending.dependency ?? 'a service that the gateway needs'} is unavailable${reference}`;
    case 'restart': return 'the gateway is restarting';
    case 'over_capacity': return 'the gateway is full';
    case 'rate_limited': return 'too many requests';
    case 'no_sign_of_life':
    case 'write_stalled':
    case 'silent': return 'the connection stopped responding';
    case 'connect_timeout':
    case 'unanswered': return 'the gateway did not answer';
    case 'lost': return 'the connection was lost';
    case 'unsupported_version': return 'this page and the gateway have different versions';
    default: return ending.message.replace(/\.$/, '');
  }
}

/** Says a newcomer's loss in an outage. The gateway's own is used if it sent one. */
export function outage(ending: Ending): string {
  const isOwn = ending.reason === 'unavailable' && !ending.message.startsWith('The gateway ended the connection');
  const text = isOwn ? ending.message : `${why({ ...ending, reference: undefined })}.`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Says what a person can do after the connection was closed for good. */
function whatToDo(ending: Ending): string {
  switch (ending.reason) {
    case 'no_token':
    case 'unauthenticated': return 'Enter a valid token.';
    case 'forbidden': return 'Enter a token with more rights.';
    case 'unsupported_version': return 'Reload this page.';
    default: return 'Reload this page or press “Connect now”.';
  }
}

/** Describes the connection. `hasToken`: a token was sent; without one, the text asks for it instead of naming its fault. */
export function connection({ phase, user = 'anonymous', because }: Omit<Connection, 'reconnect' | 'online'>, hasToken: boolean): ShownConnection {
  const needsToken = because !== undefined && ['no_token', 'unauthenticated', 'forbidden'].includes(because.reason);
  // The library tries a refused token again for a while. Usually only another token helps, so ask for it at once.
  if (because && (phase === 'closed' || because.reason === 'unauthenticated')) {
    const text = needsToken && !hasToken ? 'a token is required' : `${why(because)}. ${whatToDo(because)}`;
    return { state: 'stopped', text: `stopped: ${text}`, needsToken };
  }
  const calm = { needsToken: false };
  switch (phase) {
    case 'connecting': return { ...calm, state: 'connecting', text: because === undefined ? 'connecting' : `reconnecting: ${why(because)}` };
    // A move to another gateway is not worth a word: everything keeps working.
    case 'online':
    case 'moving': return { ...calm, state: 'online', text: `online${user === 'anonymous' ? '' : ` as ${user}`}` };
    case 'offline': return { ...calm, state: 'waiting', text: 'offline: this device has no network' };
    default: return { ...calm, state: 'waiting', text: `reconnecting: ${because ? why(because) : 'the connection was lost'}` };
  }
}

export function progress(entry: OutboxEntry, isOnline: boolean, storage: 'opening' | 'durable' | 'memory'): Progress {
  switch (entry.state) {
    case 'failed': return { state: 'failed', note: failure(entry.error) };
    case 'sent': return { state: 'sent' };
    case 'sending': return { state: 'sending' };
    case 'queued': {
      const kept = storage === 'memory' ? ' Keep this tab open.' : '';
      if (entry.error !== undefined) return { state: 'waiting', note: `${failure(entry.error)} It will be sent again automatically.${kept}` };
      return isOnline ? { state: 'sending' } : { state: 'waiting', note: `it will be sent when the connection is back.${kept}` };
    }
  }
}

/** Returns a failure's text as a sentence. */
export function failure(what: Failure | undefined): string {
  if (what === undefined) return '';
  const text = what.message || what.code.replaceAll('_', ' ');
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/** The text before the first message. */
export const beginning = (floor: number): string => (floor > 1 ? 'Earlier messages are no longer stored.' : 'This is where the channel begins.');

/** Explains why a channel cannot be read, if it was refused. */
export const refusal = ({ phase, error }: ChannelState): string | undefined => (phase === 'refused' ? `This channel cannot be read: ${failure(error)}` : undefined);

export function typing(names: readonly string[]): string {
  if (names.length === 0) return '';
  if (names.length > 3) return 'Several people are typing…';
  return `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} typing…`;
}

/** Says how many messages are not sent, or nothing. Messages that are being sent are not worth a word. */
export function unsent(waiting: number, failed: number): string {
  return [waiting > 0 && `${waiting} waiting`, failed > 0 && `${failed} failed`].filter(Boolean).join(' · ');
}

/** True for a channel name that clients may use. Names with `$` are reserved for the gateway. */
export const isChannelName = (text: string): boolean => /^[A-Za-z0-9_.:-]{1,128}$/.test(text);

/** Returns the account of a token: its claim `sub`, as far as it can be read here, else the token itself. */
export function accountOf(token: string): string {
  try {
    const { sub } = JSON.parse(atob(token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/'))) as { sub?: unknown };
    return typeof sub === 'string' && sub !== '' ? sub : token;
  } catch {
    return token;
  }
}
