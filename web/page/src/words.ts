// The texts that the page shows for the library's states and errors. Pure functions.

import type { ChannelState, Ending, Failure, Gap, OutboxEntry, State, Status } from 'seawall-client';
import type { Banner, Connection } from './header.ts';

/** The progress of a publication that is not known to be stored. */
export type Progress =
  | { state: 'waiting'; note: string }
  | { state: 'sending' }
  | { state: 'sent' }
  | { state: 'failed'; note: string };

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

const needsToken = (ending: Ending): boolean => ['no_token', 'unauthenticated', 'forbidden'].includes(ending.reason);

/** Describes the connection. `hasToken`: a token was sent; without one, the text asks for it instead of naming its fault. */
export function connection(state: State, hasToken: boolean): Connection {
  const calm = { retryAt: undefined, needsToken: false };
  // The library tries a refused token again for a while. Usually only another token helps, so ask for it at once.
  if ('because' in state && state.because?.reason === 'unauthenticated') return stopped(state.because, hasToken);
  switch (state.phase) {
    case 'connecting': {
      const text = state.because === undefined ? 'connecting' : `reconnecting: ${why(state.because)}`;
      return { ...calm, state: 'connecting', text };
    }
    case 'online':
    case 'moving': {
      const user = state.session.user === 'anonymous' ? '' : ` as ${state.session.user}`;
      // Everything keeps working during a move, so the state stays `online`.
      const move = state.phase === 'moving' ? ', moving to another gateway' : '';
      return { ...calm, state: 'online', text: `online${user}${move}` };
    }
    case 'waiting':
      return { ...calm, state: 'waiting', text: `reconnecting: ${why(state.because)}`, retryAt: state.until };
    case 'offline':
      return { ...calm, state: 'waiting', text: 'offline: this device has no network' };
    case 'closed': return stopped(state.because, hasToken);
  }
}

function stopped(because: Ending, hasToken: boolean): Connection {
  const isAsked = needsToken(because);
  const text = isAsked && !hasToken ? 'a token is required. Paste yours below.' : `${why(because)}. ${whatToDo(because)}`;
  return { state: 'stopped', text: `stopped: ${text}`, retryAt: undefined, needsToken: isAsked };
}

export function banner(status: Status): Banner | undefined {
  if (status.level === 'ok' || status.level === 'unknown') return undefined;
  const unwell = status.dependencies.filter((one) => one.state === 'down' || one.state === 'degraded').map((one) => one.name);
  const lost = status.lost.length > 0 ? `Not available now: ${status.lost.join(', ')}.`
    : `Some services have problems: ${unwell.join(', ') || status.level}.`;
  return { level: status.level, text: status.message ?? lost };
}

export function progress(entry: OutboxEntry, state: State, storage: 'opening' | 'durable' | 'memory'): Progress {
  switch (entry.state) {
    case 'failed':
      return { state: 'failed', note: failure(entry.error) };
    case 'sent':
      return { state: 'sent' };
    case 'sending':
      return { state: 'sending' };
    case 'queued': {
      const kept = storage === 'memory' ? ' Keep this tab open.' : '';
      if (entry.error !== undefined) return { state: 'waiting', note: `${failure(entry.error)} It will be sent again automatically.${kept}` };
      if (state.phase === 'online' || state.phase === 'moving') return { state: 'sending' };
      return { state: 'waiting', note: `it will be sent when the connection is back.${kept}` };
    }
  }
}

/** Returns a failure's text as a sentence. */
export function failure(what: Failure | undefined): string {
  if (what === undefined) return '';
  const text = what.message || what.code.replaceAll('_', ' ');
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

export function gap({ from, to, because }: Gap): string {
  const count = to - from + 1;
  const what = count === 1 ? 'One message here is' : `${count} messages here are`;
  return because === 'expired' ? `${what} no longer stored.` : `${what} not shown.`;
}

export const RESET = 'This channel was reset. Earlier messages may be gone.';

/** The text at the start of the log. */
export function beginning(floor: number, isEmpty: boolean): string {
  if (floor > 1) return 'Earlier messages are no longer stored.';
  return isEmpty ? 'No messages yet.' : 'This is where the channel begins.';
}

/** Explains why a channel cannot be read, if it was refused. */
export function refusal(state: ChannelState): string | undefined {
  return state.phase === 'refused' ? `This channel cannot be read: ${failure(state.error)}` : undefined;
}

export function typing(names: readonly string[]): string {
  if (names.length === 0) return '';
  if (names.length > 3) return 'Several people are typing…';
  return `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} typing…`;
}

/** True for a channel name that clients may use. Names with `$` are reserved for the gateway. */
export const isChannelName = (text: string): boolean => /^[A-Za-z0-9_.:-]{1,128}$/.test(text);
