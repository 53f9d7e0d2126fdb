// What people are told, from what the library knows. Values only.

import type { ChannelState, Ending, Failure, Gap, OutboxEntry, State, Status } from 'seawall-client';
import type { Banner, Connection } from './header.ts';
import type { Progress } from './timeline.ts';

/** Why a connection ended, or was not made. */
export function why(ending: Ending): string {
  const reference = ending.reference === undefined ? '' : ` (reference ${ending.reference})`;
  switch (ending.reason) {
    case 'unavailable': return `${ending.dependency ?? 'something the gateway needs'} is unavailable${reference}`;
    case 'restart': return 'the gateway is restarting';
    case 'over_capacity': return 'the gateway is full';
    case 'rate_limited': return 'too many requests from here';
    case 'no_sign_of_life':
    case 'write_stalled':
    case 'silent': return 'the connection went silent';
    case 'connect_timeout':
    case 'unanswered': return 'the gateway does not answer';
    case 'lost': return 'the connection was lost';
    case 'no_token': return ending.message ?? 'no token could be had';
    case 'unauthenticated': return ending.message ?? 'a token is needed';
    case 'forbidden': return ending.message ?? 'this user may not be here';
    case 'unsupported_version': return 'this page is of another version';
    default: return ending.message ?? (ending.reason.replaceAll('_', ' ') || `it ended with code ${ending.code}`);
  }
}

/** What a person can do about an end that is for good. */
function whatToDo(ending: Ending): string {
  switch (ending.reason) {
    case 'no_token':
    case 'unauthenticated': return 'Give a valid token.';
    case 'forbidden': return 'Give a token with more rights.';
    case 'unsupported_version': return 'Load this page again.';
    default: return 'Load this page again, or connect anew.';
  }
}

const needsToken = (ending: Ending): boolean => ['no_token', 'unauthenticated', 'forbidden'].includes(ending.reason);

/** `hasToken`: whether one was shown. Who has none is not told what is wrong with it. */
export function connection(state: State, hasToken: boolean): Connection {
  const calm = { retryAt: undefined, needsToken: false };
  switch (state.phase) {
    case 'connecting': {
      const text = state.because === undefined ? 'connecting' : `reconnecting: ${why(state.because)}`;
      return { ...calm, state: 'connecting', text };
    }
    case 'online':
    case 'moving': {
      const user = state.session.user === 'anonymous' ? '' : ` as ${state.session.user}`;
      // All works on meanwhile, so the words stay, and what is added is quiet.
      const move = state.phase === 'moving' ? ', moving to another gateway' : '';
      return { ...calm, state: 'online', text: `online${user}${move}` };
    }
    case 'waiting':
      return { ...calm, state: 'waiting', text: `reconnecting: ${why(state.because)}`, retryAt: state.until };
    case 'offline':
      return { ...calm, state: 'waiting', text: 'offline: this device has no network' };
    case 'closed': {
      const isAsked = needsToken(state.because);
      const text = isAsked && !hasToken ? 'a token is needed here. Paste yours below.'
        : `${why(state.because)}. ${whatToDo(state.because)}`;
      return { ...calm, state: 'stopped', text: `stopped: ${text}`, needsToken: isAsked };
    }
  }
}

export function banner(status: Status): Banner | undefined {
  if (status.level === 'ok' || status.level === 'unknown') return undefined;
  const unwell = status.dependencies.filter((one) => one.state === 'down' || one.state === 'degraded').map((one) => one.name);
  const lost = status.lost.length > 0 ? `Not available now: ${status.lost.join(', ')}.`
    : `Something is not well: ${unwell.join(', ') || status.level}.`;
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
      if (entry.error !== undefined) return { state: 'waiting', note: `${failure(entry.error)} It is sent again by itself.${kept}` };
      if (state.phase === 'online' || state.phase === 'moving') return { state: 'sending' };
      return { state: 'waiting', note: `it is sent when the connection is back.${kept}` };
    }
  }
}

/** A failure as a sentence. */
export function failure(what: Failure | undefined): string {
  if (what === undefined) return '';
  const text = what.message || what.code.replaceAll('_', ' ');
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

export function gap({ from, to, because }: Gap): string {
  const count = to - from + 1;
  const what = count === 1 ? 'One message in between is' : `${count} messages in between are`;
  return because === 'expired' ? `${what} older than the gateway keeps.` : `${what} not shown.`;
}

export const RESET = 'The log of this channel is another one now. What stood here before may be gone.';

/** What stands where the log begins. */
export function beginning(floor: number, isEmpty: boolean): string {
  if (floor > 1) return 'Earlier messages are older than the gateway keeps.';
  return isEmpty ? 'Nothing has been said here yet.' : 'This is where the channel begins.';
}

/** Why a channel cannot be read, if it cannot. */
export function refusal(state: ChannelState): string | undefined {
  return state.phase === 'refused' ? `This channel cannot be read: ${failure(state.error)}` : undefined;
}

export function typing(names: readonly string[]): string {
  if (names.length === 0) return '';
  if (names.length > 3) return 'Several people are typing…';
  return `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} typing…`;
}

/** A channel's name that the gateway takes; those with `$` are its own. */
export const isChannelName = (text: string): boolean => /^[A-Za-z0-9_.:-]{1,128}$/.test(text);
